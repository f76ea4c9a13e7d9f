//! What expressions of admission may refer to (Kubernetes: `k8s.io/apiserver/pkg/admission/plugin/cel`), and what is wrong with
//! them.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::admissionregistration::v1::MatchCondition;
use expressions::{Environment, Type};

use crate::rules;

/// As many conditions may there be.
const MAX_CONDITIONS: usize = 64;

/// The variables that not every expression has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// `params`.
    pub params: bool,
    /// `authorizer`.
    pub authorizer: bool,
    /// The types of patches, and the function `jsonpatch.escapeKey`.
    pub patches: bool,
}

/// What expressions of admission may refer to.
#[must_use]
pub fn environment(given: Given) -> Environment {
    let mut environment = Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request())
        .with("namespaceObject", namespace());
    if given.params {
        environment = environment.with("params", Type::Dyn);
    }
    if given.authorizer {
        environment = environment
            .with("authorizer", Type::named("kubernetes.authorization.Authorizer"))
            .with(
                "authorizer.requestResource",
                Type::named("kubernetes.authorization.ResourceCheck"),
            );
    }
    if given.patches {
        environment = environment.with_struct("Object").with_struct("JSONPatch");
    }
    environment
}

fn text(names: &[&'static str]) -> Vec<(&'static str, Type)> {
    names.iter().map(|name| (*name, Type::String)).collect()
}

/// Without `object` and `oldObject`, which are variables, and `uid`.
fn request() -> Type {
    let kind = Type::object("kubernetes.GroupVersionKind", text(&["group", "version", "kind"]));
    let resource =
        Type::object("kubernetes.GroupVersionResource", text(&["group", "version", "resource"]));
    let texts = Type::list(Type::String);
    let user = [("groups", texts.clone()), ("extra", Type::map(Type::String, texts))];
    let user = text(&["username", "uid"]).into_iter().chain(user);
    let fields = [
        ("kind", kind.clone()),
        ("resource", resource.clone()),
        ("requestKind", kind),
        ("requestResource", resource),
        ("userInfo", Type::object("kubernetes.UserInfo", user)),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    let texts = text(&["subResource", "requestSubResource", "name", "namespace", "operation"]);
    Type::object("kubernetes.AdmissionRequest", texts.into_iter().chain(fields))
}

/// A namespace, as far as expressions see it.
#[must_use]
pub fn namespace() -> Type {
    let texts = || Type::list(Type::String);
    let condition = text(&["status", "type", "message", "reason"])
        .into_iter()
        .chain([("lastTransitionTime", Type::Timestamp)]);
    let status = [
        ("conditions", Type::list(Type::object("kubernetes.NamespaceCondition", condition))),
        ("phase", Type::String),
    ];
    let labels = || Type::map(Type::String, Type::String);
    let metadata =
        text(&["name", "generateName", "namespace", "UID", "resourceVersion"]).into_iter().chain([
            ("labels", labels()),
            ("annotations", labels()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("finalizers", texts()),
        ]);
    Type::object(
        "kubernetes.Namespace",
        [
            ("metadata", Type::object("kubernetes.NamespaceMetadata", metadata)),
            ("spec", Type::object("kubernetes.NamespaceSpec", [("finalizers", texts())])),
            ("status", Type::object("kubernetes.NamespaceStatus", status)),
        ],
    )
}

/// An expression that has to be there, and of which one of these types has to come.
pub(super) fn validate(
    source: &str,
    (environment, wanted): (&Environment, &[Type]),
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Err(why) = environment.compile_as(source, wanted) {
        errors.invalid(path, source, &why.to_string());
    }
}

/// When somebody wants to hear of a request at all (Kubernetes: `validateMatchConditions`).
pub(super) fn match_conditions(
    conditions: Option<&[MatchCondition]>,
    params: bool,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let conditions = conditions.unwrap_or_default();
    if conditions.is_empty() {
        return;
    }
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(path, conditions.len(), MAX_CONDITIONS);
    }
    let environment = environment(Given { params, authorizer: true, patches: false });
    let mut known = BTreeSet::new();
    for (i, condition) in conditions.iter().take(MAX_CONDITIONS).enumerate() {
        let path = path.index(i);
        let (at, expression) = (path.child("expression"), condition.expression.trim());
        if expression.is_empty() {
            errors.required(&at, "");
        } else {
            validate(expression, (&environment, &[Type::Bool]), &at, errors);
        }
        let at = path.child("name");
        rules::named(&condition.name, names::qualified_name, &at, errors);
        if !condition.name.is_empty() {
            rules::unique(&mut known, &condition.name, &at, errors);
        }
    }
}
