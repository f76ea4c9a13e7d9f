//! The objects that are always there: the namespaces of the system, and the server itself as the service
//! `kubernetes`. They are made through the API, as anybody would, and made again when somebody deletes them.

use std::sync::Arc;

use api_machinery::ApiError;
use http::Method;
use serde_json::{Value, json};

use crate::{
    endpoints::{self, Witness},
    internal::request,
    server::Server,
};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing, and keeps the server among its endpoints, whatever becomes of the service that they are of.
pub(crate) async fn run(server: &Arc<Server>, witness: &mut Witness) -> Result<(), ApiError> {
    for name in NAMESPACES {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(server, "/api/v1/namespaces", &namespace).await?;
    }
    let core = "/api/v1/namespaces/default";
    let made = ensure(server, &format!("{core}/services"), &service(server)).await;
    endpoints::reconcile(server, witness).await?;
    made
}

/// The same before anybody is served. What is in the way of an object, like a claim of its address that a crash left,
/// may yet be cleared away by the upkeep, which needs a server that runs.
pub(crate) async fn begin(server: &Arc<Server>, witness: &mut Witness) -> Result<(), ApiError> {
    match run(server, witness).await {
        Err(error) if error.code() < 500 => {
            tracing::warn!(%error, "the system's objects can't all be made yet");
            Ok(())
        }
        result => result,
    }
}

fn service(server: &Server) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "clusterIP": server.config.service_cidr.hosts().next(),
            "ports": [{
                "name": "https", "protocol": "TCP", "port": 443,
                "targetPort": server.config.secure_port,
            }],
        },
    })
}

/// Creates an object unless it is there.
async fn ensure(server: &Arc<Server>, collection: &str, object: &Value) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match request(server, Method::GET, &format!("{collection}/{name}"), &Value::Null).await {
        Err(error) if error.reason() == "NotFound" => {}
        result => return result.map(drop),
    }
    match request(server, Method::POST, collection, object).await {
        // Another server was faster.
        Err(error) if error.reason() == "AlreadyExists" => Ok(()),
        result => result.map(drop),
    }
}

/// Overwrites an object or creates it. What is there already isn't written again.
pub(crate) async fn replace(
    server: &Arc<Server>,
    collection: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match request(server, Method::PUT, &format!("{collection}/{name}"), object).await {
        Err(error) if error.reason() == "NotFound" => {
            request(server, Method::POST, collection, object).await.map(drop)
        }
        result => result.map(drop),
    }
}
