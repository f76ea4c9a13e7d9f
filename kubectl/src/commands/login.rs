//! The Secret with the login that stood in a GPU job of the seed: it goes with the job, and not before it. No other Secret
//! is written over or taken.

use std::collections::HashSet;

use api_types::{Resource, minik8s::GpuJob};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Failure,
    api::Call,
    dialect::credentials_name,
    manifest::Document,
    object::{self, list, text},
    session::Session,
};

/// Logins of a command's documents that could not be kept, by the names of their Secrets: their jobs are not made.
#[derive(Debug, Default)]
pub(super) struct Lost(HashSet<String>);

impl Lost {
    /// Remembers a document of which nothing was made.
    pub(super) fn add(&mut self, document: &Document) {
        if document.is_login() {
            self.0.insert(object::name(&document.object).to_owned());
        }
    }

    /// Refuses a job whose login is lost.
    pub(super) fn check(&self, document: &Document) -> Result<(), Failure> {
        match secret_of(document, &document.object) {
            Some(secret) if self.0.contains(secret) => {
                let job = object::name(&document.object);
                Err(Failure::message(format!(
                    "GPU job {job:?} was not made, since its login is not in the Secret {secret:?}"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// The Secret of a job in the seed's dialect, as this object of it names it.
fn secret_of<'a>(document: &Document, job: &'a Value) -> Option<&'a str> {
    let secret = text(job, "/spec/credentials/secretRef/name");
    let is_job = document.is_seed && object::kind(job) == GpuJob::KIND;
    (is_job && secret == credentials_name(object::name(job))).then_some(secret)
}

/// Refuses to write a login over somebody else's Secret.
pub(super) async fn check(
    session: &Session,
    document: &Document,
    namespace: Option<&str>,
) -> Result<(), Failure> {
    if !document.is_login() {
        return Ok(());
    }
    let name = object::name(&document.object);
    let call = Call::get(path(namespace.unwrap_or_default(), name));
    match session.api().await?.call(call).await {
        Ok(there) => check_owner(&there, text(&document.object, LABEL)),
        Err(failure) if failure.is_not_found() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// [`GpuJob::LABEL`].
const LABEL: &str = "/metadata/labels/minik8s.io~1gpu-job";

/// Whether a Secret holds the login of the job of this name, and nobody's else.
fn check_owner(secret: &Value, job: &str) -> Result<(), Failure> {
    let is_job =
        |owner: &Value| text(owner, "/kind") == GpuJob::KIND && text(owner, "/name") == job;
    if text(secret, LABEL) == job && list(secret, "/metadata/ownerReferences").iter().all(is_job) {
        return Ok(());
    }
    Err(Failure::message(format!(
        "the Secret {:?} is not the login of GPU job {job:?}: delete it, or give the job another name, or name a Secret in spec.credentials.secretRef",
        object::name(secret)
    )))
}

fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

/// Makes the job, if it is such a one, the owner of its Secret. A job that is deleted needs the login until what it has
/// in Slurm is gone.
pub(super) async fn adopt(
    session: &Session,
    document: &Document,
    object: &Value,
) -> Result<(), Failure> {
    let Some(name) = secret_of(document, object) else { return Ok(()) };
    let job = object::name(object);
    let path = path(text(object, "/metadata/namespace"), name);
    let api = session.api().await?;
    let secret = api.call(Call::get(path.clone())).await.map_err(|failure| {
        if !failure.is_not_found() {
            return failure;
        }
        // That of a job of the name which is gone goes with it, maybe only now.
        Failure::message(format!(
            "the Secret {name:?} with the login of GPU job {job:?} has gone: the same command makes it again"
        ))
    })?;
    check_owner(&secret, job)?;
    let owner = json!({
        "apiVersion": GpuJob::API_VERSION, "kind": GpuJob::KIND,
        "name": job, "uid": text(object, "/metadata/uid"),
    });
    let version = text(&secret, "/metadata/resourceVersion");
    let patch = json!({"metadata": {"resourceVersion": version, "ownerReferences": [owner]}});
    let call = Call::new(Method::PATCH, path).patch("application/merge-patch+json", &patch);
    api.call(call).await.map(drop)
}

/// Has the login go where its job has gone, which was called so before; it is left out if the job names another Secret.
pub(super) fn follow(
    documents: &mut Vec<Result<Document, Failure>>,
    before: &str,
    job: &mut Value,
) {
    let old = credentials_name(before);
    let name = object::name(job).to_owned();
    let is_login = |document: &Result<Document, Failure>| matches!(document, Ok(it) if it.is_login() && object::name(&it.object) == old);
    if !documents.iter().any(is_login) {
        return;
    }
    if text(job, "/spec/credentials/secretRef/name") != old {
        return documents.retain(|document| !is_login(document));
    }
    let new = credentials_name(&name);
    job["spec"]["credentials"]["secretRef"]["name"] = json!(new);
    let namespace = job["metadata"].get("namespace").cloned();
    for login in documents.iter_mut().filter(|it| is_login(it)).flatten() {
        let metadata = &mut login.object["metadata"];
        metadata["name"] = json!(new);
        metadata["labels"][GpuJob::LABEL] = json!(name);
        if let Some(namespace) = &namespace {
            metadata["namespace"] = namespace.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_jobs_login_only_if_it_says_so_and_nobody_else_has_it() {
        let check = |labels: Value, owners: Value| {
            let secret =
                json!({"metadata": {"name": "s", "labels": labels, "ownerReferences": owners}});
            check_owner(&secret, "add").is_ok()
        };
        let labels = || json!({GpuJob::LABEL: "add"});
        let owner = |kind: &str, name: &str| json!([{"kind": kind, "name": name}]);
        assert!(check(labels(), json!(null)));
        assert!(check(labels(), owner("GpuJob", "add")));
        assert!(!check(labels(), owner("GpuJob", "other")));
        assert!(!check(labels(), owner("Pod", "add")));
        assert!(!check(json!(null), json!(null)));
        assert!(!check(json!({GpuJob::LABEL: "other"}), json!(null)));
    }
}
