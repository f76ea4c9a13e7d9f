//! The Service whose address a Gateway has. It has no endpoints: each node's kube-proxy has an nginx at its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_machinery::gateway::{GATEWAY_LABEL, is_its_service, refusal, service_name};
use api_machinery::host_routes::MANAGED_BY;
use api_types::api::core::v1::Service;
use api_types::gateway::Gateway;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::frame::{Error, Informer, ObjectKey, Step, code};

/// The Services of Gateways.
pub(super) struct Services<'a> {
    pub(super) client: &'a Client,
    pub(super) store: &'a Informer<Service>,
}

impl Services<'_> {
    /// Makes it, or has it have the Gateway's ports. Somebody else's of its name is left alone, as is one of a Gateway that
    /// was deleted, which goes by itself.
    pub(super) async fn keep(&self, gateway: &Gateway) -> Result<(), Error> {
        let Some(wanted) = wanted(gateway) else { return Ok(()) };
        let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let api = Api::<Service>::namespaced(self.client.clone(), namespace);
        match self.store.get(&ObjectKey::new(namespace, &name)) {
            None => {
                let service = serde_json::from_value(wanted).expect("it is a Service");
                let created = api.create(&PostParams::default(), &service).await;
                match created {
                    // It was made before, and the watch has not told so yet.
                    Err(error) if code(&error) == Some(409) => Ok(()),
                    created => {
                        created.unless_terminating("making the Service of a Gateway").map(drop)
                    }
                }
            }
            Some(found)
                if is_its_service(&found, gateway) && ports_of(&found) != ports(gateway) =>
            {
                let patch = Patch::Merge(json!({"spec": {"ports": wanted["spec"]["ports"]}}));
                let patched = api.patch(&name, &PatchParams::default(), &patch).await;
                patched.unless_gone("changing the ports of the Service of a Gateway").map(drop)
            }
            Some(_) => Ok(()),
        }
    }

    /// Those of Gateways that are served by us no more. Of those that are gone they go by themselves.
    pub(super) async fn remove_others(&self, gateways: &[Arc<Gateway>]) -> Result<(), Error> {
        let others =
            self.store.filter(|service| gateways.iter().any(|it| is_its_service(service, it)));
        for service in others {
            let key = ObjectKey::of(&service.metadata);
            let this_one =
                Preconditions { uid: service.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams::default().preconditions(this_one);
            let api = Api::<Service>::namespaced(self.client.clone(), &key.namespace);
            let removed = api.delete(&key.name, &params).await;
            removed.unless_gone("removing the Service of a Gateway").map(drop)?;
        }
        Ok(())
    }
}

/// Nothing for one that is not served, or does not listen.
fn wanted(gateway: &Gateway) -> Option<Value> {
    let name = service_name(gateway).filter(|_| refusal(gateway).is_none())?;
    let ports = ports(gateway);
    let (own, uid) = (gateway.metadata.name.as_deref()?, gateway.metadata.uid.as_deref()?);
    let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
    let mut labels: BTreeMap<_, _> = infrastructure.labels;
    labels.insert(GATEWAY_LABEL.to_owned(), own.to_owned());
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    let owner = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "name": own, "uid": uid, "controller": true,
    });
    let port = |port: &i32| json!({"name": format!("port-{port}"), "port": port});
    (!ports.is_empty()).then(|| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": name, "labels": labels, "annotations": infrastructure.annotations,
                "ownerReferences": [owner],
            },
            "spec": {
                "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
                "ipFamilyPolicy": "PreferDualStack",
                "ports": ports.iter().map(port).collect::<Vec<_>>(),
            },
        })
    })
}

fn ports(gateway: &Gateway) -> BTreeSet<i32> {
    let listening = gateway.spec.listeners.iter();
    let listening = listening.filter(|it| ["HTTP", "HTTPS"].contains(&it.protocol.as_str()));
    listening.map(|it| it.port).filter(|port| (1..=65535).contains(port)).collect()
}

fn ports_of(service: &Service) -> BTreeSet<i32> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.map(|port| port.port).collect()
}
