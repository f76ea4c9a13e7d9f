//! Who a request is led on to: what its path names as `[scheme:]name[:port]`.
//! (Kubernetes: `ResourceLocation` of `pkg/registry/core/pod/strategy.go`, `service/storage/storage.go`, `node/strategy.go`.)

use std::net::{IpAddr, SocketAddr};

use api_machinery::ApiError;
use ipnet::IpNet;
use serde_json::Value;
use uuid::Uuid;

use super::super::kubelet;
use crate::{
    admission::known_service_ranges,
    kubelet_client::{Kubelet, KubeletClient},
    query::ReadAt,
    request::RequestInfo,
    service_endpoints::{self, Endpoint},
    state::State,
};

/// See the module.
#[derive(Debug)]
pub(super) enum Destination<'a> {
    Server { scheme: &'static str, address: SocketAddr },
    Kubelet { client: &'a KubeletClient, kubelet: Kubelet },
}

impl Destination<'_> {
    /// As it may name itself.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Server { address, .. } => address.to_string(),
            Self::Kubelet { kubelet, .. } => kubelet.address.to_string(),
        }
    }
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    scheme: &'static str,
    name: &'a str,
    /// A number, or a name; empty if there is none.
    port: &'a str,
}

impl<'a> Named<'a> {
    /// Kubernetes: `SplitSchemeNamePort`.
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let scheme = match scheme {
            "" | "http" => "http",
            "https" => "https",
            _ => return None,
        };
        (!name.is_empty()).then_some(Self { scheme, name, port })
    }
}

/// Finds it. What is of the kind and namespace of the request is meant.
pub(super) async fn find<'a>(
    state: &'a State,
    info: &RequestInfo,
) -> Result<Destination<'a>, ApiError> {
    let text = info.name.as_deref().unwrap_or_default();
    let namespace = info.namespace.as_deref();
    let kind = &*info.def.names.singular;
    let invalid = || ApiError::bad_request(format!("invalid {kind} request {text:?}"));
    let named = Named::parse(text).ok_or_else(invalid)?;
    let scheme = named.scheme;
    let address = match kind {
        "pod" => {
            let pod = state.objects().get("pods", namespace, named.name).await?;
            let address = of_pod(&pod, &named, invalid)?;
            check_node(state, &pod, address.ip()).await?;
            address
        }
        "service" => of_service(state, namespace, text, &named).await?,
        _ => {
            let client = state.config.kubelet_client.as_ref();
            let found = kubelet::of_node(client, state.objects(), named.name).await?;
            let (client, kubelet) = found;
            let own = kubelet.address.port();
            let port = if named.port.is_empty() { own } else { number(named.port, invalid)? };
            if port == own {
                return Ok(Destination::Kubelet { client, kubelet });
            }
            SocketAddr::new(kubelet.address.ip(), port)
        }
    };
    let services = known_service_ranges(state.objects(), state.config.service_cidr);
    check(address, state.config.advertised(), &services)?;
    Ok(Destination::Server { scheme, address })
}

/// What is of this host alone, and the server itself, is not for who may but see a pod: a pod's address is what its
/// status says, which others write. (Kubernetes: `IsProxyableIP`.)
fn check(address: SocketAddr, own: SocketAddr, services: &[IpNet]) -> Result<(), ApiError> {
    let ip = address.ip().to_canonical();
    let is_service = services.iter().any(|range| range.contains(&ip));
    if is_global_unicast(address.ip()) && address != own && !is_service {
        return Ok(());
    }
    Err(not_allowed())
}

fn not_allowed() -> ApiError {
    ApiError::bad_request("address not allowed")
}

/// What a node writes into its pods' status leads to its own addresses alone.
async fn check_node(state: &State, pod: &Value, address: IpAddr) -> Result<(), ApiError> {
    let name = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    match state.objects().get("nodes", None, name).await {
        Ok(node) if may_have(&node, pod, address) => Ok(()),
        Ok(_) => Err(not_allowed()),
        Err(error) if error.code() == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a pod of the node may have such an address. Of a node without a part of the pods' network, nothing is known.
fn may_have(node: &Value, pod: &Value, address: IpAddr) -> bool {
    let spec = &node["spec"];
    let parts = spec["podCIDRs"].as_array().into_iter().flatten().chain([&spec["podCIDR"]]);
    let mut parts = parts.filter_map(|part| part.as_str()?.parse::<IpNet>().ok()).peekable();
    let mut own = node["status"]["addresses"].as_array().into_iter().flatten();
    if pod["spec"]["hostNetwork"] == true {
        return own
            .any(|own| own["address"].as_str().and_then(|it| it.parse().ok()) == Some(address));
    }
    parts.peek().is_none() || parts.any(|part| part.contains(&address.to_canonical()))
}

fn is_global_unicast(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => {
            let special = it.is_loopback() || it.is_link_local() || it.is_unspecified();
            !(special || it.is_multicast() || it.is_broadcast())
        }
        IpAddr::V6(it) => {
            let special = it.is_loopback() || it.is_unicast_link_local() || it.is_unspecified();
            !(special || it.is_multicast())
        }
    }
}

fn number(port: &str, invalid: impl Fn() -> ApiError) -> Result<u16, ApiError> {
    port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)
}

fn of_pod(
    pod: &Value,
    named: &Named<'_>,
    invalid: impl Fn() -> ApiError,
) -> Result<SocketAddr, ApiError> {
    let ports = || {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.flat_map(|container| container["ports"].as_array().into_iter().flatten())
    };
    let of = |port: &Value| port["containerPort"].as_u64().and_then(|it| u16::try_from(it).ok());
    let usual = if named.scheme == "https" { 443 } else { 80 };
    let port = match named.port {
        "" => ports().next().and_then(of).unwrap_or(usual),
        name => match ports().find(|port| port["name"] == name) {
            Some(port) => of(port).ok_or_else(&invalid)?,
            None => number(name, invalid)?,
        },
    };
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        // Its address may be another's by now.
        let name = named.name;
        return Err(ApiError::unavailable(format!(
            "error trying to reach service: pod {name:?} has ended; its phase is {phase}"
        )));
    }
    let address = pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok());
    let address = address.ok_or_else(not_allowed)?;
    Ok(SocketAddr::new(address, port))
}

/// One of the endpoints that are ready, at random. That it is a pod's, the pod has to say too: anybody may write
/// endpoints.
async fn of_service(
    state: &State,
    namespace: Option<&str>,
    text: &str,
    named: &Named<'_>,
) -> Result<SocketAddr, ApiError> {
    let service = state.objects().get("services", namespace, named.name).await?;
    let port = port_name(&service, named)?;
    state.storage.reach(ReadAt::MostRecent).await?;
    let slices = service_endpoints::slices(state.storage.cache(), namespace, named.name)?;
    let mut endpoints = pods(&slices, port);
    while !endpoints.is_empty() {
        let random = Uuid::new_v4().as_u64_pair().1;
        let at = usize::try_from(random).unwrap_or_default() % endpoints.len();
        let (pod, address) = endpoints.swap_remove(at);
        match state.objects().get("pods", namespace, &pod).await {
            Ok(pod) if has_address(&pod, address.ip()) => {
                check_node(state, &pod, address.ip()).await?;
                return Ok(address);
            }
            Ok(_) => {}
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::unavailable(format!("no endpoints available for service {text:?}")))
}

/// The port's name by which endpoints have it: the one given, or that of the number.
fn port_name<'a>(service: &'a Value, named: &Named<'a>) -> Result<&'a str, ApiError> {
    let Ok(number) = named.port.parse::<u64>() else { return Ok(named.port) };
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let port = ports.find(|port| port["port"] == number).ok_or_else(|| {
        let name = named.name;
        ApiError::unavailable(format!("no service port {number} found for service {name:?}"))
    })?;
    Ok(port["name"].as_str().unwrap_or_default())
}

/// The pods behind a port that are ready, with their addresses.
fn pods(slices: &[Value], port_name: &str) -> Vec<(String, SocketAddr)> {
    let ready = service_endpoints::ready(slices, port_name).into_iter();
    ready.filter_map(|Endpoint { pod, address }| Some((pod?, address))).collect()
}

fn has_address(pod: &Value, address: IpAddr) -> bool {
    let all = pod["status"]["podIPs"].as_array().into_iter().flatten().map(|it| &it["ip"]);
    let mut all = all.chain([&pod["status"]["podIP"]]).filter_map(Value::as_str);
    all.any(|it| it.parse() == Ok(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_may_have_a_scheme_and_a_port() {
        let check = |text, expected: Option<(&'static str, &str, &str)>| {
            let expected = expected.map(|(scheme, name, port)| Named { scheme, name, port });
            assert_eq!(Named::parse(text), expected, "{text}");
        };
        check("web", Some(("http", "web", "")));
        check("web:80", Some(("http", "web", "80")));
        check("https:web:metrics", Some(("https", "web", "metrics")));
        check(":web:", Some(("http", "web", "")));
        check("ftp:web:21", None);
        check(":80", None);
        check("a:b:c:d", None);
    }

    fn pod() -> Value {
        json!({
            "spec": {"containers": [
                {"name": "a"}, {"name": "b", "ports": [{"containerPort": 8080}, {"name": "admin", "containerPort": 9}]}]},
            "status": {"podIP": "10.1.0.7", "phase": "Running"},
        })
    }

    #[track_caller]
    fn check_pod(pod: &Value, text: &str, expected: &str) {
        let named = Named::parse(text).unwrap();
        let found = of_pod(pod, &named, || ApiError::bad_request("invalid"));
        assert_eq!(found.map_or_else(|error| error.to_string(), |it| it.to_string()), expected);
    }

    #[test]
    fn a_pods_port_is_the_one_given_or_the_first_that_it_has() {
        check_pod(&pod(), "web", "10.1.0.7:8080");
        check_pod(&pod(), "web:81", "10.1.0.7:81");
        check_pod(&pod(), "web:admin", "10.1.0.7:9");
        for port in ["0", "65536", "-1", "nope"] {
            check_pod(&pod(), &format!("web:{port}"), "invalid");
        }
        let bare = json!({"status": {"podIP": "fd00::1"}});
        check_pod(&bare, "web", "[fd00::1]:80");
        check_pod(&bare, "https:web:", "[fd00::1]:443");
        check_pod(&json!({}), "web", "address not allowed");
        let mut ended = pod();
        ended["status"]["phase"] = json!("Failed");
        let why = "error trying to reach service: pod \"web\" has ended; its phase is Failed";
        check_pod(&ended, "web", why);
    }

    #[test]
    fn nobody_is_led_to_the_server_itself_or_what_is_of_its_host_alone() {
        let own = "10.0.0.1:6443".parse().unwrap();
        let services = ["10.96.0.0/16", "fd00:96::/112"].map(|range| range.parse().unwrap());
        let check = |address, own| super::check(address, own, &services);
        for allowed in ["10.1.0.7:80", "10.0.0.1:80", "[fd00::1]:80", "8.8.8.8:53"] {
            assert!(check(allowed.parse().unwrap(), own).is_ok(), "{allowed}");
        }
        for refused in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "169.254.169.254:80",
            "0.0.0.0:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[::1]:80",
            "[fe80::1]:80",
            "[::ffff:127.0.0.1]:80",
            "10.0.0.1:6443",
            "10.96.0.1:443",
            "[::ffff:10.96.0.1]:443",
            "[fd00:96::1]:443",
        ] {
            assert!(check(refused.parse().unwrap(), own).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_pods_address_is_one_that_its_node_may_give() {
        let node = json!({
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.5"}]},
        });
        let on_host = json!({"spec": {"hostNetwork": true}});
        let check = |node: &Value, pod: &Value, address: &str, expected| {
            assert_eq!(may_have(node, pod, address.parse().unwrap()), expected, "{pod} {address}");
        };
        check(&node, &pod(), "10.244.1.7", true);
        check(&node, &pod(), "fd00:1::7", true);
        check(&node, &pod(), "10.244.2.7", false);
        check(&node, &pod(), "10.0.0.5", false);
        check(&node, &on_host, "10.0.0.5", true);
        check(&node, &on_host, "10.244.1.7", false);
        check(&json!({}), &pod(), "10.244.2.7", true);
    }

    #[test]
    fn a_services_endpoints_are_its_ready_pods_that_have_the_port() {
        let target = |name: &str| json!({"kind": "Pod", "name": name});
        let slice = json!({
            "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9}],
            "endpoints": [
                {"addresses": ["10.1.0.7"], "targetRef": target("a"), "conditions": {"ready": true}},
                {"addresses": ["10.1.0.8"], "targetRef": target("b"), "conditions": {"ready": false}},
                {"addresses": ["10.1.0.9"], "targetRef": target("c")},
                {"addresses": ["10.1.0.10"]},
                {"addresses": ["10.1.0.11"], "targetRef": {"kind": "Node", "name": "n"}},
            ],
        });
        let found = |name| {
            let found = pods(std::slice::from_ref(&slice), name).into_iter();
            found.map(|(pod, address)| format!("{pod} {address}")).collect::<Vec<_>>()
        };
        assert_eq!(found("http"), ["a 10.1.0.7:8080", "c 10.1.0.9:8080"]);
        assert_eq!(found("admin"), ["a 10.1.0.7:9", "c 10.1.0.9:9"]);
        assert!(found("").is_empty());
    }
}
