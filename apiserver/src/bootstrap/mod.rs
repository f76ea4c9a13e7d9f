//! The objects that are always there: the namespaces of the system, the server itself as the service
//! `kubernetes`, and the service of the cluster's DNS,
//! and the class of Ingresses that the cluster itself serves. They are made through the API, as anybody would, and made again when somebody deletes them.

mod policy;

use std::net::Ipv4Addr;

use api_machinery::{
    ApiError,
    host_routes::{INGRESS_CLASS, INGRESS_CONTROLLER},
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    config::Config,
    endpoints::{self, Witness},
    internal::{ensure, request, warn},
    query::ReadAt,
    service::InProcess,
    storage::Storage,
};

const SYSTEM_SERVICES: &str = "/api/v1/namespaces/kube-system/services";
const INGRESS_CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
/// On the class of Ingresses that name none.
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// What is known from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Of the leases of all servers.
    pub(crate) witness: Witness,
    /// Of which address in place of `--cluster-dns` it was told.
    told: Option<String>,
}

/// Makes what is missing, and keeps the server among its endpoints, whatever becomes of the service that they are of.
pub(crate) async fn run(
    api: &InProcess,
    config: &Config,
    storage: &Storage,
    memory: &mut Memory,
) -> Result<(), ApiError> {
    for name in NAMESPACES {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(api, "/api/v1/namespaces", &namespace).await?;
    }
    ensure_ingress_class(api).await?;
    let made = ensure_services(api, config, &mut memory.told).await;
    endpoints::reconcile(api, storage, config.advertised(), &mut memory.witness).await?;
    made
}

/// The same before anybody is served. What is in the way of an object, like a claim of its address that a crash left,
/// may yet be cleared away by the upkeep, which needs a server that runs.
pub(crate) async fn begin(
    api: &InProcess,
    config: &Config,
    storage: &Storage,
    memory: &mut Memory,
) -> Result<(), ApiError> {
    let begun = async {
        let made = run(api, config, storage, memory).await;
        policy::reconcile(api).await?;
        // Nobody is served before it is known what they may do.
        storage.reach(ReadAt::MostRecent).await?;
        made
    };
    match begun.await {
        Err(error) if error.code() < 500 => {
            tracing::warn!(%error, "the system's objects can't all be made yet");
            Ok(())
        }
        result => result,
    }
}

async fn ensure_ingress_class(api: &InProcess) -> Result<(), ApiError> {
    let path = format!("{INGRESS_CLASSES}/{INGRESS_CLASS}");
    match request(api, Method::GET, &path, &Value::Null).await {
        Err(error) if error.reason() == "NotFound" => {}
        result => return result.map(drop),
    }
    let others = request(api, Method::GET, INGRESS_CLASSES, &Value::Null).await?;
    ensure(api, INGRESS_CLASSES, &ingress_class(&others)).await
}

async fn ensure_services(
    api: &InProcess,
    config: &Config,
    told: &mut Option<String>,
) -> Result<(), ApiError> {
    ensure(api, "/api/v1/namespaces/default/services", &service(config)).await?;
    match config.cluster_dns {
        Some(address) => ensure_cluster_dns(api, address, told).await,
        None => Ok(()),
    }
}

/// An address that is there stays: servers that were started with others would take turns otherwise, and pods go on to ask
/// at the one that they were made with. It is told once of each that is found.
async fn ensure_cluster_dns(
    api: &InProcess,
    address: Ipv4Addr,
    told: &mut Option<String>,
) -> Result<(), ApiError> {
    ensure(api, SYSTEM_SERVICES, &cluster_dns(address)).await?;
    let path = format!("{SYSTEM_SERVICES}/kube-dns");
    let there = request(api, Method::GET, &path, &Value::Null).await?;
    let held = there["spec"]["clusterIP"].as_str().unwrap_or_default();
    if held == address.to_string() {
        *told = None;
        return Ok(());
    }
    if told.replace(held.to_owned()).as_deref() == Some(held) {
        return Ok(());
    }
    let message = format!(
        "the cluster IP is {held}, and --cluster-dns is {address}, where names are answered: delete this service, which is \
         then made anew, and the pods that have {held} as their name server"
    );
    tracing::warn!(service = "kube-system/kube-dns", "{message}");
    warn(api, &there, "ClusterDNSMoved", "ClusterIPAllocation", &message).await;
    Ok(())
}

/// It has no endpoints: kube-proxies answer themselves. Who lets pods do it gives it a selector.
fn cluster_dns(address: Ipv4Addr) -> Value {
    let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": 53, "targetPort": 53 });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "labels": { "k8s-app": "kube-dns" },
        },
        "spec": { "clusterIP": address, "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")] },
    })
}

/// The default one, unless somebody says otherwise: whoever makes another one the default has the newer one, also once this
/// one was deleted and comes back as the newest. `others`: a list of those there are.
fn ingress_class(others: &Value) -> Value {
    let mut others = others["items"].as_array().into_iter().flatten();
    let has_default = others.any(|class| class["metadata"]["annotations"][IS_DEFAULT] == "true");
    let annotations = if has_default { json!({}) } else { json!({ IS_DEFAULT: "true" }) };
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {
            "name": INGRESS_CLASS,
            "annotations": annotations,
        },
        "spec": { "controller": INGRESS_CONTROLLER },
    })
}

fn service(config: &Config) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "clusterIP": config.service_cidr.hosts().next(),
            "ports": [{
                "name": "https", "protocol": "TCP", "port": 443,
                "targetPort": config.secure_port,
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_the_cluster_is_the_default_unless_there_is_one() {
        let is_default = |value: &str| {
            let class = json!({ "metadata": { "annotations": { IS_DEFAULT: value } } });
            let made = ingress_class(&json!({ "items": [{ "metadata": {} }, class] }));
            made["metadata"]["annotations"][IS_DEFAULT] == "true"
        };
        assert!(is_default("false") && !is_default("true"));
        let first = ingress_class(&json!({ "items": [] }));
        assert_eq!(first["metadata"]["annotations"][IS_DEFAULT], "true");
    }
}
