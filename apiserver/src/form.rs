//! Objects in the form that the client asked for: as they are, as a table, as metadata alone. All of it is JSON here.

use api_machinery::{ApiError, encode};
use api_types::jiff::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use registry::{ResourceDef, Subresource};
use serde_json::{Value, json};

use crate::{
    encoded,
    negotiation::{self, Form, Media, MetaVersion},
    protobuf,
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
    /// In what the answer is encoded in the end.
    pub(crate) media: Media,
    include: IncludeObject,
}

/// What a list and its items are called.
#[derive(Debug)]
pub(crate) struct Kinds {
    pub(crate) api_version: String,
    pub(crate) list: String,
    pub(crate) item: String,
}

impl Presentation {
    /// The presentation that a request for objects of a kind asks for.
    pub(crate) fn of(
        headers: &HeaderMap,
        query: &Query,
        def: &ResourceDef,
        subresource: Option<Subresource>,
        is_watch: bool,
    ) -> Result<Self, ApiError> {
        let include = match query.get("includeObject") {
            None | Some("Metadata") => IncludeObject::Metadata,
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            Some(other) => {
                let message = format!("unrecognized includeObject value: {other:?}");
                return Err(ApiError::bad_request(message));
            }
        };
        // A Scale is Kubernetes' own, whatever it is of.
        let has_protobuf = || {
            subresource == Some(Subresource::Scale)
                || protobuf::is_known(&def.api_version(), &def.names.kind)
        };
        let (media, form) = negotiation::objects(headers, is_watch, has_protobuf)?;
        Ok(Self { form, media, include })
    }

    /// Whether objects are shown as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.form == Form::Object
    }

    /// What lists of a kind, and their items, are called.
    pub(crate) fn kinds(&self, def: &ResourceDef) -> Kinds {
        match self.form {
            Form::PartialObject(version) => Kinds {
                api_version: version.api_version().to_owned(),
                list: "PartialObjectMetadataList".to_owned(),
                item: "PartialObjectMetadata".to_owned(),
            },
            Form::Object | Form::Table(_) => Kinds {
                api_version: def.api_version(),
                list: def.names.list_kind.clone(),
                item: def.names.kind.clone(),
            },
        }
    }

    /// Fails if a table is asked for of a kind that has none.
    pub(crate) fn refuse_table(&self, def: &ResourceDef) -> Result<(), ApiError> {
        if !matches!(self.form, Form::Table(_)) {
            return Ok(());
        }
        let what = def.qualified();
        let message = format!("the resource {what} does not support being converted to a Table");
        Err(negotiation::not_acceptable(&message))
    }

    /// A response of one object.
    pub(crate) fn response(
        &self,
        status: StatusCode,
        def: &ResourceDef,
        object: &Value,
    ) -> Response {
        match self.show(def, object, true) {
            Ok(shown) => respond::json(status, &shown),
            Err(error) => respond::failure(&error),
        }
    }

    /// A response of one object that is encoded already.
    pub(crate) fn encoded_response(
        &self,
        status: StatusCode,
        def: &ResourceDef,
        json: Bytes,
    ) -> Response {
        if self.is_plain() {
            return respond::encoded(status, json);
        }
        match encoded::value(&json) {
            Ok(object) => self.response(status, def, &object),
            Err(error) => respond::failure(&error),
        }
    }

    /// One object; a table has its header only if asked for.
    pub(crate) fn show(
        &self,
        def: &ResourceDef,
        object: &Value,
        header: bool,
    ) -> Result<Value, ApiError> {
        match self.form {
            Form::Object => Ok(object.clone()),
            Form::PartialObject(version) => Ok(partial(version, object)),
            Form::Table(version) => {
                let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                let rows = self.rows(version, def, &[object])?;
                Ok(table(version, &rows, &metadata, &columns(def, header)))
            }
        }
    }

    /// A list of objects with the list's metadata.
    pub(crate) fn list(
        &self,
        def: &ResourceDef,
        items: &[&Value],
        metadata: &Value,
    ) -> Result<Value, ApiError> {
        match self.form {
            Form::Table(version) => {
                let rows = self.rows(version, def, items)?;
                Ok(table(version, &rows, metadata, &columns(def, true)))
            }
            Form::PartialObject(version) => Ok(json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": version.api_version(),
                "metadata": metadata,
                "items": items.iter().map(|o| partial(version, o)).collect::<Vec<_>>(),
            })),
            Form::Object => Ok(json!({
                "kind": def.names.list_kind,
                "apiVersion": def.api_version(),
                "metadata": metadata,
                "items": items,
            })),
        }
    }

    /// What comes before and after the elements of a list.
    pub(crate) fn frame(
        &self,
        def: &ResourceDef,
        metadata: &Value,
    ) -> Result<(String, String), ApiError> {
        let empty = self.list(def, &[], metadata)?.to_string();
        let open = format!(r#""{}":["#, self.elements());
        // Only once: quotes within texts are escaped.
        let frame = empty.split_once(&format!("{open}]"));
        let frame = frame.ok_or_else(|| ApiError::internal("no elements"))?;
        Ok((format!("{}{open}", frame.0), format!("]{}", frame.1)))
    }

    /// The same in YAML, if there are elements.
    pub(crate) fn yaml_frame(
        &self,
        def: &ResourceDef,
        metadata: &Value,
    ) -> Result<(String, String), ApiError> {
        let empty = encode::yaml(&self.list(def, &[], metadata)?);
        let open = format!("\n{}:", self.elements());
        // Only once: lines that are within something are indented.
        let frame = empty.split_once(&format!("{open} []\n"));
        let frame = frame.ok_or_else(|| ApiError::internal("no elements"))?;
        Ok((format!("{}{open}\n", frame.0), frame.1.to_owned()))
    }

    /// The field of a list that has its elements.
    fn elements(&self) -> &'static str {
        if matches!(self.form, Form::Table(_)) { "rows" } else { "items" }
    }

    /// An element of a list.
    pub(crate) fn element(
        &self,
        def: &ResourceDef,
        object: &Value,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        match self.form {
            Form::Table(version) => self.row(version, def, object, now),
            Form::PartialObject(version) => Ok(partial(version, object)),
            Form::Object => Ok(object.clone()),
        }
    }

    /// A bookmark's object.
    pub(crate) fn bookmark(&self, def: &ResourceDef, metadata: &Value) -> Value {
        match self.form {
            Form::Table(version) => table(version, &[], metadata, &json!([])),
            Form::PartialObject(version) => partial(version, &json!({ "metadata": metadata })),
            Form::Object => {
                json!({ "kind": def.names.kind, "apiVersion": def.api_version(), "metadata": metadata })
            }
        }
    }

    fn rows(
        &self,
        version: MetaVersion,
        def: &ResourceDef,
        items: &[&Value],
    ) -> Result<Vec<Value>, ApiError> {
        let now = Timestamp::now();
        items.iter().map(|object| self.row(version, def, object, now)).collect()
    }

    fn row(
        &self,
        version: MetaVersion,
        def: &ResourceDef,
        object: &Value,
        now: Timestamp,
    ) -> Result<Value, ApiError> {
        let cells = def.row(object, now).map_err(|error| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
            ApiError::internal(format!("{} {name:?} can't be shown: {error}", def.qualified()))
        })?;
        let mut row = json!({ "cells": cells });
        match self.include {
            IncludeObject::Metadata => row["object"] = partial(version, object),
            IncludeObject::Object => row["object"] = object.clone(),
            IncludeObject::None => {}
        }
        Ok(row)
    }
}

fn columns(def: &ResourceDef, header: bool) -> Value {
    if header { json!(def.column_definitions()) } else { json!([]) }
}

fn table(version: MetaVersion, rows: &[Value], metadata: &Value, columns: &Value) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": version.api_version(),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn partial(version: MetaVersion, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object["metadata"],
    })
}
