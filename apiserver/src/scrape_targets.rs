//! What there is to scrape, as Prometheus asks for it (`http_sd_configs`): some are built without Kubernetes' discovery, as
//! Debian's is. <https://prometheus.io/docs/prometheus/latest/http_sd/>

use std::net::IpAddr;

use api_machinery::ApiError;
use serde_json::{Value, json};

use crate::{catalogue::Catalogue, encoded::readable, query::ReadAt, storage::Storage};

const SCRAPE: &str = "prometheus.io/scrape";
const KUBELET_PORT: u64 = 10250;

/// Of what the targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    ApiServers,
    Nodes,
    /// Those with the annotation `prometheus.io/scrape: "true"`.
    Pods,
}

impl Role {
    pub(crate) fn of_path(name: &str) -> Option<Self> {
        match name {
            "apiservers" => Some(Self::ApiServers),
            "nodes" => Some(Self::Nodes),
            "pods" => Some(Self::Pods),
            _ => None,
        }
    }

    /// Of the objects that tell of them: group, version, plural, and what the JSON of one has that does.
    fn source(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::ApiServers => {
                ("discovery.k8s.io", "v1", "endpointslices", "\"kubernetes.io/service-name\"")
            }
            Self::Nodes => ("", "v1", "nodes", ""),
            Self::Pods => ("", "v1", "pods", SCRAPE),
        }
    }

    fn group(self, object: &Value) -> Option<Value> {
        match self {
            Self::ApiServers => api_servers(object),
            Self::Nodes => node(object),
            Self::Pods => pod(object),
        }
    }
}

/// The targets that there are now.
pub(crate) async fn list(
    storage: &Storage,
    catalogue: &Catalogue,
    role: Role,
) -> Result<Value, ApiError> {
    let (group, version, plural, mark) = role.source();
    let def = catalogue.find(group, version, plural).ok_or_else(ApiError::no_such_path)?;
    let snapshot = storage.list(&def.prefix(None), ReadAt::MostRecent).await?;
    let mut groups = Vec::new();
    for item in snapshot.items.iter() {
        let object = readable(item)?;
        // Most pods are not meant: to look is cheaper than to parse.
        if std::str::from_utf8(&object.json()).is_ok_and(|json| json.contains(mark)) {
            groups.extend(role.group(&catalogue.converted(object.value(), def)?));
        }
    }
    Ok(Value::Array(groups))
}

fn api_servers(slice: &Value) -> Option<Value> {
    let metadata = &slice["metadata"];
    let is_it = metadata["namespace"] == "default"
        && metadata["labels"]["kubernetes.io/service-name"] == "kubernetes";
    let port = slice["ports"][0]["port"].as_u64().filter(|_| is_it)?;
    let endpoints = slice["endpoints"].as_array()?.iter();
    let addresses = endpoints.filter_map(|endpoint| endpoint["addresses"][0].as_str());
    let targets: Vec<_> = addresses.filter_map(|address| target(address, port)).collect();
    Some(json!({ "targets": targets, "labels": {} }))
}

fn node(node: &Value) -> Option<Value> {
    let status = &node["status"];
    let mut addresses = status["addresses"].as_array()?.iter();
    let address = addresses.find(|address| address["type"] == "InternalIP")?["address"].as_str()?;
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    let target = target(address, port.unwrap_or(KUBELET_PORT))?;
    Some(json!({ "targets": [target], "labels": { "node": node["metadata"]["name"] } }))
}

fn pod(pod: &Value) -> Option<Value> {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    let is_meant = annotation(SCRAPE) == Some("true") && status["phase"] == "Running";
    let address = status["podIP"].as_str().filter(|_| is_meant)?;
    let targets: Vec<_> = match annotation("prometheus.io/port") {
        Some(port) => vec![target(address, port.parse().ok()?)?],
        None => ports(pod).filter_map(|port| target(address, port)).collect(),
    };
    let labels = json!({
        "namespace": metadata["namespace"],
        "pod": metadata["name"],
        "node": pod["spec"]["nodeName"],
        "__scheme__": annotation("prometheus.io/scheme").unwrap_or("http"),
        "__metrics_path__": annotation("prometheus.io/path").unwrap_or("/metrics"),
    });
    Some(json!({ "targets": targets, "labels": labels }))
}

/// Of the containers, those of TCP.
fn ports(pod: &Value) -> impl Iterator<Item = u64> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|it| it["ports"].as_array().into_iter().flatten());
    let over_tcp = |port: &&Value| port["protocol"].as_str().is_none_or(|it| it == "TCP");
    ports.filter(over_tcp).filter_map(|port| port["containerPort"].as_u64())
}

fn target(address: &str, port: u64) -> Option<String> {
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scraped(annotations: &Value, phase: &str) -> Value {
        let ports = json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 81}]);
        json!({
            "metadata": {"namespace": "team", "name": "web", "annotations": annotations},
            "spec": {"nodeName": "n1", "containers": [{"ports": ports}]},
            "status": {"podIP": "10.1.0.7", "phase": phase},
        })
    }

    #[test]
    fn pods_are_scraped_as_their_annotations_say() {
        let group = |annotations, phase| pod(&scraped(&annotations, phase));
        let usual = json!({
            "targets": ["10.1.0.7:80", "10.1.0.7:81"],
            "labels": {"namespace": "team", "pod": "web", "node": "n1", "__scheme__": "http", "__metrics_path__": "/metrics"},
        });
        assert_eq!(group(json!({SCRAPE: "true"}), "Running"), Some(usual));
        let own = json!({SCRAPE: "true", "prometheus.io/port": "9", "prometheus.io/path": "/m", "prometheus.io/scheme": "https"});
        let own = group(own, "Running").unwrap();
        assert_eq!(own["targets"], json!(["10.1.0.7:9"]));
        assert_eq!(
            (&own["labels"]["__metrics_path__"], &own["labels"]["__scheme__"]),
            (&json!("/m"), &json!("https"))
        );
        for (annotations, phase) in [
            (json!({}), "Running"),
            (json!({SCRAPE: "false"}), "Running"),
            (json!({SCRAPE: "true"}), "Pending"),
            (json!({SCRAPE: "true"}), "Succeeded"),
            (json!({SCRAPE: "true", "prometheus.io/port": "http"}), "Running"),
        ] {
            assert_eq!(group(annotations.clone(), phase), None, "{annotations} {phase}");
        }
    }

    #[test]
    fn api_servers_are_the_endpoints_of_their_service() {
        let mut slice = json!({
            "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
            "ports": [{"port": 6443}],
        });
        assert_eq!(
            api_servers(&slice).unwrap()["targets"],
            json!(["10.0.0.1:6443", "10.0.0.2:6443"])
        );
        slice["metadata"]["namespace"] = json!("team");
        assert_eq!(api_servers(&slice), None, "anybody may make such a Service there");
    }

    #[test]
    fn nodes_are_scraped_at_their_kubelets() {
        let status = |address: &str| {
            let addresses = json!([{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": address}]);
            json!({"metadata": {"name": "n1"}, "status": {"addresses": addresses}})
        };
        let mut object = status("10.0.0.1");
        let targets = |object: &Value| node(object).unwrap()["targets"].clone();
        assert_eq!(node(&object).unwrap()["labels"], json!({"node": "n1"}));
        assert_eq!(targets(&object), json!(["10.0.0.1:10250"]));
        object["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 10260}});
        assert_eq!(targets(&object), json!(["10.0.0.1:10260"]));
        assert_eq!(targets(&status("fd00::1")), json!(["[fd00::1]:10250"]));
        assert_eq!(node(&json!({"metadata": {"name": "n1"}})), None);
    }
}
