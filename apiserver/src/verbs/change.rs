//! What PUT and PATCH share: what becomes of an object between reading and writing it.

use std::borrow::Cow;

use api_machinery::ApiError;
use api_types::{api::autoscaling::v1::Scale, meta::ObjectMeta};
use bytes::Bytes;
use http::StatusCode;
use registry::{AnyObject, Part, ResourceDef, Subresource, scale};
use serde_json::Value;

use super::managed_fields;
use crate::{
    admission::{Attributes, Operation},
    call::{Call, Given},
    encoded,
    objects::Objects,
    query,
    respond::{self, Response},
    state::WritePath,
    storage::{Address, Stored, WriteError},
};

/// What a client sees of an object through the path; of who manages its fields only if it asks for that.
pub(super) fn view<'a>(
    call: &Call,
    old: &'a Stored,
    with_managers: bool,
) -> Result<Cow<'a, Value>, ApiError> {
    match call.info.subresource {
        Some(Subresource::Scale) => scale::get(&call.info.def.scale, &old.object).map(Cow::Owned),
        _ if with_managers => Ok(Cow::Owned(old.whole())),
        _ => Ok(Cow::Borrowed(&old.object)),
    }
}

/// Changes the object of the call's path.
///
/// *Flow*: read → `wanted` makes the state that the client wants of the state there is → preconditions → mutating
/// admission → the kind's strategy → validating admission → compare-and-swap; from the start if somebody else wrote
/// meanwhile. *Errors*: 409 if the client named a version or UID that isn't (any more) the object's.
pub(super) async fn apply(
    path: WritePath<'_>,
    objects: Objects<'_>,
    call: &Call,
    wanted: impl Fn(&Stored) -> Result<Given, ApiError>,
) -> Result<Response, ApiError> {
    let (at, wanted) = (call.address()?, &wanted);
    let attempt = |old: Stored| async move {
        let mut given = wanted(&old)?;
        check_version(at, &old, given.object.metadata())?;
        let warnings = std::mem::take(&mut given.warnings);
        attempt((path, objects), call, at, &old, given).await.map(|json| (json, warnings))
    };
    let (json, warnings) = path.storage.compare_and_swap(at, attempt).await?;
    let mut response =
        written_response(call, json).unwrap_or_else(|error| respond::failure(&error));
    respond::warn(&mut response, &warnings);
    Ok(response)
}

fn written_response(call: &Call, json: Bytes) -> Result<Response, ApiError> {
    if call.info.subresource == Some(Subresource::Scale) {
        let scale = scale::get(&call.info.def.scale, &encoded::value(&json)?)?;
        return Ok(respond::json(StatusCode::OK, &scale));
    }
    Ok(call.presentation.encoded_response(StatusCode::OK, &call.info.def, json))
}

async fn attempt(
    (path, objects): (WritePath<'_>, Objects<'_>),
    call: &Call,
    at: Address<'_>,
    old: &Stored,
    Given { object: mut given, managers, .. }: Given,
) -> Result<Bytes, WriteError> {
    let (part, dry_run) = (part(call.info.subresource)?, call.dry_run()?);
    let before = old.typed(at.def)?;
    at.def.check_uid(before.metadata(), given.metadata())?;
    let shown_before = shown(call, &old.object, &before)?;
    let uid = before.metadata().uid.as_deref().unwrap_or_default();
    let attributes =
        Attributes { dry_run, ..call.attributes(Operation::Update, at, uid, Some(&shown_before)) };
    let admitted = path.admission.mutate(path.storage, &attributes, Some(&mut given)).await?;
    let result = async {
        let mut scaled = scaled(at.def, &old.object, &given)?;
        let changed = scaled.as_mut().unwrap_or(&mut given);
        at.def.before_update(part, changed, &before)?;
        super::warnings::tell(objects, call, part, changed, Some(&before)).await;
        managed_fields::track(call, old, managers.as_ref(), changed)?;
        path.admission.validate(&attributes, Some(&given)).await?;
        let mut object = scaled.unwrap_or(given);
        if dry_run {
            path.storage.confirm(at, old).await?;
            return Ok(encoded::versioned(&object, Some(old.revision))?);
        }
        write(path, at, old, &before, &mut object).await
    };
    let result = result.await;
    admitted.settle(path.storage, &result).await;
    result
}

fn part(subresource: Option<Subresource>) -> Result<Part, ApiError> {
    match subresource {
        None | Some(Subresource::Scale) => Ok(Part::Main),
        Some(Subresource::Status) => Ok(Part::Status),
        Some(Subresource::Finalize) => Ok(Part::Finalizers),
        Some(Subresource::Approval) => Ok(Part::Approval),
        Some(Subresource::EphemeralContainers) => Ok(Part::EphemeralContainers),
        Some(Subresource::Resize) => Ok(Part::Size),
        Some(_) => Err(ApiError::method_not_allowed()),
    }
}

/// The object as the client sees it, of the kind that it gives.
fn shown<'a>(
    call: &Call,
    object: &Value,
    typed: &'a AnyObject,
) -> Result<Cow<'a, AnyObject>, ApiError> {
    match call.info.subresource {
        Some(Subresource::Scale) => {
            let scale = scale::get(&call.info.def.scale, object)?;
            Ok(Cow::Owned(scale::decode(&scale)?.object))
        }
        _ => Ok(Cow::Borrowed(typed)),
    }
}

/// The object as a Scale makes it, if that is what was given.
fn scaled(
    def: &ResourceDef,
    old: &Value,
    given: &AnyObject,
) -> Result<Option<AnyObject>, ApiError> {
    let Some(scale) = given.get::<Scale>() else { return Ok(None) };
    let mut object = def.decode(scale::set(&def.scale, old, scale)?, Some(old))?.object;
    def.default(&mut object);
    Ok(Some(object))
}

/// Writes the object, or removes it if this change took away the last that its deletion waited for.
async fn write(
    path: WritePath<'_>,
    at: Address<'_>,
    old: &Stored,
    before: &AnyObject,
    object: &mut AnyObject,
) -> Result<Bytes, WriteError> {
    if !at.def.is_finished(object) {
        let json = path.storage.update(at, old, object).await?;
        path.admission.changed(at, before, object).await;
        return Ok(json);
    }
    path.storage.remove(at, old.revision).await?;
    // What this very change gave up is in the object no more.
    path.admission.changed(at, before, object).await;
    path.admission.removed(at, object).await;
    Ok(encoded::versioned(object, None)?)
}

/// A version in the object is the one that the client takes it to have.
fn check_version(at: Address<'_>, old: &Stored, new: &ObjectMeta) -> Result<(), ApiError> {
    match query::version(new.resource_version.as_deref().unwrap_or_default())? {
        Some(version) if version.0 != 0 && version != old.revision => Err(at.modified()),
        _ => Ok(()),
    }
}
