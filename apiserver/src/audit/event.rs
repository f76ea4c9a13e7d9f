//! An event as it is written: `audit.k8s.io/v1`, in the order of Kubernetes' fields. Pure.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use api_types::jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::policy::{Level, Resource, Stage};
use crate::identity::Identity;

/// As long as most events are: room that does not grow while one is encoded.
const USUAL: usize = 1024;

/// What was decided about a request, and by what.
pub(super) type Annotations = BTreeMap<Cow<'static, str>, Cow<'static, str>>;

/// See the module.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    #[serde(serialize_with = "level")]
    pub(super) level: Level,
    #[serde(rename = "auditID")]
    pub(super) audit_id: &'a str,
    #[serde(serialize_with = "stage")]
    pub(super) stage: Stage,
    #[serde(rename = "requestURI")]
    pub(super) request_uri: &'a str,
    pub(super) verb: &'a str,
    pub(super) user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[_]>::is_empty")]
    pub(super) source_ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object_ref: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_status: Option<&'a Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_object: Option<&'a RawValue>,
    #[serde(serialize_with = "micros")]
    pub(super) request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micros")]
    pub(super) stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: &'a Annotations,
}

/// Who asks.
#[derive(Clone, Debug, Serialize)]
pub(super) struct User<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> From<&'a Identity> for User<'a> {
    fn from(Identity { user, groups, uid, extra }: &'a Identity) -> Self {
        Self { username: user, uid: uid.as_deref(), groups, extra }
    }
}

/// What came of a request.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Status {
    /// All that there is to tell of what went well.
    Code {
        metadata: Nothing,
        code: u16,
    },
    Whole(Value),
}

#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

impl Status {
    pub(super) fn of_code(code: u16) -> Self {
        Self::Code { metadata: Nothing {}, code }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) subresource: String,
}

impl ObjectRef {
    /// What a path says.
    pub(super) fn of(resource: &Resource<'_>, version: &str) -> Self {
        Self {
            resource: resource.resource.to_owned(),
            namespace: resource.namespace.to_owned(),
            name: resource.name.to_owned(),
            api_group: resource.group.to_owned(),
            api_version: version.to_owned(),
            subresource: resource.subresource.to_owned(),
            ..Self::default()
        }
    }

    /// What an object says of itself that its path does not.
    pub(super) fn complete(&mut self, json: &[u8]) {
        let Ok(Named { metadata }) = serde_json::from_slice(json) else { return };
        for (known, said) in [
            (&mut self.name, metadata.name),
            (&mut self.namespace, metadata.namespace),
            (&mut self.uid, metadata.uid),
            (&mut self.resource_version, metadata.resource_version),
        ] {
            if known.is_empty() {
                *known = said;
            }
        }
    }
}

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
}

impl Event<'_> {
    /// A line of it.
    pub(super) fn line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut line, self).ok()?;
        line.push(b'\n');
        Some(line)
    }

    /// The same, without what was brought and answered, which it says.
    pub(super) fn truncated_line(&self) -> Option<Vec<u8>> {
        let mut annotations = self.annotations.clone();
        annotations.insert("audit.k8s.io/truncated".into(), "true".into());
        let truncated = Event {
            request_object: None,
            response_object: None,
            annotations: &annotations,
            ..self.clone()
        };
        truncated.line()
    }
}

fn level<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.as_str())
}

fn stage<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(stage.as_str())
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// What is JSON, maybe without who manages its fields.
pub(super) fn object(json: &[u8], omits_managed_fields: bool) -> Option<Box<RawValue>> {
    match omits_managed_fields {
        true => without_managed_fields(json),
        false => on_one_line(serde_json::from_slice(json).ok()?),
    }
}

/// A line of what somebody brings would pass for an event of its own. Within texts the ends of lines are escaped.
fn on_one_line(json: Box<RawValue>) -> Option<Box<RawValue>> {
    const ENDS: [char; 2] = ['\n', '\r'];
    match json.get().contains(ENDS) {
        true => RawValue::from_string(json.get().replace(ENDS, " ")).ok(),
        false => Some(json),
    }
}

/// An object without who manages its fields, and none of a list's items with them.
fn without_managed_fields(json: &[u8]) -> Option<Box<RawValue>> {
    let mut object: Value = serde_json::from_slice(json).ok()?;
    forget(&mut object);
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        forget(item);
    }
    serde_json::value::to_raw_value(&object).ok()
}

fn forget(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_manages_fields_is_left_out_of_objects_and_of_the_items_of_lists() {
        let check = |given: &str, expected: &str| {
            assert_eq!(object(given.as_bytes(), true).unwrap().get(), expected);
            assert_eq!(object(given.as_bytes(), false).unwrap().get(), given);
        };
        let (with, without) =
            (r#"{"metadata":{"managedFields":[{}],"name":"a"}}"#, r#"{"metadata":{"name":"a"}}"#);
        check(with, without);
        check(&format!(r#"{{"items":[{with}]}}"#), &format!(r#"{{"items":[{without}]}}"#));
        check(r#"[{"op":"remove","path":"/a"}]"#, r#"[{"op":"remove","path":"/a"}]"#);
        check("1", "1");
        assert!(object(b"a: b", false).is_none());
    }

    #[test]
    fn an_object_of_several_lines_is_no_other_event() {
        let check = |omits_managed_fields: bool, expected: &str| {
            let given = "{\"a\": \"b\\n\",\r\n\"x\":\n{\"kind\":\"Event\"}\n}\n";
            let told = object(given.as_bytes(), omits_managed_fields).unwrap();
            assert_eq!(told.get(), expected);
        };
        check(false, r#"{"a": "b\n",  "x": {"kind":"Event"} }"#);
        check(true, r#"{"a":"b\n","x":{"kind":"Event"}}"#);
    }

    #[test]
    fn an_object_completes_what_its_path_does_not_say() {
        let path = Resource { resource: "pods", namespace: "a", ..Resource::default() };
        let mut about = ObjectRef::of(&path, "v1");
        about.complete(br#"{"metadata":{"name":"p","namespace":"b","uid":"u"},"spec":{}}"#);
        assert_eq!((&*about.name, &*about.namespace, &*about.uid), ("p", "a", "u"));
        about.complete(b"nothing of the kind");
    }
}
