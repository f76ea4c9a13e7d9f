//! The column of `kubectl get pods -o wide` that tells which ports of their nodes were chosen for pods, where
//! there are any.

use serde_json::{Value, json};

use crate::object;

/// Where a pod says so.
const ANNOTATION: &str = "/object/metadata/annotations/minik8s.io~1published-ports";

/// Adds it to tables of pods.
pub(super) fn add_column(tables: &mut [Value]) {
    let published = |row: &Value| row.pointer(ANNOTATION).is_some();
    if !tables.iter().flat_map(|table| object::list(table, "/rows")).any(published) {
        return;
    }
    for table in tables {
        let column = json!({"name": "Published Ports", "type": "string", "priority": 1});
        append(&mut table["columnDefinitions"], column);
        for row in table["rows"].as_array_mut().into_iter().flatten() {
            let cell = row.pointer(ANNOTATION).cloned().unwrap_or_else(|| json!("<none>"));
            append(&mut row["cells"], cell);
        }
    }
}

fn append(list: &mut Value, one: Value) {
    if let Value::Array(list) = list {
        list.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(annotations: &[Value]) -> Value {
        let row = |annotations: &Value| json!({"cells": ["p"], "object": {"metadata": {"annotations": annotations}}});
        json!({"columnDefinitions": [{"name": "Name"}], "rows": annotations.iter().map(row).collect::<Vec<_>>()})
    }

    #[test]
    fn published_ports_are_a_column_where_there_are_any() {
        let mut without = [table(&[json!(null)])];
        add_column(&mut without);
        assert_eq!(without, [table(&[json!(null)])]);

        let ports = "127.0.0.1:40001->80/tcp";
        let mut with = [table(&[json!({"minik8s.io/published-ports": ports}), json!({})])];
        add_column(&mut with);
        assert_eq!(with[0]["columnDefinitions"][1]["name"], "Published Ports");
        assert_eq!(with[0]["rows"][0]["cells"], json!(["p", ports]));
        assert_eq!(with[0]["rows"][1]["cells"], json!(["p", "<none>"]));
    }
}
