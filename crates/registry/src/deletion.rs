//! How an object goes: at once, after a grace period, or when its finalizers are done
//! (Kubernetes: `rest.BeforeDelete` and `deletionFinalizersForGarbageCollection`).

use api_types::{
    jiff::{SignedDuration, Timestamp},
    meta::DeleteOptions,
};
use serde_json::{Value, json};

use crate::{
    erased::{ErasedKind, Fault},
    metadata::bump_generation,
};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete request does.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// The object is removed now.
    Remove,
    /// The object is stored like this, marked as being deleted.
    Mark(Value),
    /// It is being deleted already, and the request changes nothing.
    Pending,
}

/// Decides it. What can't be read is not deleted: nobody knows how long it has to be left, and what holds it.
pub(crate) fn begin(
    kind: &dyn ErasedKind,
    object: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Deletion, Fault> {
    let finalizers = finalizers(object, options);
    let mut marked = object.clone();
    set_finalizers(&mut marked, &finalizers);
    match deadline(kind, object, options, now)? {
        Some((at, grace)) => mark(&mut marked, at, grace, is_marked(object)),
        None if marked == *object && !is_free(kind, object)? => return Ok(Deletion::Pending),
        None => {}
    }
    let marked = kind.prepare_delete(marked)?;
    if is_free(kind, &marked)? {
        return Ok(Deletion::Remove);
    }
    Ok(if marked == *object { Deletion::Pending } else { Deletion::Mark(marked) })
}

/// Whether the object is marked and nothing holds it.
pub(crate) fn is_finished(kind: &dyn ErasedKind, object: &Value) -> Result<bool, Fault> {
    Ok(is_marked(object) && is_free(kind, object)?)
}

/// No grace left, no finalizers, nothing of its kind's own.
fn is_free(kind: &dyn ErasedKind, object: &Value) -> Result<bool, Fault> {
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let held = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    Ok(grace.unwrap_or(0) == 0 && held.is_none_or(Vec::is_empty) && !kind.is_held(object)?)
}

/// The new time of deletion and its grace period; `None` if the one there is stays, because a
/// second request can only shorten it.
fn deadline(
    kind: &dyn ErasedKind,
    object: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Option<(Timestamp, i64)>, Fault> {
    if !is_marked(object) {
        let grace = kind.grace_period(object, options.grace_period_seconds)?.max(0);
        return Ok(Some((after(now, grace), grace)));
    }
    let current = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    let (Some(current), Some(requested)) = (current, options.grace_period_seconds) else {
        return Ok(None);
    };
    if requested >= current {
        return Ok(None);
    }
    let grace = kind.grace_period(object, Some(requested))?.max(0);
    let marked_at = deletion_time(object).map_or(now, |t| after(t, -current));
    Ok(Some((after(marked_at, grace), grace)))
}

fn mark(object: &mut Value, at: Timestamp, grace: i64, again: bool) {
    if let Some(metadata) = object.get_mut("metadata") {
        metadata["deletionTimestamp"] = json!(format!("{at:.0}"));
        metadata["deletionGracePeriodSeconds"] = grace.into();
    }
    if !again {
        bump_generation(object);
    }
}

/// The object's finalizers, less or plus those that the propagation policy is about.
fn finalizers(object: &Value, options: &DeleteOptions) -> Vec<String> {
    let present = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let mut all: Vec<String> =
        present.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let Some(policy) = policy(options) else { return all };
    all.retain(|f| f != ORPHAN && f != FOREGROUND);
    match policy {
        "Orphan" => all.push(ORPHAN.to_owned()),
        "Foreground" => all.push(FOREGROUND.to_owned()),
        _ => {}
    }
    all
}

fn policy(options: &DeleteOptions) -> Option<&str> {
    let legacy =
        options.orphan_dependents.map(|orphan| if orphan { "Orphan" } else { "Background" });
    options.propagation_policy.as_deref().or(legacy)
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
}

fn is_marked(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null())
}

fn deletion_time(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/deletionTimestamp")?.as_str()?.parse().ok()
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
