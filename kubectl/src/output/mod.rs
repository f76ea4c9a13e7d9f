//! How objects are shown: `-o json|yaml|name|jsonpath=…|custom-columns=…`, and tables.

pub mod jsonpath;
pub mod table;
pub mod tabs;

use api_machinery::encode;
use serde_json::{Value, json};

use crate::{Failure, discovery::ApiResource, object};
use jsonpath::{Path, Template};

/// The form that `-o` asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Format {
    /// The server's table.
    Table {
        /// With the columns of lower priority.
        wide: bool,
    },
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// `pod/x` lines.
    Name,
    /// A template.
    JsonPath(Template),
    /// Columns of the user's choice: titles and paths.
    Columns(Vec<(String, Path)>),
}

impl Format {
    /// Reads the value of `-o`; without one it is a table.
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let text = text.unwrap_or_default();
        let (form, argument) = text.split_once('=').unwrap_or((text, ""));
        Ok(match form {
            "" => Self::Table { wide: false },
            "wide" => Self::Table { wide: true },
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "jsonpath" if !argument.is_empty() => Self::JsonPath(Template::parse(argument)?),
            "custom-columns" if !argument.is_empty() => Self::Columns(columns(argument)?),
            "jsonpath" | "custom-columns" => {
                return Err(Failure::message(format!(
                    "{form} format specified but no template given: use -o {form}=…"
                )));
            }
            _ => {
                return Err(Failure::message(format!(
                    "unable to match a printer suitable for the output format {text:?}, allowed formats are: custom-columns,json,jsonpath,name,wide,yaml"
                )));
            }
        })
    }

    /// Whether the server makes the output's text.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self, Self::Table { .. })
    }
}

/// `NAME:.metadata.name,IP:.status.podIP`
fn columns(text: &str) -> Result<Vec<(String, Path)>, Failure> {
    let one = |column: &str| match column.split_once(':') {
        Some((title, path)) if !path.is_empty() => Ok((title.to_owned(), Path::parse(path)?)),
        _ => Err(Failure::message(format!(
            "unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>"
        ))),
    };
    text.split(',').map(one).collect()
}

/// The text of one object, or of a list as one document. `resource` is of use for names alone.
#[must_use]
pub fn render(format: &Format, resource: Option<&ApiResource>, value: &Value) -> String {
    match format {
        Format::Json => pretty_json(value),
        Format::Yaml => encode::yaml(value),
        Format::JsonPath(template) => template.render(value),
        Format::Columns(columns) => custom_columns(columns, &items(value), true),
        Format::Table { .. } | Format::Name => {
            items(value).iter().map(|o| object_name(resource, o) + "\n").collect()
        }
    }
}

/// A list's items, or the object itself.
fn items(value: &Value) -> Vec<&Value> {
    match value["items"].as_array() {
        Some(items) => items.iter().collect(),
        None => vec![value],
    }
}

/// `pod/x`, `replicaset.apps/x`.
#[must_use]
pub fn object_name(resource: Option<&ApiResource>, object: &Value) -> String {
    let name = object::name(object);
    match resource {
        Some(resource) => resource.object_name(name),
        None => {
            let kind = object::kind(object).to_lowercase();
            match object::group_version(object) {
                ("", _) => format!("{kind}/{name}"),
                (group, _) => format!("{kind}.{group}/{name}"),
            }
        }
    }
}

/// The rows of custom columns, aligned, with their header if wanted.
#[must_use]
pub fn custom_columns(columns: &[(String, Path)], objects: &[&Value], header: bool) -> String {
    let cell = |path: &Path, object: &Value| {
        let found: Vec<_> = path.find(object).into_iter().map(object::scalar).collect();
        if found.is_empty() { "<none>".to_owned() } else { found.join(",") }
    };
    let mut lines = Vec::new();
    if header {
        lines.push(columns.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>().join("\t"));
    }
    for object in objects {
        lines.push(
            columns.iter().map(|(_, path)| cell(path, object)).collect::<Vec<_>>().join("\t"),
        );
    }
    tabs::align(&lines.join("\n"), 6, 3)
}

/// JSON with four spaces, as kubectl's.
#[must_use]
pub fn pretty_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a Value to memory cannot fail; an empty text would show it if it could.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

/// Objects as the one document that `-o json|yaml` prints for many.
#[must_use]
pub fn as_list(objects: Vec<Value>) -> Value {
    let mut list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}});
    list["items"] = Value::Array(objects);
    list
}

/// Leaves out what only servers care about.
pub fn hide_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_formats_are_read_and_unknown_ones_refused() {
        assert_eq!(Format::parse(Some("wide")).unwrap(), Format::Table { wide: true });
        assert!(matches!(Format::parse(Some("jsonpath={.a}")).unwrap(), Format::JsonPath(_)));
        for bad in ["xml", "jsonpath", "custom-columns=A"] {
            assert!(Format::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn custom_columns_align() {
        let format = Format::parse(Some("custom-columns=NAME:.metadata.name,X:.x")).unwrap();
        let list = as_list(vec![
            json!({"metadata": {"name": "abcdef"}, "x": 1}),
            json!({"metadata": {"name": "b"}}),
        ]);
        assert_eq!(render(&format, None, &list), "NAME     X\nabcdef   1\nb        <none>\n");
    }
}
