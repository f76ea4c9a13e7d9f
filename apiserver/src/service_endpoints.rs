//! Who is behind a Service, as its EndpointSlices say.

use std::net::SocketAddr;

use api_machinery::ApiError;
use serde_json::Value;
use store::cache::Cache;

use crate::encoded::{Decoded, readable};

const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";
/// Says of a slice whose it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The pod that it is, if it is one.
    pub(crate) pod: Option<String>,
    pub(crate) address: SocketAddr,
}

/// The slices of a Service, as the cache has them.
pub(crate) fn slices(
    cache: &Cache<Decoded>,
    namespace: Option<&str>,
    service: &str,
) -> Result<Vec<Value>, ApiError> {
    let prefix =
        namespace.map_or_else(|| SLICES.to_owned(), |namespace| format!("{SLICES}{namespace}/"));
    // Found by their label. Others can be among them.
    let its_own = std::iter::once((SERVICE_NAME, service));
    let snapshot = cache.list_having(&prefix, its_own);
    let mut slices = Vec::new();
    for item in snapshot.items.iter() {
        let slice = readable(item)?.value();
        if slice["metadata"]["labels"][SERVICE_NAME] == service {
            slices.push(slice);
        }
    }
    Ok(slices)
}

/// Those that are ready and have the port of this name.
pub(crate) fn ready(slices: &[Value], port_name: &str) -> Vec<Endpoint> {
    let each = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for slice in slices {
        let is_it = |port: &Value| port["name"].as_str().unwrap_or_default() == port_name;
        let port = each(&slice["ports"]).into_iter().find(is_it);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let Some(port) = port else { continue };
        for endpoint in each(&slice["endpoints"]) {
            let target = &endpoint["targetRef"];
            let is_ready = endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
            let pod = target["name"].as_str().filter(|_| target["kind"] == "Pod");
            let address = endpoint["addresses"][0].as_str().and_then(|it| it.parse().ok());
            if let Some(address) = address.filter(|_| is_ready) {
                let address = SocketAddr::new(address, port);
                found.push(Endpoint { pod: pod.map(str::to_owned), address });
            }
        }
    }
    found
}
