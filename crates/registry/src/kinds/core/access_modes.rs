//! Who may use a volume at a time, and how it is used: what volumes and claims to them say alike.

use api_machinery::{FieldErrors, FieldPath};

use crate::rules;

const ALONE: &str = "ReadWriteOncePod";
const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", ALONE];
const SHORT: [(&str, &str); 4] =
    [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), (ALONE, "RWOP")];

/// The class, as it was named before there was a field for it.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// What is told of that.
pub(super) const OLD_CLASS: &str =
    "deprecated since v1.8; use \"storageClassName\" attribute instead";

/// `RWO,ROX`.
pub(super) fn shown(modes: Option<&Vec<String>>) -> String {
    let has = |mode: &str| modes.into_iter().flatten().any(|it| it == mode);
    let short = SHORT.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

/// The faults of the modes.
pub(super) fn validate(modes: Option<&Vec<String>>, path: &FieldPath, errors: &mut FieldErrors) {
    let modes = modes.map(Vec::as_slice).unwrap_or_default();
    for mode in modes.iter().filter(|mode| !MODES.contains(&mode.as_str())) {
        errors.not_supported(path, mode, &MODES);
    }
    let (alone, others): (Vec<&str>, Vec<&str>) = modes
        .iter()
        .map(String::as_str)
        .filter(|mode| MODES.contains(mode))
        .partition(|it| *it == ALONE);
    if !alone.is_empty() && !others.is_empty() {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// The faults of a volume's mode.
pub(super) fn volume_mode(mode: Option<&String>, path: &FieldPath, errors: &mut FieldErrors) {
    rules::one_of(mode, &["Block", "Filesystem"], path, errors);
}

/// The text, or that there is none.
pub(super) fn or_unset(text: Option<&String>) -> &str {
    text.map_or("<unset>", String::as_str)
}
