//! Which devices a claim has got, for whom, and what is told of them.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceRequestAllocationResult, ResourceClaim,
    ResourceClaimStatus,
};

use super::{claim, claim::Requests, device_names};
use crate::{
    kinds::core::node_selector,
    rules::{self, text},
};

const MOST_USERS: usize = 256;
const MOST: usize = 32;
const MOST_CONDITIONS: usize = 8;

/// A device, or a share of one.
type Id<'a> = [&'a str; 4];

/// What is wrong with a change of a claim's status.
pub(super) fn validate(
    new: &ResourceClaim,
    old: &ResourceClaim,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let none = ResourceClaimStatus::default();
    let status = new.status.as_ref().unwrap_or(&none);
    let before = old.status.as_ref().unwrap_or(&none);
    let is_going = new.metadata.deletion_timestamp.is_some();
    users((status, before), is_going, &path.child("reservedFor"), errors);
    devices(status, &path.child("devices"), errors);
    let at = path.child("allocation");
    match (&status.allocation, &before.allocation) {
        (Some(now), Some(before)) => rules::immutable(now, before, "", &at, errors),
        (Some(now), None) => allocated(now, &Requests::of(&new.spec), &at, errors),
        (None, _) => {}
    }
}

fn users(
    (status, before): (&ResourceClaimStatus, &ResourceClaimStatus),
    is_going: bool,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let users = status.reserved_for.as_deref().unwrap_or_default();
    if users.len() > MOST_USERS {
        errors.too_many(path, users.len(), MOST_USERS);
    }
    let mut seen = BTreeSet::new();
    for (index, user) in users.iter().enumerate().take(MOST_USERS) {
        let path = path.index(index);
        for (field, value) in
            [("resource", &user.resource), ("name", &user.name), ("uid", &user.uid)]
        {
            if value.is_empty() {
                errors.required(&path.child(field), "");
            }
        }
        rules::unique(&mut seen, &user.uid, &path, errors);
    }
    let known = before.reserved_for.as_deref().unwrap_or_default();
    if !users.is_empty() && status.allocation.is_none() {
        errors.forbidden(path, "may not be specified when `allocated` is not set");
    } else if is_going && users.iter().any(|user| !known.contains(user)) {
        let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        errors.forbidden(path, why);
    }
}

fn devices(status: &ResourceClaimStatus, path: &FieldPath, errors: &mut FieldErrors) {
    let allocation = status.allocation.as_ref().and_then(|it| it.devices.as_ref());
    let results = allocation.and_then(|it| it.results.as_ref()).into_iter().flatten();
    let known: BTreeSet<Id<'_>> = results
        .map(|it| [&*it.driver, &*it.pool, &*it.device, text(it.share_id.as_ref())])
        .collect();
    let mut seen = BTreeSet::new();
    for (index, device) in status.devices.iter().flatten().enumerate() {
        let path = path.index(index);
        let id = [&*device.driver, &*device.pool, &*device.device, text(device.share_id.as_ref())];
        told(device, &path, errors);
        if !known.contains(&id) {
            errors.invalid(&path, id.join("/"), "must be an allocated device in the claim");
        }
        rules::unique(&mut seen, &id, &path, errors);
    }
}

fn told(device: &AllocatedDeviceStatus, path: &FieldPath, errors: &mut FieldErrors) {
    device_names::driver(&device.driver, &path.child("driver"), errors);
    device_names::pool(&device.pool, &path.child("pool"), errors);
    device_names::label(&device.device, &path.child("device"), errors);
    let conditions = device.conditions.as_deref().unwrap_or_default();
    if conditions.len() > MOST_CONDITIONS {
        errors.too_many(&path.child("conditions"), conditions.len(), MOST_CONDITIONS);
    }
    if let Some(data) = &device.data {
        claim::parameters(&data.0, &path.child("data"), errors);
    }
}

fn allocated(
    allocation: &AllocationResult,
    known: &Requests<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(selector) = &allocation.node_selector {
        node_selector::validate(selector, &path.child("nodeSelector"), errors);
    }
    let Some(devices) = &allocation.devices else { return };
    let path = path.child("devices");
    let (at, results) = (path.child("results"), devices.results.as_deref().unwrap_or_default());
    if results.len() > MOST {
        errors.too_many(&at, results.len(), MOST);
    }
    for (index, it) in results.iter().enumerate().take(MOST) {
        result(it, known, &at.index(index), errors);
    }
    let (at, told) = (path.child("config"), devices.config.as_deref().unwrap_or_default());
    if told.len() > 2 * MOST {
        errors.too_many(&at, told.len(), 2 * MOST);
    }
    for (index, it) in told.iter().enumerate().take(2 * MOST) {
        let at = at.index(index);
        match it.source.as_str() {
            "" => errors.required(&at.child("source"), ""),
            source => {
                let source = source.to_owned();
                let sources = ["FromClaim", "FromClass"];
                rules::one_of(Some(&source), &sources, &at.child("source"), errors);
            }
        }
        known.all_named(it.requests.as_ref(), &at, errors);
        claim::configuration(it.opaque.as_ref(), &at, errors);
    }
}

fn result(
    result: &DeviceRequestAllocationResult,
    known: &Requests<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    known.named(&result.request, &path.child("request"), errors);
    device_names::driver(&result.driver, &path.child("driver"), errors);
    device_names::pool(&result.pool, &path.child("pool"), errors);
    device_names::label(&result.device, &path.child("device"), errors);
}
