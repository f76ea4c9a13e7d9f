//! `/portForward/…`: connections into a pod's network.
//! (Kubernetes: `k8s.io/cri-streaming/pkg/streaming/portforward`.)

mod forward;
mod tunnel;
mod websocket;

use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use self::{forward::Forward, websocket::Session};
use super::{
    channels::{self, PORT_FORWARD, TUNNEL, Upgrade},
    refusal::Refusal,
    shared::Shared,
};
use crate::spec;

/// A channel is a byte.
const MOST_PORTS: usize = 128;

/// The pod that is meant.
#[derive(Debug, Deserialize)]
pub(super) struct Place {
    namespace: String,
    pod: String,
    uid: Option<String>,
}

pub(super) async fn serve(
    State(shared): State<Shared>,
    Path(Place { namespace, pod, uid }): Path<Place>,
    Query(parameters): Query<Vec<(String, String)>>,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let pod = shared.find(&namespace, &pod, uid.as_deref())?;
    let observed = shared.observed(&pod).await?;
    let sandbox = observed.sandbox().ok_or_else(|| {
        Refusal::internal(format!("failed to find sandboxID for pod {:?}", spec::label(&pod)))
    })?;
    let sandbox = sandbox.id.clone();
    let forward = Forward { runtime: shared.runtime.clone(), sandbox: sandbox.clone() };
    let (upgrade, protocol) = channels::negotiate(upgrade, PORT_FORWARD)?;
    if protocol == TUNNEL {
        return Ok(upgrade.on_upgrade(async move |socket| {
            shared.while_in(&pod, sandbox, tunnel::serve(forward, socket)).await;
        }));
    }
    let ports = ports(&parameters).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why))?;
    let session = Session { forward, ports, protocol };
    Ok(upgrade.on_upgrade(async move |socket| {
        shared.while_in(&pod, sandbox, session.serve(socket)).await;
    }))
}

fn ports(parameters: &[(String, String)]) -> Result<Vec<u16>, String> {
    let values = parameters.iter().filter(|(name, _)| name == "port").map(|(_, value)| value);
    let mut ports = Vec::new();
    for value in values {
        if value.is_empty() {
            return Err("query parameter \"port\" cannot be empty".to_owned());
        }
        for text in value.split(',') {
            match text.parse() {
                Ok(0) => return Err(format!("port {value:?} must be > 0")),
                Ok(port) => ports.push(port),
                Err(error) => return Err(format!("unable to parse {value:?} as a port: {error}")),
            }
        }
    }
    match ports.len() {
        0 => Err("query parameter \"port\" is required".to_owned()),
        1..=MOST_PORTS => Ok(ports),
        many => Err(format!("{many} ports are more than {MOST_PORTS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_or_repeated() {
        let read = |values: &[&str]| {
            let pairs = values.iter().map(|value| ("port".to_owned(), (*value).to_owned()));
            ports(&pairs.collect::<Vec<_>>())
        };
        assert_eq!(read(&["80,81", "65535"]), Ok(vec![80, 81, 65535]));
        for (values, why) in [
            (&[][..], "query parameter \"port\" is required"),
            (&[""][..], "query parameter \"port\" cannot be empty"),
            (&["80,0"], "port \"80,0\" must be > 0"),
            (&["80"; 129], "129 ports are more than 128"),
            (&["web"], "unable to parse \"web\" as a port: invalid digit found in string"),
        ] {
            assert_eq!(read(values), Err(why.to_owned()));
        }
    }
}
