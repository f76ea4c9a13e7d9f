//! What a document says, and which of its fields it says more than once.

use serde_json::Value;

/// A document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// What it says.
    pub value: Value,
    /// The paths of the fields that it says more than once, as Kubernetes spells them: `spec.containers[0].image`.
    pub duplicates: Vec<String>,
    /// The same as YAML's decoder tells it, by lines; nothing of JSON.
    pub(super) repeated_keys: Vec<String>,
}

impl Decoded {
    /// A document that says nothing twice.
    #[must_use]
    pub fn of(value: Value) -> Self {
        Self { value, ..Self::default() }
    }

    /// How Kubernetes' strict decoders tell of what is said more than once.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        if self.repeated_keys.is_empty() {
            return self
                .duplicates
                .iter()
                .map(|path| format!("duplicate field {path:?}"))
                .collect();
        }
        vec![format!("yaml: unmarshal errors:\n  {}", self.repeated_keys.join("\n  "))]
    }
}

/// How many fields that are given twice or unknown are told of (Kubernetes: `saveStrictError`), and how long a path gets:
/// else a body of little more than such fields below long keys would fill the memory.
pub(crate) const MOST_TOLD: usize = 100;
pub(crate) const LONGEST_PATH: usize = 4096;

/// The paths of the fields given twice, found from the inside out: a path gets longer as its parents are left.
#[derive(Debug, Default)]
pub(super) struct Duplicates(pub(super) Vec<String>);

impl Duplicates {
    /// How many there were when a child was entered.
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// This field of the current object has come again.
    pub(super) fn found(&mut self, key: &str, mark: usize) {
        let is_told = self.0.len() < MOST_TOLD && key.len() <= LONGEST_PATH;
        if is_told && !self.0[mark..].iter().any(|path| path == key) {
            self.0.push(key.to_owned());
        }
    }

    /// Those found since `mark` are below this field.
    pub(super) fn below_key(&mut self, key: &str, mark: usize) {
        for path in self.0[mark..].iter_mut().filter(|p| p.len() + key.len() <= LONGEST_PATH) {
            *path = if path.starts_with('[') {
                format!("{key}{path}")
            } else {
                format!("{key}.{path}")
            };
        }
    }

    /// Those found since `mark` are below this element.
    pub(super) fn below_index(&mut self, index: usize, mark: usize) {
        for path in &mut self.0[mark..] {
            *path = if path.starts_with('[') {
                format!("[{index}]{path}")
            } else {
                format!("[{index}].{path}")
            };
        }
    }
}
