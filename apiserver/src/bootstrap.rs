//! The objects that are always there: the namespaces of the system, and the server itself as the service
//! `kubernetes`. They are made through the API, as anybody would, and made again when somebody deletes them.

use std::sync::Arc;

use api_machinery::ApiError;
use serde_json::{Value, json};

use crate::{
    endpoints::{self, Witness},
    internal::ensure,
    state::State,
};

const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing, and keeps the server among its endpoints, whatever becomes of the service that they are of.
pub(crate) async fn run(state: &Arc<State>, witness: &mut Witness) -> Result<(), ApiError> {
    for name in NAMESPACES {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(state, "/api/v1/namespaces", &namespace).await?;
    }
    let core = "/api/v1/namespaces/default";
    let made = ensure(state, &format!("{core}/services"), &service(state)).await;
    endpoints::reconcile(state, witness).await?;
    made
}

/// The same before anybody is served. What is in the way of an object, like a claim of its address that a crash left,
/// may yet be cleared away by the upkeep, which needs a server that runs.
pub(crate) async fn begin(state: &Arc<State>, witness: &mut Witness) -> Result<(), ApiError> {
    match run(state, witness).await {
        Err(error) if error.code() < 500 => {
            tracing::warn!(%error, "the system's objects can't all be made yet");
            Ok(())
        }
        result => result,
    }
}

fn service(state: &State) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "clusterIP": state.config.service_cidr.hosts().next(),
            "ports": [{
                "name": "https", "protocol": "TCP", "port": 443,
                "targetPort": state.config.secure_port,
            }],
        },
    })
}
