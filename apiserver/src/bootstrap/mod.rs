//! The objects that are always there: the namespaces of the system, the server itself as the service
//! `kubernetes`, and the service of the cluster's DNS,
//! and the class of Ingresses that the cluster itself serves. They are made through the API, as anybody would, and made again when somebody deletes them.

mod flow_control;
mod policy;

use std::net::IpAddr;

use api_machinery::{
    ApiError,
    host_routes::{INGRESS_CLASS, INGRESS_CONTROLLER},
};
use http::Method;
use registry::SYSTEM_CLASSES;
use serde_json::{Value, json};

use crate::{
    admission::{DEFAULT_SERVICE_RANGE, renew_claims},
    config::Config,
    endpoints::{self, Witness},
    internal::{ensure, request, warn},
    query::ReadAt,
    service::InProcess,
    storage::{self, Storage},
};

const SYSTEM_SERVICES: &str = "/api/v1/namespaces/kube-system/services";
const INGRESS_CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
const PRIORITY_CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const SERVICE_CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const STORAGE_CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
/// Directories of nodes.
const STORAGE_CLASS: &str = "host-path";
/// On the class of claims that name none.
const IS_DEFAULT_STORAGE: &str = "storageclass.kubernetes.io/is-default-class";
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
    /// Whether the roles and bindings that are always there have been completed since the start.
    has_policy: bool,
}

/// Makes what is missing. Roles and bindings are completed once: whoever changes them after the start has them so until the
/// next.
///
/// # Errors
/// The gravest of those that were met.
pub(crate) async fn run(
    api: &InProcess,
    config: &Config,
    storage: &Storage,
    memory: &mut Memory,
) -> Result<(), ApiError> {
    let made = make(api, config, storage, memory).await;
    let limits =
        if config.request_limits.fair { flow_control::reconcile(api).await } else { Ok(()) };
    let completed = if memory.has_policy { Ok(()) } else { policy::reconcile(api).await };
    memory.has_policy = completed.is_ok();
    let errors = [made, limits, completed].into_iter().filter_map(Result::err);
    errors.max_by_key(ApiError::code).map_or(Ok(()), Err)
}

/// Makes what is missing, and keeps the server among its endpoints, whatever becomes of the service that they are of.
async fn make(
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
    ensure_storage_class(api).await?;
    for (name, value) in SYSTEM_CLASSES {
        ensure(api, PRIORITY_CLASSES, &priority_class(name, value)).await?;
    }
    let ranged = ensure_service_cidr(api, config).await;
    let made = ensure_services(api, config, &mut memory.told).await;
    endpoints::reconcile(api, storage, config.advertised(), &mut memory.witness).await?;
    ranged.and(made)
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
        // Readers would fail at what is no object.
        renew_claims(storage).await.map_err(storage::api_error)?;
        let made = run(api, config, storage, memory).await;
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

/// Unless another one is there for claims that name none.
async fn ensure_storage_class(api: &InProcess) -> Result<(), ApiError> {
    let path = format!("{STORAGE_CLASSES}/{STORAGE_CLASS}");
    match request(api, Method::GET, &path, &Value::Null).await {
        Err(error) if error.reason() == "NotFound" => {}
        result => return result.map(drop),
    }
    let others = request(api, Method::GET, STORAGE_CLASSES, &Value::Null).await?;
    let is_default = others["items"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|class| class["metadata"]["annotations"][IS_DEFAULT_STORAGE] == "true");
    let annotations = json!({ IS_DEFAULT_STORAGE: (!is_default).to_string() });
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": STORAGE_CLASS, "annotations": annotations },
        "provisioner": "minik8s.io/host-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    ensure(api, STORAGE_CLASSES, &class).await
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
    address: IpAddr,
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
fn cluster_dns(address: IpAddr) -> Value {
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

fn priority_class(name: &str, value: i32) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": name },
        "value": value,
        "description": "Used for pods that the system can't do without.",
    })
}

/// One that is there can't be changed, but that a range of the other family may come to it (Kubernetes: its controller of the
/// default ServiceCIDR).
async fn ensure_service_cidr(api: &InProcess, config: &Config) -> Result<(), ApiError> {
    let wanted = service_cidr(config);
    ensure(api, SERVICE_CIDRS, &wanted).await?;
    let path = format!("{SERVICE_CIDRS}/{DEFAULT_SERVICE_RANGE}");
    let mut there = request(api, Method::GET, &path, &Value::Null).await?;
    let cidrs = |of: &Value| of["spec"]["cidrs"].as_array().cloned().unwrap_or_default();
    let (before, now) = (cidrs(&there), cidrs(&wanted));
    if before.len() == 1 && now.len() == 2 && before[0] == now[0] {
        there["spec"] = wanted["spec"].clone();
        match request(api, Method::PUT, &path, &there).await {
            // Another server was faster; what it left is looked at next time.
            Err(error) if error.reason() == "Conflict" => {}
            result => return result.map(drop),
        }
    }
    Ok(())
}

/// The ranges of `--service-cidr`.
fn service_cidr(config: &Config) -> Value {
    let cidrs: Vec<_> = config.service_cidr.iter().map(|range| range.to_string()).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": DEFAULT_SERVICE_RANGE },
        "spec": { "cidrs": cidrs },
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
            "clusterIP": config.service_cidr.first_host(),
            "ipFamilyPolicy": "SingleStack",
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
