//! How often an object is decoded and encoded on its way through a write: a kind counts it.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use api_types::{Metadata, NamespaceResourceScope, Resource, api::core::v1::ConfigMap, meta};
use registry::{Plain, resource};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::harness::{Answer, Api};

static DECODED: AtomicUsize = AtomicUsize::new(0);
static ENCODED: AtomicUsize = AtomicUsize::new(0);

const COUNTED: &str = "/apis/tests.minik8s.io/v1/namespaces/default/counted";

/// Like a ConfigMap, but under another name.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counted(ConfigMap);

impl Resource for Counted {
    const API_VERSION: &'static str = "tests.minik8s.io/v1";
    const GROUP: &'static str = "tests.minik8s.io";
    const KIND: &'static str = "Counted";
    const VERSION: &'static str = "v1";
    const URL_PATH_SEGMENT: &'static str = "counted";
    type Scope = NamespaceResourceScope;
}

impl Metadata for Counted {
    type Ty = meta::ObjectMeta;

    fn metadata(&self) -> &Self::Ty {
        &self.0.metadata
    }

    fn metadata_mut(&mut self) -> &mut Self::Ty {
        &mut self.0.metadata
    }
}

/// What goes over the wire.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(rename = "apiVersion", default)]
    api_version: Cow<'a, str>,
    #[serde(default)]
    kind: Cow<'a, str>,
    metadata: Cow<'a, meta::ObjectMeta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<std::collections::BTreeMap<String, String>>,
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        let wire = Wire {
            api_version: Self::API_VERSION.into(),
            kind: Self::KIND.into(),
            metadata: Cow::Borrowed(&self.0.metadata),
            data: self.0.data.clone(),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        let Wire { metadata, data, .. } = Wire::deserialize(deserializer)?;
        Ok(Self(ConfigMap { metadata: metadata.into_owned(), data, ..ConfigMap::default() }))
    }
}

impl JsonSchema for Counted {
    fn schema_name() -> Cow<'static, str> {
        "Counted".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ConfigMap::json_schema(generator)
    }
}

/// How often something was decoded and encoded until all who look have seen it.
async fn codings(api: &Api, write: impl Future<Output = Answer>) -> [usize; 2] {
    for count in [&DECODED, &ENCODED] {
        count.store(0, Ordering::Relaxed);
    }
    let answer = write.await;
    // A list catches up with the store.
    assert!(api.get(COUNTED).await.text.contains(&answer.text), "{}", answer.text);
    [&DECODED, &ENCODED].map(|count| count.load(Ordering::Relaxed))
}

/// What is stored is encoded once, for whoever looks at it, and once before for who manages its fields. The body
/// of a PUT is decoded before it is known whether there is something to be replaced, and again when it is.
#[tokio::test]
async fn nobody_decodes_or_encodes_what_a_write_has() {
    let api = Api::start().await;
    let mut kinds = api.server.kinds();
    kinds.push(Arc::new(resource::<Counted, _>(Plain).build()));
    api.server.serve_kinds(kinds).unwrap();
    let mut watch = api.watch(&format!("{COUNTED}?watch=true&resourceVersion=0")).await;
    let object = |value: &str| json!({"metadata": {"name": "a"}, "data": {"key": value}});
    let (path, label) = (format!("{COUNTED}/a"), json!({"metadata": {"labels": {"a": "b"}}}));
    let (given, old, stored) = (1, 1, 2);
    let created = codings(&api, api.post(COUNTED, &object("1"))).await;
    assert_eq!(created, [given, stored]);
    let replaced = codings(&api, api.put(&path, &object("2"))).await;
    assert_eq!(replaced, [2 * given + old, stored]);
    let patched = codings(&api, api.patch(&path, "merge-patch", &object("3"))).await;
    assert_eq!(patched, [given + old, stored]);
    let labelled = codings(&api, api.patch(&path, "merge-patch", &label)).await;
    assert_eq!(labelled, [given + old, stored]);
    for value in ["1", "2", "3", "3"] {
        let event: Value = watch.next().await.unwrap();
        assert_eq!(event["object"]["data"]["key"], value);
    }
}
