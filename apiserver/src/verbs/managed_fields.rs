//! Who manages the fields of an object after a write. An object of which nothing is said, as of before that was kept, goes on
//! like this until its first server-side apply (Kubernetes: `skipnonapplied.go` in `k8s.io/apimachinery/pkg/util/managedfields`).

use std::sync::LazyLock;

use api_machinery::{
    ApiError,
    managed_fields::{
        FieldSet, Manager, Managers, PathElement, compare, fields_of_created, set_of, update,
    },
};
use api_types::jiff::Timestamp;
use http::header;
use registry::{AnyObject, ResourceDef, Subresource};
use serde_json::{Value, json, value::RawValue};

use crate::{call::Call, storage::Stored};

/// Where client-side apply keeps what it applied.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The field manager of `kubectl apply --server-side`, which goes on with what its client-side apply put there.
pub(super) const KUBECTL: &str = "kubectl";
/// Whose the fields are that client-side apply put there, until then. The kubectl that everybody has knows by the annotation whose
/// fields it has to take over, and takes all that this manager has.
const CLIENT_SIDE_APPLY: &str = "kubectl-client-side-apply";
/// Whose the other fields are that were there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// Who says nothing of itself.
const UNKNOWN: &str = "unknown";
/// What the server keeps of the metadata, or everybody has to name (Kubernetes: `stripMetaManager`).
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
/// The same of the whole object.
static OF_NOBODY: LazyLock<FieldSet> = LazyLock::new(|| {
    let mut set = named(&["apiVersion", "kind"]);
    set.insert_below(field("metadata"), named(&NOBODYS));
    set
});
/// The same of one whose status has a path of its own.
static NOT_OF_MAIN: LazyLock<FieldSet> = LazyLock::new(|| OF_NOBODY.union(&named(&["status"])));
/// As long as a field manager's name may be.
const LONGEST_NAME: usize = 128;

/// Tells a new object who manages its fields: who `applied` it, or else who creates it. What the server adds to it later is
/// nobody's.
pub(super) fn track_created(
    call: &Call,
    applied: Option<&Managers>,
    object: &mut AnyObject,
) -> Result<(), ApiError> {
    object.take_managed_fields();
    let managed_fields = match applied {
        Some(managers) => managers.entries(),
        None => created(call, &object.to_json()?),
    };
    object.set_managed_fields(managed_fields);
    Ok(())
}

fn created(call: &Call, json: &[u8]) -> Option<Box<RawValue>> {
    let def = &call.info.def;
    let fields = fields_of_created(json, def.shapes().root(), not_of_main(def))?;
    let are_some = fields.get() != "{}";
    are_some.then(|| Managers::only(manager(call), fields, Timestamp::now()).entries()).flatten()
}

/// Tells an object who manages its fields: what is known, or else what follows from how it was before.
pub(super) fn track(
    call: &Call,
    old: &Stored,
    known: Option<&Managers>,
    object: &mut AnyObject,
) -> Result<(), ApiError> {
    let given = object.take_managed_fields();
    if let Some(managers) = known {
        object.set_managed_fields(managers.entries());
        return Ok(());
    }
    // A subresource says nothing of managers.
    let given = given.filter(|_| call.info.subresource.is_none());
    let Some(managers) = kept(given.as_deref(), old.managed_fields.as_deref()) else {
        return Ok(());
    };
    let new = object.to_value()?;
    let managers = update(
        (&old.object, &new),
        managers,
        call.info.def.shapes().root(),
        &manager(call),
        |set: &FieldSet| owned(&call.info.def, call.info.subresource, set),
        Timestamp::now(),
    );
    object.set_managed_fields(managers.entries());
    Ok(())
}

/// What the writer says of it, if that can be read, or else what the object had. `None` if nobody is known, or the
/// writer wants it forgotten (by an empty list, or one empty entry).
fn kept(given: Option<&RawValue>, had: Option<&RawValue>) -> Option<Managers> {
    let had = had?;
    match given.map(RawValue::get) {
        Some("[]" | "[{}]") => return None,
        Some(given) if is_same(given, had.get()) => return Managers::of(had),
        _ => {}
    }
    let managers = given.and_then(Managers::given).or_else(|| Managers::of(had));
    Some(managers.unwrap_or_default())
}

/// Whether two texts say the same, in whatever order.
fn is_same(given: &str, had: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    given == had || given.len() == had.len() && value(given) == value(had)
}

/// The managers of an object that this one is about to apply to.
pub(super) fn before_apply(call: &Call, manager: &Manager, old: &Stored) -> Managers {
    let mut managers = match old.managed_fields.as_deref() {
        None => first_managers(call, &old.object),
        Some(entries) => Managers::of(entries).unwrap_or_default(),
    };
    if manager.name == KUBECTL && manager.subresource.is_empty() {
        let before = updater(call, CLIENT_SIDE_APPLY, "");
        managers.hand_over(&before, manager, &annotation(call));
    }
    managers
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
pub(super) fn last_applied(call: &Call, object: &Value) -> FieldSet {
    let (def, text) = (&call.info.def, object["metadata"]["annotations"][LAST_APPLIED].as_str());
    let last = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(last) = last.filter(|last| last["apiVersion"] == *def.api_version()) else {
        return FieldSet::default();
    };
    let shape = def.shapes().root();
    let since = compare(object, &last, shape);
    set_of(&last, shape).difference(&since.changed()).union(&annotation(call))
}

/// Who writes: the field manager that the request names, or else the client's program.
pub(super) fn manager(call: &Call) -> Manager {
    let agent = call.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let program = agent.unwrap_or_default().split('/').next();
    let named = call.query.get("fieldManager").filter(|name| !name.is_empty());
    let name = named.or(program.filter(|name| !name.is_empty())).unwrap_or(UNKNOWN);
    Manager {
        name: name.chars().take(LONGEST_NAME).collect(),
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
    let of = |fields: &FieldSet, name: &str| {
        let mut set = FieldSet::default();
        if fields.has(&field(name)) {
            set.insert(field(name));
        }
        set.insert_below(field(name), fields.below(&field(name)).cloned().unwrap_or_default());
        set
    };
    let fields = fields.difference(&named(&["metadata"]));
    if subresource == Some(Subresource::Status) {
        let left = fields.recursive_difference(&OF_NOBODY);
        return of(&left, "status").union(&of(&left, "metadata"));
    }
    fields.recursive_difference(not_of_main(def))
}

/// What of an object of the kind nobody can own but by the path of the status.
fn not_of_main(def: &ResourceDef) -> &'static FieldSet {
    match def.subresources.contains(&Subresource::Status) {
        true => &NOT_OF_MAIN,
        false => &OF_NOBODY,
    }
}

fn field(name: &str) -> PathElement {
    PathElement::Field(name.to_owned())
}

fn named(names: &[&str]) -> FieldSet {
    let mut set = FieldSet::default();
    names.iter().for_each(|name| set.insert(field(name)));
    set
}
