//! Field paths and the faults found at them, collected rather than stopped at the first
//! (Kubernetes: `k8s.io/apimachinery/pkg/util/validation/field`).

use std::fmt;

use api_types::meta;

/// The path of a field in an object, printed as Kubernetes prints it: `spec.containers[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(String);

impl FieldPath {
    /// The path of a top-level field.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The path of a field below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self([&*self.0, ".", name].concat()) }
    }

    /// The path of an element of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of an entry of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One fault at one field: Kubernetes' cause reason and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where the fault is.
    pub path: FieldPath,
    /// The cause's reason, e.g. `FieldValueInvalid`.
    pub reason: &'static str,
    /// The message without the path, e.g. `Required value`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// All faults of one object, in the order they were found; as many as are worth telling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    faults: Vec<FieldError>,
    /// The bytes of their messages.
    length: usize,
}

/// How long messages are together beyond which no more are made: each may show a value, and so a whole body for each byte
/// of it.
const MOST_BYTES: usize = 1 << 20;

impl FieldErrors {
    /// A field that must be given and is not.
    pub fn required(&mut self, path: &FieldPath, detail: &str) {
        self.push(path, "FieldValueRequired", || with_detail("Required value", detail));
    }

    /// A value that the field can't take; `value` is shown as given.
    pub fn invalid(&mut self, path: &FieldPath, value: impl fmt::Debug, detail: &str) {
        let message = || with_detail(&format!("Invalid value: {value:?}"), detail);
        self.push(path, "FieldValueInvalid", message);
    }

    /// A value of another type than the field has.
    pub fn type_invalid(&mut self, path: &FieldPath, value: impl fmt::Debug, detail: &str) {
        let message = || with_detail(&format!("Invalid value: {value:?}"), detail);
        self.push(path, "FieldValueTypeInvalid", message);
    }

    /// A value that is wrong as it is, and too large or too plain to be shown.
    pub fn wrong(&mut self, path: &FieldPath, detail: &str) {
        self.push(path, "FieldValueInvalid", || with_detail("Invalid value", detail));
    }

    /// A value that is none of the allowed ones.
    pub fn not_supported(&mut self, path: &FieldPath, value: impl fmt::Debug, allowed: &[&str]) {
        let message = || {
            let allowed: Vec<_> = allowed.iter().map(|a| format!("{a:?}")).collect();
            let detail = format!("supported values: {}", allowed.join(", "));
            with_detail(&format!("Unsupported value: {value:?}"), &detail)
        };
        self.push(path, "FieldValueNotSupported", message);
    }

    /// A value that must be unique in its list and is not.
    pub fn duplicate(&mut self, path: &FieldPath, value: impl fmt::Debug) {
        self.push(path, "FieldValueDuplicate", || format!("Duplicate value: {value:?}"));
    }

    /// A field that may not be set (here, or any more).
    pub fn forbidden(&mut self, path: &FieldPath, detail: &str) {
        self.push(path, "FieldValueForbidden", || with_detail("Forbidden", detail));
    }

    /// A value of more bytes than the field can hold.
    pub fn too_long(&mut self, path: &FieldPath, max: usize) {
        let message = || format!("Too long: may not be more than {max} bytes");
        self.push(path, "FieldValueTooLong", message);
    }

    /// A list of more elements than the field can hold.
    pub fn too_many(&mut self, path: &FieldPath, actual: usize, max: usize) {
        let message = || format!("Too many: {actual}: must have at most {max} items");
        self.push(path, "FieldValueTooMany", message);
    }

    /// A value that names something that does not exist.
    pub fn not_found(&mut self, path: &FieldPath, value: impl fmt::Debug) {
        self.push(path, "FieldValueNotFound", || format!("Not found: {value:?}"));
    }

    /// The same, with what there is.
    pub fn not_found_among(&mut self, path: &FieldPath, value: impl fmt::Debug, detail: &str) {
        let message = || with_detail(&format!("Not found: {value:?}"), detail);
        self.push(path, "FieldValueNotFound", message);
    }

    /// The faults of a part, found apart from the rest.
    pub fn extend(&mut self, faults: Self) {
        self.length += faults.length;
        self.faults.extend(faults.faults);
    }

    /// Leaves out those faults, word for word.
    pub fn forget(&mut self, faults: &Self) {
        self.faults.retain(|fault| !faults.faults.contains(fault));
    }

    /// The faults of what is at a path, found apart from the rest.
    pub fn extend_below(&mut self, path: &FieldPath, faults: Self) {
        let below = |error: FieldError| {
            let path = match error.path.0.as_str() {
                "" => path.clone(),
                inner if inner.starts_with('[') => FieldPath([&*path.0, inner].concat()),
                inner => path.child(inner),
            };
            FieldError { path, ..error }
        };
        self.length += faults.length;
        self.faults.extend(faults.faults.into_iter().map(below));
    }

    /// Whether no more is told: what takes time to tell needs not be made out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.length >= MOST_BYTES
    }

    /// Whether no fault was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The faults in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.faults.iter()
    }

    /// The faults as the causes of a `Status`.
    #[must_use]
    pub fn causes(&self) -> Vec<meta::StatusCause> {
        let cause = |e: &FieldError| meta::StatusCause {
            field: Some(e.path.to_string()),
            message: Some(e.message.clone()),
            reason: Some(e.reason.to_owned()),
        };
        self.iter().map(cause).collect()
    }

    fn push(&mut self, path: &FieldPath, reason: &'static str, message: impl FnOnce() -> String) {
        if !self.is_full() {
            let message = message();
            self.length += message.len();
            self.faults.push(FieldError { path: path.clone(), reason, message });
        }
    }
}

impl fmt::Display for FieldErrors {
    /// One fault as it is, several in brackets, as Kubernetes' aggregate prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                let many: Vec<_> = many.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", many.join(", "))
            }
        }
    }
}

fn with_detail(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_faults_are_told_than_an_answer_has_room_for() {
        let (mut errors, path) = (FieldErrors::default(), FieldPath::new("spec"));
        let large = "x".repeat(100_000);
        (0..1000).for_each(|_| errors.invalid(&path, &large, ""));
        assert!(errors.is_full());
        assert_eq!(errors.iter().count(), 11);
        let mut all = FieldErrors::default();
        all.extend(errors);
        all.required(&path, "");
        assert_eq!(all.iter().count(), 11);
    }
}
