//! Who manages the fields of an object after a write. It is kept from an object's first server-side apply on, as
//! Kubernetes does with objects that were there before (`skipnonapplied.go` in `k8s.io/apimachinery/pkg/util/managedfields`).

use api_machinery::{
    ApiError,
    managed_fields::{FieldSet, Manager, Managers, PathElement, compare, set_of, update},
};
use api_types::{jiff::Timestamp, meta::ManagedFieldsEntry};
use http::header;
use registry::{AnyObject, ResourceDef, Subresource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::Call;

/// Where client-side apply keeps what it applied.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The field manager of `kubectl apply --server-side`, which goes on with what its client-side apply put there.
pub(super) const KUBECTL: &str = "kubectl";
/// Whose the fields are that client-side apply put there, until then. The kubectl that everybody has knows by the annotation whose
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
    // A subresource says nothing of managers.
    let given = given.filter(|_| call.info.subresource.is_none());
    let Some(managers) = kept(given.as_deref(), old)? else { return Ok(()) };
    let new = object.to_value()?;
    let managers = update(
        (&bare(old), &new),
        &managers,
        call.info.def.shapes().root(),
        &manager(call),
        |set: &FieldSet| owned(&call.info.def, call.info.subresource, set),
        Timestamp::now(),
    );
    object.metadata_mut().managed_fields = (!managers.is_empty()).then(|| managers.entries());
    Ok(())
}

/// What the writer says of it, if that can be read, or else what the object had. `None` if nobody has applied yet, or the
/// writer wants it forgotten (by an empty list, or one empty entry).
fn kept(given: Option<&[ManagedFieldsEntry]>, old: &Value) -> Result<Option<Managers>, ApiError> {
    let had = entries(old)?;
    if had.is_empty() {
        return Ok(None);
    }
    match given {
        Some([]) => return Ok(None),
        Some([only]) if *only == ManagedFieldsEntry::default() => return Ok(None),
        _ => {}
    }
    let managers = given.and_then(Managers::of).or_else(|| Managers::of(&had));
    Ok(Some(managers.unwrap_or_default()))
}

fn entries(object: &Value) -> Result<Vec<ManagedFieldsEntry>, ApiError> {
    let entries = &object["metadata"]["managedFields"];
    match entries {
        Value::Null => Ok(Vec::new()),
        entries => Vec::deserialize(entries).map_err(ApiError::internal),
    }
}

/// The managers of an object that this one is about to apply to.
pub(super) fn before_apply(
    call: &Call,
    manager: &Manager,
    object: &Value,
) -> Result<Managers, ApiError> {
    let entries = entries(object)?;
    let mut managers = match entries.is_empty() {
        true => first_managers(call, object),
        false => Managers::of(&entries).unwrap_or_default(),
    };
    if manager.name == KUBECTL && manager.subresource.is_empty() {
        let before = updater(call, CLIENT_SIDE_APPLY, "");
        managers.hand_over(&before, manager, &annotation(call));
    }
    Ok(managers)
}

/// Whose the fields of an object are that nobody has applied to so far.
fn first_managers(call: &Call, object: &Value) -> Managers {
    let (def, now) = (&call.info.def, Timestamp::now());
    let mut managers = Managers::default();
    let (there, applied) = (set_of(object, def.shapes().root()), last_applied(call, object));
    let rest = there.difference(&applied);
    managers.set(updater(call, CLIENT_SIDE_APPLY, ""), owned(def, None, &applied), now);
    managers.set(updater(call, BEFORE_FIRST_APPLY, ""), owned(def, None, &rest), now);
    if call.info.subresource == Some(Subresource::Status) {
        let status = owned(def, call.info.subresource, &rest).difference(&owned(def, None, &rest));
        managers.set(updater(call, BEFORE_FIRST_APPLY, "status"), status, now);
    }
    managers
}

fn updater(call: &Call, name: &str, subresource: &str) -> Manager {
    Manager {
        name: name.to_owned(),
        applies: false,
        api_version: call.info.def.api_version(),
        subresource: subresource.to_owned(),
    }
}

fn annotation(call: &Call) -> FieldSet {
    let annotations = json!({"metadata": {"annotations": {LAST_APPLIED: ""}}});
    set_of(&annotations, call.info.def.shapes().root())
}

/// The fields that a client-side apply put there and nobody has changed since, with the annotation that tells of it
/// (Kubernetes: `lastAppliedManager`).
fn last_applied(call: &Call, object: &Value) -> FieldSet {
    let (def, text) = (&call.info.def, object["metadata"]["annotations"][LAST_APPLIED].as_str());
    let last = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(last) = last.filter(|last| last["apiVersion"] == *def.api_version()) else {
        return FieldSet::default();
    };
    let shape = def.shapes().root();
    let since = compare(object, &last, shape);
    set_of(&last, shape).difference(&since.changed()).union(&annotation(call))
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

/// What of these fields a write through the path can own: the status by its own path, and metadata.
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
    let mut nobodys = FieldSet::default();
    ["apiVersion", "kind", "metadata"].iter().for_each(|name| nobodys.insert(field(name)));
    let mut metadata = FieldSet::default();
    NOBODYS.iter().for_each(|name| metadata.insert(field(name)));
    nobodys.insert_below(field("metadata"), metadata);
    let left = fields.difference(&nobodys);
    if subresource == Some(Subresource::Status) {
        return of(&left, "status").union(&of(&left, "metadata"));
    }
    if def.subresources.contains(&Subresource::Status) {
        return left.difference(&of(&left, "status"));
    }
    left
}
