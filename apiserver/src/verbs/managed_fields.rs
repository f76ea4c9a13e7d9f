//! Who manages the fields of an object after a write. It is kept from an object's first server-side apply on, as
//! Kubernetes does with objects that were there before (`skipnonapplied.go` in `k8s.io/apimachinery/pkg/util/managedfields`).

use api_machinery::{
    ApiError,
    managed_fields::{FieldSet, Manager, Managers, PathElement, Shape, compare, set_of, update},
};
use api_types::{jiff::Timestamp, meta::ManagedFieldsEntry};
use http::header;
use registry::{AnyObject, ResourceDef, Subresource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;

/// Where client-side apply keeps what it applied.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Whose the fields are that client-side apply put there. The kubectl that everybody has knows by the annotation whose
/// fields it has to take over, and takes all that this manager has.
const CLIENT_SIDE_APPLY: &str = "kubectl-client-side-apply";
/// Whose the other fields are that were there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// What of the metadata the server keeps, or everybody has to name (Kubernetes: `stripMetaManager`).
const NOBODYS: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];
/// As long as a field manager's name may be.
const LONGEST_NAME: usize = 128;

/// Tells an object who manages its fields: what is known, or else what follows from how it was before.
pub(super) fn track(
    call: &Call,
    old: &Value,
    known: Option<&Managers>,
    object: &mut AnyObject,
) -> Result<(), ApiError> {
    let given = object.metadata_mut().managed_fields.take();
    if let Some(managers) = known {
        object.metadata_mut().managed_fields = Some(managers.entries());
        return Ok(());
    }
    let Some(entries) = kept(given, old)? else { return Ok(()) };
    let new = object.to_value()?;
    let managers = update(
        (&bare(old), &new),
        &Managers::of(&entries),
        call.info.def.shapes().root(),
        &manager(call),
        |set: &FieldSet| owned(&call.info.def, call.info.subresource, set),
        Timestamp::now(),
    );
    object.metadata_mut().managed_fields = (!managers.is_empty()).then(|| managers.entries());
    Ok(())
}

/// What the writer says of it, or else what the object had. `None` if nobody has applied yet, or wants it forgotten
/// (by an empty list, or one empty entry).
fn kept(
    given: Option<Vec<ManagedFieldsEntry>>,
    old: &Value,
) -> Result<Option<Vec<ManagedFieldsEntry>>, ApiError> {
    let had = entries(old)?;
    let is_reset = |given: &[ManagedFieldsEntry]| {
        matches!(given, []) || matches!(given, [only] if *only == ManagedFieldsEntry::default())
    };
    Ok(match given {
        _ if had.is_empty() => None,
        Some(given) if is_reset(&given) => None,
        Some(given) => Some(given),
        None => Some(had),
    })
}

fn entries(object: &Value) -> Result<Vec<ManagedFieldsEntry>, ApiError> {
    let entries = &object["metadata"]["managedFields"];
    match entries {
        Value::Null => Ok(Vec::new()),
        entries => Vec::deserialize(entries).map_err(ApiError::internal),
    }
}

/// The managers of an object that somebody is about to apply to.
pub(super) fn before_apply(call: &Call, object: &Value) -> Result<Managers, ApiError> {
    let entries = entries(object)?;
    if !entries.is_empty() {
        return Ok(Managers::of(&entries));
    }
    let (def, now) = (&call.info.def, Timestamp::now());
    let shape = def.shapes().root();
    let mut managers = Managers::default();
    let applied = last_applied(object, shape);
    let rest = set_of(object, shape).difference(&applied);
    for (name, fields) in [(CLIENT_SIDE_APPLY, applied), (BEFORE_FIRST_APPLY, rest)] {
        let (name, api_version) = (name.to_owned(), def.api_version());
        let manager = Manager { name, api_version, ..Manager::default() };
        managers.set(manager, owned(def, None, &fields), now);
    }
    Ok(managers)
}

/// The fields that a client-side apply put there and nobody has changed since, with the annotation that tells of it
/// (Kubernetes: `lastAppliedManager`).
pub(super) fn last_applied(object: &Value, shape: Shape<'_>) -> FieldSet {
    let text = object["metadata"]["annotations"][LAST_APPLIED].as_str();
    let Some(last) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return FieldSet::default();
    };
    let since = compare(object, &last, shape);
    let annotation = set_of(&json!({"metadata": {"annotations": {LAST_APPLIED: ""}}}), shape);
    set_of(&last, shape).difference(&since.changed()).union(&annotation)
}

/// The object without what is said of its managers.
pub(super) fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

/// Who writes: the field manager that the request names, or else the client's program.
pub(super) fn manager(call: &Call) -> Manager {
    let agent = call.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let program = agent.unwrap_or_default().split('/').next().unwrap_or_default();
    let named = call.query.get("fieldManager").filter(|name| !name.is_empty());
    Manager {
        name: named.unwrap_or(program).chars().take(LONGEST_NAME).collect(),
        applies: call.applies(),
        api_version: call.info.def.api_version(),
        subresource: call.info.subresource.map(|s| s.name().to_owned()).unwrap_or_default(),
    }
}

/// What of these fields a write through the path can own: the status by its own path, nothing else by that.
pub(super) fn owned(
    def: &ResourceDef,
    subresource: Option<Subresource>,
    fields: &FieldSet,
) -> FieldSet {
    let field = |name: &str| PathElement::Field(name.to_owned());
    let of = |fields: &FieldSet, name: &str| {
        let mut set = FieldSet::default();
        if fields.has(&field(name)) {
            set.insert(field(name));
        }
        set.insert_below(field(name), fields.below(&field(name)).cloned().unwrap_or_default());
        set
    };
    if subresource == Some(Subresource::Status) {
        return of(fields, "status");
    }
    let mut nobodys = FieldSet::default();
    ["apiVersion", "kind", "metadata"].iter().for_each(|name| nobodys.insert(field(name)));
    let mut metadata = FieldSet::default();
    NOBODYS.iter().for_each(|name| metadata.insert(field(name)));
    nobodys.insert_below(field("metadata"), metadata);
    let mut left = fields.difference(&nobodys);
    if def.subresources.contains(&Subresource::Status) {
        left = left.difference(&of(&left, "status"));
    }
    left
}
