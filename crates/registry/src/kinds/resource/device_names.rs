//! What drivers, pools and what is known of devices are called, and how much that may be.

use api_machinery::{FieldErrors, FieldPath, names};

use crate::{kinds::storage::parameters, rules};

const LONGEST_POOL: usize = 253;
pub(super) const LONGEST_ID: usize = 32;
/// Of an attribute.
pub(super) const LONGEST_VALUE: usize = 64;
/// As many attributes and capacities a device may have.
pub(super) const MOST_FACTS: usize = 32;

/// A driver is called as one of storage is.
pub(super) fn driver(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    parameters::driver(name, path, errors);
}

pub(super) fn pool(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > LONGEST_POOL {
        errors.too_long(path, LONGEST_POOL);
    }
    for part in name.split('/') {
        rules::follows(part, names::dns1123_subdomain, path, errors);
    }
}

pub(super) fn label(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    rules::follows(name, names::dns1123_label, path, errors);
}

/// What an attribute or a capacity is called: `model`, or `gpu.example.com/model`.
pub(super) fn qualified(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            match domain {
                "" => errors.invalid(path, "", "the domain must not be empty"),
                domain => driver(domain, path, errors),
            }
            match id {
                "" => errors.invalid(path, "", "the name must not be empty"),
                id => identifier(id, path, errors),
            }
        }
        _ => {}
    }
}

/// The same with a domain.
pub(super) fn fully_qualified(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    qualified(name, path, errors);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.invalid(path, name, why);
    }
}

fn identifier(id: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if id.len() > LONGEST_ID {
        errors.too_long(path, LONGEST_ID);
    }
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_one =
        id.starts_with(is_letter) && id.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    if !is_one {
        let why = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
        errors.invalid(path, id, why);
    }
}
