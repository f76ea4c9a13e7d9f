//! Roles and bindings by whom they are given to, so that a request costs what its own user's bindings cost. Pure.

use std::{collections::HashMap, sync::Arc};

use api_types::{
    api::rbac::v1::{
        ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
    },
    meta::ObjectMeta,
};

use super::rules::{self, Asked};
use crate::identity::{ACCOUNT_PREFIX, Identity};

/// What roles and bindings there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub(super) roles: Vec<Role>,
    pub(super) cluster_roles: Vec<ClusterRole>,
    pub(super) bindings: Vec<RoleBinding>,
    pub(super) cluster_bindings: Vec<ClusterRoleBinding>,
}

/// What a binding gives one of its subjects.
#[derive(Clone, Debug)]
struct Grant {
    /// The only namespace in which it does.
    namespace: Option<Arc<str>>,
    /// The role's rules; absent if there is no such role.
    rules: Option<Arc<[PolicyRule]>>,
    binding: Arc<Binding>,
    /// As it is told.
    subject: Arc<str>,
}

/// What is told of a binding.
#[derive(Debug)]
struct Binding {
    name: String,
    role: RoleRef,
}

/// A role, by namespace and name.
type RoleKey = (Option<String>, String);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    roles: HashMap<RoleKey, Arc<[PolicyRule]>>,
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

/// Whether something is allowed, and what there is to say about that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// By this.
    Allowed(String),
    /// Nothing allows it; what could not be asked.
    Refused(String),
}

impl Index {
    pub(super) fn new(policy: Policy) -> Self {
        let mut this = Self::default();
        for role in policy.roles {
            let rules = role.rules.unwrap_or_default().into();
            this.roles.insert((role.metadata.namespace, text(role.metadata.name)), rules);
        }
        for role in policy.cluster_roles {
            let rules = role.rules.unwrap_or_default().into();
            this.roles.insert((None, text(role.metadata.name)), rules);
        }
        for RoleBinding { metadata, role_ref, subjects } in policy.bindings {
            let namespace = text(metadata.namespace.clone());
            let subjects = subjects.unwrap_or_default();
            this.bind("RoleBinding", &metadata, role_ref, subjects, Some(&namespace));
        }
        for ClusterRoleBinding { metadata, role_ref, subjects } in policy.cluster_bindings {
            let subjects = subjects.unwrap_or_default();
            this.bind("ClusterRoleBinding", &metadata, role_ref, subjects, None);
        }
        this
    }

    fn bind(
        &mut self,
        kind: &str,
        metadata: &ObjectMeta,
        role: RoleRef,
        subjects: Vec<Subject>,
        namespace: Option<&str>,
    ) {
        let name = text(metadata.name.clone());
        let shown = namespace.map_or_else(|| name.clone(), |place| format!("{name}/{place}"));
        let grant = Grant {
            namespace: namespace.map(Into::into),
            rules: self.role(&role, namespace),
            binding: Arc::new(Binding { name: format!("{kind} {shown:?}"), role }),
            subject: "".into(),
        };
        for subject in subjects {
            let told = told(&subject, namespace);
            let holders = match subject.kind.as_str() {
                "User" => self.users.entry(subject.name),
                "Group" => self.groups.entry(subject.name),
                "ServiceAccount" => match account(&subject, namespace) {
                    Some(user) => self.users.entry(user),
                    None => continue,
                },
                _ => continue,
            };
            holders.or_default().push(Grant { subject: told.into(), ..grant.clone() });
        }
    }

    /// The rules of the role that a binding of this namespace refers to; `None` if there is no such role.
    pub(crate) fn role(
        &self,
        role: &RoleRef,
        namespace: Option<&str>,
    ) -> Option<Arc<[PolicyRule]>> {
        let namespace = (role.kind == "Role").then(|| namespace.unwrap_or_default().to_owned());
        self.roles.get(&(namespace, role.name.clone())).cloned()
    }

    /// What is granted to somebody in a namespace, or, without one, in the whole cluster.
    fn grants<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Grant> {
        let of_user = self.users.get(&identity.user).into_iter();
        let of_groups = identity.groups.iter().filter_map(|group| self.groups.get(group));
        let all = of_user.chain(of_groups).flatten();
        all.filter(move |grant| {
            grant.namespace.is_none() || grant.namespace.as_deref() == namespace
        })
    }

    /// The rules that hold for somebody in a namespace, or, without one, in the whole cluster.
    pub(crate) fn rules<'a>(
        &'a self,
        identity: &'a Identity,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a PolicyRule> {
        let rules = self.grants(identity, namespace).filter_map(|grant| grant.rules.as_deref());
        rules.flatten()
    }

    /// Whether somebody may do something.
    pub(crate) fn decide(&self, identity: &Identity, asked: Asked<'_>) -> Decision {
        let namespace = match asked {
            Asked::Resource(action) => action.namespace.filter(|namespace| !namespace.is_empty()),
            Asked::Path { .. } => None,
        };
        let mut missing = Vec::new();
        for grant in self.grants(identity, namespace) {
            match &grant.rules {
                Some(rules) if rules.iter().any(|rule| rules::allows(rule, asked)) => {
                    return Decision::Allowed(grant.to_string());
                }
                Some(_) => {}
                None => missing.push(not_found(&grant.binding.role)),
            }
        }
        missing.dedup();
        Decision::Refused(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            all => format!("RBAC: [{}]", all.join(", ")),
        })
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Binding { name, role: RoleRef { kind, name: role, .. } } = &*self.binding;
        write!(f, "RBAC: allowed by {name} of {kind} {role:?} to {}", self.subject)
    }
}

fn told(subject: &Subject, namespace: Option<&str>) -> String {
    let Subject { kind, name, namespace: own, .. } = subject;
    let place = own.as_deref().filter(|own| !own.is_empty()).or(namespace);
    match place.filter(|_| kind == "ServiceAccount") {
        Some(place) => format!("{kind} {:?}", format!("{name}/{place}")),
        None => format!("{kind} {name:?}"),
    }
}

fn not_found(role: &RoleRef) -> String {
    let plural = role.kind.to_lowercase();
    format!("{plural}.rbac.authorization.k8s.io {:?} not found", role.name)
}

fn text(value: Option<String>) -> String {
    value.unwrap_or_default()
}

/// The user that a service account is; `None` if it is not said of which namespace.
fn account(subject: &Subject, namespace: Option<&str>) -> Option<String> {
    let own = subject.namespace.as_deref().filter(|own| !own.is_empty());
    let namespace = own.or(namespace)?;
    Some(format!("{ACCOUNT_PREFIX}{namespace}:{}", subject.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::rbac::rules::Action;

    fn policy(objects: &Value) -> Policy {
        let of = |kind: &str| -> Vec<Value> {
            let all = objects.as_array().unwrap().iter();
            all.filter(|object| object["kind"] == kind).cloned().collect()
        };
        fn typed<K: serde::de::DeserializeOwned>(objects: Vec<Value>) -> Vec<K> {
            let typed = objects.into_iter().map(|mut object| {
                object.as_object_mut().unwrap().remove("kind");
                serde_json::from_value(object).unwrap()
            });
            typed.collect()
        }
        Policy {
            roles: typed(of("Role")),
            cluster_roles: typed(of("ClusterRole")),
            bindings: typed(of("RoleBinding")),
            cluster_bindings: typed(of("ClusterRoleBinding")),
        }
    }

    fn role(namespace: Option<&str>, name: &str, resource: &str) -> Value {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]);
        json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
    }

    fn binding(namespace: Option<&str>, role: (&str, &str), subject: &Value) -> Value {
        let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1});
        json!({
            "kind": kind, "metadata": {"name": "b", "namespace": namespace},
            "roleRef": role, "subjects": [subject],
        })
    }

    fn decide(index: &Index, who: &Identity, namespace: Option<&str>, resource: &str) -> Decision {
        let action = Action { verb: "get", resource, namespace, ..Action::default() };
        index.decide(who, Asked::Resource(action))
    }

    fn may(index: &Index, who: &Identity, namespace: Option<&str>, resource: &str) -> bool {
        matches!(decide(index, who, namespace, resource), Decision::Allowed(_))
    }

    #[test]
    fn a_binding_of_a_namespace_gives_a_role_there_and_one_of_the_cluster_everywhere() {
        let (jane, dev) =
            (json!({"kind": "User", "name": "jane"}), json!({"kind": "Group", "name": "dev"}));
        let index = Index::new(policy(&json!([
            role(Some("a"), "reader", "pods"),
            role(None, "reader", "secrets"),
            binding(Some("a"), ("Role", "reader"), &jane),
            binding(Some("a"), ("ClusterRole", "reader"), &dev),
            binding(None, ("ClusterRole", "reader"), &json!({"kind": "User", "name": "root"})),
        ])));
        let jane = Identity::new("jane", &[]);
        assert!(may(&index, &jane, Some("a"), "pods"));
        assert!(!may(&index, &jane, Some("b"), "pods") && !may(&index, &jane, None, "pods"));
        assert!(!may(&index, &jane, Some("a"), "secrets"));
        let joe = Identity::new("joe", &["ops", "dev"]);
        assert!(
            may(&index, &joe, Some("a"), "secrets") && !may(&index, &joe, Some("b"), "secrets")
        );
        let root = Identity::new("root", &[]);
        assert!(may(&index, &root, Some("b"), "secrets") && may(&index, &root, None, "secrets"));
        assert!(
            !may(&index, &Identity::new("dev", &["jane"]), Some("a"), "pods"),
            "names of other kinds"
        );
        let why = decide(&index, &joe, Some("a"), "secrets");
        let expected =
            r#"RBAC: allowed by RoleBinding "b/a" of ClusterRole "reader" to Group "dev""#;
        assert_eq!(why, Decision::Allowed(expected.to_owned()));
    }

    #[test]
    fn a_service_account_is_of_the_bindings_namespace_unless_it_says() {
        let robot = json!({"kind": "ServiceAccount", "name": "robot"});
        let other = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "b"});
        let roles = [role(Some("a"), "reader", "pods"), role(Some("a"), "more", "secrets")];
        let index = Index::new(policy(&json!([
            roles[0],
            roles[1],
            binding(Some("a"), ("Role", "reader"), &robot),
            binding(Some("a"), ("Role", "more"), &other),
        ])));
        let (ours, theirs) =
            (Identity::of_account("a", "robot"), Identity::of_account("b", "robot"));
        assert!(may(&index, &ours, Some("a"), "pods") && !may(&index, &ours, Some("a"), "secrets"));
        assert!(
            may(&index, &theirs, Some("a"), "secrets") && !may(&index, &theirs, Some("a"), "pods")
        );
    }

    #[test]
    fn a_role_that_is_not_there_gives_nothing_and_is_told_of() {
        let jane = json!({"kind": "User", "name": "jane"});
        let index = Index::new(policy(&json!([binding(Some("a"), ("Role", "reader"), &jane)])));
        let expected = r#"RBAC: role.rbac.authorization.k8s.io "reader" not found"#;
        let found = decide(&index, &Identity::new("jane", &[]), Some("a"), "pods");
        assert_eq!(found, Decision::Refused(expected.to_owned()));
    }

    #[test]
    fn who_asks_pays_for_its_own_bindings_alone() {
        let account = |n: usize| json!({"kind": "ServiceAccount", "name": format!("robot-{n}")});
        let ours = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "default"});
        let mut objects = vec![role(None, "reader", "pods")];
        for _ in 0..100 {
            objects.push(binding(None, ("ClusterRole", "reader"), &ours));
            let others =
                (0..10).map(|n| binding(Some("n"), ("ClusterRole", "reader"), &account(n)));
            objects.extend(others);
        }
        let index = Index::new(policy(&json!(objects)));
        let robot = Identity::of_account("default", "robot");
        assert_eq!(index.grants(&robot, Some("n")).count(), 100);
        assert!(!may(&index, &robot, Some("default"), "secrets"));
    }

    fn any_object() -> impl Strategy<Value = Value> {
        let namespace = prop::sample::select(vec![None, Some("a"), Some("b")]);
        let resource = prop::sample::select(vec!["pods", "secrets", "*"]);
        let name = prop::sample::select(vec!["x", "y"]);
        let subject = prop::sample::select(vec![
            json!({"kind": "User", "name": "jane"}),
            json!({"kind": "Group", "name": "dev"}),
            json!({"kind": "ServiceAccount", "name": "robot", "namespace": "a"}),
        ]);
        (any::<bool>(), namespace, resource, name, subject).prop_map(
            |(is_role, namespace, resource, name, subject)| {
                if is_role {
                    return role(namespace, name, resource);
                }
                let kind = if namespace == Some("a") { "Role" } else { "ClusterRole" };
                binding(namespace, (kind, name), &subject)
            },
        )
    }

    proptest! {
        /// One more binding, or one more role that was not there, never takes a right away.
        #[test]
        fn what_is_added_takes_no_right_away(mut objects in prop::collection::vec(any_object(), 0..8), more in any_object()) {
            let same = |object: &Value| {
                object["kind"] == more["kind"] && object["metadata"] == more["metadata"]
            };
            // A role of the same name would take the place of the other.
            objects.retain(|object| object.get("subjects").is_some() || !same(object));
            let before = Index::new(policy(&json!(objects)));
            objects.push(more);
            let after = Index::new(policy(&json!(objects)));
            let people = [Identity::new("jane", &["dev"]), Identity::of_account("a", "robot"), Identity::new("joe", &[])];
            for who in &people {
                for namespace in [None, Some("a"), Some("b")] {
                    for resource in ["pods", "secrets", "nodes"] {
                        let had = may(&before, who, namespace, resource);
                        prop_assert!(!had || may(&after, who, namespace, resource));
                    }
                }
            }
            prop_assert!(!may(&after, &people[2], Some("a"), "pods"), "nobody named joe");
        }
    }
}
