//! Manifests of several objects, by kind.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;

use api_types::meta::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml::{Deserializer, Value};

pub(crate) struct Manifest(BTreeMap<String, Vec<Value>>);

impl Manifest {
    pub(crate) fn read(text: &str) -> Self {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for document in Deserializer::from_str(text) {
            let object = Value::deserialize(document).unwrap();
            all.entry(object["kind"].as_str().unwrap().to_owned()).or_default().push(object);
        }
        Manifest(all)
    }

    /// Those of a kind, in their order.
    pub(crate) fn take<K: DeserializeOwned>(&mut self, kind: &str) -> Vec<K> {
        let all = self.0.remove(kind).unwrap_or_default();
        all.into_iter().map(|object| serde_yaml::from_value(object).unwrap()).collect()
    }

    /// There are no others.
    pub(crate) fn end(&self) {
        assert!(self.0.is_empty(), "unexpected kinds {:?}", self.0.keys());
    }
}

pub(crate) fn is_named(metadata: &ObjectMeta, namespace: &str, name: &str) -> bool {
    (metadata.namespace.as_deref(), metadata.name.as_deref()) == (Some(namespace), Some(name))
}
