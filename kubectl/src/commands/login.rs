//! The Secret with the login that stood in a GPU job of the seed: it goes with the job, and not before it.

use api_types::{Resource, minik8s::GpuJob};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Failure, api::Call, dialect::credentials_name, manifest::Document, object, session::Session,
};

/// Makes the job, if it is such a one, the owner of its Secret. A job that is deleted needs the login until what it has
/// in Slurm is gone.
pub(super) async fn adopt(
    session: &Session,
    document: &Document,
    object: &Value,
) -> Result<(), Failure> {
    let secret = object::text(object, "/spec/credentials/secretRef/name");
    let is_job = document.is_seed && object::kind(object) == GpuJob::KIND;
    if !is_job || secret != credentials_name(object::name(object)) {
        return Ok(());
    }
    let namespace = object::text(object, "/metadata/namespace");
    let owner = json!({
        "apiVersion": GpuJob::API_VERSION, "kind": GpuJob::KIND,
        "name": object::name(object), "uid": object::text(object, "/metadata/uid"),
    });
    let call = Call::new(Method::PATCH, format!("/api/v1/namespaces/{namespace}/secrets/{secret}"));
    let patch = json!({"metadata": {"ownerReferences": [owner]}});
    let call = call.patch("application/merge-patch+json", &patch);
    match session.api().await?.call(call).await {
        // It was taken out of the file, and away.
        Err(failure) if failure.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}
