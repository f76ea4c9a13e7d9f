//! What a conversion webhook is asked, and what it answers: `ConversionReview`, in versions that say the same. Pure.

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::meta::Status;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

const KIND: &str = "ConversionReview";

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    uid: String,
    /// `stable.example.com/v2`.
    desired: String,
    objects: &'a [Value],
    /// Of the review.
    version: &'a str,
}

/// As it is sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review<'a> {
    kind: &'static str,
    api_version: String,
    request: Request<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: &'a str,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: &'a str,
    objects: &'a [Value],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    response: Option<Response>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    result: Status,
    converted_objects: Option<Vec<Value>>,
}

impl<'a> Question<'a> {
    pub(super) fn new(desired: String, objects: &'a [Value], version: &'a str) -> Self {
        Self { uid: Uuid::new_v4().to_string(), desired, objects, version }
    }

    pub(super) fn review(&self) -> Review<'_> {
        let Self { uid, desired, objects, .. } = self;
        let request = Request { uid, desired_api_version: desired, objects };
        Review { kind: KIND, api_version: self.api_version(), request }
    }

    fn api_version(&self) -> String {
        format!("apiextensions.k8s.io/{}", self.version)
    }

    /// As Kubernetes tells of it.
    pub(super) fn failed(&self, why: &str) -> String {
        format!("conversion webhook for {} failed: {why}", self.what())
    }

    fn what(&self) -> String {
        self.objects.first().map(group_version_kind).unwrap_or_default()
    }

    /// Reads an answer: the objects in the order of those that were sent. Fails with what is wrong with it.
    pub(super) fn converted(&self, answer: &[u8]) -> Result<Vec<Value>, String> {
        let converted = self.response(answer).map_err(|why| self.failed(&why))?;
        let (count, expected) = (converted.len(), self.objects.len());
        let what = self.what();
        if count != expected {
            return Err(format!(
                "conversion webhook for {what} returned {count} objects, expected {expected}"
            ));
        }
        let pairs = self.objects.iter().zip(converted).enumerate();
        let checked = pairs.map(|(index, (original, mut converted))| {
            let place = if expected == 1 { String::new() } else { format!(" at index {index}") };
            let invalid = |what_is_wrong: &str, why: String| {
                format!(
                    "conversion webhook for {what} returned invalid {what_is_wrong}{place}: {why}"
                )
            };
            let object = if expected == 1 { "object" } else { "converted object" };
            let metadata = if expected == 1 { "metadata" } else { "metadata in object" };
            self.check(original, &converted).map_err(|why| invalid(object, why))?;
            restore_metadata(original, &mut converted).map_err(|why| invalid(metadata, why))?;
            Ok(converted)
        });
        checked.collect()
    }

    /// The objects of an answer that is one to the question.
    fn response(&self, answer: &[u8]) -> Result<Vec<Value>, String> {
        let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let wanted = self.api_version();
        if self.version == "v1" && (answer.api_version != wanted || answer.kind != KIND) {
            let Answer { api_version, kind, .. } = answer;
            return Err(format!(
                "expected webhook response of {wanted}, Kind={KIND}, got {api_version}, Kind={kind}"
            ));
        }
        let response = answer.response.ok_or("no response provided")?;
        if self.version == "v1" && response.uid != self.uid {
            return Err(format!("expected response.uid={:?}, got {:?}", self.uid, response.uid));
        }
        let Status { status, message, .. } = response.result;
        let status = status.unwrap_or_default();
        if status != "Success" {
            let message = message.filter(|message| !message.is_empty());
            return Err(message.unwrap_or_else(|| {
                format!("response.result.status was '{status}', not 'Success'")
            }));
        }
        Ok(response.converted_objects.unwrap_or_default())
    }

    fn check(&self, original: &Value, converted: &Value) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (desired, version) = (&self.desired, text(&converted["apiVersion"]));
        if version != *desired {
            return Err(format!("invalid groupVersion (expected {desired}, received {version})"));
        }
        let kinds = (text(&original["kind"]), text(&converted["kind"]));
        if kinds.0 != kinds.1 {
            return Err(format!("invalid kind (expected {}, received {})", kinds.0, kinds.1));
        }
        for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
            let was = text(&original["metadata"][field]);
            let is = text(&converted["metadata"][field]);
            if was != is {
                return Err(format!("must have the same {name}: {was} != {is}"));
            }
        }
        Ok(())
    }
}

/// `stable.example.com/v1, Kind=CronTab`
fn group_version_kind(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    format!("{}, Kind={}", text("apiVersion"), text("kind"))
}

/// Of the metadata a webhook changes labels and annotations; all else stays.
fn restore_metadata(original: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get_mut("metadata").map(Value::take) {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(given)) => given,
        Some(other) => {
            return Err(format!(
                "invalid metadata of type {} in converted object",
                type_of(&other)
            ));
        }
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => drop(metadata.remove(field)),
            Some(Value::Object(texts)) => {
                let is_changed = metadata.get(field).and_then(Value::as_object) != Some(texts);
                if is_changed {
                    check_texts(field, texts)?;
                }
                metadata.insert(field.to_owned(), texts.clone().into());
            }
            Some(other) => {
                let type_ = type_of(other);
                return Err(format!(
                    "invalid metadata.{field} of type {type_} in converted object"
                ));
            }
        }
    }
    converted["metadata"] = metadata.into();
    Ok(())
}

fn check_texts(field: &str, texts: &Map<String, Value>) -> Result<(), String> {
    let mut given = BTreeMap::new();
    for (name, value) in texts {
        let Some(text) = value.as_str() else {
            let type_ = type_of(value);
            return Err(format!(
                "metadata.{field}[{name}] must be a string, but is {type_} in converted object"
            ));
        };
        given.insert(name.clone(), text.to_owned());
    }
    let (path, mut errors) = (FieldPath::new("metadata").child(field), FieldErrors::default());
    match field {
        "labels" => names::validate_labels(&given, &path, &mut errors),
        _ => names::validate_annotations(&given, &path, &mut errors),
    }
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// As Go calls what a value is made of.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn original(name: &str) -> Value {
        json!({"apiVersion": "e.com/v1", "kind": "E", "metadata": {
            "name": name, "uid": "u", "generation": 3, "labels": {"a": "b"},
            "annotations": {"kept": "as it is"}, "finalizers": ["f"],
        }})
    }

    /// What comes of an object that a webhook has changed: itself, or what is wrong.
    #[track_caller]
    fn check(change: impl Fn(&mut Value), expected: Result<Value, &str>) {
        let objects = [original("a")];
        let question = Question::new("e.com/v2".to_owned(), &objects, "v1");
        let mut converted = objects[0].clone();
        converted["apiVersion"] = json!("e.com/v2");
        change(&mut converted);
        let answer = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": KIND, "response": {
                "uid": question.uid, "result": {"status": "Success"}, "convertedObjects": [converted],
            },
        });
        let found = question.converted(answer.to_string().as_bytes());
        let metadata = found.map(|mut objects| objects.remove(0)["metadata"].take());
        let invalid =
            |why| format!("conversion webhook for e.com/v1, Kind=E returned invalid {why}");
        assert_eq!(metadata, expected.map_err(invalid));
    }

    #[test]
    fn a_webhook_changes_nothing_of_the_metadata_but_labels_and_annotations() {
        let with = |field: &str, value: Value| {
            let mut metadata = original("a")["metadata"].take();
            metadata[field] = value;
            metadata
        };
        check(|_| {}, Ok(original("a")["metadata"].take()));
        check(
            |object| {
                object["metadata"]["generation"] = json!(9);
                object["metadata"]["finalizers"] = json!([]);
                object["metadata"]["labels"] = json!({"c": "d"});
            },
            Ok(with("labels", json!({"c": "d"}))),
        );
        let mut without = original("a")["metadata"].take();
        without.as_object_mut().unwrap().remove("annotations");
        let forget = |object: &mut Value| {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        };
        check(forget, Ok(without));
        check(
            |object| object["metadata"]["labels"] = json!({"a": 1}),
            Err("metadata: metadata.labels[a] must be a string, but is int64 in converted object"),
        );
        check(
            |object| object["metadata"]["labels"] = json!([]),
            Err("metadata: invalid metadata.labels of type []interface {} in converted object"),
        );
        check(
            |object| drop(object.as_object_mut().unwrap().remove("metadata")),
            Err("object: must have the same name: a != "),
        );
    }

    #[test]
    fn a_converted_object_is_the_same_one_in_the_version_that_was_asked_for() {
        check(
            |object| object["apiVersion"] = json!("e.com/v3"),
            Err("object: invalid groupVersion (expected e.com/v2, received e.com/v3)"),
        );
        check(
            |object| object["kind"] = json!("F"),
            Err("object: invalid kind (expected E, received F)"),
        );
        check(
            |object| object["metadata"]["uid"] = json!("w"),
            Err("object: must have the same UID: u != w"),
        );
    }

    #[test]
    fn an_answer_is_one_to_the_question() {
        let objects = [original("a"), original("b")];
        let question = Question::new("e.com/v2".to_owned(), &objects, "v1");
        let check = |answer: Value, expected: &str| {
            let found = question.converted(answer.to_string().as_bytes()).unwrap_err();
            assert_eq!(found, format!("conversion webhook for e.com/v1, Kind=E {expected}"));
        };
        let answer = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": KIND, "response": response});
        check(
            json!({}),
            "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got , Kind=",
        );
        check(answer(Value::Null), "failed: no response provided");
        check(
            answer(json!({"uid": "x"})),
            &format!("failed: expected response.uid={:?}, got \"x\"", question.uid),
        );
        let uid = &question.uid;
        check(answer(json!({"uid": uid})), "failed: response.result.status was '', not 'Success'");
        let success = json!({"status": "Success"});
        check(
            answer(json!({"uid": uid, "result": success, "convertedObjects": [{}]})),
            "returned 1 objects, expected 2",
        );
        check(
            answer(json!({"uid": uid, "result": success, "convertedObjects": [
                {"apiVersion": "e.com/v2", "kind": "E", "metadata": objects[0]["metadata"]}, {},
            ]})),
            "returned invalid converted object at index 1: invalid groupVersion (expected e.com/v2, received )",
        );
    }
}
