//! The faults of the kernel's settings that a pod asks for (Kubernetes: `validateSysctls`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::PodSpec;

use crate::rules;

const LONGEST: usize = 253;
const FORM: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// What names begin with of settings that each network, and each space of shared memory and messages, has for itself.
const OF_NETWORKS: &[&str] = &["net."];
const OF_MESSAGES: &[&str] = &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let context = spec.security_context.as_ref();
    let path = path.child("sysctls");
    let mut seen = BTreeSet::new();
    for (i, sysctl) in context.and_then(|it| it.sysctls.as_ref()).into_iter().flatten().enumerate()
    {
        let (path, name) = (path.index(i).child("name"), &sysctl.name);
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        if name.len() > LONGEST || !name.split(['.', '/']).all(is_segment) {
            errors.invalid(&path, name, FORM);
        } else {
            rules::unique(&mut seen, name, &path, errors);
        }
        // Separated by slashes they are the same.
        let dotted = name.replace('/', ".");
        for (field, is_set, own) in [
            ("hostNetwork", spec.host_network, OF_NETWORKS),
            ("hostIPC", spec.host_ipc, OF_MESSAGES),
        ] {
            if is_set == Some(true) && own.iter().any(|it| dotted.starts_with(it)) {
                let why = format!("may not be specified when '{field}' is true");
                errors.invalid(&path, name, &why);
            }
        }
    }
}

fn is_segment(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.iter().all(|end| end.is_some_and(is_inner))
        && text.bytes().all(|byte| is_inner(byte) || matches!(byte, b'-' | b'_'))
}
