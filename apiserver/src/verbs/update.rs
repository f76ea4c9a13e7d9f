//! PUT.

use api_machinery::{ApiError, FieldErrors, FieldPath};
use registry::{AnyObject, Subresource};

use super::{change, create};
use crate::{
    authorization::authorize_action, call::Call, rbac::Action, request::Verb, respond::Response,
    state::State, storage::Stored,
};

/// Replaces an object (or what its subresource shows of it), or creates it, where the kind lets PUT do that.
pub(super) async fn update(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (given, faults) = call.body()?;
    // What is no object is refused whether or not there is one to be replaced.
    let new = call.decode(given.clone(), faults.clone(), None)?;
    let wanted = |old: &Stored| {
        let given = call.decode(given.clone(), faults.clone(), Some(&old.object))?;
        names_version(call, &given.object)?;
        Ok(given)
    };
    match change::apply(state.write_path(), state.objects(), call, wanted).await {
        Err(error) if error.reason() == "NotFound" && is_created_by_put(call) => {
            let action = Action { verb: Verb::Create.as_str(), ..Action::from(&call.info) };
            authorize_action(&state.authorizer, &call.identity, action)?;
            create::store(state, call, new).await
        }
        replaced => replaced,
    }
}

fn is_created_by_put(call: &Call) -> bool {
    call.info.def.is_created_by_put && call.info.subresource.is_none()
}

/// Who says nothing of a version would overwrite what others have written meanwhile.
fn names_version(call: &Call, new: &AnyObject) -> Result<(), ApiError> {
    let def = &call.info.def;
    let names = &def.names;
    let version = new.metadata().resource_version.as_deref().unwrap_or_default();
    let must = def.replaces_by_version && call.info.subresource != Some(Subresource::Scale);
    if !must || !matches!(version, "" | "0") {
        return Ok(());
    }
    let (mut errors, path) = (FieldErrors::default(), FieldPath::new("metadata"));
    let why = "must be specified for an update";
    errors.invalid(&path.child("resourceVersion"), format_args!("0x0"), why);
    let name = call.info.name.as_deref().unwrap_or_default();
    Err(ApiError::invalid(&names.group, &names.plural, name, &errors))
}
