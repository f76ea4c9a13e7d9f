//! How an object goes: at once, after a grace period, or when its finalizers are done
//! (Kubernetes: `rest.BeforeDelete` and `deletionFinalizersForGarbageCollection`).

use api_types::{
    jiff::{SignedDuration, Timestamp},
    meta::{DeleteOptions, ObjectMeta, Time},
};

use crate::{any_object::AnyObject, erased::ErasedKind, metadata::bump_generation};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete request does.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// The object is removed now.
    Remove,
    /// The object is stored like this, marked as being deleted.
    Mark(AnyObject),
    /// It is being deleted already, and the request changes nothing.
    Pending,
}

/// Decides it.
pub(crate) fn begin(
    kind: &dyn ErasedKind,
    object: &AnyObject,
    options: &DeleteOptions,
    now: Timestamp,
) -> Deletion {
    let mut marked = object.clone();
    let finalizers = finalizers(kind, object.metadata(), options);
    let finalizers_change =
        object.metadata().finalizers.as_deref().unwrap_or_default() != finalizers;
    marked.metadata_mut().finalizers = Some(finalizers).filter(|f| !f.is_empty());
    let deadline = deadline(kind, object, options, now);
    if let Some((at, grace)) = deadline {
        mark(marked.metadata_mut(), at, grace);
    }
    let changes = finalizers_change || deadline.is_some();
    if changes {
        kind.prepare_delete(&mut marked);
    }
    match is_free(kind, &marked) {
        true => Deletion::Remove,
        false if changes => Deletion::Mark(marked),
        false => Deletion::Pending,
    }
}

/// Whether the object is marked and nothing holds it.
pub(crate) fn is_finished(kind: &dyn ErasedKind, object: &AnyObject) -> bool {
    is_marked(object.metadata()) && is_free(kind, object)
}

/// No grace left, no finalizers, nothing of its kind's own.
fn is_free(kind: &dyn ErasedKind, object: &AnyObject) -> bool {
    let ObjectMeta { deletion_grace_period_seconds: grace, finalizers, .. } = object.metadata();
    let is_held = finalizers.as_ref().is_some_and(|f| !f.is_empty()) || kind.is_held(object);
    grace.unwrap_or(0) == 0 && !is_held
}

/// The new time of deletion and its grace period; `None` if the one there is stays, because a
/// second request can only shorten it.
fn deadline(
    kind: &dyn ErasedKind,
    object: &AnyObject,
    options: &DeleteOptions,
    now: Timestamp,
) -> Option<(Timestamp, i64)> {
    let meta = object.metadata();
    if !is_marked(meta) {
        let grace = kind.grace_period(object, options.grace_period_seconds).max(0);
        return Some((after(now, grace), grace));
    }
    let current = meta.deletion_grace_period_seconds?;
    let requested = options.grace_period_seconds.filter(|requested| *requested < current)?;
    let grace = kind.grace_period(object, Some(requested)).max(0);
    let marked_at = meta.deletion_timestamp.as_ref().map_or(now, |t| after(t.0, -current));
    Some((after(marked_at, grace), grace))
}

fn mark(meta: &mut ObjectMeta, at: Timestamp, grace: i64) {
    if !is_marked(meta) {
        bump_generation(meta);
    }
    meta.deletion_timestamp = Some(Time(at));
    meta.deletion_grace_period_seconds = Some(grace);
}

/// The object's finalizers, less or plus those that the propagation policy is about.
fn finalizers(kind: &dyn ErasedKind, meta: &ObjectMeta, options: &DeleteOptions) -> Vec<String> {
    let mut all = meta.finalizers.clone().unwrap_or_default();
    let is_policy = |finalizer: &String| finalizer == ORPHAN || finalizer == FOREGROUND;
    // A finalizer that says it is more than the kind's usual way.
    let usual = || (kind.orphans() && !all.iter().any(is_policy)).then_some("Orphan");
    let Some(policy) = policy(options).or_else(usual) else { return all };
    all.retain(|finalizer| !is_policy(finalizer));
    match policy {
        "Orphan" => all.push(ORPHAN.to_owned()),
        "Foreground" => all.push(FOREGROUND.to_owned()),
        _ => {}
    }
    all
}

/// What is to be said to whoever deletes an object of the kind so.
pub(crate) fn warning(kind: &dyn ErasedKind, options: &DeleteOptions) -> Option<&'static str> {
    kind.deletion_warning().filter(|_| policy(options).is_none())
}

fn policy(options: &DeleteOptions) -> Option<&str> {
    let legacy =
        options.orphan_dependents.map(|orphan| if orphan { "Orphan" } else { "Background" });
    options.propagation_policy.as_deref().or(legacy)
}

fn is_marked(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
