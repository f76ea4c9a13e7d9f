//! Bytes to JSON values, as Kubernetes reads them: JSON, and YAML 1.1 as `sigs.k8s.io/yaml` means it. A field that is
//! given twice counts as given last; that it was given twice is told.

mod json;
mod scalar;
mod yaml;

use serde_json::Value;

pub use yaml::YamlError;

/// A document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// What it says.
    pub value: Value,
    /// The paths of the fields that it says more than once, as Kubernetes spells them: `spec.containers[0].image`.
    pub duplicates: Vec<String>,
}

/// Reads one JSON document.
///
/// # Errors
/// If it is none, or is nested deeper than 127 levels.
pub fn json(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    json::decode(bytes)
}

/// Reads the first document of a YAML text; `null` if there is none.
///
/// # Errors
/// For what is no YAML, has no form in JSON (`.inf`, a map as a key), is nested too deep or grows by its aliases
/// beyond measure.
pub fn yaml(text: &str) -> Result<Decoded, YamlError> {
    yaml::decode(text)
}

/// How many fields given twice are told of (Kubernetes: `saveStrictError`), and how long a path gets: else a body of
/// little more than duplicates below long keys would fill the memory.
const MOST_DUPLICATES: usize = 100;
const LONGEST_PATH: usize = 4096;

/// The paths of the fields given twice, found from the inside out: a path gets longer as its parents are left.
#[derive(Debug, Default)]
struct Duplicates(Vec<String>);

impl Duplicates {
    /// How many there were when a child was entered.
    fn mark(&self) -> usize {
        self.0.len()
    }

    /// This field of the current object has come again.
    fn found(&mut self, key: &str, mark: usize) {
        let is_told = self.0.len() < MOST_DUPLICATES && key.len() <= LONGEST_PATH;
        if is_told && !self.0[mark..].iter().any(|path| path == key) {
            self.0.push(key.to_owned());
        }
    }

    /// Those found since `mark` are below this field.
    fn below_key(&mut self, key: &str, mark: usize) {
        for path in self.0[mark..].iter_mut().filter(|p| p.len() + key.len() <= LONGEST_PATH) {
            *path = if path.starts_with('[') {
                format!("{key}{path}")
            } else {
                format!("{key}.{path}")
            };
        }
    }

    /// Those found since `mark` are below this element.
    fn below_index(&mut self, index: usize, mark: usize) {
        for path in &mut self.0[mark..] {
            *path = if path.starts_with('[') {
                format!("[{index}]{path}")
            } else {
                format!("[{index}].{path}")
            };
        }
    }
}
