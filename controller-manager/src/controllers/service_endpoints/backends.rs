//! A Service and its pods, turned into addresses and port numbers. Pure.

use std::sync::Arc;

use api_machinery::IpFamily;
use api_types::IntOrString;
use api_types::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};

use crate::pods;

/// A pod behind a Service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Backend {
    pub(super) ip: String,
    pub(super) node: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) target: ObjectReference,
    /// It may get new connections.
    pub(super) ready: bool,
    /// It passes its readiness probe, even if it is on its way out.
    pub(super) serving: bool,
    pub(super) terminating: bool,
    /// The ports that it has of those of the Service.
    pub(super) ports: Vec<Port>,
}

/// A port of a Service as it is on a pod. Pods may have different numbers for one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) protocol: String,
    pub(super) number: i32,
    pub(super) app_protocol: Option<String>,
}

/// The backends of a Service that have an address of the family, in the order of these.
pub(super) fn of(service: &Service, selected: &[Arc<Pod>], family: IpFamily) -> Vec<Backend> {
    let mut backends: Vec<Backend> =
        selected.iter().filter_map(|pod| backend(service, pod, family)).collect();
    backends.sort_by(|a, b| a.ip.cmp(&b.ip));
    backends
}

/// A pod that has an address and has not ended.
fn backend(service: &Service, pod: &Pod, family: IpFamily) -> Option<Backend> {
    let ip = pods::address(pod, family).filter(|_| !pods::is_finished(pod))?.to_string();
    let spec = service.spec.as_ref()?;
    let serving = pods::is_ready(pod);
    let terminating = pods::is_terminating(pod);
    let published = spec.publish_not_ready_addresses.unwrap_or_default();
    Some(Backend {
        ip,
        node: pods::node_of(pod).map(str::to_owned),
        hostname: hostname(service, pod),
        target: target(pod),
        ready: published || (serving && !terminating),
        serving,
        terminating,
        ports: spec.ports.iter().flatten().filter_map(|port| port_on(pod, port)).collect(),
    })
}

/// A pod has a DNS name of its own if its subdomain is the Service.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let ours = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| ours && !name.is_empty())
}

fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// `None` if the pod has no port of the name that the Service aims at.
fn port_on(pod: &Pod, port: &ServicePort) -> Option<Port> {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named(pod, name, &protocol)?,
    };
    let name = port.name.clone().filter(|name| !name.is_empty());
    Some(Port { name, protocol, number, app_protocol: port.app_protocol.clone() })
}

fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let mut ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let found = ports.find(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    found.map(|port| port.container_port)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn service(ports: Value, more: Value) -> Service {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "ns", "name": "web", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "ports": ports, "ipFamilies": ["IPv4"]},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            service["spec"][name] = value.clone();
        }
        serde_json::from_value(service).unwrap()
    }

    pub(crate) fn pod(name: &str, ip: &str, ready: bool) -> Value {
        json!({
            "metadata": {"namespace": "ns", "name": name, "uid": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        })
    }

    pub(crate) fn typed(pods: &[Value]) -> Vec<Arc<Pod>> {
        pods.iter().map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap())).collect()
    }

    /// Backends as `ip ready/serving/terminating port,…`.
    fn check(service: &Service, pods: &[Value], expected: &[&str]) {
        let flag = |flag: bool, letter: &str| if flag { letter.to_owned() } else { "-".to_owned() };
        let describe = |backend: &Backend| {
            let ports: Vec<String> =
                backend.ports.iter().map(|port| port.number.to_string()).collect();
            let flags = flag(backend.ready, "r")
                + &flag(backend.serving, "s")
                + &flag(backend.terminating, "t");
            format!("{} {flags} {}", backend.ip, ports.join(","))
        };
        let got: Vec<String> =
            of(service, &typed(pods), IpFamily::V4).iter().map(describe).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn pods_with_an_address_are_backends() {
        let service = service(json!([{"port": 80}]), json!({}));
        let mut ended = pod("ended", "10.0.0.4", true);
        ended["status"]["phase"] = json!("Succeeded");
        let mut leaving = pod("leaving", "10.0.0.3", true);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let all = [
            leaving,
            pod("b", "10.0.0.2", false),
            pod("a", "10.0.0.1", true),
            pod("new", "", false),
            ended,
        ];
        check(&service, &all, &["10.0.0.1 rs- 80", "10.0.0.2 --- 80", "10.0.0.3 -st 80"]);
    }

    #[test]
    fn not_ready_addresses_are_published_on_demand() {
        let service = service(json!([{"port": 80}]), json!({"publishNotReadyAddresses": true}));
        check(&service, &[pod("a", "10.0.0.1", false)], &["10.0.0.1 r-- 80"]);
    }

    #[test]
    fn target_ports_are_numbers_or_names_of_the_pods_ports() {
        let ports = json!([
            {"name": "a", "port": 80, "targetPort": 81}, {"name": "b", "port": 82, "targetPort": "http"},
            {"name": "c", "port": 83, "targetPort": "nothing"},
            {"name": "d", "port": 84, "targetPort": "http", "protocol": "UDP"}]);
        check(&service(ports, json!({})), &[pod("a", "10.0.0.1", true)], &["10.0.0.1 rs- 81,8080"]);
    }

    #[test]
    fn a_pod_of_the_services_subdomain_has_its_hostname() {
        let mut named = pod("a", "10.0.0.1", true);
        named["spec"]["hostname"] = json!("first");
        named["spec"]["subdomain"] = json!("web");
        let backends = of(&service(json!([]), json!({})), &typed(&[named]), IpFamily::V4);
        assert_eq!(backends[0].hostname.as_deref(), Some("first"));
    }

    #[test]
    fn of_each_family_pods_are_backends_by_their_address_of_it() {
        let service = service(json!([{"port": 80}]), json!({}));
        let mut both = pod("both", "10.0.0.2", true);
        both["status"]["podIPs"] = json!([{"ip": "10.0.0.2"}, {"ip": "fd00:0::2"}]);
        let pods = typed(&[pod("v6", "fd00::1", true), both, pod("v4", "10.0.0.1", true)]);
        let ips = |family| {
            let backends = of(&service, &pods, family).into_iter();
            backends.map(|it| it.ip).collect::<Vec<_>>()
        };
        assert_eq!(ips(IpFamily::V4), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(IpFamily::V6), ["fd00::1", "fd00::2"]);
    }
}
