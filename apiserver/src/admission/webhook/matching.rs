//! Whether a webhook is to hear of a request (Kubernetes: `pkg/admission/plugin/webhook/predicates`).

use api_machinery::LabelSelector;
use api_types::api::admissionregistration::v1::RuleWithOperations;
use registry::{ResourceDef, Subresource};
use serde_json::Value;

use crate::{
    admission::{Attributes, Operation},
    catalogue::Catalogue,
    storage::Address,
};

/// What of a request rules are about.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    group: &'a str,
    version: &'a str,
    plural: &'a str,
    subresource: &'a str,
    operation: &'a str,
    is_namespaced: bool,
}

/// The resource in the version that the webhook wants to see: that of the request if its rules name it, or an equivalent
/// one unless it goes by the letter.
pub(super) fn resource<'a>(
    (rules, is_exact): (&[RuleWithOperations], bool),
    catalogue: &'a Catalogue,
    attributes: &Attributes<'a>,
) -> Option<&'a ResourceDef> {
    let at = attributes.at;
    if wants(rules, asked(at.def, attributes)) {
        return Some(at.def);
    }
    let names = &at.def.names;
    let mut others = catalogue.iter().filter(|def| {
        (&def.names.group, &def.names.plural) == (&names.group, &names.plural)
            && def.names.version != names.version
    });
    let other = others.find(|def| wants(rules, asked(def, attributes)));
    other.filter(|_| !is_exact).map(AsRef::as_ref)
}

fn asked<'a>(def: &'a ResourceDef, attributes: &Attributes<'_>) -> Asked<'a> {
    let Address { namespace, .. } = attributes.at;
    Asked {
        group: &def.names.group,
        version: &def.names.version,
        plural: &def.names.plural,
        subresource: attributes.subresource.map(Subresource::name).unwrap_or_default(),
        operation: name(attributes.operation),
        is_namespaced: namespace.is_some(),
    }
}

/// As rules and reviews spell it.
pub(super) fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn wants(rules: &[RuleWithOperations], asked: Asked<'_>) -> bool {
    rules.iter().any(|rule| {
        has(rule.operations.as_deref(), asked.operation)
            && has(rule.api_groups.as_deref(), asked.group)
            && has(rule.api_versions.as_deref(), asked.version)
            && is_in_scope(rule.scope.as_deref(), asked.is_namespaced)
            && rule.resources.iter().flatten().any(|resource| is_resource(resource, asked))
    })
}

fn has(list: Option<&[String]>, wanted: &str) -> bool {
    list.unwrap_or_default().iter().any(|one| one == "*" || one == wanted)
}

fn is_in_scope(scope: Option<&str>, is_namespaced: bool) -> bool {
    match scope {
        Some("Namespaced") => is_namespaced,
        Some("Cluster") => !is_namespaced,
        _ => true,
    }
}

fn is_resource(named: &str, asked: Asked<'_>) -> bool {
    let (plural, subresource) = named.split_once('/').unwrap_or((named, ""));
    (plural == "*" || plural == asked.plural)
        && (subresource == "*" || subresource == asked.subresource)
}

/// Whether the object is one that the webhook is for, as it was or as it is to be.
pub(super) fn object(selector: &LabelSelector, object: &Value, old: &Value) -> bool {
    let is_it = |object: &Value| object.is_object() && labels(selector, object);
    selector.is_everything() || is_it(object) || is_it(old)
}

/// Whether the labels of an object are those that are wanted.
pub(super) fn labels(selector: &LabelSelector, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    selector.selects(|name| labels[name].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POD: Asked<'_> = Asked {
        group: "",
        version: "v1",
        plural: "pods",
        subresource: "",
        operation: "CREATE",
        is_namespaced: true,
    };

    /// Whether the rule with this instead wants the pod with that.
    #[track_caller]
    fn check(instead: &Value, asked: Asked<'_>, expected: bool) {
        let mut rule = json!({
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
        });
        let (rule_fields, instead_fields) =
            (rule.as_object_mut().unwrap(), instead.as_object().unwrap());
        rule_fields.extend(instead_fields.clone());
        let rules = [serde_json::from_value(rule).unwrap()];
        assert_eq!(wants(&rules, asked), expected, "{instead} {asked:?}");
    }

    #[test]
    fn a_rule_names_resources_and_what_is_done_to_them() {
        check(&json!({}), POD, true);
        check(&json!({}), Asked { operation: "UPDATE", ..POD }, false);
        check(&json!({"operations": ["*"]}), Asked { operation: "CONNECT", ..POD }, true);
        check(&json!({"operations": ["UPDATE", "DELETE"]}), POD, false);
        check(&json!({}), Asked { group: "apps", ..POD }, false);
        check(&json!({"apiGroups": ["*"]}), Asked { group: "apps", ..POD }, true);
        check(&json!({"apiVersions": ["v2"]}), POD, false);
        check(&json!({"apiVersions": ["*"]}), POD, true);
    }

    #[test]
    fn subresources_are_named_apart() {
        let status = Asked { subresource: "status", ..POD };
        for (resource, itself, its_status) in [
            ("pods", true, false),
            ("*", true, false),
            ("pods/*", true, true),
            ("pods/status", false, true),
            ("*/status", false, true),
            ("*/*", true, true),
            ("services", false, false),
        ] {
            check(&json!({"resources": [resource]}), POD, itself);
            check(&json!({"resources": [resource]}), status, its_status);
        }
    }

    #[test]
    fn a_scope_is_of_objects_in_namespaces_or_of_the_others() {
        let node = Asked { is_namespaced: false, ..POD };
        for (scope, in_namespaces, in_none) in
            [("*", true, true), ("Namespaced", true, false), ("Cluster", false, true)]
        {
            check(&json!({"scope": scope}), POD, in_namespaces);
            check(&json!({"scope": scope}), node, in_none);
        }
    }
}
