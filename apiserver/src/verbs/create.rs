//! POST.

use std::sync::Arc;

use api_machinery::ApiError;
use http::StatusCode;
use registry::Subresource;
use serde_json::Value;
use store::Revision;

use crate::{
    admission::Attributes,
    call::{Call, Given},
    request::RequestInfo,
    respond::Response,
    server::Server,
    storage::{Address, Stored, WriteError},
    subresources::binding,
};

/// How often another generated name is tried if one is taken.
const NAME_ATTEMPTS: usize = 8;

/// Creates an object in a collection.
pub(super) async fn create(server: &Arc<Server>, call: &Call) -> Result<Response, ApiError> {
    if call.info.subresource == Some(Subresource::Binding) {
        return binding::bind(server, call).await;
    }
    let (object, warnings) = call.given()?.into_parts();
    let stored = insert(server, call, object).await?;
    if call.info.namespace.is_some() && !call.dry_run()? {
        server.tasks.spawn(confirm(server.clone(), call.info.clone(), Written::of(&stored)));
    }
    let mut response =
        call.presentation.answer(StatusCode::CREATED, &call.info.def, &stored.object);
    Given::warn(&warnings, &mut response);
    Ok(response)
}

/// Admits, completes and stores an object, under another name as long as the server's choice is taken.
async fn insert(server: &Server, call: &Call, object: Value) -> Result<Stored, ApiError> {
    let generated =
        object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("").is_empty();
    let mut attempts = if generated { NAME_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match attempt(server, call, object.clone()).await {
            Err(error) if attempts > 0 && error.is("AlreadyExists") => {}
            // Another try may be luckier.
            Err(error) if generated && error.is("AlreadyExists") => {
                return Err(ApiError::from(error).retry_after(1));
            }
            result => return Ok(result?),
        }
    }
}

async fn attempt(server: &Server, call: &Call, mut object: Value) -> Result<Stored, WriteError> {
    let (context, dry_run) = (call.context(), call.dry_run()?);
    let attributes = Attributes { call, old: None, uid: &context.uid, dry_run };
    let admitted = server.admission.admit(server, &attributes, &mut object).await?;
    let def = &call.info.def;
    let stored = async {
        let object = def.create(object, &context)?;
        if dry_run {
            return Ok(Stored { object, revision: Revision(0) });
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let at = Address { def, namespace: call.info.namespace.as_deref(), name: &name };
        server.storage.create(at, object).await
    };
    let result = stored.await;
    admitted.settle(server, &result).await;
    result
}

/// What was written, for whoever looks at it again.
#[derive(Debug)]
struct Written {
    name: String,
    uid: Value,
    revision: Revision,
}

impl Written {
    fn of(stored: &Stored) -> Self {
        let metadata = &stored.object["metadata"];
        Self {
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
            uid: metadata["uid"].clone(),
            revision: stored.revision,
        }
    }
}

/// Removes what was stored while it ceased to be admissible, as if it had been there a moment before: its namespace
/// went, and nobody will look there again. Nobody waits for this.
async fn confirm(server: Arc<Server>, info: RequestInfo, written: Written) {
    let (namespace, name) = (info.namespace.as_deref(), written.name.as_str());
    let at = Address { def: &info.def, namespace, name };
    if server.storage.wait_for(written.revision).await.is_err() {
        return;
    }
    match server.admission.confirm(&server, at).await {
        // What the store doesn't say is no reason to remove anything.
        Err(error) if error.code() < 500 => {
            tracing::info!(key = at.key(), %error, "removing what was written too late");
            if let Err(error) = withdraw(&server, at, &written.uid).await {
                tracing::warn!(key = at.key(), ?error, "it can't be removed");
            }
        }
        _ => {}
    }
}

/// Removes this very object, though others may have changed it meanwhile.
async fn withdraw(server: &Server, at: Address<'_>, uid: &Value) -> Result<(), WriteError> {
    loop {
        let found = server.storage.get(at).await?;
        if found.object["metadata"]["uid"] != *uid {
            return Ok(());
        }
        match server.storage.remove(at, found.revision).await {
            Err(error) if error.is("Conflict") => {}
            result => {
                result?;
                server.admission.removed(server, at.def, &found.object).await;
                return Ok(());
            }
        }
    }
}
