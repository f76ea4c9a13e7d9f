//! OpenAPI documents, made of the schemas of the catalogue. `kubectl` reads from them which parameters the server
//! understands (`fieldValidation`) and what to `explain`.

mod inlined;
mod merge;
mod operation;
mod parameters;
mod paths;
mod schemas;
mod v2;
mod v2_protobuf;
mod v3;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
pub(crate) use inlined::whole_schema;
use parking_lot::Mutex;
use schemas::Schemas;
use serde_json::{Map, Value, json};

use crate::{
    caching,
    catalogue::{Catalogue, InForce},
    delegates::{Delegates, OpenApiOf},
};

/// The documents of the catalogue in force.
#[derive(Debug)]
pub(crate) struct OpenApi {
    catalogue: InForce,
    delegates: Arc<Delegates>,
    documents: Mutex<Arc<Documents>>,
}

impl OpenApi {
    pub(crate) fn new(catalogue: InForce, delegates: Arc<Delegates>) -> Self {
        let documents = Mutex::new(Arc::new(Documents::new(catalogue.load(), Vec::new())));
        Self { catalogue, delegates, documents }
    }

    pub(crate) fn documents(&self) -> Arc<Documents> {
        let (catalogue, others) = (self.catalogue.load(), self.delegates.open_api());
        let mut known = self.documents.lock();
        if !known.are_of(&catalogue, &others) {
            *known = Arc::new(Documents::new(catalogue, others));
        }
        known.clone()
    }
}

/// The documents of a catalogue, made at the first request.
#[derive(Debug)]
pub(crate) struct Documents {
    catalogue: Arc<Catalogue>,
    /// Of other servers.
    others: Vec<Arc<OpenApiOf>>,
    /// By the group and version.
    v3: OnceLock<HashMap<(String, String), Bytes>>,
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
}

impl Documents {
    fn new(catalogue: Arc<Catalogue>, others: Vec<Arc<OpenApiOf>>) -> Self {
        let (v3, v2, v2_protobuf) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { catalogue, others, v3, v2, v2_protobuf }
    }

    fn are_of(&self, catalogue: &Arc<Catalogue>, others: &[Arc<OpenApiOf>]) -> bool {
        let mut pairs = self.others.iter().zip(others);
        let same = self.others.len() == others.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b));
        same && Arc::ptr_eq(&self.catalogue, catalogue)
    }

    /// `/openapi/v3`. The hash in the addresses lets clients keep a document until it changes.
    pub(crate) fn index(&self) -> Value {
        let entry = |((group, version), document): (&(String, String), &Bytes)| {
            let url = address(group, version, document);
            (path(group, version), json!({ "serverRelativeURL": url }))
        };
        let paths: Map<String, Value> = self.v3().iter().map(entry).collect();
        json!({ "paths": paths })
    }

    /// The document of a group version, encoded.
    pub(crate) fn document(&self, group: &str, version: &str) -> Option<Bytes> {
        self.v3().get(&(group.to_owned(), version.to_owned())).cloned()
    }

    /// `/openapi/v2`, for clients that know no other.
    pub(crate) fn v2(&self) -> Bytes {
        self.v2.get_or_init(|| self.v2_of_all().to_string().into()).clone()
    }

    /// The same in protobuf.
    pub(crate) fn v2_protobuf(&self) -> Bytes {
        self.v2_protobuf.get_or_init(|| v2_protobuf::encoded(&self.v2_of_all()).into()).clone()
    }

    fn v2_of_all(&self) -> Value {
        let mut document = document_v2(&self.catalogue);
        self.others.iter().for_each(|other| merge::add(&mut document, other));
        document
    }

    fn v3(&self) -> &HashMap<(String, String), Bytes> {
        self.v3.get_or_init(|| {
            let document = |(group, version): (&str, &str)| {
                let document = document_v3(&self.catalogue, group, version);
                ((group.to_owned(), version.to_owned()), document.to_string().into())
            };
            let own = self.catalogue.group_versions().into_iter().map(document);
            let others = self.others.iter().filter_map(|other| {
                let version = (other.group.clone(), other.version.clone());
                Some((version, other.v3.clone()?))
            });
            // Of what is served elsewhere, the later one counts.
            own.chain(others).collect()
        })
    }
}

/// The address of a document, which changes with it.
pub(crate) fn address(group: &str, version: &str, document: &[u8]) -> String {
    format!("/openapi/v3/{}?hash={}", path(group, version), caching::hash(document))
}

fn path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// What `/openapi/v2` is called in protobuf, and what client-go asks for: Go's parser of media types refuses its `@`.
pub(crate) const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
pub(crate) const V2_PROTOBUF_ASKED: &str =
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

fn document_v3(catalogue: &Catalogue, group: &str, version: &str) -> Value {
    let mut schemas = Schemas::new("#/components/schemas/");
    let mut paths = Map::new();
    for def in catalogue.of_group(group, version) {
        schemas.add_kind(def);
        for (path, operations) in paths::of(def) {
            paths.insert(path.clone(), v3::path_item(&path, operations, &mut schemas));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": { "schemas": schemas.into_inner() },
    })
}

fn document_v2(catalogue: &Catalogue) -> Value {
    let mut schemas = Schemas::new("#/definitions/");
    let mut paths = Map::new();
    for def in catalogue.served() {
        schemas.add_kind(def);
        for (path, operations) in paths::of(def) {
            paths.insert(path.clone(), v2::path_item(&path, operations, &mut schemas));
        }
    }
    let mut definitions = schemas.into_inner();
    for (name, definition) in &mut definitions {
        v2::simplify_definition(name, definition);
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": definitions,
    })
}

fn info() -> Value {
    json!({ "title": "minik8s", "version": env!("CARGO_PKG_VERSION") })
}
