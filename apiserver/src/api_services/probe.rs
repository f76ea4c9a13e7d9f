//! What is looked at: the Service, who is behind it, and what a server answers.

use std::{net::SocketAddr, time::Duration};

use api_machinery::ApiError;
use futures::{StreamExt, stream::FuturesUnordered};
use http::HeaderMap;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    delegates::{self, Delegate, ServiceAddress},
    delegation::add_identity,
    identity::Identity,
    kubelet_client::causes,
    service_endpoints,
    state::State,
};

const PATIENCE: Duration = Duration::from_secs(5);
/// One of the endpoints may be ill: of several that are asked at once, one has to answer.
const ATTEMPTS: usize = 5;
/// As long as a list of resources may be.
const LONGEST: usize = 4 << 20;

/// What the cluster says of the server.
#[derive(Debug, PartialEq)]
pub(super) struct Facts {
    delegate: (ServiceAddress, String),
    service: Result<Value, (u16, String)>,
    slices: Result<Vec<Value>, String>,
}

/// What comes of a look.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It answered at this address with these resources; with none if that was no list of resources.
    Good { resources: Option<Vec<Value>>, address: SocketAddr },
    /// The condition's status, reason and message.
    Bad(&'static str, &'static str, String),
}

impl Verdict {
    pub(super) fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }

    /// The condition's status, reason and message.
    pub(super) fn told(self) -> (&'static str, String, String) {
        match self {
            Self::Good { .. } => ("True", "Passed".to_owned(), "all checks passed".to_owned()),
            Self::Bad(status, reason, message) => (status, reason.to_owned(), message),
        }
    }
}

pub(super) async fn facts(state: &State, delegate: &Delegate) -> Facts {
    let ServiceAddress { namespace, name, .. } = &delegate.service;
    let objects = state.objects();
    let service = objects.get("services", Some(namespace), name).await.map(|it| it["spec"].clone());
    let slices = service_endpoints::slices(state.storage.cache(), Some(namespace), name);
    let parts =
        |slice: Value| Value::Array(vec![slice["ports"].clone(), slice["endpoints"].clone()]);
    let text = |error: ApiError| error.to_string();
    Facts {
        // Of another server, or one that is trusted otherwise, nothing is known.
        delegate: (delegate.service.clone(), format!("{:p}", &raw const *delegate.client)),
        service: service.map_err(|error| (error.code(), error.to_string())),
        slices: slices.map(|all| all.into_iter().map(parts).collect()).map_err(text),
    }
}

/// Looks at these facts, and asks.
pub(super) async fn verdict(state: &State, delegate: &Delegate, facts: &Facts) -> Verdict {
    if let Err((status, reason, message)) = stands(&delegate.service, facts) {
        return Verdict::Bad(status, reason, message);
    }
    let mut attempts: FuturesUnordered<_> = (0..ATTEMPTS).map(|_| ask(state, delegate)).collect();
    let mut last = String::new();
    while let Some(answer) = attempts.next().await {
        match answer {
            Ok((list, address)) => {
                return Verdict::Good { resources: resources(delegate, &list), address };
            }
            Err(why) => last = why,
        }
    }
    Verdict::Bad("False", "FailedDiscoveryCheck", last)
}

/// Those of an answer. What a server says is its own affair, as long as it answers.
fn resources(delegate: &Delegate, list: &[u8]) -> Option<Vec<Value>> {
    let read = delegates::resources(list, &delegate.group, &delegate.version);
    let name = &delegate.name;
    read.inspect_err(|error| tracing::warn!(%error, name, "no list of resources is answered")).ok()
}

/// Whether there is somebody to ask.
fn stands(at: &ServiceAddress, facts: &Facts) -> Result<(), (&'static str, &'static str, String)> {
    let ServiceAddress { namespace, name, port } = at;
    let place = format!("service/{name} in {namespace:?}");
    let spec = match &facts.service {
        Ok(spec) => spec,
        Err((404, _)) => {
            return Err(("False", "ServiceNotFound", format!("{place} is not present")));
        }
        Err((_, why)) => {
            let message = format!("{place} cannot be checked due to: {why}");
            return Err(("Unknown", "ServiceAccessError", message));
        }
    };
    // Of others, what they lead to is not the cluster's to know.
    if spec["type"].as_str().is_some_and(|type_| type_ != "ClusterIP") {
        return Ok(());
    }
    let mut ports = spec["ports"].as_array().into_iter().flatten();
    let Some(found) = ports.find(|it| it["port"] == *port) else {
        let message = format!("{place} is not listening on port {port}");
        return Err(("False", "ServicePortError", message));
    };
    let slices = facts.slices.as_ref().map_err(|why| {
        let message = format!("{place} cannot be checked due to: {why}");
        ("Unknown", "EndpointsAccessError", message)
    })?;
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for {place}");
        return Err(("False", "EndpointsNotFound", message));
    }
    let port_name = found["name"].as_str().unwrap_or_default();
    if !slices.iter().any(|slice| is_ready(slice, port_name)) {
        let message =
            format!("endpointslices for {place} have no addresses with port name {port_name:?}");
        return Err(("False", "MissingEndpoints", message));
    }
    Ok(())
}

/// Of a slice's ports and endpoints.
fn is_ready(slice: &Value, port_name: &str) -> bool {
    let each = |at: usize| slice[at].as_array().into_iter().flatten();
    let has_port = each(0).any(|port| {
        port["name"].as_str().unwrap_or_default() == port_name && port["port"].is_number()
    });
    has_port && each(1).any(|endpoint| endpoint["conditions"]["ready"].as_bool() != Some(false))
}

/// Asks for what it serves, as one who may know.
async fn ask(state: &State, delegate: &Delegate) -> Result<(Vec<u8>, SocketAddr), String> {
    let ServiceAddress { namespace, name, port } = &delegate.service;
    let address = state.storage.services().find(namespace, name, *port).await?;
    let path = delegate.path();
    let url = format!("https://{address}{path}");
    let told = |why: String| format!("failing or missing response from {url}: {why}");
    match timeout(PATIENCE, get(delegate, address, &path, LONGEST)).await {
        Ok(Ok(Some(body))) => Ok((body, address)),
        Ok(Ok(None)) => Err(told("the answer is too long".to_owned())),
        Ok(Err(Fault::Code(code))) => Err(told(format!("bad status from {url}: {code}"))),
        Ok(Err(Fault::Other(why))) => Err(told(why)),
        Err(_) => Err(format!("timed out waiting for {url}")),
    }
}

/// Why there is no answer.
pub(super) enum Fault {
    Code(u16),
    Other(String),
}

/// GET of a server, as one who may see all; `None` if the answer is longer than it may be.
pub(super) async fn get(
    delegate: &Delegate,
    address: SocketAddr,
    path: &str,
    longest: usize,
) -> Result<Option<Vec<u8>>, Fault> {
    let error = |error: reqwest::Error| Fault::Other(causes(&error.without_url()));
    let (path, query) = path.split_once('?').map_or((path, None), |(path, q)| (path, Some(q)));
    let url = delegate.client.url(address, path, query).map_err(Fault::Other)?;
    let client = delegate.client.at(address).map_err(Fault::Other)?;
    let mut headers = HeaderMap::new();
    let aggregator = Identity::new("system:kube-aggregator", &["system:masters"]);
    add_identity(&mut headers, &aggregator).map_err(Fault::Other)?;
    let request = client.get(url).headers(headers).header("accept", "application/json");
    let mut answer = request.send().await.map_err(error)?;
    if !answer.status().is_success() {
        return Err(Fault::Code(answer.status().as_u16()));
    }
    let mut read = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(error)? {
        if read.len() + part.len() > longest {
            return Ok(None);
        }
        read.extend_from_slice(&part);
    }
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(service: Result<Value, u16>, slices: &Value, expected: Result<(), (&str, &str)>) {
        let at = ServiceAddress { namespace: "ns".into(), name: "api".into(), port: 443 };
        let slices = slices.as_array().unwrap().clone();
        let service = service.map_err(|code| (code, "no store".to_owned()));
        let facts = Facts { delegate: (at.clone(), String::new()), service, slices: Ok(slices) };
        let found = stands(&at, &facts);
        let found = found.as_ref().map_err(|it| (it.1, it.2.as_str()));
        assert_eq!(found.copied(), expected);
    }

    #[test]
    fn a_server_is_asked_only_if_somebody_is_there() {
        let spec = json!({"type": "ClusterIP", "ports": [{"name": "https", "port": 443}]});
        let ports = json!([{"name": "https", "port": 8443}]);
        let (ready, ill) =
            (json!([{"addresses": ["10.0.0.1"]}]), json!([{"conditions": {"ready": false}}]));
        check(Ok(spec.clone()), &json!([[ports, ready]]), Ok(()));
        let why = "service/api in \"ns\" is not present";
        check(Err(404), &json!([]), Err(("ServiceNotFound", why)));
        let why = "service/api in \"ns\" cannot be checked due to: no store";
        check(Err(503), &json!([]), Err(("ServiceAccessError", why)));
        let other = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
        let why = "service/api in \"ns\" is not listening on port 443";
        check(Ok(other), &json!([]), Err(("ServicePortError", why)));
        let why = "cannot find endpointslices for service/api in \"ns\"";
        check(Ok(spec.clone()), &json!([]), Err(("EndpointsNotFound", why)));
        let why =
            "endpointslices for service/api in \"ns\" have no addresses with port name \"https\"";
        for slice in
            [json!([ports, ill]), json!([[], ready]), json!([[{"name": "x", "port": 1}], ready])]
        {
            check(Ok(spec.clone()), &json!([slice]), Err(("MissingEndpoints", why)));
        }
        check(Ok(json!({"type": "NodePort"})), &json!([]), Ok(()));
    }
}
