//! A pod as the checks look at it: its containers of all sorts in one list, first those that start first.

use std::collections::BTreeMap;

use api_types::{
    api::core::v1::{
        ContainerPort, Lifecycle, PodSecurityContext, PodSpec, Probe, SecurityContext,
    },
    meta::ObjectMeta,
};

use crate::wording;

pub(crate) struct Pod<'a> {
    pub(crate) spec: &'a PodSpec,
    pub(crate) containers: Vec<Container<'a>>,
    annotations: Option<&'a BTreeMap<String, String>>,
}

/// What the checks read of a container, an init container or an ephemeral one.
pub(crate) struct Container<'a> {
    pub(crate) name: &'a str,
    pub(crate) security_context: Option<&'a SecurityContext>,
    pub(crate) ports: &'a [ContainerPort],
    pub(crate) probes: [Option<&'a Probe>; 3],
    pub(crate) lifecycle: Option<&'a Lifecycle>,
}

/// What a pod and each of its containers set a field of their security contexts to.
pub(crate) struct Settings<'a, T> {
    of_pod: Option<T>,
    of_containers: Vec<(&'a str, Option<T>)>,
}

/// Those of them that may not be.
pub(crate) struct Forbidden<'a, T> {
    pod: bool,
    containers: Vec<&'a str>,
    /// What is set, in the pod's order.
    pub(crate) values: Vec<T>,
}

/// A container and an ephemeral one are two types of the same fields.
macro_rules! container {
    ($source:ident) => {
        Container {
            name: &$source.name,
            security_context: $source.security_context.as_ref(),
            ports: $source.ports.as_deref().unwrap_or_default(),
            probes: [&$source.liveness_probe, &$source.readiness_probe, &$source.startup_probe]
                .map(Option::as_ref),
            lifecycle: $source.lifecycle.as_ref(),
        }
    };
}

impl<'a> Pod<'a> {
    pub(crate) fn new(metadata: &'a ObjectMeta, spec: &'a PodSpec) -> Self {
        let init = spec.init_containers.iter().flatten().map(|source| container!(source));
        let main = spec.containers.iter().map(|source| container!(source));
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|source| container!(source));
        Self {
            spec,
            containers: init.chain(main).chain(ephemeral).collect(),
            annotations: metadata.annotations.as_ref(),
        }
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.annotations.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether it says that it is for Windows, which knows few of the fields that are checked.
    pub(crate) fn is_for_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Whether its users are not those of the host: its root is nobody there.
    pub(crate) fn has_user_namespace(&self) -> bool {
        self.spec.host_users == Some(false)
    }

    /// The names of some containers.
    pub(crate) fn containers_where(
        &self,
        condition: impl Fn(&Container<'a>) -> bool,
    ) -> Vec<&'a str> {
        self.containers
            .iter()
            .filter(|container| condition(container))
            .map(|container| container.name)
            .collect()
    }

    /// A field that the security contexts of pods and of containers have both.
    pub(crate) fn settings<T>(
        &self,
        of_pod: impl FnOnce(&'a PodSecurityContext) -> Option<T>,
        of_container: impl Fn(&'a SecurityContext) -> Option<T>,
    ) -> Settings<'a, T> {
        Settings {
            of_pod: self.spec.security_context.as_ref().and_then(of_pod),
            ..self.container_settings(of_container)
        }
    }

    /// A field that only the security contexts of containers have.
    pub(crate) fn container_settings<T>(
        &self,
        of_container: impl Fn(&'a SecurityContext) -> Option<T>,
    ) -> Settings<'a, T> {
        let of = |container: &Container<'a>| {
            (container.name, container.security_context.and_then(&of_container))
        };
        Settings { of_pod: None, of_containers: self.containers.iter().map(of).collect() }
    }
}

impl<'a, T: Copy> Settings<'a, T> {
    pub(crate) fn forbidden(&self, is_bad: impl Fn(T) -> bool) -> Forbidden<'a, T> {
        let pod = self.of_pod.filter(|value| is_bad(*value));
        let containers: Vec<(&str, T)> = self
            .of_containers
            .iter()
            .filter_map(|(name, value)| Some((*name, value.filter(|value| is_bad(*value))?)))
            .collect();
        Forbidden {
            pod: pod.is_some(),
            containers: containers.iter().map(|(name, _)| *name).collect(),
            values: pod.into_iter().chain(containers.iter().map(|(_, value)| *value)).collect(),
        }
    }

    /// The containers for which neither they nor the pod set it.
    pub(crate) fn unset(&self) -> Vec<&'a str> {
        self.of_containers
            .iter()
            .filter(|(_, value)| value.is_none() && self.of_pod.is_none())
            .map(|(name, _)| *name)
            .collect()
    }
}

impl<T> Forbidden<'_, T> {
    /// Who sets it, to be joined by "and".
    pub(crate) fn setters(&self) -> Vec<String> {
        let pod = self.pod.then(|| "pod".to_owned());
        let containers =
            (!self.containers.is_empty()).then(|| wording::containers(&self.containers));
        pod.into_iter().chain(containers).collect()
    }

    /// Who sets it, if anyone does.
    pub(crate) fn joined_setters(&self) -> Option<String> {
        (!self.values.is_empty()).then(|| self.setters().join(" and "))
    }
}
