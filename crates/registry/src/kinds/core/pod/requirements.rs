//! The faults of what a container requests and may use (Kubernetes: `validateResourceRequirements`).

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, Quantity};
use api_types::api::core::v1::ResourceRequirements;

use super::claims::{self, ClaimNames};
use crate::{kinds::core::resource_names, rules};

type Resources = BTreeMap<String, api_types::Quantity>;

/// Tells the faults of a name.
type NameFaults = fn(&str, &FieldPath, &mut FieldErrors);

const HUGE_PAGES: &str = "hugepages-";
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// All faults of those of a container of a pod without claims to devices.
pub(crate) fn validate(
    resources: &ResourceRequirements,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    with_names(resources, name, &ClaimNames::new(), path, errors);
}

/// The same, of resources with such names.
pub(super) fn with_names(
    resources: &ResourceRequirements,
    name: NameFaults,
    claims: &ClaimNames<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let none = Resources::new();
    let limits = resources.limits.as_ref().unwrap_or(&none);
    let requests = resources.requests.as_ref().unwrap_or(&none);
    amounts(limits, name, &path.child("limits"), errors);
    amounts(requests, name, &path.child("requests"), errors);
    for (name, request) in requests {
        compared(name, request, limits.get(name), path, errors);
    }
    let has =
        |matches: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|it| matches(it));
    if has(is_of_huge_pages) && !has(|name| matches!(name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    let named = resources.claims.as_deref().unwrap_or_default();
    claims::of_container(named, claims, &path.child("claims"), errors);
}

/// Of what nobody gets more than is there, nobody is promised less than they may use.
fn compared(
    name: &str,
    request: &api_types::Quantity,
    limit: Option<&api_types::Quantity>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let is_exact = !resource_names::is_overcommitted(name);
    let Some(limit) = limit else {
        if is_exact {
            let why = "Limit must be set for non overcommitable resources";
            errors.required(&path.child("limits"), why);
        }
        return;
    };
    let (Ok(asked), Ok(most)) = (Quantity::try_from(request), Quantity::try_from(limit)) else {
        return;
    };
    let order = asked.compare(most);
    let wanted = if is_exact { "equal to" } else { "less than or equal to" };
    if order.is_gt() || (is_exact && order.is_lt()) {
        let why = format!("must be {wanted} {name} limit of {}", limit.0);
        errors.invalid(&path.child("requests"), &request.0, &why);
    }
}

fn amounts(
    amounts: &Resources,
    name_faults: NameFaults,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (name, given) in amounts {
        let path = path.key(name);
        name_faults(name, &path, errors);
        let amount = match Quantity::try_from(given) {
            Ok(amount) => amount,
            Err(error) => {
                errors.invalid(&path, &given.0, &error.to_string());
                continue;
            }
        };
        if amount.is_negative() {
            errors.invalid(&path, amount.to_string(), rules::NOT_NEGATIVE);
        }
        if resource_names::is_extended(name) && !amount.is_whole() {
            errors.invalid(&path, amount.to_string(), "must be an integer");
        }
        if is_of_huge_pages(name) && !is_of_whole_pages(name, amount) {
            let why = format!("{amount} is not positive integer multiple of {name}");
            errors.invalid(&path, amount.to_string(), &why);
        }
    }
}

fn is_of_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// `hugepages-2Mi` says how large a page is.
fn is_of_whole_pages(name: &str, amount: Quantity) -> bool {
    let size = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse::<Quantity>().ok());
    let size = size.filter(|size| size.is_whole()).map_or(0, Quantity::value);
    size > 0 && amount.value() % size == 0
}

/// The faults of a name of what a container may use.
pub(crate) fn name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    resource_names::validate(name, path, errors);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_of_huge_pages(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !resource_names::is_native(name) && !resource_names::is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}
