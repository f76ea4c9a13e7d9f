//! The ConfigMaps and Secrets a container's environment names, fetched when the container is made.

use std::collections::{BTreeMap, BTreeSet};

use api_types::api::core::v1::{ConfigMap, Container, Secret};

use crate::{objects::Objects, runtime::PodIdentity};

/// What was found; an object that does not exist is absent.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    config_maps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
}

impl Sources {
    /// Adds a ConfigMap.
    pub fn with_config_map(mut self, name: &str, object: ConfigMap) -> Self {
        self.config_maps.insert(name.to_owned(), object);
        self
    }

    /// Adds a Secret.
    pub fn with_secret(mut self, name: &str, object: Secret) -> Self {
        self.secrets.insert(name.to_owned(), object);
        self
    }

    /// The keys and values of a ConfigMap.
    pub fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.config_maps.get(name).map(config_map_data)
    }

    /// The keys and values of a Secret.
    pub fn secret(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.secrets.get(name).map(secret_data)
    }
}

/// The keys and values of a ConfigMap, text and binary.
pub fn config_map_data(object: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = object.data.iter().flatten();
    let binary = object.binary_data.iter().flatten();
    let text = text.map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    text.chain(binary.map(|(key, value)| (key.clone(), value.0.clone()))).collect()
}

/// The keys and values of a Secret.
pub fn secret_data(object: &Secret) -> BTreeMap<String, Vec<u8>> {
    object.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// Fetches what the container names. Fails only if the API server does not answer, and has not
/// answered earlier.
pub async fn fetch(
    objects: &Objects,
    pod: &PodIdentity,
    container: &Container,
) -> Result<Sources, kube::Error> {
    let mut sources = Sources::default();
    for name in config_map_names(container) {
        if let Some(object) = objects.config_map(pod, name).await? {
            sources = sources.with_config_map(name, object);
        }
    }
    for name in secret_names(container) {
        if let Some(object) = objects.secret(pod, name).await? {
            sources = sources.with_secret(name, object);
        }
    }
    Ok(sources)
}

fn config_map_names(container: &Container) -> BTreeSet<&str> {
    let whole = container.env_from.iter().flatten().filter_map(|from| from.config_map_ref.as_ref());
    let single = container.env.iter().flatten().filter_map(|variable| {
        variable.value_from.as_ref().and_then(|from| from.config_map_key_ref.as_ref())
    });
    whole.map(|r| r.name.as_str()).chain(single.map(|r| r.name.as_str())).collect()
}

fn secret_names(container: &Container) -> BTreeSet<&str> {
    let whole = container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
    let single = container.env.iter().flatten().filter_map(|variable| {
        variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref())
    });
    whole.map(|r| r.name.as_str()).chain(single.map(|r| r.name.as_str())).collect()
}
