//! Objects in the form that the client asked for: as they are, as a table, as metadata alone.

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use registry::ResourceDef;
use serde_json::{Value, json};

use crate::{
    negotiation::{self, Form},
    query::Query,
    respond::{self, Response},
};

/// What a table's rows carry beside their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IncludeObject {
    Metadata,
    None,
    Object,
}

/// How to show objects of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presentation {
    form: Form,
    include: IncludeObject,
}

impl Presentation {
    /// The presentation that a request asks for.
    pub(crate) fn of(headers: &HeaderMap, query: &Query) -> Result<Self, ApiError> {
        let include = match query.get("includeObject") {
            None | Some("Metadata") => IncludeObject::Metadata,
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            Some(other) => {
                let message = format!("unrecognized includeObject value: {other:?}");
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Self { form: negotiation::form(headers)?, include })
    }

    /// Whether objects are shown as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.form == Form::Object
    }

    /// An answer of one object.
    pub(crate) fn answer(&self, status: StatusCode, def: &ResourceDef, object: &Value) -> Response {
        respond::json(status, &self.show(def, object, true))
    }

    /// An answer of one object that is encoded already.
    pub(crate) fn answer_encoded(&self, def: &ResourceDef, json: Bytes) -> Response {
        if self.is_plain() {
            return respond::encoded(StatusCode::OK, json);
        }
        let object: Value = serde_json::from_slice(&json).unwrap_or_default();
        self.answer(StatusCode::OK, def, &object)
    }

    /// One object; a table has its header only if asked for.
    pub(crate) fn show(&self, def: &ResourceDef, object: &Value, header: bool) -> Value {
        match self.form {
            Form::Object => object.clone(),
            Form::PartialObject => partial(object),
            Form::Table => {
                let version = &object["metadata"]["resourceVersion"];
                self.table(def, &[object], &json!({ "resourceVersion": version }), header)
            }
        }
    }

    /// A list of objects with the list's metadata.
    pub(crate) fn list(&self, def: &ResourceDef, items: &[&Value], metadata: &Value) -> Value {
        match self.form {
            Form::Table => self.table(def, items, metadata, true),
            Form::PartialObject => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items.iter().map(|o| partial(o)).collect::<Vec<_>>(),
            }),
            Form::Object => json!({
                "kind": def.list_kind(),
                "apiVersion": def.api_version(),
                "metadata": metadata,
                "items": items,
            }),
        }
    }

    /// A bookmark's object.
    pub(crate) fn bookmark(&self, def: &ResourceDef, metadata: &Value) -> Value {
        match self.form {
            Form::Table => self.table(def, &[], metadata, false),
            Form::PartialObject => partial(&json!({ "metadata": metadata })),
            Form::Object => {
                json!({ "kind": def.names.kind, "apiVersion": def.api_version(), "metadata": metadata })
            }
        }
    }

    fn table(&self, def: &ResourceDef, items: &[&Value], metadata: &Value, header: bool) -> Value {
        let now = Timestamp::now();
        let row = |object: &&Value| {
            let mut row = json!({ "cells": def.row(object, now) });
            match self.include {
                IncludeObject::Metadata => row["object"] = partial(object),
                IncludeObject::Object => row["object"] = (*object).clone(),
                IncludeObject::None => {}
            }
            row
        };
        let columns = if header { json!(def.column_definitions()) } else { json!([]) };
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": items.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
