//! The faults of the claims to devices that a pod makes, and of those that its containers name (Kubernetes:
//! `validatePodResourceClaims`, `validateResourceClaimNames`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim},
    meta::ObjectMeta,
};

use super::mirror;
use crate::rules::{self, text};

/// What a pod calls its claims.
pub(super) type ClaimNames<'a> = BTreeSet<&'a str>;

/// All faults of a pod's claims; gives their names.
pub(super) fn validate<'a>(
    spec: &'a PodSpec,
    pod: Option<&ObjectMeta>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> ClaimNames<'a> {
    let is_static = pod.is_some_and(mirror::is_marked);
    let mut seen = BTreeSet::new();
    for (i, claim) in spec.resource_claims.iter().flatten().enumerate() {
        if is_static {
            let why = "static pods do not support resource claims";
            errors.forbidden(&FieldPath::new(""), why);
        } else {
            one(claim, &mut seen, &path.index(i), errors);
        }
    }
    let names = spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str());
    names.filter(|name| !name.is_empty()).collect()
}

fn one<'a>(
    claim: &'a PodResourceClaim,
    seen: &mut BTreeSet<&'a str>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let at = path.child("name");
    if claim.name.is_empty() {
        errors.required(&at, "");
    } else if seen.insert(&claim.name) {
        rules::follows(&claim.name, names::dns1123_label, &at, errors);
    } else {
        errors.duplicate(&at, &claim.name);
    }
    let sources = [
        ("resourceClaimName", &claim.resource_claim_name),
        ("resourceClaimTemplateName", &claim.resource_claim_template_name),
    ];
    let why = match sources.iter().filter(|(_, name)| name.is_some()).count() {
        0 => Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
        1 => None,
        _ => Some(
            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        ),
    };
    if let Some(why) = why {
        errors.invalid(path, rules::json(claim), why);
    }
    for (field, name) in sources {
        if let Some(name) = name {
            rules::follows(name, names::dns1123_subdomain, &path.child(field), errors);
        }
    }
}

/// The faults of those that a container names: each as a whole, or in parts.
pub(super) fn of_container(
    named: &[ResourceClaim],
    claims: &ClaimNames<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut seen = BTreeSet::<(&str, &str)>::new();
    for (i, claim) in named.iter().enumerate() {
        let (path, name) = (path.index(i), claim.name.as_str());
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let request = text(claim.request.as_ref());
        if seen.contains(&(name, "")) {
            errors.duplicate(&path, name);
        } else {
            let (label, at) = (names::dns1123_label, path.child("request"));
            rules::maybe_follows(claim.request.as_ref(), label, &at, errors);
            if seen.contains(&(name, request)) {
                errors.duplicate(&path, format!("{name}/{request}"));
            } else if request.is_empty() {
                for _ in seen.iter().filter(|(other, _)| *other == name) {
                    errors.duplicate(&path, name);
                }
            }
            seen.insert((name, request));
        }
        if !claims.contains(name) && !errors.is_full() {
            let all = claims.iter().copied().collect::<Vec<_>>().join(", ");
            let why = "must be one of the names in pod.spec.resourceClaims";
            let why = match all.as_str() {
                "" => format!("{why} which is empty"),
                all => format!("{why}: {all}"),
            };
            errors.not_found_among(&path, name, &why);
        }
    }
}
