//! The faults of what containers are on Windows (Kubernetes: `validateWindowsSecurityContextOptions`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::WindowsSecurityContextOptions;

use crate::rules;

const MAX_CREDENTIALS: usize = 64 * 1024;
const MAX_DOMAIN: usize = 256;
const MAX_NETBIOS: usize = 15;
const MAX_LABEL: usize = 63;
const MAX_USER: usize = 104;

pub(super) fn validate(
    options: Option<&WindowsSecurityContextOptions>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        let path = path.child("gmsaCredentialSpecName");
        rules::follows(name, names::dns1123_subdomain, &path, errors);
    }
    if let Some(text) = &options.gmsa_credential_spec {
        let path = path.child("gmsaCredentialSpec");
        if text.is_empty() {
            errors.invalid(&path, text, "gmsaCredentialSpec cannot be an empty string");
        } else if text.len() > MAX_CREDENTIALS {
            errors.invalid(&path, text, "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    if let Some(name) = &options.run_as_user_name {
        for fault in faults_of(name) {
            errors.invalid(&path.child("runAsUserName"), name, &format!("runAsUserName{fault}"));
        }
    }
}

/// Of a user's name, which may have that of a domain before it.
fn faults_of(name: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = name.split('\\').collect();
    match parts.as_slice() {
        _ if name.is_empty() => vec![" cannot be an empty string"],
        _ if name.contains(|c: char| c.is_ascii_control()) => {
            vec![" cannot contain control characters"]
        }
        [user] => of_user(user),
        [domain, user] => [of_domain(domain), of_user(user)].concat(),
        _ => vec![" cannot contain more than one backslash"],
    }
}

fn of_domain(domain: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if domain.len() >= MAX_DOMAIN {
        faults.push("'s Domain length must be under 256 characters");
    }
    if !is_netbios(domain) && !domain.split('.').all(is_label) {
        faults.push("'s Domain doesn't match the NetBios nor the DNS format");
    }
    faults
}

fn is_netbios(domain: &str) -> bool {
    (1..=MAX_NETBIOS).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|c: char| "\\/:*?\"<>|".contains(c))
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn of_user(user: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if user.is_empty() {
        faults.push("'s User cannot be empty");
    } else if user.len() > MAX_USER {
        faults.push("'s User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        faults.push("'s User cannot contain only periods or spaces");
    }
    if user.contains(|c: char| "\"/\\:;|=,+*?<>@[]".contains(c)) {
        faults.push("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    faults
}
