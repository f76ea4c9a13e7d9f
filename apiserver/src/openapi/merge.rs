//! Another server's document of Swagger 2.0 within this one's.

use serde_json::{Map, Value};

use crate::delegates::OpenApiOf;

/// Adds the paths of its group version, and the definitions and shared parameters that are not there. What both have,
/// Kubernetes' own types most of all, is this server's.
pub(super) fn add(document: &mut Value, other: &OpenApiOf) {
    let Some(theirs) = &other.v2 else { return };
    let below = match other.group.as_str() {
        "" => format!("/api/{}/", other.version),
        group => format!("/apis/{group}/{}/", other.version),
    };
    let is_its = |path: &str| format!("{path}/").starts_with(&below);
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| !is_its(path));
        paths.extend(fields(&theirs["paths"]).filter(|(path, _)| is_its(path)));
    }
    for shared in ["definitions", "parameters"] {
        for (name, value) in fields(&theirs[shared]) {
            let known = document[shared].get(&name).is_some();
            if !known {
                document[shared][name] = value;
            }
        }
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (String, Value)> + use<> {
    value.as_object().cloned().unwrap_or_else(Map::new).into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_servers_paths_are_added_and_its_definitions_unless_they_are_there() {
        let mut document = json!({
            "paths": {"/apis/a.io/v1/x": 1, "/apis/b.io/v1/x": 1, "/apis/b.io/v11/x": 1},
            "definitions": {"Meta": 1},
        });
        let theirs = json!({
            "paths": {"/apis/b.io/v1/": 2, "/apis/b.io/v1/y": 2, "/apis/": 2, "/version": 2},
            "definitions": {"Meta": 2, "Y": 2}, "parameters": {"limit": 2},
        });
        let other = OpenApiOf {
            group: "b.io".to_owned(),
            version: "v1".to_owned(),
            address: String::new(),
            v3: None,
            v2: Some(theirs),
        };
        add(&mut document, &other);
        let paths = json!({"/apis/a.io/v1/x": 1, "/apis/b.io/v11/x": 1, "/apis/b.io/v1/": 2, "/apis/b.io/v1/y": 2});
        let (definitions, parameters) = (json!({"Meta": 1, "Y": 2}), json!({"limit": 2}));
        let all = json!({"paths": paths, "definitions": definitions, "parameters": parameters});
        assert_eq!(document, all);
    }
}
