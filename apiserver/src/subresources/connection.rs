//! `pods/exec`, `pods/attach` and `pods/portforward`: the client's connection is led on to the kubelet of the
//! pod's node, which speaks the protocol that the two agree upon.
//! (Kubernetes: `pkg/registry/core/pod/rest/subresources.go`, `apimachinery/pkg/util/proxy/upgradeaware.go`.)

use std::time::Duration;

use api_machinery::ApiError;
use futures::future::{Either, select};
use http::{HeaderMap, HeaderName, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use registry::Subresource;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    pin,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::kubelet;
use crate::{
    admission::{Attributes, Operation},
    authorization::authorize_action,
    call::Call,
    rbac::Action,
    request::Verb,
    respond::{self, Response},
    state::State,
    storage::Address,
    websocket,
};

/// What clients and kubelets say about the connection, and not to the server between.
const HANDSHAKE: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_ACCEPT,
];

/// How long one side may go on to speak after the other has ended.
const LEAVE: Duration = Duration::from_secs(15);
const BUFFER: usize = 16 << 10;

/// Streams, as clients call them and as kubelets do.
const STREAMS: [(&str, &str); 4] =
    [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

/// Leads the client's connection to the kubelet.
pub(crate) async fn open(state: &State, call: &Call) -> Result<Response, ApiError> {
    let at = call.address()?;
    admit(state, call, at).await?;
    authorize_creation(state, call)?;
    let pod = state.storage.get(at).await?.object;
    let namespace = at.namespace.unwrap_or_default();
    let path = match call.info.subresource {
        Some(Subresource::PortForward) => format!("/portForward/{namespace}/{}", at.name),
        other => {
            let what = other.map(Subresource::name).unwrap_or_default();
            let container = kubelet::container(&pod, at.name, call.query.get("container"))?;
            format!("/{what}/{namespace}/{}/{container}", at.name)
        }
    };
    let Some(node) = kubelet::node(&pod) else {
        let message = format!("pod {} does not have a host assigned", at.name);
        return Err(ApiError::bad_request(message));
    };
    let kubelets = state.config.kubelet_client.as_ref();
    let (client, kubelet) = kubelet::of_node(kubelets, state.objects(), node).await?;
    let upgrade = call.upgrade.clone().filter(|_| websocket::is_wanted(&call.headers));
    let upgrade = upgrade.ok_or_else(websocket::upgrade_required)?;
    let headers = handshake(&websocket::without_token(&call.headers));
    let answer = client.upgrade(&kubelet, &path, &options(call), headers).await;
    let answer = answer.map_err(|error| kubelet::unreachable(&kubelet, &error))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What is wrong with the request, the kubelet says best.
        let status = answer.status();
        return Ok(respond::text(status, kubelet::refusal(answer).await));
    }
    let response = switching(answer.headers());
    state.tasks.spawn(lead(state.shutdown.clone(), upgrade, answer));
    Ok(response)
}

async fn admit(state: &State, call: &Call, at: Address<'_>) -> Result<(), ApiError> {
    if call.dry_run()? {
        return Err(ApiError::bad_request("dryRun is not supported"));
    }
    let options = connect_options(call);
    let attributes = call.attributes(Operation::Connect, at, "", None);
    let attributes = Attributes { options: Some(&options), ..attributes };
    state.admission.admit(&state.storage, &attributes, None).await
}

/// Who comes by WebSocket, and so with GET, needs the right to create all the same: who may but read opens nothing
/// (Kubernetes: `pkg/registry/core/pod/rest/authorize.go`).
fn authorize_creation(state: &State, call: &Call) -> Result<(), ApiError> {
    let verb = Verb::Create.as_str();
    let action = Action { verb, ..Action::from(&call.info) };
    authorize_action(&state.authorizer, &call.identity, action).map(drop)
}

/// The query as an object, as admission knows it.
fn connect_options(call: &Call) -> Value {
    let query = &call.query;
    if call.info.subresource == Some(Subresource::PortForward) {
        let ports = query.all("ports").iter().flat_map(|ports| ports.split(','));
        let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
        return json!({ "kind": "PodPortForwardOptions", "apiVersion": "v1", "ports": ports });
    }
    let mut options = json!({ "kind": "PodAttachOptions", "apiVersion": "v1" });
    for stream in STREAMS.iter().map(|(name, _)| name).filter(|name| query.flag(name)) {
        options[stream] = true.into();
    }
    if let Some(container) = query.get("container") {
        options["container"] = container.into();
    }
    if call.info.subresource == Some(Subresource::Exec) {
        options["kind"] = "PodExecOptions".into();
        options["command"] = query.all("command").into();
    }
    options
}

/// The options as kubelets know them.
fn options(call: &Call) -> Vec<(&str, &str)> {
    if call.info.subresource == Some(Subresource::PortForward) {
        return call.query.all("ports").iter().map(|ports| ("port", ports.as_str())).collect();
    }
    let streams = STREAMS.iter().filter(|(name, _)| call.query.flag(name));
    let streams = streams.map(|&(_, own)| (own, "1"));
    let words = call.query.all("command").iter().map(|word| ("command", word.as_str()));
    let command = words.filter(|_| call.info.subresource == Some(Subresource::Exec));
    streams.chain(command).collect()
}

fn handshake(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in HANDSHAKE {
        for value in headers.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn switching(headers: &HeaderMap) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = handshake(headers);
    response
}

/// Passes on what both sides say, until they or the server end.
pub(crate) async fn lead(
    shutdown: CancellationToken,
    client: OnUpgrade,
    kubelet: reqwest::Response,
) {
    let talk = async {
        match tokio::join!(client, kubelet.upgrade()) {
            (Ok(client), Ok(kubelet)) => pass(TokioIo::new(client), kubelet).await,
            (client, kubelet) => {
                let error = client.err().map(|error| error.to_string());
                let error = error.or(kubelet.err().map(|error| error.to_string()));
                tracing::debug!(error, "a connection was not led on");
            }
        }
    };
    shutdown.run_until_cancelled(talk).await;
}

/// Of the two ways, one ends first.
async fn pass(client: impl AsyncRead + AsyncWrite, kubelet: impl AsyncRead + AsyncWrite) {
    let ((from_client, to_client), (from_kubelet, to_kubelet)) = (split(client), split(kubelet));
    let (there, back) = (flow(from_client, to_kubelet), flow(from_kubelet, to_client));
    pin!(there, back);
    let rest = match select(there, back).await {
        // What the kubelet has said is the client's, however slowly it reads.
        Either::Left((End::Deaf, back)) => {
            back.await;
            return;
        }
        Either::Left((End::Silent, back)) => Either::Left(back),
        Either::Right((_, there)) => Either::Right(there),
    };
    let _ = timeout(LEAVE, rest).await;
}

/// Why nothing more is passed on.
enum End {
    /// Who spoke has ended.
    Silent,
    /// Who listened takes no more.
    Deaf,
}

async fn flow(from: impl AsyncRead, to: impl AsyncWrite) -> End {
    pin!(from, to);
    let mut buffer = vec![0; BUFFER];
    let end = loop {
        let Some(length @ 1..) = from.read(&mut buffer).await.ok() else { break End::Silent };
        if to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
            break End::Deaf;
        }
    };
    // However it has ended, the other side hears that it has.
    let _ = to.shutdown().await;
    end
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_gets_all_that_a_kubelet_said_before_it_left() {
        let ((client, mut user), (kubelet, mut node)) = (duplex(4), duplex(64));
        let passing = tokio::spawn(pass(client, kubelet));
        node.write_all(b"output and status").await.unwrap();
        drop(node);
        user.write_all(b"ping").await.unwrap();
        sleep(10 * LEAVE).await;
        let mut got = Vec::new();
        user.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"output and status");
        drop(user);
        passing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_kubelet_that_goes_on_without_its_client_is_left() {
        let ((client, user), (kubelet, _node)) = (duplex(4), duplex(4));
        drop(user);
        timeout(2 * LEAVE, pass(client, kubelet)).await.expect("it ends");
    }
}
