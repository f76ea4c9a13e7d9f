//! Bindings: whom a role is given to, in a namespace or in the whole cluster.

use std::fmt;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use serde_json::json;

use crate::{
    NameRule, ResourceDef, Strategy, resource,
    rules::{self, text},
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn definition() -> ResourceDef {
    resource::<RoleBinding, _>(RoleBindingStrategy)
        .created_by_put()
        .column("Role", "string", 0, |it, _| json!(role(&it.role_ref)))
        .age()
        .column("Users", "string", 1, |it, _| json!(named(it.subjects.as_deref(), "User")))
        .column("Groups", "string", 1, |it, _| json!(named(it.subjects.as_deref(), "Group")))
        .column("ServiceAccounts", "string", 1, |it, _| {
            json!(named(it.subjects.as_deref(), "ServiceAccount"))
        })
        .build()
}

pub(crate) fn cluster_definition() -> ResourceDef {
    resource::<ClusterRoleBinding, _>(ClusterRoleBindingStrategy)
        .created_by_put()
        .column("Role", "string", 0, |it, _| json!(role(&it.role_ref)))
        .age()
        .column("Users", "string", 1, |it, _| json!(named(it.subjects.as_deref(), "User")))
        .column("Groups", "string", 1, |it, _| json!(named(it.subjects.as_deref(), "Group")))
        .column("ServiceAccounts", "string", 1, |it, _| {
            json!(named(it.subjects.as_deref(), "ServiceAccount"))
        })
        .build()
}

fn role(role: &RoleRef) -> String {
    format!("{}/{}", role.kind, role.name)
}

/// The names of the subjects of a kind.
fn named(subjects: Option<&[Subject]>, kind: &str) -> String {
    let of_kind = subjects.unwrap_or_default().iter().filter(|subject| subject.kind == kind);
    let name = |subject: &Subject| match kind {
        "ServiceAccount" => format!("{}/{}", text(subject.namespace.as_ref()), subject.name),
        _ => subject.name.clone(),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ")
}

struct RoleBindingStrategy;

impl Strategy<RoleBinding> for RoleBindingStrategy {
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn default(&self, binding: &mut RoleBinding) {
        default(&mut binding.role_ref, binding.subjects.as_deref_mut());
    }

    fn validate(&self, binding: &RoleBinding, errors: &mut FieldErrors) {
        role_ref(&binding.role_ref, &["Role", "ClusterRole"], errors);
        subjects(binding.subjects.as_deref(), true, errors);
    }

    fn validate_update(&self, new: &RoleBinding, old: &RoleBinding, errors: &mut FieldErrors) {
        stays(&new.role_ref, &old.role_ref, errors);
    }
}

struct ClusterRoleBindingStrategy;

impl Strategy<ClusterRoleBinding> for ClusterRoleBindingStrategy {
    fn name_rule(&self) -> NameRule {
        names::path_segment
    }

    fn default(&self, binding: &mut ClusterRoleBinding) {
        default(&mut binding.role_ref, binding.subjects.as_deref_mut());
    }

    fn validate(&self, binding: &ClusterRoleBinding, errors: &mut FieldErrors) {
        role_ref(&binding.role_ref, &["ClusterRole"], errors);
        subjects(binding.subjects.as_deref(), false, errors);
    }

    fn validate_update(
        &self,
        new: &ClusterRoleBinding,
        old: &ClusterRoleBinding,
        errors: &mut FieldErrors,
    ) {
        stays(&new.role_ref, &old.role_ref, errors);
    }
}

/// Kubernetes: `SetDefaults_Subject` and its kin.
fn default(role: &mut RoleRef, subjects: Option<&mut [Subject]>) {
    if text(role.api_group.as_ref()).is_empty() {
        role.api_group = Some(GROUP.to_owned());
    }
    for subject in subjects.into_iter().flatten() {
        let group = match subject.kind.as_str() {
            "User" | "Group" => GROUP,
            _ => continue,
        };
        if text(subject.api_group.as_ref()).is_empty() {
            subject.api_group = Some(group.to_owned());
        }
    }
}

fn role_ref(role: &RoleRef, kinds: &[&str], errors: &mut FieldErrors) {
    let path = FieldPath::new("roleRef");
    let group = text(role.api_group.as_ref());
    if group != GROUP {
        errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), &role.kind, kinds);
    }
    rules::named(&role.name, names::path_segment, &path.child("name"), errors);
}

fn subjects(subjects: Option<&[Subject]>, is_namespaced: bool, errors: &mut FieldErrors) {
    for (i, subject) in subjects.unwrap_or_default().iter().enumerate() {
        self::subject(subject, is_namespaced, &FieldPath::new("subjects").index(i), errors);
    }
}

/// Kubernetes: `ValidateRoleBindingSubject`.
fn subject(subject: &Subject, is_namespaced: bool, path: &FieldPath, errors: &mut FieldErrors) {
    const KINDS: [&str; 3] = ["ServiceAccount", "User", "Group"];
    let group = text(subject.api_group.as_ref());
    if subject.name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                let rule = names::dns1123_subdomain;
                rules::follows(&subject.name, rule, &path.child("name"), errors);
            }
            if !group.is_empty() {
                errors.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            if !is_namespaced && text(subject.namespace.as_ref()).is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                errors.not_supported(&path.child("apiGroup"), group, &[GROUP]);
            }
        }
        other => errors.not_supported(&path.child("kind"), other, &KINDS),
    }
}

/// As Go prints it.
struct Shown<'a>(&'a RoleRef);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoleRef { api_group, kind, name } = self.0;
        let api_group = text(api_group.as_ref());
        write!(f, "rbac.RoleRef{{APIGroup:{api_group:?}, Kind:{kind:?}, Name:{name:?}}}")
    }
}

/// Another role is another binding.
fn stays(new: &RoleRef, old: &RoleRef, errors: &mut FieldErrors) {
    if new != old {
        errors.invalid(&FieldPath::new("roleRef"), Shown(new), "cannot change roleRef");
    }
}
