//! Events that are too long lose what was brought and answered (Kubernetes: `k8s.io/apiserver/plugin/pkg/audit/truncate`).

use std::borrow::Cow;

use super::event::Event;

/// How long an event may be, and all together that are written or sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation {
    max_event_size: usize,
    max_batch_size: usize,
}

/// The longest event would have no room.
#[derive(Debug, thiserror::Error)]
#[error("max batch size {batch} must not be less than max event size {event}")]
pub struct TruncationError {
    batch: usize,
    event: usize,
}

impl Truncation {
    /// Lengths in bytes.
    ///
    /// # Errors
    /// If a batch would have no room for the longest event.
    pub fn new(max_event_size: usize, max_batch_size: usize) -> Result<Self, TruncationError> {
        if max_batch_size < max_event_size {
            return Err(TruncationError { batch: max_batch_size, event: max_event_size });
        }
        Ok(Self { max_event_size, max_batch_size })
    }

    pub(super) fn max_batch_size(self) -> usize {
        self.max_batch_size
    }

    /// The line of an event, or else that of what is left of it; none if that is too long as well.
    pub(super) fn fit<'a>(self, event: &Event<'_>, line: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if line.len() <= self.max_event_size {
            return Some(line.into());
        }
        let truncated = event.truncated_line()?;
        (truncated.len() <= self.max_event_size).then(|| truncated.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;
    use crate::{
        audit::{
            event::Annotations,
            policy::{Level, Stage},
        },
        identity::Identity,
    };

    #[test]
    fn what_is_too_long_loses_what_was_brought_and_answered_and_says_so() {
        let annotations = Annotations::from([("a".into(), "b".into())]);
        let (user, object) = (Identity::new("ann", &[]), to_raw_value(&"x".repeat(1000)).unwrap());
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: Level::RequestResponse,
            audit_id: "one",
            stage: Stage::ResponseComplete,
            request_uri: "/",
            verb: "create",
            user: (&user).into(),
            impersonated_user: None,
            source_ips: &[],
            user_agent: "",
            object_ref: None,
            response_status: None,
            request_object: Some(&object),
            response_object: Some(&object),
            request_received_timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            stage_timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            annotations: &annotations,
        };
        let whole = event.line().unwrap();
        let told = |most: usize| -> Option<Value> {
            let line = Truncation::new(most, most).unwrap().fit(&event, &whole)?;
            Some(serde_json::from_slice(&line).unwrap())
        };
        let all = told(whole.len()).unwrap();
        assert_eq!(all["annotations"], json!({"a": "b"}));
        assert!(all["requestObject"].is_string() && all["responseObject"].is_string());
        let part = told(whole.len() - 1).unwrap();
        assert_eq!(part["annotations"], json!({"a": "b", "audit.k8s.io/truncated": "true"}));
        assert!(part["requestObject"].is_null() && part["responseObject"].is_null());
        assert_eq!(part["auditID"], "one");
        assert_eq!(told(100), None);
    }

    #[test]
    fn a_batch_has_room_for_the_longest_event() {
        assert!(Truncation::new(2, 2).is_ok());
        let told = Truncation::new(2, 1).unwrap_err().to_string();
        assert_eq!(told, "max batch size 1 must not be less than max event size 2");
    }
}
