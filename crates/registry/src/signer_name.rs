//! The faults of a signer's name: a domain and a path, `example.com/signer-name` (Kubernetes: `ValidateSignerName`).

use api_machinery::{FieldErrors, FieldPath, names};

use crate::NameRule;

const MAX_DOMAIN: usize = 253;
/// Of a path there is room for a namespace and a name.
const MAX: usize = MAX_DOMAIN + 1 + 63 + 1 + 253;

/// All of them.
pub(crate) fn validate(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [""] => errors.required(path, ""),
        [domain, rest] => {
            if domain.len() > MAX_DOMAIN {
                errors.too_long(path, MAX_DOMAIN);
            }
            labels(domain, names::dns1123_label, path, errors);
            if !domain.contains('.') {
                let why = "should be a domain with at least two segments separated by dots";
                errors.invalid(path, domain, why);
            }
            labels(rest, names::dns1123_subdomain, path, errors);
            if name.len() > MAX {
                errors.too_long(path, MAX);
            }
        }
        _ => {
            let why =
                "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            errors.invalid(path, name, why);
        }
    }
}

/// Whether the signer is one of Kubernetes' own.
pub(crate) fn is_kubernetes(name: &str) -> bool {
    let domain = name.split('/').next().unwrap_or_default();
    domain == "kubernetes.io" || domain.ends_with(".kubernetes.io")
}

/// The faults of the first label that has any.
fn labels(text: &str, rule: NameRule, path: &FieldPath, errors: &mut FieldErrors) {
    let faulty =
        text.split('.').map(|label| (label, rule(label))).find(|(_, faults)| !faults.is_empty());
    let Some((label, faults)) = faulty else { return };
    for fault in faults {
        errors.invalid(path, text, &format!("validating label {label:?}: {fault}"));
    }
}
