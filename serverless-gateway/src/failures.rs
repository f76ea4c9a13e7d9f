//! The calls of functions that failed lately, for people to read: an event of the function tells how many did in a few
//! seconds, and of the last ones, whenever they were, one by one.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use api_types::jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

/// How often they are told.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);
/// So many are told one by one.
const TOLD: usize = 3;
/// So many bytes of what each came to, and of the name that its caller gave it.
const LONGEST: usize = 200;
const LONGEST_ID: usize = 128;
/// The reason of the events.
pub(crate) const REASON: &str = "CallsFailed";

/// The calls of a function that failed.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    /// Those that are not told yet.
    by_code: BTreeMap<u16, u64>,
    last: VecDeque<String>,
}

impl Failures {
    /// A call has failed: its code, its id, the instance that had it, if one had, and why.
    pub(crate) fn note(&self, code: u16, call: &str, instance: Option<IpAddr>, why: &str) {
        let now = Timestamp::now().strftime("%H:%M:%SZ").to_string();
        let at = instance.map(|address| format!(" at {address}")).unwrap_or_default();
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        let (call, why) = (beginning(call, LONGEST_ID), beginning(&why, LONGEST));
        let mut lately = self.0.lock();
        *lately.by_code.entry(code).or_default() += 1;
        lately.last.push_back(format!("{now} call {call}{at}: {code} {why}"));
        if lately.last.len() > TOLD {
            lately.last.pop_front();
        }
    }

    /// What there is to tell, once.
    pub(crate) fn take(&self) -> Option<String> {
        let mut lately = self.0.lock();
        let by_code = std::mem::take(&mut lately.by_code);
        let count: u64 = by_code.values().sum();
        let codes: Vec<_> =
            by_code.iter().map(|(code, count)| format!("{code}: {count}")).collect();
        let calls = if count == 1 { "call" } else { "calls" };
        let last: String = lately.last.iter().map(|call| format!("\n  {call}")).collect();
        (count > 0).then(|| format!("{count} {calls} failed ({}){last}", codes.join(", ")))
    }
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// What a function says of its failure, from the beginning of its answer.
pub(crate) fn why(answer: &[u8]) -> String {
    let said: Value = serde_json::from_slice(answer).unwrap_or_default();
    let part = |name: &str| said["error"][name].as_str();
    match (part("type"), part("message")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        _ => String::from_utf8_lossy(answer).split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_together_and_once() {
        let failures = Failures::default();
        assert_eq!(failures.take(), None);
        let instance = Some(IpAddr::from([10, 0, 0, 1]));
        failures.note(504, "a", instance, "too slow");
        let message = failures.take().unwrap();
        assert!(message.starts_with("1 call failed (504: 1)\n  "), "{message}");
        assert!(message.ends_with("Z call a at 10.0.0.1: 504 too slow"), "{message}");
        for call in ["a", "b", "c", "d"] {
            failures.note(500, call, None, &"ü".repeat(500));
        }
        failures.note(502, &"e".repeat(60_000), instance, "broke\noff");
        let message = failures.take().unwrap();
        assert!(message.starts_with("5 calls failed (500: 4, 502: 1)\n  "), "{message}");
        assert!(!message.contains("call b:") && message.contains("call c: 500"), "{message}");
        assert!(message.len() < 1024, "what an event may say");
        assert_eq!(message.lines().count(), 4, "a line for each: {message}");
        assert_eq!(failures.take(), None);
        failures.note(504, "f", None, "slow");
        let message = failures.take().unwrap();
        assert!(message.starts_with("1 call failed (504: 1)\n  "), "{message}");
        assert!(message.contains("call d: 500"), "there is one event: {message}");
    }

    #[test]
    fn what_a_function_says_is_its_error_or_its_text() {
        let error = br#"{"error": {"type": "ValueError", "message": "no such x"}}"#;
        assert_eq!(why(error), "ValueError: no such x");
        assert_eq!(why(b"<h1>\n  Oops</h1>\n"), "<h1> Oops</h1>");
        assert_eq!(why(br#"{"error": "#), r#"{"error":"#);
    }
}
