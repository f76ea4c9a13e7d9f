//! DELETE of one object.

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{jiff::Timestamp, meta::DeleteOptions};
use http::StatusCode;
use registry::Deletion;
use serde_json::{Value, json, value::RawValue};

use crate::{
    admission::{Attributes, Operation},
    body,
    call::{self, Call},
    encoded,
    respond::{self, Response},
    state::WritePath,
    storage::{Address, Stored, WriteError, whole},
};

/// The option that removes what can't be read.
pub(super) const UNREAD: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

/// What became of an object whose deletion was asked for.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is gone; this was its last state, and what it said of who manages its fields.
    Removed(Value, Option<Box<RawValue>>),
    /// It could not be read, and is gone.
    RemovedUnread,
    /// It is there until its grace period and its finalizers are over.
    Terminating(Value),
}

impl Outcome {
    /// The object, as it was or is, if that is known.
    pub(super) fn into_object(self) -> Option<Value> {
        match self {
            Self::Removed(object, managed_fields) => Some(whole(object, managed_fields.as_deref())),
            Self::RemovedUnread => None,
            Self::Terminating(object) => Some(object),
        }
    }
}

/// Deletes an object, or begins to.
pub(super) async fn delete(path: WritePath<'_>, call: &Call) -> Result<Response, ApiError> {
    let options = options(call)?;
    let at = call.address()?;
    let shown = |status, object: &Value| call.presentation.response(status, at.def, object);
    Ok(match delete_one(path, call, at, &options).await? {
        Outcome::Terminating(object) => shown(terminating(&options), &object),
        Outcome::Removed(object, managed_fields) if at.def.is_shown_when_deleted => {
            shown(StatusCode::OK, &whole(object, managed_fields.as_deref()))
        }
        Outcome::Removed(object, _) => success(at, object["metadata"].get("uid")),
        Outcome::RemovedUnread => success(at, None),
    })
}

/// That it is not gone yet is told by the code, too, to who has asked for its dependents in the old way.
fn terminating(options: &DeleteOptions) -> StatusCode {
    if options.orphan_dependents == Some(false) { StatusCode::ACCEPTED } else { StatusCode::OK }
}

/// The options in the body, completed by those in the query.
pub(super) fn options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let mut options = match body::object(&call.headers, &call.body) {
        _ if call.body.is_empty() => DeleteOptions::default(),
        Ok(given) => decode(given)?,
        Err(error) => return Err(error),
    };
    let query = &call.query;
    let policy = query.get("propagationPolicy").map(str::to_owned);
    options.grace_period_seconds = match query.parsed("gracePeriodSeconds")? {
        Some(seconds) => Some(seconds),
        None => options.grace_period_seconds,
    };
    options.propagation_policy = policy.or(options.propagation_policy);
    if query.get(UNREAD).is_some() {
        let unread = query.flag(UNREAD);
        options.ignore_store_read_error_with_cluster_breaking_potential = Some(unread);
    }
    if query.get("orphanDependents").is_some() {
        options.orphan_dependents = Some(query.flag("orphanDependents"));
    }
    if call.dry_run()? {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    check(call, &options)?;
    let warning = call.info.def.deletion_warning(&options);
    warning.into_iter().for_each(|warning| call.feedback.warn(warning.to_owned()));
    Ok(options)
}

/// Clients send the options under the kind `DeleteOptions` of whatever group they are talking to.
fn decode(mut given: Value) -> Result<DeleteOptions, ApiError> {
    if let Some(given) = given.as_object_mut() {
        given.remove("apiVersion");
        given.remove("kind");
    }
    serde_json::from_value(given)
        .map_err(|e| ApiError::bad_request(format!("the delete options can't be read: {e}")))
}

/// Kubernetes: `ValidateDeleteOptions`.
fn check(call: &Call, options: &DeleteOptions) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    if let Some(policy) = &options.propagation_policy {
        check_policy(policy, options.orphan_dependents.is_some(), &mut errors);
    }
    call::check_dry_run(options.dry_run.as_deref().unwrap_or_default(), &mut errors);
    if may_be_unread(options) {
        check_unread(options, &mut errors);
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(call.invalid_options(&errors)),
    }
}

fn check_policy(policy: &str, is_twofold: bool, errors: &mut FieldErrors) {
    let path = FieldPath::new("propagationPolicy");
    if is_twofold {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        errors.invalid(&path, policy, why);
    }
    if !["Foreground", "Background", "Orphan"].contains(&policy) {
        let allowed = ["Foreground", "Background", "Orphan", "nil"];
        errors.not_supported(&path, policy, &allowed);
    }
}

/// There is no grace for, and no condition on, what can't be read.
fn check_unread(options: &DeleteOptions, errors: &mut FieldErrors) {
    let others = [
        ("dryRun", options.dry_run.as_ref().is_some_and(|values| !values.is_empty())),
        ("propagationPolicy", options.propagation_policy.is_some()),
        ("orphanDependents", options.orphan_dependents.is_some()),
        ("gracePeriodSeconds", options.grace_period_seconds.is_some()),
        ("preconditions", options.preconditions.is_some()),
    ];
    for (other, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
        let why = format!("cannot be set together with .{other}");
        errors.invalid(&FieldPath::new(UNREAD), true, &why);
    }
}

/// Deletes one object in whatever state it is, within the preconditions.
pub(super) async fn delete_one(
    path: WritePath<'_>,
    call: &Call,
    at: Address<'_>,
    options: &DeleteOptions,
) -> Result<Outcome, ApiError> {
    let attempt = |old| attempt(path, call, at, old, options);
    match path.storage.compare_and_swap(at, attempt).await {
        Err(error) if error.reason() == "StoreReadError" && may_be_unread(options) => {
            Ok(remove_unread(path, call, at).await?)
        }
        result => result,
    }
}

/// Whether what can't be read is to be removed.
pub(super) fn may_be_unread(options: &DeleteOptions) -> bool {
    options.ignore_store_read_error_with_cluster_breaking_potential == Some(true)
}

/// Removes what can't be read at its owner's risk: whatever it describes may go on running, and nothing of what it
/// held is given back.
async fn remove_unread(
    path: WritePath<'_>,
    call: &Call,
    at: Address<'_>,
) -> Result<Outcome, WriteError> {
    let attributes = call.attributes(Operation::Delete, at, "", None);
    path.admission.admit(path.storage, &attributes, None).await?;
    let revision = path.storage.revision_of(at).await?;
    tracing::warn!(key = at.key(), "removing an object that can't be read");
    path.storage.remove(at, revision).await?;
    Ok(Outcome::RemovedUnread)
}

async fn attempt(
    path: WritePath<'_>,
    call: &Call,
    at: Address<'_>,
    old: Stored,
    options: &DeleteOptions,
) -> Result<Outcome, WriteError> {
    if let Some(wanted) = &options.preconditions {
        old.check(at, wanted)?;
    }
    let dry_run = options.dry_run.as_ref().is_some_and(|d| !d.is_empty());
    if dry_run {
        path.storage.confirm(at, &old).await?;
    }
    let object = old.typed(at.def)?;
    let uid = object.metadata().uid.as_deref().unwrap_or_default();
    let attributes = call.attributes(Operation::Delete, at, uid, Some(&object));
    let attributes = Attributes { dry_run, deletion: Some(options), ..attributes };
    path.admission.admit(path.storage, &attributes, None).await?;
    match at.def.begin_deletion(&object, options, Timestamp::now()) {
        Deletion::Remove => {
            if !dry_run {
                path.storage.remove(at, old.revision).await?;
                path.admission.removed(at, &object).await;
            }
            Ok(Outcome::Removed(old.object, old.managed_fields))
        }
        Deletion::Mark(object) if dry_run => Ok(Outcome::Terminating(object.to_value()?)),
        Deletion::Mark(mut marked) => {
            let written = path.storage.update(at, &old, &mut marked).await?;
            Ok(Outcome::Terminating(encoded::value(&written)?))
        }
        Deletion::Pending => {
            path.storage.confirm(at, &old).await?;
            Ok(Outcome::Terminating(old.whole()))
        }
    }
}

fn success(at: Address<'_>, uid: Option<&Value>) -> Response {
    let names = &at.def.names;
    let mut details = json!({ "name": at.name, "kind": names.plural });
    if let Some(uid) = uid {
        details["uid"] = uid.clone();
    }
    if !names.group.is_empty() {
        details["group"] = names.group.as_str().into();
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    respond::json(StatusCode::OK, &status)
}
