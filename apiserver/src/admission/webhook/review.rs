//! What a webhook is asked, and what it answers: `AdmissionReview`, in versions that say the same.

use std::collections::BTreeMap;

use api_machinery::ApiError;
use api_types::meta::Status;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::admission::{Attributes, matching::Seen, request};

const KIND: &str = "AdmissionReview";

/// A request, as a webhook is told of it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) uid: String,
    request: Value,
}

/// What an answer is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Of the reviews that the webhook is sent.
    pub(super) version: &'static str,
    /// Whether it may change the object; of others nobody looks at a patch.
    pub(super) may_patch: bool,
}

/// What a webhook says.
#[derive(Debug)]
pub(super) struct Verdict {
    is_allowed: bool,
    status: Option<Status>,
    /// A JSON patch, not yet read.
    pub(super) patch: Option<Vec<u8>>,
    pub(super) warnings: Vec<String>,
    /// For the audit log.
    pub(super) annotations: BTreeMap<String, String>,
}

impl Question {
    /// About a request, as the webhook wants to see it.
    pub(super) fn of(attributes: &Attributes<'_>, seen: &Seen<'_>) -> Self {
        let uid = Uuid::new_v4().to_string();
        let mut request = request::request(attributes, seen);
        request["uid"] = uid.clone().into();
        request["object"] = seen.object.clone().into_owned();
        request["oldObject"] = seen.old.clone().into_owned();
        Self { uid, request }
    }

    /// As it is sent.
    pub(super) fn review(&self, version: &str) -> Value {
        json!({ "kind": KIND, "apiVersion": api_version(version), "request": self.request })
    }
}

fn api_version(version: &str) -> String {
    format!("admission.k8s.io/{version}")
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
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    audit_annotations: Option<BTreeMap<String, String>>,
}

/// Reads an answer; fails with what is wrong with it (Kubernetes: `VerifyAdmissionResponse`).
pub(super) fn verdict(answer: &[u8], uid: &str, expected: Expected) -> Result<Verdict, String> {
    let version = expected.version;
    let answer: Answer = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    let response = answer.response.ok_or("webhook response was absent")?;
    let wanted = api_version(version);
    if version == "v1" && (answer.api_version != wanted || answer.kind != KIND) {
        let Answer { api_version, kind, .. } = answer;
        return Err(format!(
            "expected webhook response of {wanted}, Kind={KIND}, got {api_version}, Kind={kind}"
        ));
    }
    if version == "v1" && response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let patch = match expected.may_patch {
        true => patch(response.patch, response.patch_type.as_deref(), version)?,
        false => None,
    };
    Ok(Verdict {
        is_allowed: response.allowed,
        status: response.status,
        patch,
        warnings: response.warnings.unwrap_or_default(),
        annotations: response.audit_annotations.unwrap_or_default(),
    })
}

fn patch(
    given: Option<String>,
    type_: Option<&str>,
    version: &str,
) -> Result<Option<Vec<u8>>, String> {
    let patch = given.filter(|patch| !patch.is_empty());
    match (&patch, type_) {
        (Some(_), None) if version == "v1" => {
            return Err("webhook returned response.patch but not response.patchType".to_owned());
        }
        (None, Some(_)) if version == "v1" => {
            return Err("webhook returned response.patchType but not response.patch".to_owned());
        }
        (_, None | Some("JSONPatch")) => {}
        (_, Some(other)) => {
            return Err(format!("webhook returned invalid response.patchType of {other:?}"));
        }
    }
    let patch = patch.map(|patch| STANDARD.decode(patch)).transpose();
    patch.map_err(|error| format!("response.patch is no base64: {error}"))
}

impl Verdict {
    /// The error that its refusal is for the sender (Kubernetes: `ToStatusErr`).
    pub(super) fn refusal(&self, hook: &str) -> Option<ApiError> {
        if self.is_allowed {
            return None;
        }
        let status = self.status.clone().unwrap_or_default();
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let denied = format!("admission webhook {hook:?} denied the request");
        let message = match given(&status.message).or_else(|| given(&status.reason)) {
            Some(why) => format!("{denied}: {why}"),
            None => format!("{denied} without explanation"),
        };
        let code = status.code.and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
        let reason = status.reason.unwrap_or_default();
        Some(ApiError::new(code, &reason, message).with_details(status.details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUTATING: Expected = Expected { version: "v1", may_patch: true };

    #[track_caller]
    fn check(answer: &Value, expected: &str) {
        let found = verdict(answer.to_string().as_bytes(), "u", MUTATING);
        assert_eq!(found.map(|_| "fine".to_owned()).unwrap_or_else(|e| e), expected);
    }

    fn answer(response: &Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn an_answer_has_to_be_one_to_the_question() {
        check(&answer(&json!({"uid": "u", "allowed": true})), "fine");
        check(&answer(&Value::Null), "webhook response was absent");
        check(
            &answer(&json!({"uid": "x", "allowed": true})),
            r#"expected response.uid="u", got "x""#,
        );
        check(
            &json!({"response": {"uid": "u"}}),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got , Kind=",
        );
        check(
            &answer(&json!({"uid": "u", "patch": "W10="})),
            "webhook returned response.patch but not response.patchType",
        );
        check(
            &answer(&json!({"uid": "u", "patch": "W10=", "patchType": "MergePatch"})),
            r#"webhook returned invalid response.patchType of "MergePatch""#,
        );
    }

    #[test]
    fn nobody_looks_at_a_patch_of_who_may_change_nothing() {
        let validating = Expected { may_patch: false, ..MUTATING };
        for odd in [json!({"patch": "W10="}), json!({"patchType": "MergePatch"})] {
            let mut response = json!({"uid": "u", "allowed": true});
            response.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
            let text = answer(&response).to_string();
            let found = verdict(text.as_bytes(), "u", validating).unwrap();
            assert!(found.is_allowed && found.patch.is_none(), "{odd}");
        }
    }

    #[test]
    fn a_refusal_is_a_failure_whatever_its_status_says() {
        let check = |status: Value, code: u16, expected: &str| {
            let answer = answer(&json!({"uid": "u", "allowed": false, "status": status}));
            let verdict = verdict(answer.to_string().as_bytes(), "u", MUTATING).unwrap();
            let refusal = verdict.refusal("a.b.c").unwrap();
            assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, expected));
        };
        let denied = r#"admission webhook "a.b.c" denied the request"#;
        check(Value::Null, 400, &format!("{denied} without explanation"));
        check(json!({"message": "no", "code": 403}), 403, &format!("{denied}: no"));
        check(json!({"reason": "Forbidden", "code": 200}), 400, &format!("{denied}: Forbidden"));
    }
}
