//! POST.

use api_machinery::{ApiError, managed_fields::Managers};
use bytes::Bytes;
use http::StatusCode;
use registry::{AnyObject, Part, Subresource};

use super::managed_fields;
use crate::{
    admission::{Attributes, Operation},
    call::{Call, Given},
    encoded,
    respond::{self, Response},
    reviews,
    state::State,
    storage::{Address, WriteError},
    subresources::{binding, eviction, token},
};

/// How often another generated name is tried if one is taken.
const NAME_ATTEMPTS: usize = 8;

/// Creates an object in a collection.
///
/// *Flow*: decoding and defaults → mutating admission → the kind's strategy → validating admission → the store.
pub(super) async fn create(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (given, faults) = call.body()?;
    let given = call.decode(given, faults, None)?;
    let path = state.write_path();
    let Given { object, warnings, .. } = given;
    match call.info.subresource {
        Some(Subresource::Binding) => binding::bind(path, call, object, &warnings).await,
        Some(Subresource::Eviction) => eviction::evict(state, call, object, &warnings).await,
        Some(Subresource::Token) => token::create(state, call, object, &warnings).await,
        _ if call.info.def.is_review => reviews::create(state, call, object, &warnings).await,
        _ => {
            names_no_version(&object)?;
            store(state, call, Given { object, warnings, managers: None }).await
        }
    }
}

/// A version is of an object that is there (Kubernetes: `ErrResourceVersionSetOnCreate`, which it answers with 500).
fn names_no_version(object: &AnyObject) -> Result<(), ApiError> {
    let version = object.metadata().resource_version.as_deref().unwrap_or_default();
    if version.parse().is_ok_and(|version: u64| version != 0) {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}

/// Creates this object.
pub(super) async fn store(state: &State, call: &Call, given: Given) -> Result<Response, ApiError> {
    check_stays(state, call)?;
    let Given { object, warnings, managers } = given;
    let stored = match name(&object).is_empty() {
        true => insert_under_some_name(state, call, &object).await?,
        false => insert(state, call, object, managers.as_ref()).await?,
    };
    let (form, def) = (&call.presentation, &call.info.def);
    let mut response = form.encoded_response(StatusCode::CREATED, def, stored);
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Fails if the kind is about to go, with all its objects.
fn check_stays(state: &State, call: &Call) -> Result<(), ApiError> {
    if state.catalogue.load().is_going(&call.info.def) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", why));
    }
    Ok(())
}

fn name(object: &AnyObject) -> &str {
    object.metadata().name.as_deref().unwrap_or_default()
}

/// Stores an object under another name as long as the server's choice is taken.
async fn insert_under_some_name(
    state: &State,
    call: &Call,
    object: &AnyObject,
) -> Result<Bytes, ApiError> {
    let mut attempts = NAME_ATTEMPTS;
    loop {
        attempts -= 1;
        match insert(state, call, object.clone(), None).await {
            Err(error) if attempts > 0 && error.is("AlreadyExists") => {}
            // Another try may be luckier.
            Err(error) if error.is("AlreadyExists") => {
                return Err(ApiError::from(error).retry_after(1));
            }
            result => return Ok(result?),
        }
    }
}

/// Admits, completes and stores an object.
async fn insert(
    state: &State,
    call: &Call,
    mut object: AnyObject,
    managers: Option<&Managers>,
) -> Result<Bytes, WriteError> {
    let path = state.write_path();
    let (context, dry_run, def) = (call.context(), call.dry_run()?, &*call.info.def);
    let (given_name, namespace) = (name(&object).to_owned(), call.info.namespace.as_deref());
    let at = Address { def, namespace, name: &given_name };
    let attributes =
        Attributes { dry_run, ..call.attributes(Operation::Create, at, &context.uid, None) };
    managed_fields::track_created(call, managers, &mut object)?;
    let admitted = path.admission.mutate(path.storage, &attributes, Some(&mut object)).await?;
    let stored = async {
        def.before_create(&mut object, &context)?;
        super::warnings::tell(state.objects(), call, Part::Main, &object, None).await;
        // Whom admission has asked may have said it in its own way.
        let managed_fields = object.take_managed_fields();
        object.set_managed_fields(managed_fields);
        let at = Address { name: name(&object), ..at };
        path.admission.validate(&Attributes { at, ..attributes }, Some(&object)).await?;
        if dry_run {
            path.storage.may_create(at).await?;
            return Ok(encoded::versioned(&object, None)?);
        }
        // Webhooks may have held it for long.
        check_stays(state, call)?;
        path.storage.create(at, &object).await
    };
    let result = stored.await;
    admitted.settle(path.storage, &result).await;
    result
}
