//! Conditions of which nobody says since when they are. Kubernetes takes them: a time that is not said is one that its clients
//! know as none.

use serde_json::Value;

const CONDITION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Condition";
/// Go's time that is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Whether a kind of this schema has conditions that can't be without a time.
pub(crate) fn are_timed(schema: &Value) -> bool {
    schema["$defs"].get(CONDITION).is_some()
}

/// Gives the conditions of an object's status a time that lack one.
pub(crate) fn date(object: &mut Value) {
    let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let conditions = conditions.into_iter().flatten().filter_map(Value::as_object_mut);
    for condition in conditions.filter(|it| it.get("lastTransitionTime").is_none_or(Value::is_null))
    {
        condition.insert("lastTransitionTime".to_owned(), NO_TIME.into());
    }
}
