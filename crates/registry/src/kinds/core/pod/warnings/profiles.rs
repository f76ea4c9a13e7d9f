//! What is told of annotations that stand for a field which is not set.

use std::collections::BTreeMap;

use api_machinery::FieldPath;
use api_types::api::core::v1::{AppArmorProfile, Container, PodSpec};

use crate::warnings::annotations;

const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const OLD_SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const OLD_APP_ARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// A pod or a template of pods, and where it is.
pub(super) struct Subject<'a> {
    pub(super) spec: &'a PodSpec,
    pub(super) annotations: Option<&'a BTreeMap<String, String>>,
    pub(super) path: FieldPath,
}

impl Subject<'_> {
    /// Adds what is told of the one about all containers.
    pub(super) fn seccomp(&self, warnings: &mut Vec<String>) {
        let context = self.spec.security_context.as_ref();
        if context.is_none_or(|context| context.seccomp_profile.is_none()) {
            annotations(self.annotations, &[(SECCOMP_OF_POD, OLD_SECCOMP)], &self.path, warnings);
        }
    }

    /// Adds what is told of those about a container.
    pub(super) fn profiles(&self, container: &Container, warnings: &mut Vec<String>) {
        let context = container.security_context.as_ref();
        if context.is_none_or(|context| context.seccomp_profile.is_none()) {
            let key = SECCOMP.to_owned() + &container.name;
            annotations(self.annotations, &[(&key, OLD_SECCOMP)], &self.path, warnings);
        }
        if context.is_none_or(|context| context.app_armor_profile.is_none()) {
            self.app_armor(container, warnings);
        }
    }

    /// An annotation that says what the whole pod has anyway is no matter. Pods of Windows have none, but their templates are
    /// told of, too.
    fn app_armor(&self, container: &Container, warnings: &mut Vec<String>) {
        let key = APP_ARMOR.to_owned() + &container.name;
        let annotated = self.annotations.and_then(|all| all.get(&key));
        let of_pod = self.spec.security_context.as_ref();
        let of_pod = of_pod.and_then(|context| context.app_armor_profile.as_ref());
        let is_same = of_pod.is_some() && annotated.and_then(|it| profile(it)).as_ref() == of_pod;
        let is_pod_of_windows = self.path == FieldPath::default()
            && self.spec.os.as_ref().is_some_and(|os| os.name == "windows");
        if !is_same && !is_pod_of_windows {
            annotations(self.annotations, &[(&key, OLD_APP_ARMOR)], &self.path, warnings);
        }
    }
}

/// The profile that an annotation means.
fn profile(annotation: &str) -> Option<AppArmorProfile> {
    let (type_, local) = match annotation {
        "unconfined" => ("Unconfined", None),
        "runtime/default" => ("RuntimeDefault", None),
        _ => ("Localhost", Some(annotation.strip_prefix("localhost/")?)),
    };
    let localhost_profile = local.map(str::to_owned);
    Some(AppArmorProfile { type_: type_.to_owned(), localhost_profile })
}
