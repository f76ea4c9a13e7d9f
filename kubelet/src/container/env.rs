//! A container's environment, and `$(NAME)` in its command. Pure.

use std::collections::BTreeMap;

use api_types::{
    Quantity,
    api::core::v1::{
        Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, Pod,
        ResourceFieldSelector,
    },
};

use super::{resources, sources::Sources};

/// Why the environment cannot be made; the pod waits with `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A ConfigMap that must exist does not.
    #[error("configmap {0:?} not found")]
    NoConfigMap(String),
    /// A Secret that must exist does not.
    #[error("secret {0:?} not found")]
    NoSecret(String),
    /// The object has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The key.
        key: String,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// `fieldRef` names a field that cannot be given.
    #[error("unsupported fieldPath: {0}")]
    UnknownField(String),
    /// `fileKeyRef` would have the kubelet read what containers have written.
    #[error("keys of files are not read on this node: {0}")]
    FileKey(String),
    /// `resourceFieldRef` names a resource that cannot be given.
    #[error("unsupported container resource: {0}")]
    UnknownResource(String),
}

/// What is known about the pod apart from its spec.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The pod's address.
    pub pod_ip: &'a str,
    /// That of the other family, if it has one.
    pub second_pod_ip: Option<&'a str>,
    /// The node's address.
    pub host_ip: &'a str,
    /// That of the other family, if it has one.
    pub second_host_ip: Option<&'a str>,
    /// What the node has for pods.
    pub allocatable: &'a BTreeMap<String, Quantity>,
}

/// The variables in order: those of `services` first, then `envFrom`, then `env`. Each may be replaced
/// by a later one, and those of `env` may refer to what came before.
pub fn environment(
    container: &Container,
    facts: &Facts<'_>,
    sources: &Sources,
    services: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut variables = services;
    for from in container.env_from.iter().flatten() {
        for (name, value) in whole_object(from, sources)? {
            set(&mut variables, name, value);
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, container, facts, sources, &variables)? {
            set(&mut variables, variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by the variable's value; `$$(NAME)` is a literal `$(NAME)`, and unknown names
/// stay as they are.
pub fn expand(text: &str, variables: &[(String, String)]) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = reference(rest, variables, &mut out);
        rest = &rest[taken..];
    }
    out + rest
}

/// Handles what starts with `$`; gives the number of bytes used.
fn reference(text: &str, variables: &[(String, String)], out: &mut String) -> usize {
    if text.starts_with("$$") {
        out.push('$');
        return 2;
    }
    let end = text.starts_with("$(").then(|| text.find(')')).flatten();
    let Some(end) = end else {
        out.push('$');
        return 1;
    };
    match variables.iter().find(|(name, _)| name == &text[2..end]) {
        Some((_, value)) => out.push_str(value),
        None => out.push_str(&text[..=end]),
    }
    end + 1
}

fn set(variables: &mut Vec<(String, String)>, name: String, value: String) {
    match variables.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = value,
        None => variables.push((name, value)),
    }
}

fn whole_object(
    from: &EnvFromSource,
    sources: &Sources,
) -> Result<Vec<(String, String)>, EnvError> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let mut found = BTreeMap::new();
    if let Some(wanted) = &from.config_map_ref {
        match sources.config_map(&wanted.name) {
            Some(data) => found.extend(data),
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvError::NoConfigMap(wanted.name.clone())),
        }
    }
    if let Some(wanted) = &from.secret_ref {
        match sources.secret(&wanted.name) {
            Some(data) => found.extend(data),
            None if wanted.optional == Some(true) => {}
            None => return Err(EnvError::NoSecret(wanted.name.clone())),
        }
    }
    let named = found.into_iter().filter(|(key, _)| !key.is_empty() && !key.contains('='));
    Ok(named.map(|(key, value)| (format!("{prefix}{key}"), text(&value))).collect())
}

/// `None`: an optional source that is not there.
fn value(
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    sources: &Sources,
    before: &[(String, String)],
) -> Result<Option<String>, EnvError> {
    match &variable.value_from {
        Some(source) => from_source(source, container, facts, sources),
        None => Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), before))),
    }
}

fn from_source(
    source: &EnvVarSource,
    container: &Container,
    facts: &Facts<'_>,
    sources: &Sources,
) -> Result<Option<String>, EnvError> {
    if let Some(field) = &source.field_ref {
        return pod_field(field, facts).map(Some);
    }
    if let Some(wanted) = &source.resource_field_ref {
        return resource_field(container, wanted, facts).map(Some);
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let optional = wanted.optional == Some(true);
        let object = sources.config_map(&wanted.name);
        let missing = EnvError::NoConfigMap(wanted.name.clone());
        return key(object, &wanted.key, optional, missing, ("ConfigMap", &wanted.name), facts);
    }
    if let Some(wanted) = &source.secret_key_ref {
        let optional = wanted.optional == Some(true);
        let object = sources.secret(&wanted.name);
        let missing = EnvError::NoSecret(wanted.name.clone());
        return key(object, &wanted.key, optional, missing, ("Secret", &wanted.name), facts);
    }
    match &source.file_key_ref {
        Some(wanted) if wanted.optional == Some(true) => Ok(None),
        Some(wanted) => Err(EnvError::FileKey(format!("{} of {}", wanted.key, wanted.path))),
        None => Ok(None),
    }
}

/// The amount of a resource that a container may have.
pub fn resource_field(
    container: &Container,
    wanted: &ResourceFieldSelector,
    facts: &Facts<'_>,
) -> Result<String, EnvError> {
    resources::field(container, wanted, facts.allocatable)
        .ok_or_else(|| EnvError::UnknownResource(wanted.resource.clone()))
}

fn key(
    object: Option<BTreeMap<String, Vec<u8>>>,
    key: &str,
    optional: bool,
    missing: EnvError,
    (kind, name): (&'static str, &str),
    facts: &Facts<'_>,
) -> Result<Option<String>, EnvError> {
    let Some(mut object) = object else {
        return if optional { Ok(None) } else { Err(missing) };
    };
    match object.remove(key) {
        Some(value) => Ok(Some(text(&value))),
        None if optional => Ok(None),
        None => Err(EnvError::NoKey {
            kind,
            key: key.to_owned(),
            namespace: facts.pod.metadata.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
        }),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A field of the pod, as the downward API names it.
pub fn pod_field(field: &ObjectFieldSelector, facts: &Facts<'_>) -> Result<String, EnvError> {
    let path = field.field_path.as_str();
    let (metadata, spec) = (&facts.pod.metadata, facts.pod.spec.as_ref());
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "metadata.labels" => Some(listing(metadata.labels.as_ref())),
        "metadata.annotations" => Some(listing(metadata.annotations.as_ref())),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => {
            Some(spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default())
        }
        "status.hostIP" => Some(facts.host_ip.to_owned()),
        "status.hostIPs" => Some(both(facts.host_ip, facts.second_host_ip)),
        "status.podIP" => Some(facts.pod_ip.to_owned()),
        "status.podIPs" => Some(both(facts.pod_ip, facts.second_pod_ip)),
        _ => subscript(path, "metadata.labels", metadata.labels.as_ref())
            .or_else(|| subscript(path, "metadata.annotations", metadata.annotations.as_ref())),
    };
    value.ok_or_else(|| EnvError::UnknownField(path.to_owned()))
}

fn both(first: &str, second: Option<&str>) -> String {
    [first].into_iter().chain(second).collect::<Vec<_>>().join(",")
}

/// `metadata.labels['key']`; a key that is not there is empty.
fn subscript(path: &str, field: &str, map: Option<&BTreeMap<String, String>>) -> Option<String> {
    let key = path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']")?;
    Some(map.and_then(|map| map.get(key)).cloned().unwrap_or_default())
}

fn listing(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
