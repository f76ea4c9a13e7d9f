//! Whether a webhook or a policy is to hear of a request (Kubernetes: `pkg/admission/plugin/webhook/predicates`,
//! `plugin/policy/matching`).

use std::borrow::Cow;

use api_machinery::{ApiError, LabelSelector};
use api_types::{
    api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations},
    meta,
};
use registry::{ResourceDef, Subresource};
use serde_json::Value;

use super::{Attributes, Operation};
use crate::{catalogue::Catalogue, objects::Objects, storage::Address};

/// Kinds about whose objects neither webhooks nor policies are asked, or nobody could get rid of one who refuses everything.
const POLICIES: [&str; 4] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];
/// The same, of webhooks.
const WEBHOOKS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// What somebody wants to hear of.
#[derive(Debug, Default)]
pub(super) struct Criteria {
    rules: Vec<NamedRuleWithOperations>,
    /// Those of which it wants to hear nothing, whatever the others say.
    excluded: Vec<NamedRuleWithOperations>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// Whether it goes by the letter of its rules.
    is_exact: bool,
}

/// How somebody wants to see a request: in a version of the resource.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) def: &'a ResourceDef,
    pub(super) object: Cow<'a, Value>,
    pub(super) old: Cow<'a, Value>,
}

/// What of a request rules are about.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    group: &'a str,
    version: &'a str,
    plural: &'a str,
    subresource: &'a str,
    name: &'a str,
    operation: &'a str,
    is_namespaced: bool,
}

impl Criteria {
    /// A webhook's.
    pub(super) fn of_webhook(
        rules: Vec<RuleWithOperations>,
        namespaces: Option<&meta::LabelSelector>,
        objects: Option<&meta::LabelSelector>,
        match_policy: Option<&str>,
    ) -> Self {
        Self {
            rules: rules.into_iter().map(without_names).collect(),
            excluded: Vec::new(),
            namespaces: selector(namespaces),
            objects: selector(objects),
            is_exact: match_policy == Some("Exact"),
        }
    }

    /// A policy's, or its binding's.
    pub(super) fn of_policy(resources: &MatchResources) -> Self {
        Self {
            rules: resources.resource_rules.clone().unwrap_or_default(),
            excluded: resources.exclude_resource_rules.clone().unwrap_or_default(),
            namespaces: selector(resources.namespace_selector.as_ref()),
            objects: selector(resources.object_selector.as_ref()),
            is_exact: resources.match_policy.as_deref() == Some("Exact"),
        }
    }

    /// Without rules it is about every resource, as a binding is.
    pub(super) fn of_binding(resources: &MatchResources) -> Self {
        let mut criteria = Self::of_policy(resources);
        if criteria.rules.is_empty() {
            let all = || Some(vec!["*".to_owned()]);
            criteria.rules.push(NamedRuleWithOperations {
                api_groups: all(),
                api_versions: all(),
                operations: all(),
                resources: Some(vec!["*/*".to_owned()]),
                ..NamedRuleWithOperations::default()
            });
        }
        criteria
    }

    /// What is to be seen, if the request is to be seen.
    pub(super) async fn seen<'a>(
        &self,
        objects: Objects<'_>,
        catalogue: &'a Catalogue,
        attributes: &Attributes<'a>,
        (object, old): (&'a Value, &'a Value),
    ) -> Result<Option<Seen<'a>>, ApiError> {
        let Some(def) = self.resource(catalogue, attributes) else { return Ok(None) };
        if !is_object(&self.objects, object, old)
            || !self.namespace(objects, attributes, object).await?
        {
            return Ok(None);
        }
        let is_as_given = std::ptr::eq(def, attributes.at.def);
        let converted =
            async |given: &'a Value| match is_as_given || !is_of(given, attributes.at.def) {
                true => Ok(Cow::Borrowed(given)),
                false => objects.storage.converted(given.clone(), def).await.map(Cow::Owned),
            };
        Ok(Some(Seen { def, object: converted(object).await?, old: converted(old).await? }))
    }

    /// The resource in the version that is to be seen: that of the request if the rules name it, or an equivalent one unless
    /// it goes by the letter.
    fn resource<'a>(
        &self,
        catalogue: &'a Catalogue,
        attributes: &Attributes<'a>,
    ) -> Option<&'a ResourceDef> {
        let at = attributes.at;
        let others = || {
            catalogue.iter().map(AsRef::as_ref).filter(|def: &&ResourceDef| {
                !self.is_exact && def.is_of_one_kind(at.def) && !std::ptr::eq(*def, at.def)
            })
        };
        let is_named =
            |rules: &[NamedRuleWithOperations], def| wants(rules, asked(def, attributes));
        if is_named(&self.excluded, at.def) || others().any(|def| is_named(&self.excluded, def)) {
            return None;
        }
        if is_named(&self.rules, at.def) {
            return Some(at.def);
        }
        others().find(|def| is_named(&self.rules, *def))
    }

    /// Whether the namespace of the object is one that it is for: a namespace itself counts by its own labels.
    async fn namespace(
        &self,
        objects: Objects<'_>,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<bool, ApiError> {
        if self.namespaces.is_everything() {
            return Ok(true);
        }
        let at = attributes.at;
        let is_itself = at.def.is_core("namespaces");
        if is_itself && attributes.subresource.is_none() && object.is_object() {
            return Ok(has_labels(&self.namespaces, object));
        }
        let Some(name) = at.namespace.or(is_itself.then_some(at.name)) else { return Ok(true) };
        let namespace: Option<Value> = objects.find("namespaces", None, name).await?;
        let namespace = namespace.ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
        Ok(has_labels(&self.namespaces, &namespace))
    }
}

/// Whether no webhook is asked. The server's own writes are the other exemption: it makes its namespaces and endpoints before
/// it serves anybody, so that a webhook that is down would keep it from starting, and with it whoever could remove the webhook.
pub(super) fn is_exempt_from_webhooks(attributes: &Attributes<'_>) -> bool {
    let is_one = is_one(attributes, &POLICIES) || is_one(attributes, &WEBHOOKS);
    is_one || attributes.identity.is_server()
}

/// Whether no policy is asked: webhooks are theirs to protect, and reviews would take with them whoever has to ask who
/// somebody is and what it may do (Kubernetes: `pkg/kubeapiserver/admission/exclusion`).
pub(super) fn is_exempt_from_policies(attributes: &Attributes<'_>) -> bool {
    let reviews = attributes.at.def.is_review;
    is_one(attributes, &POLICIES) || reviews || attributes.identity.is_server()
}

fn is_one(attributes: &Attributes<'_>, plurals: &[&str]) -> bool {
    let names = &attributes.at.def.names;
    names.group == "admissionregistration.k8s.io" && plurals.contains(&names.plural.as_str())
}

fn without_names(rule: RuleWithOperations) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: rule.api_groups,
        api_versions: rule.api_versions,
        operations: rule.operations,
        resource_names: None,
        resources: rule.resources,
        scope: rule.scope,
    }
}

/// What is stored was validated.
pub(super) fn selector(given: Option<&meta::LabelSelector>) -> LabelSelector {
    given.and_then(|given| LabelSelector::try_from(given).ok()).unwrap_or_default()
}

/// Whether this is an object of the resource itself, and not a Scale or the like.
fn is_of(object: &Value, def: &ResourceDef) -> bool {
    object["kind"] == *def.names.kind && object["apiVersion"] == def.api_version()
}

fn asked<'a>(def: &'a ResourceDef, attributes: &Attributes<'a>) -> Asked<'a> {
    let Address { namespace, .. } = attributes.at;
    Asked {
        group: &def.names.group,
        version: &def.names.version,
        plural: &def.names.plural,
        subresource: attributes.subresource.map(Subresource::name).unwrap_or_default(),
        name: attributes.at.name,
        operation: operation(attributes.operation),
        is_namespaced: namespace.is_some(),
    }
}

/// As rules and reviews spell it.
pub(super) fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn wants(rules: &[NamedRuleWithOperations], asked: Asked<'_>) -> bool {
    rules.iter().any(|rule| {
        has(rule.operations.as_deref(), asked.operation)
            && has(rule.api_groups.as_deref(), asked.group)
            && has(rule.api_versions.as_deref(), asked.version)
            && is_in_scope(rule.scope.as_deref(), asked.is_namespaced)
            && rule.resources.iter().flatten().any(|resource| is_resource(resource, asked))
            && is_name(rule.resource_names.as_deref(), asked.name)
    })
}

fn has(list: Option<&[String]>, wanted: &str) -> bool {
    list.unwrap_or_default().iter().any(|one| one == "*" || one == wanted)
}

fn is_name(names: Option<&[String]>, name: &str) -> bool {
    let names = names.unwrap_or_default();
    names.is_empty() || names.iter().any(|one| one == name)
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

/// Whether the object is one that is meant, as it was or as it is to be.
fn is_object(selector: &LabelSelector, object: &Value, old: &Value) -> bool {
    let is_it = |object: &Value| object.is_object() && has_labels(selector, object);
    selector.is_everything() || is_it(object) || is_it(old)
}

/// Whether the labels of an object are those that are wanted.
pub(super) fn has_labels(selector: &LabelSelector, object: &Value) -> bool {
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
        name: "a",
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
    fn a_rule_may_name_objects() {
        check(&json!({"resourceNames": ["a", "b"]}), POD, true);
        check(&json!({"resourceNames": ["b"]}), POD, false);
        check(&json!({"resourceNames": []}), POD, true);
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
