//! Server-side apply: PATCH with the part of an object that its sender cares for.

use std::collections::BTreeMap;

use api_machinery::{
    ApiError,
    managed_fields::{
        self as machinery, Applied, Conflict, Conflicts, FieldSet, Manager, Managers, Rules,
    },
};
use api_types::{api::autoscaling::v1::Scale, jiff::Timestamp};
use registry::{ResourceDef, Subresource, scale};
use serde_json::{Map, Value, json};

use super::{
    change, create,
    managed_fields::{self, KUBECTL, LAST_APPLIED},
};
use crate::{
    authorization, body,
    call::{Call, Given},
    rbac::Action,
    respond::Response,
    state::State,
    storage::Stored,
};

/// How what is said twice is told of.
const CONVERTING: &str = "error converting YAML to JSON: ";
/// So many bytes the annotations of an object may have, names and values.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// What is applied, by whom.
struct Configuration<'c> {
    call: &'c Call,
    value: Value,
    /// What it says twice.
    faults: Vec<String>,
    manager: Manager,
    is_forced: bool,
    now: Timestamp,
}

/// Applies a configuration: to the object, or to nothing, which creates it.
pub(super) async fn apply(state: &State, call: &Call) -> Result<Response, ApiError> {
    let configuration = Configuration::of(call)?;
    loop {
        let wanted = |old: &Stored| configuration.applied_to(old);
        let applied = change::apply(state.write_path(), state.objects(), call, wanted).await;
        match applied {
            Err(error) if error.reason() == "NotFound" && call.info.subresource.is_none() => {}
            applied => return applied,
        }
        let action = Action { verb: "create", ..Action::from(&call.info) };
        authorization::authorize_action(&state.authorizer, &call.identity, action)?;
        match create::store(state, call, configuration.applied_to_nothing()?).await {
            Err(error) if error.reason() == "AlreadyExists" => {}
            created => return created,
        }
    }
}

impl<'c> Configuration<'c> {
    fn of(call: &'c Call) -> Result<Self, ApiError> {
        let decoded = body::applied(&call.headers, &call.body)?;
        let faults = decoded.faults().iter().map(|fault| format!("{CONVERTING}{fault}")).collect();
        let mut value = decoded.value;
        let kind = &call.info.def.names.kind;
        if !matches!(call.info.subresource, None | Some(Subresource::Status | Subresource::Scale)) {
            return Err(ApiError::unsupported_media_type(format!(
                "only a {kind}, its status and its scale can be applied: use another patch for this subresource"
            )));
        }
        if !value["metadata"]["managedFields"].is_null() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        if value["apiVersion"].is_null() || value["kind"].is_null() {
            return Err(ApiError::bad_request(format!(
                "error decoding patch: an applied configuration names its apiVersion and kind: {}, {kind}",
                call.info.def.api_version()
            )));
        }
        if call.info.subresource == Some(Subresource::Scale) {
            value = of_scale(&call.info.def, &value)?;
        }
        machinery::check(&value, call.info.def.shapes().root()).map_err(|misfit| {
            let at = [call.info.namespace.as_deref(), call.info.name.as_deref()];
            let at = at.into_iter().flatten().collect::<Vec<_>>().join("/");
            ApiError::bad_request(format!(
                "failed to create typed patch object ({at}; {}, Kind={kind}): {misfit}",
                call.info.def.api_version()
            ))
        })?;
        // As in Go: whatever is not false.
        let is_forced = call.query.get("force").is_some_and(|f| !matches!(f, "" | "0" | "false"));
        let (manager, now) = (managed_fields::manager(call), call.context().now);
        Ok(Self { call, value, faults, manager, is_forced, now })
    }

    fn applied_to_nothing(&self) -> Result<Given, ApiError> {
        if let Some(uid) = self.value["metadata"]["uid"].as_str() {
            let (names, name) = (&self.call.info.def.names, self.call.info.name.as_deref());
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            let name = name.unwrap_or_default();
            return Err(ApiError::conflict(&names.group, &names.plural, name, &why));
        }
        let nothing = json!({});
        let applied = self.merged(&nothing, &Managers::default(), true);
        let Applied { object, managers } = applied.map_err(|conflicts| self.refusal(&conflicts))?;
        let given = self.call.decode(object, self.faults.clone(), None)?;
        Ok(Given { managers: Some(managers), ..given })
    }

    fn applied_to(&self, old: &Stored) -> Result<Given, ApiError> {
        let live = &old.object;
        let managers = managed_fields::before_apply(self.call, &self.manager, old);
        let applied = self.merged(live, &managers, self.is_forced).or_else(|conflicts| {
            let conflicts = self.but_for_last_applied(conflicts, live);
            let is_left = !conflicts.0.is_empty();
            if is_left { Err(conflicts) } else { self.merged(live, &managers, true) }
        });
        let Applied { mut object, managers } =
            applied.map_err(|conflicts| self.refusal(&conflicts))?;
        self.note_last_applied(&mut object);
        if self.call.info.subresource == Some(Subresource::Scale) {
            object = scale::get(&self.call.info.def.scale, &object)?;
        }
        let mut given = self.call.decode(object, self.faults.clone(), Some(live))?;
        if self.value["metadata"]["resourceVersion"].is_null() {
            given.object.metadata_mut().resource_version = None;
        }
        Ok(Given { managers: Some(managers), ..given })
    }

    /// What kubectl's client-side apply put there its server-side apply takes over, whoever has it (Kubernetes:
    /// `lastAppliedManager`).
    fn but_for_last_applied(&self, Conflicts(conflicts): Conflicts, live: &Value) -> Conflicts {
        if self.manager.name != KUBECTL {
            return Conflicts(conflicts);
        }
        let own = managed_fields::last_applied(self.call, live);
        let less = |it: Conflict| Conflict { fields: it.fields.difference(&own), ..it };
        let left = conflicts.into_iter().map(less);
        Conflicts(left.filter(|conflict| !conflict.fields.is_empty()).collect())
    }

    fn merged(
        &self,
        live: &Value,
        managers: &Managers,
        is_forced: bool,
    ) -> Result<Applied, Conflicts> {
        let (def, subresource) = (&self.call.info.def, self.call.info.subresource);
        let completed = |object: &Value| {
            let given = self.call.decode(object.clone(), Vec::new(), None);
            given.and_then(|given| given.object.to_value()).unwrap_or_else(|_| object.clone())
        };
        let owned = |set: &FieldSet| managed_fields::owned(def, subresource, set);
        let (rules, shape) = (Rules { owned, completed }, def.shapes().root());
        let how = (is_forced, self.now);
        machinery::apply((live, managers), &self.value, shape, &self.manager, &rules, how)
    }

    /// A client-side apply that comes later goes on from here, if its annotation has room for it (Kubernetes:
    /// `lastAppliedUpdater`).
    fn note_last_applied(&self, object: &mut Value) {
        let annotations =
            object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        let is_kubectls = self.manager.name == KUBECTL && self.manager.subresource.is_empty();
        let Some(annotations) = annotations.filter(|_| is_kubectls) else { return };
        let Some(note) = annotations.get_mut(LAST_APPLIED) else { return };
        let mut noted = self.value.clone();
        if let Some(own) = noted.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
        {
            own.remove(LAST_APPLIED);
        }
        *note = Value::String(format!("{noted}\n"));
        let length =
            |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
        if annotations.iter().map(length).sum::<usize>() > MAX_ANNOTATIONS {
            annotations.remove(LAST_APPLIED);
        }
    }

    /// 409 that names whose fields would change (Kubernetes: `NewConflictError`).
    fn refusal(&self, Conflicts(conflicts): &Conflicts) -> ApiError {
        let mut by_manager = BTreeMap::<String, Vec<String>>::new();
        for conflict in conflicts {
            by_manager.entry(whose(conflict)).or_default().extend(conflict.fields.paths());
        }
        let count = by_manager.values().map(Vec::len).sum::<usize>();
        let message = match by_manager.first_key_value() {
            Some((whose, paths)) if count == 1 => {
                format!("Apply failed with 1 conflict: conflict with {whose}: {}", paths[0])
            }
            _ => {
                let lines = by_manager.iter().map(|(whose, paths)| {
                    format!("conflicts with {whose}:\n- {}", paths.join("\n- "))
                });
                let lines = lines.collect::<Vec<_>>().join("\n");
                format!("Apply failed with {count} conflicts: {lines}")
            }
        };
        let causes =
            by_manager.iter().flat_map(|(whose, paths)| paths.iter().map(move |p| (whose, p)));
        causes.fold(ApiError::new(409, "Conflict", message), |error, (whose, path)| {
            error.because("FieldManagerConflict", format!("conflict with {whose}"), path)
        })
    }
}

/// The configuration of an object that sets what a Scale does (Kubernetes: `ScaleHandler`).
fn of_scale(def: &ResourceDef, given: &Value) -> Result<Value, ApiError> {
    let registry::Decoded { object, unknown } = scale::decode(given)?;
    if let Some(field) = unknown.first() {
        let why =
            format!("failed to create typed patch object: .{field}: field not declared in schema");
        return Err(ApiError::bad_request(why));
    }
    let named = ["name", "namespace", "uid", "resourceVersion"];
    let named = named.map(|name| (name.to_owned(), given["metadata"][name].clone()));
    let metadata: Map<_, _> = named.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let object_alone = json!({
        "apiVersion": def.api_version(), "kind": def.names.kind, "metadata": metadata,
    });
    match object.get::<Scale>() {
        Some(wanted) if !given["spec"]["replicas"].is_null() => {
            scale::set(&def.scale, &object_alone, wanted)
        }
        _ => Ok(object_alone),
    }
}

fn whose(Conflict { manager, since, .. }: &Conflict) -> String {
    let subresource = match manager.subresource.as_str() {
        "" => String::new(),
        subresource => format!(" with subresource {subresource:?}"),
    };
    let how = match (manager.applies, since) {
        (true, _) => String::new(),
        (false, None) => format!(" using {}", manager.api_version),
        (false, Some(since)) => {
            format!(" using {} at {}", manager.api_version, since.strftime("%Y-%m-%dT%H:%M:%SZ"))
        }
    };
    format!("{:?}{subresource}{how}", manager.name)
}
