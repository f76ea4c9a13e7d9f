//! How much the objects of a namespace may use together. The status has what they do use.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, Quantity, amounts, names};
use api_types::{
    Quantity as GivenQuantity,
    api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, ScopeSelector},
};
use serde_json::json;

use super::resource_names;
use crate::{Exists, ResourceDef, Strategy, resource, rules};

type Given = BTreeMap<String, GivenQuantity>;

/// What only whole numbers are counted of.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// What pods take of their node.
const COMPUTED: [&str; 6] =
    ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];
const OPPOSITES: [[&str; 2]; 2] =
    [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
/// A selector of these says nothing but that.
const BARE: [&str; 5] =
    ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"];
const NOT_APPLICABLE: &str = "unsupported scope applied to resource";

pub(crate) fn definition() -> ResourceDef {
    resource::<ResourceQuota, _>(ResourceQuotaStrategy)
        .short_names(&["quota"])
        .shown_when_deleted()
        .status(|quota, from| quota.status.clone_from(&from.status))
        .column("Request", "string", 0, |quota, _| json!(used(quota, |name| !is_limit(name))))
        .column("Limit", "string", 0, |quota, _| json!(used(quota, is_limit)))
        .build()
}

fn is_limit(name: &str) -> bool {
    name.starts_with("limits.")
}

/// `cpu: 1/2, memory: 1Gi/2Gi`.
fn used(quota: &ResourceQuota, is_shown: impl Fn(&str) -> bool) -> String {
    let none = ResourceQuotaStatus::default();
    let status = quota.status.as_ref().unwrap_or(&none);
    let of = |amounts: &Option<Given>, name: &str| {
        let amount = amounts.as_ref().and_then(|amounts| amounts.get(name));
        amount.map_or_else(|| "0".to_owned(), |amount| amount.0.clone())
    };
    let names = status.hard.iter().flatten().map(|(name, _)| name).filter(|name| is_shown(name));
    let shown =
        |name: &String| format!("{name}: {}/{}", of(&status.used, name), of(&status.hard, name));
    names.map(shown).collect::<Vec<_>>().join(", ")
}

struct ResourceQuotaStrategy;

impl Strategy<ResourceQuota> for ResourceQuotaStrategy {
    fn validate(&self, quota: &ResourceQuota, errors: &mut FieldErrors) {
        let Some(spec) = &quota.spec else { return };
        let path = FieldPath::new("spec");
        validate_amounts(spec.hard.as_ref(), &path.child("hard"), errors);
        validate_scopes(spec, &path.child("scopes"), errors);
        if let Some(selector) = &spec.scope_selector {
            validate_selector(spec, selector, &path.child("scopeSelector"), errors);
        }
    }

    fn validate_update(&self, new: &ResourceQuota, old: &ResourceQuota, errors: &mut FieldErrors) {
        let scopes = |quota: &ResourceQuota| -> BTreeSet<String> {
            quota.spec.iter().flat_map(|spec| spec.scopes.iter().flatten()).cloned().collect()
        };
        let path = FieldPath::new("spec").child("scopes");
        rules::immutable(&scopes(new), &scopes(old), scopes(new), &path, errors);
    }

    fn validate_status(&self, new: &ResourceQuota, _: &ResourceQuota, errors: &mut FieldErrors) {
        let Some(status) = &new.status else { return };
        let path = FieldPath::new("status");
        validate_amounts(status.hard.as_ref(), &path.child("hard"), errors);
        validate_amounts(status.used.as_ref(), &path.child("used"), errors);
    }

    fn warnings(
        &self,
        quota: &ResourceQuota,
        old: Option<&ResourceQuota>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let hard = amounts::read(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()));
        let warning = |name: &&str| {
            let mut requested = format!("requests.{name}");
            if !hard.contains_key(&requested) && ["cpu", "memory"].contains(name) {
                (*name).clone_into(&mut requested);
            }
            let limited = format!("limits.{name}");
            let (request, limit) = (hard.get(&requested)?, hard.get(&limited)?);
            request.compare(*limit).is_gt().then(|| {
                format!(
                    "ResourceQuota {requested} ({request}) should be less than {limited} ({limit})"
                )
            })
        };
        ["cpu", "memory", "storage", "ephemeral-storage"].iter().filter_map(warning).collect()
    }
}

fn validate_amounts(given: Option<&Given>, path: &FieldPath, errors: &mut FieldErrors) {
    for (name, amount) in given.into_iter().flatten() {
        let path = path.key(name);
        validate_name(name, &path, errors);
        let Ok(parsed) = Quantity::try_from(amount) else { continue };
        if parsed.is_negative() {
            errors.invalid(&path, &amount.0, rules::NOT_NEGATIVE);
        }
        if is_counted(name) && !parsed.is_whole() {
            errors.invalid(&path, &amount.0, "must be an integer");
        }
    }
}

/// Other names than Kubernetes' own are of things, of which there is no part.
fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || (resource_names::is_extended(name) && !name.starts_with("requests."))
}

fn validate_name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let faults = names::qualified_name(name);
    faults.iter().for_each(|fault| errors.invalid(path, name, fault));
    if !faults.is_empty() || name.contains('/') {
        return;
    }
    if !resource_names::is_standard(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    if !is_standard(name) {
        errors.invalid(path, name, "must be a standard resource for quota");
    }
}

/// All standard names but one, which volumes have.
fn is_standard(name: &str) -> bool {
    resource_names::is_standard(name) && name != "storage"
}

fn validate_scopes(spec: &ResourceQuotaSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(path, scopes, "unsupported scope");
        }
        for _ in not_applicable(spec, scope) {
            errors.invalid(path, scopes, NOT_APPLICABLE);
        }
    }
    let scopes: BTreeSet<&str> = scopes.iter().map(String::as_str).collect();
    contradictions(spec, &scopes, path, errors);
}

fn contradictions(
    spec: &ResourceQuotaSpec,
    scopes: &BTreeSet<&str>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let shown = spec.scopes.as_deref().unwrap_or_default();
    for pair in OPPOSITES {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            errors.invalid(path, shown, "conflicting scopes");
        }
    }
}

/// What is limited that a scope does not go with.
fn not_applicable<'a>(
    spec: &'a ResourceQuotaSpec,
    scope: &'a str,
) -> impl Iterator<Item = &'a String> {
    let hard = spec.hard.iter().flatten().map(|(name, _)| name);
    hard.filter(move |name| is_standard(name) && !applies(scope, name))
}

fn applies(scope: &str, name: &str) -> bool {
    match scope {
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ if SCOPES.contains(&scope) => name == "pods" || COMPUTED.contains(&name),
        _ => true,
    }
}

fn validate_selector(
    spec: &ResourceQuotaSpec,
    selector: &ScopeSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let path = path.child("matchExpressions");
    for requirement in selector.match_expressions.iter().flatten() {
        let (scope, operator) = (requirement.scope_name.as_str(), requirement.operator.as_str());
        let values = requirement.values.as_deref().unwrap_or_default();
        if !SCOPES.contains(&scope) {
            errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
        }
        for _ in not_applicable(spec, scope) {
            errors.invalid(&path, scope, NOT_APPLICABLE);
        }
        if BARE.contains(&scope) && operator != "Exists" {
            let why = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&path.child("operator"), operator, why);
        }
        validate_values(operator, values, &path, errors);
    }
    let all = selector.match_expressions.iter().flatten();
    let scopes = all.map(|requirement| requirement.scope_name.as_str()).collect();
    contradictions(spec, &scopes, &path, errors);
}

fn validate_values(operator: &str, values: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why =
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&path.child("values"), why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why =
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&path.child("values"), values, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.invalid(&path.child("operator"), operator, "not a valid selector operator"),
    }
}
