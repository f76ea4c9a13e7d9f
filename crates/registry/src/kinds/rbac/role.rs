//! Roles: rules of a namespace, or of the whole cluster.

use api_machinery::{FieldErrors, FieldPath, LabelSelector, names};
use api_types::{
    api::rbac::v1::{ClusterRole, PolicyRule, Role},
    meta::ObjectMeta,
};
use serde_json::{Value, json};

use crate::{NameRule, ResourceDef, Strategy, resource};

pub(crate) fn definition() -> ResourceDef {
    resource::<Role, _>(RoleStrategy)
        .created_by_put()
        .only_own_columns()
        .column("Name", "string", 0, |role, _| json!(role.metadata.name))
        .column("Created At", "date", 0, |role, _| created(&role.metadata))
        .build()
}

pub(crate) fn cluster_definition() -> ResourceDef {
    resource::<ClusterRole, _>(ClusterRoleStrategy)
        .created_by_put()
        .only_own_columns()
        .column("Name", "string", 0, |role, _| json!(role.metadata.name))
        .column("Created At", "date", 0, |role, _| created(&role.metadata))
        .build()
}

fn created(metadata: &ObjectMeta) -> Value {
    json!(metadata.creation_timestamp)
}

struct RoleStrategy;

impl Strategy<Role> for RoleStrategy {
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn validate(&self, role: &Role, errors: &mut FieldErrors) {
        rules(role.rules.as_deref(), true, errors);
    }
}

struct ClusterRoleStrategy;

impl Strategy<ClusterRole> for ClusterRoleStrategy {
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn validate(&self, role: &ClusterRole, errors: &mut FieldErrors) {
        rules(role.rules.as_deref(), false, errors);
        let Some(aggregation) = &role.aggregation_rule else { return };
        let path = FieldPath::new("aggregationRule").child("clusterRoleSelectors");
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        if selectors.is_empty() {
            let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
            errors.required(&path, why);
        }
        for (i, selector) in selectors.iter().enumerate() {
            if let Err(error) = LabelSelector::try_from(selector) {
                let shown = json!(selector);
                errors.invalid(&path.index(i), format_args!("{shown}"), &error.to_string());
            }
        }
    }
}

fn rules(rules: Option<&[PolicyRule]>, is_namespaced: bool, errors: &mut FieldErrors) {
    for (i, one) in rules.unwrap_or_default().iter().enumerate() {
        rule(one, is_namespaced, &FieldPath::new("rules").index(i), errors);
    }
}

/// Kubernetes: `ValidatePolicyRule`.
fn rule(rule: &PolicyRule, is_namespaced: bool, path: &FieldPath, errors: &mut FieldErrors) {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if rule.verbs.is_empty() {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if !is_empty(&rule.non_resource_urls) {
        let (path, urls) = (path.child("nonResourceURLs"), &rule.non_resource_urls);
        if is_namespaced {
            let why = "namespaced rules cannot apply to non-resource URLs";
            errors.invalid(&path, format_args!("{}", json!(urls)), why);
        }
        let lists = [&rule.api_groups, &rule.resources, &rule.resource_names];
        if !lists.into_iter().all(is_empty) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&path, format_args!("{}", json!(urls)), why);
        }
        return;
    }
    if is_empty(&rule.api_groups) {
        let why = "resource rules must supply at least one api group";
        errors.required(&path.child("apiGroups"), why);
    }
    if is_empty(&rule.resources) {
        let why = "resource rules must supply at least one resource";
        errors.required(&path.child("resources"), why);
    }
}
