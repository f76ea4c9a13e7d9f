//! Of which faults of a pod its owner is told. Each row is what is given, and what is said of it: nothing if it is taken.

mod containers;
mod placement;
mod security;
mod updates;
mod volumes;

use serde_json::{Value, json};

use crate::{context, def, try_create, yaml};

/// What is long, and said of many fields.
const WORDS: [(&str, &str); 9] = [
    ("<required>", "requiredDuringSchedulingIgnoredDuringExecution"),
    ("<preferred>", "preferredDuringSchedulingIgnoredDuringExecution"),
    (
        "<label>",
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ),
    (
        "<subdomain>",
        r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
    (
        "<search>",
        r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')",
    ),
    (
        "<key>",
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    ),
    (
        "<value>",
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    ),
    (
        "<header>",
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
    ),
    (
        "<variable>",
        "a valid environment variable name must consist only of printable ASCII characters other than '='",
    ),
];

fn in_full(text: &str) -> String {
    WORDS.iter().fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "a", "image": "x"}]},
    })
}

/// Sets the fields of an object.
fn set(object: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else { panic!("{fields} is no object") };
    object.as_object_mut().unwrap().extend(fields);
}

/// The faults, each on a line, without what all their paths begin with.
fn told(pod: Value, prefix: &str) -> String {
    let def = def("pods");
    let Err(error) = try_create(&def, pod, &context(&def)) else { return String::new() };
    let causes = error.status().details.as_ref().and_then(|details| details.causes.as_ref());
    let Some(causes) = causes else { return error.to_string() };
    let line = |field: &str, message: &str| {
        format!("{}: {message}", field.strip_prefix(prefix).unwrap_or(field))
    };
    let lines = causes.iter().map(|cause| {
        line(
            cause.field.as_deref().unwrap_or_default(),
            cause.message.as_deref().unwrap_or_default(),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(rows: &[(&str, &str)], prefix: &str, place: impl Fn(&mut Value, Value)) {
    for (given, expected) in rows {
        let mut pod = pod();
        place(&mut pod["spec"], yaml(&in_full(given)));
        assert_eq!(told(pod, prefix), in_full(expected), "{given}");
    }
}

/// Fields of the spec.
fn of_specs(rows: &[(&str, &str)]) {
    check(rows, "spec.", set);
}

/// Fields of a container.
fn of_containers(rows: &[(&str, &str)]) {
    check(rows, "spec.containers[0].", |spec, fields| set(&mut spec["containers"][0], fields));
}

/// What the volume `v` is.
fn of_volumes(rows: &[(&str, &str)]) {
    check(rows, "spec.volumes[0].", |spec, fields| {
        spec["volumes"] = json!([{"name": "v"}]);
        set(&mut spec["volumes"][0], fields);
    });
}
