//! The forms that names must have, with Kubernetes' wording of the faults
//! (`k8s.io/apimachinery/pkg/util/validation`).

use std::collections::BTreeMap;

use crate::{FieldErrors, FieldPath};

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const ANNOTATIONS_MAX: usize = 256 * 1024;

const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const UNDERSCORE_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const HEADER_MESSAGE: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const WILDCARD_MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1035_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_MESSAGE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV_MESSAGE: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";
const CONFIG_KEY_MESSAGE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// The faults of a name that is a label of a DNS name: `my-pod`.
#[must_use]
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut faults = too_long(value, LABEL_MAX);
    if !is_label(value) {
        faults.push(LABEL_MESSAGE.to_owned());
    }
    faults
}

/// The faults of a name that is a DNS name: `my.pod`.
#[must_use]
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut faults = too_long(value, SUBDOMAIN_MAX);
    if !value.split('.').all(is_label) {
        faults.push(SUBDOMAIN_MESSAGE.to_owned());
    }
    faults
}

/// The same of a domain that is searched, whose labels may have underscores: `_tcp.example.com`.
#[must_use]
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut faults = too_long(value, SUBDOMAIN_MAX);
    let is_label =
        |label: &str| is_label(&label.strip_prefix('_').unwrap_or(label).replace('_', "-"));
    if !value.split('.').all(is_label) {
        faults.push(UNDERSCORE_MESSAGE.to_owned());
    }
    faults
}

/// The faults of a DNS name whose first label stands for any: `*.example.com`.
#[must_use]
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut faults = too_long(value, SUBDOMAIN_MAX);
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label)) {
        faults.push(WILDCARD_MESSAGE.to_owned());
    }
    faults
}

/// The faults of a name that begins with a letter: what Functions, and resources, are called.
#[must_use]
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut faults = too_long(value, LABEL_MAX);
    if !is_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        faults.push(DNS1035_MESSAGE.to_owned());
    }
    faults
}

/// The name of a function that is spelled as in the original minik8s, which took any: `addFive` is `add-five`. What is a
/// name already stays as it is.
#[must_use]
pub fn function_name(spelling: &str) -> String {
    let mut name = String::with_capacity(spelling.len());
    for c in spelling.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        name.push(if c == '_' { '-' } else { c.to_ascii_lowercase() });
    }
    name
}

/// The faults of a name that may have a DNS name before a slash: label keys, finalizers.
#[must_use]
pub fn qualified_name(value: &str) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    let (mut faults, name) = match parts.as_slice() {
        [name] => (Vec::new(), *name),
        ["", _] => return vec!["prefix part must be non-empty".to_owned()],
        [prefix, name] => (prefixed("prefix part ", dns1123_subdomain(prefix)), *name),
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED_MESSAGE.trim_start_matches("name part ")
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    }
    faults.extend(prefixed("name part ", too_long(name, LABEL_MAX)));
    if !is_qualified_part(name) {
        faults.push(QUALIFIED_MESSAGE.to_owned());
    }
    faults
}

/// The faults of a label's value.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut faults = too_long(value, LABEL_MAX);
    if !value.is_empty() && !is_qualified_part(value) {
        faults.push(LABEL_VALUE_MESSAGE.to_owned());
    }
    faults
}

/// The faults of an environment variable's name.
#[must_use]
pub fn env_var_name(value: &str) -> Vec<String> {
    let valid = !value.is_empty() && value.chars().all(|c| matches!(c, ' '..='~') && c != '=');
    if valid { Vec::new() } else { vec![ENV_MESSAGE.to_owned()] }
}

/// The faults of a key of a ConfigMap or Secret, which may become a file's name.
#[must_use]
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut faults = too_long(value, SUBDOMAIN_MAX);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if value.is_empty() || !value.chars().all(allowed) {
        faults.push(CONFIG_KEY_MESSAGE.to_owned());
    }
    match value {
        "." => faults.push("must not be '.'".to_owned()),
        ".." => faults.push("must not be '..'".to_owned()),
        _ if value.starts_with("..") => faults.push("must not start with '..'".to_owned()),
        _ => {}
    }
    faults
}

/// The faults of a container port's name (an IANA service name).
#[must_use]
pub fn port_name(value: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |valid: bool, why: &str| {
        if !valid {
            faults.push(why.to_owned());
        }
    };
    check(value.len() <= 15, "must be no more than 15 characters");
    check(
        value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    check(
        value.contains(|c: char| c.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    );
    check(!value.contains("--"), "must not contain consecutive hyphens");
    check(
        !value.starts_with('-') && !value.ends_with('-') && !value.is_empty(),
        "must not begin or end with a hyphen",
    );
    faults
}

/// The faults of a name that is a part of a path, whatever else it is made of.
#[must_use]
pub fn path_segment(value: &str) -> Vec<String> {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    let unwanted = ['/', '%'].into_iter().filter(|c| value.contains(*c));
    unwanted.map(|c| format!("may not contain '{c}'")).collect()
}

/// The faults of a header's name.
#[must_use]
pub fn http_header_name(value: &str) -> Vec<String> {
    let is_valid =
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_valid { Vec::new() } else { vec![HEADER_MESSAGE.to_owned()] }
}

/// The faults of a port's number.
#[must_use]
pub fn port_number(value: i32) -> Vec<String> {
    if (1..=65535).contains(&value) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// Adds the faults of labels.
pub fn validate_labels(
    labels: &BTreeMap<String, String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (key, value) in labels {
        for fault in qualified_name(key) {
            errors.invalid(path, key, &fault);
        }
        for fault in label_value(value) {
            errors.invalid(path, value, &fault);
        }
    }
}

/// Adds the faults of annotations.
pub fn validate_annotations(
    annotations: &BTreeMap<String, String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for key in annotations.keys() {
        for fault in qualified_name(&key.to_lowercase()) {
            errors.invalid(path, key, &fault);
        }
    }
    let size: usize = annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

fn is_label(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !value.is_empty()
        && value.chars().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-')
}

fn is_qualified_part(value: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    end(value.chars().next()) && end(value.chars().last()) && value.chars().all(inner)
}

fn too_long(value: &str, max: usize) -> Vec<String> {
    if value.len() <= max { Vec::new() } else { vec![format!("must be no more than {max} bytes")] }
}

fn prefixed(prefix: &str, faults: Vec<String>) -> Vec<String> {
    faults.into_iter().map(|f| format!("{prefix}{f}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_in_the_seeds_spelling_get_names() {
        for (spelling, name) in [
            ("addFive", "add-five"),
            ("AddFive", "add-five"),
            ("print_Equals", "print-equals"),
            ("printNotEquals", "print-not-equals"),
            ("add-five2", "add-five2"),
        ] {
            assert_eq!(function_name(spelling), name);
            assert!(dns1035_label(name).is_empty());
        }
    }
}
