//! `serviceaccounts/token`: a token of a service account, for some audiences and some time, and maybe only as long as a
//! pod, a Secret or a node is there (Kubernetes: `pkg/registry/core/serviceaccount/storage/token.go`).

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{
    Resource,
    api::authentication::v1::{
        BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
    },
    jiff::{SignedDuration, Timestamp},
    meta::{ObjectMeta, Time},
};
use registry::AnyObject;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    admission::Operation,
    call::Call,
    identity::Identity,
    objects::Objects,
    respond::{self, Response},
    state::State,
    storage::Address,
    tokens::{Claims, Private, Reference, Tokens},
};

/// How long a token is good whose request doesn't say.
const HOUR: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// What a token is bound to.
#[derive(Debug, Default)]
struct Bound {
    pod: Option<Reference>,
    secret: Option<Reference>,
    node: Option<Reference>,
}

/// Makes a token.
pub(crate) async fn create(
    state: &State,
    call: &Call,
    mut given: AnyObject,
    warnings: &[String],
) -> Result<Response, ApiError> {
    let (at, tokens) = (call.address()?, &state.config.tokens);
    let request = the_request(&mut given)?;
    check_name(at, &request.metadata)?;
    let account = state.storage.get(at).await?.object;
    let now = Timestamp::now();
    complete(request, at, &account, now, tokens.audiences())?;
    let attributes = call.attributes(Operation::Create, at, "", None);
    state.admission.admit(&state.storage, &attributes, Some(&mut given)).await?;
    let request = the_request(&mut given)?;
    let spec = request.spec.clone().unwrap_or_default();
    validate(&spec)?;
    let bound = bound(state.objects(), at, spec.bound_object_ref.as_ref()).await?;
    let claims = claims(tokens, at, &account, bound, &spec, now);
    let token = tokens.sign(&claims)?;
    let expires = now + SignedDuration::from_secs(spec.expiration_seconds.unwrap_or(HOUR));
    request.status =
        Some(TokenRequestStatus { expiration_timestamp: Some(Time(expires)), token: Some(token) });
    Ok(respond::created(&given.to_value()?, warnings))
}

fn the_request(given: &mut AnyObject) -> Result<&mut TokenRequest, ApiError> {
    given.get_mut().ok_or_else(|| ApiError::internal("no TokenRequest"))
}

fn check_name(at: Address<'_>, given: &ObjectMeta) -> Result<(), ApiError> {
    let name = given.name.as_deref().unwrap_or_default();
    if name.is_empty() || name == at.name {
        return Ok(());
    }
    let mut errors = FieldErrors::default();
    let why = "must match the service account name if specified";
    errors.invalid(&FieldPath::new("metadata").child("name"), name, why);
    Err(invalid(at.name, &errors))
}

fn invalid(name: &str, errors: &FieldErrors) -> ApiError {
    ApiError::invalid(TokenRequest::GROUP, TokenRequest::KIND, name, errors)
}

/// Says what the request doesn't say.
fn complete(
    request: &mut TokenRequest,
    at: Address<'_>,
    account: &Value,
    now: Timestamp,
    audiences: &[String],
) -> Result<(), ApiError> {
    let (metadata, uid) = (&mut request.metadata, uid(account));
    if let Some(given) = metadata.uid.as_deref().filter(|given| !given.is_empty() && *given != uid)
    {
        let why = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(ApiError::conflict(TokenRequest::GROUP, TokenRequest::KIND, at.name, &why));
    }
    metadata.name = Some(at.name.to_owned());
    metadata.namespace = at.namespace.map(str::to_owned);
    metadata.uid = Some(uid.to_owned());
    // Not later than the token's time, to the second.
    metadata.creation_timestamp = Some(Time(now));
    let spec = request.spec.get_or_insert_default();
    spec.expiration_seconds.get_or_insert(HOUR);
    if spec.audiences.as_ref().is_none_or(Vec::is_empty) {
        spec.audiences = Some(audiences.to_vec());
    }
    request.status = None;
    Ok(())
}

/// Kubernetes: `pkg/apis/authentication/validation`.
fn validate(spec: &TokenRequestSpec) -> Result<(), ApiError> {
    let path = FieldPath::new("spec").child("expirationSeconds");
    let seconds = spec.expiration_seconds.unwrap_or(HOUR);
    let mut errors = FieldErrors::default();
    if seconds < SHORTEST {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > LONGEST {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid("", &errors)) }
}

/// What the reference names, if that is what it means.
async fn bound(
    objects: Objects<'_>,
    account: Address<'_>,
    wanted: Option<&BoundObjectReference>,
) -> Result<Bound, ApiError> {
    let mut bound = Bound::default();
    let Some(wanted) = wanted else { return Ok(bound) };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (version, kind, name) = (text(&wanted.api_version), text(&wanted.kind), text(&wanted.name));
    // Kubernetes: `FromAPIVersionAndKind`.
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let place = account.namespace;
    let found = match (group, kind.as_str()) {
        ("", "Pod") => {
            let pod = objects.get("pods", place, &name).await?;
            if pod["spec"]["serviceAccountName"].as_str() != Some(account.name) {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name
                )));
            }
            bound.node = node_of(objects, &pod).await?;
            &*bound.pod.insert(reference(&name, &pod))
        }
        ("", "Node") => {
            let node = objects.get("nodes", None, &name).await?;
            &*bound.node.insert(reference(&name, &node))
        }
        ("", "Secret") => {
            let secret = objects.get("secrets", place, &name).await?;
            &*bound.secret.insert(reference(&name, &secret))
        }
        _ => {
            let kind = format!("{group}/{version}, Kind={kind}");
            let why = format!("cannot bind token to object of type {kind}");
            return Err(ApiError::bad_request(why));
        }
    };
    let meant = text(&wanted.uid);
    if !meant.is_empty() && meant != found.uid {
        let why = format!(
            "the UID in the bound object reference ({meant}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(group, &kind, &name, &why));
    }
    Ok(bound)
}

/// The node that a pod runs on. Of one that isn't there, the name alone.
async fn node_of(objects: Objects<'_>, pod: &Value) -> Result<Option<Reference>, ApiError> {
    let Some(name) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match objects.get("nodes", None, name).await {
        Ok(node) => Ok(Some(reference(name, &node))),
        Err(error) if error.code() == 404 => Ok(Some(reference(name, &Value::Null))),
        Err(error) => Err(error),
    }
}

/// One that is good for longer than was asked for is to be renewed as if it were not.
fn claims(
    tokens: &Tokens,
    at: Address<'_>,
    account: &Value,
    bound: Bound,
    spec: &TokenRequestSpec,
    now: Timestamp,
) -> Claims {
    let now = now.as_second();
    let namespace = at.namespace.unwrap_or_default();
    let Bound { pod, secret, node } = bound;
    let audiences = spec.audiences.clone().unwrap_or_default();
    let seconds = spec.expiration_seconds.unwrap_or(HOUR);
    let extension = pod.as_ref().and_then(|_| tokens.extension(seconds, &audiences));
    Claims {
        audiences,
        expires: now + extension.unwrap_or(seconds),
        issued: now,
        issuer: tokens.issuer().to_owned(),
        id: Uuid::new_v4().to_string(),
        kubernetes: Private {
            namespace: namespace.to_owned(),
            node,
            pod,
            secret,
            account: reference(at.name, account),
            warn_after: extension.map(|_| now + seconds),
        },
        not_before: now,
        subject: Identity::of_account(namespace, at.name).user,
    }
}

fn reference(name: &str, object: &Value) -> Reference {
    Reference { name: name.to_owned(), uid: uid(object).to_owned() }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
