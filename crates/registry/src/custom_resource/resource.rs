//! A version of a custom resource, and what is served for it.

use std::sync::{Arc, OnceLock};

use api_machinery::FieldPath;
use serde_json::Value;

use super::{columns::Cell, kind::CustomKind, rules::Rules, validation::Validation};
use crate::{
    conversion::{Conversion, ConversionWebhook},
    definition::ResourceDef,
    description::{Column, Names, Scope, Subresource},
    fields,
    scale::ScalePaths,
};

/// A version of a custom resource.
#[derive(Debug)]
pub struct CustomResource {
    /// What it is called.
    pub names: Names,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// The structural schema of its objects (Kubernetes: `openAPIV3Schema`). Fields that it doesn't have are dropped.
    pub schema: Value,
    /// The columns of its table after the name. If there are none, the age is one.
    pub columns: Vec<PrinterColumn>,
    /// Whether it has the subresource `status`.
    pub has_status: bool,
    /// Of the subresource `scale`, if it has one.
    pub scale: Option<ScalePaths>,
    /// What whoever asks for this version is told.
    pub deprecation_warning: Option<String>,
    /// Who converts its objects, if that is another server.
    pub webhook: Option<Arc<ConversionWebhook>>,
    /// Absent with the version that is stored.
    pub conversion: Option<Box<dyn Conversion>>,
    /// Whether clients may ask for it.
    pub is_served: bool,
    /// The paths of fields that field selectors can name: `.spec.color`.
    pub selectable_fields: Vec<String>,
}

/// A column that shows a field (Kubernetes: `additionalPrinterColumns`).
#[derive(Clone, Debug)]
pub struct PrinterColumn {
    /// Its heading.
    pub column: Column,
    /// Where the field is: `.spec.replicas`.
    pub json_path: String,
}

/// Why a custom resource can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomResourceError {
    /// Nothing can be validated by the schema.
    #[error("the schema can't be used: {0}")]
    Schema(String),
    /// The schema has rules that are no expressions.
    #[error("{0}")]
    Rules(String),
    /// A column's path is none.
    #[error("{0:?} is no JSONPath")]
    JsonPath(String),
}

impl CustomResource {
    /// The definition.
    ///
    /// # Errors
    /// If the schema or the path of a column is none, or the schema says what is not enforced.
    pub fn build(self) -> Result<ResourceDef, CustomResourceError> {
        let Self { names, scope, schema, columns, has_status, scale, .. } = self;
        let Self { deprecation_warning, webhook, conversion, is_served, selectable_fields, .. } =
            self;
        let rules = Rules::of(&schema, &FieldPath::default())
            .map_err(|errors| CustomResourceError::Rules(errors.to_string()))?;
        let columns = with_standard(columns);
        let cell = |PrinterColumn { column, json_path }: &PrinterColumn| {
            let error = || CustomResourceError::JsonPath(json_path.clone());
            Cell::new(column, json_path).ok_or_else(error)
        };
        let kind = CustomKind {
            api_version: names.api_version(),
            kind: names.kind.clone(),
            validation: Validation::by(&schema).map_err(CustomResourceError::Schema)?,
            cells: columns.iter().map(cell).collect::<Result<_, _>>()?,
            schema,
            rules,
            has_status,
            selectable_fields: selectable_fields.iter().map(|path| selectable(path)).collect(),
        };
        let status = has_status.then_some(Subresource::Status);
        Ok(ResourceDef {
            collection: names.collection(),
            names,
            scope,
            subresources: status
                .into_iter()
                .chain(scale.as_ref().map(|_| Subresource::Scale))
                .collect(),
            columns: columns.into_iter().map(|printed| printed.column).collect(),
            // What is stored in another version shows its fields only once it is converted: none are indexed.
            trigger: webhook.as_ref().map_or("metadata.name", |_| "").to_owned(),
            fields: fields::names(&kind, scope),
            scale: scale.unwrap_or_default(),
            is_review: false,
            is_computed: false,
            replaces_by_version: true,
            is_created_by_put: false,
            is_shown_when_deleted: false,
            is_served,
            shapes: OnceLock::new(),
            deprecation_warning,
            webhook,
            conversion,
            kind: Box::new(kind),
        })
    }
}

/// A field's name and the names on the way to it.
fn selectable(path: &str) -> (String, Vec<String>) {
    let name = path.trim_start_matches('.');
    (name.to_owned(), name.split('.').map(str::to_owned).collect())
}

/// The name first; the age if there is nothing else.
fn with_standard(mut columns: Vec<PrinterColumn>) -> Vec<PrinterColumn> {
    if columns.is_empty() {
        columns.push(printed(Column::new("Age", "date", 0), ".metadata.creationTimestamp"));
    }
    columns.insert(0, printed(Column::name(), ".metadata.name"));
    columns
}

fn printed(column: Column, json_path: &str) -> PrinterColumn {
    PrinterColumn { column, json_path: json_path.to_owned() }
}
