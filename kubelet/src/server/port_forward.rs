//! `/portForward/…`: connections into a pod's network. Each port has two channels: its data, and why it
//! could not be reached. (Kubernetes: `k8s.io/cri-streaming/pkg/streaming/portforward`.)

use std::{future::pending, sync::Arc};

use axum::{
    extract::{Path, Query, State, ws::WebSocket},
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tokio_util::io::ReaderStream;

use super::{
    Refusal, Shared,
    channels::{self, Frame, PORT_FORWARD, Protocol, Receiver, Sender, Upgrade},
};
use crate::{runtime::Runtime, spec};

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
    let ports = ports(&parameters).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why))?;
    let pod = shared.find(&namespace, &pod, uid.as_deref())?;
    let observed = shared.observed(&pod).await?;
    let sandbox = observed.sandbox().ok_or_else(|| {
        Refusal::internal(format!("failed to find sandboxID for pod {:?}", spec::label(&pod)))
    })?;
    let (upgrade, protocol) = channels::negotiate(upgrade, PORT_FORWARD)?;
    let session = Session { runtime: shared.runtime, sandbox: sandbox.id.clone(), ports, protocol };
    Ok(upgrade.on_upgrade(|socket| session.serve(socket)))
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

/// One client and its ports.
struct Session {
    runtime: Arc<dyn Runtime>,
    sandbox: String,
    ports: Vec<u16>,
    protocol: Protocol,
}

/// Data for a channel.
type Part = (u8, Bytes);

impl Session {
    async fn serve(self, socket: WebSocket) {
        let (sender, mut receiver) = channels::split(socket, self.protocol);
        let (parts, told) = mpsc::channel(1);
        let (mut inputs, mut connections) = (Vec::new(), Vec::new());
        for (port, channel) in self.ports.iter().zip((0..=u8::MAX).step_by(2)) {
            let (input, read) = mpsc::channel(1);
            inputs.push(input);
            connections.push(self.forward(*port, channel, read, parts.clone()));
        }
        drop(parts);
        let forward = async {
            join_all(connections).await;
            // What they had to say may still be told.
            pending().await
        };
        let ended = tokio::select! {
            () = listen(&sender, &mut receiver, &inputs) => false,
            () = sender.idle() => false,
            ended = tell(&sender, told) => ended,
            ended = forward => ended,
        };
        if ended {
            channels::close(&sender, receiver, None).await;
        }
    }

    /// Leads to a port until that has nothing more to say. A client that has gone is noticed by others.
    async fn forward(
        &self,
        port: u16,
        channel: u8,
        mut input: mpsc::Receiver<Bytes>,
        parts: mpsc::Sender<Part>,
    ) {
        let name = Bytes::copy_from_slice(&port.to_le_bytes());
        for named in [channel, channel + 1] {
            let _ = parts.send((named, name.clone())).await;
        }
        let (output, mut pod) = match self.runtime.connect(&self.sandbox, port).await {
            Ok(connection) => connection.into_split(),
            Err(error) => {
                let sandbox = &self.sandbox;
                let why = format!("error forwarding port {port} to pod {sandbox}, uid : {error}");
                let _ = parts.send((channel + 1, why.into())).await;
                return;
            }
        };
        let write = async {
            while let Some(data) = input.recv().await {
                // What comes too late for a connection is lost, as everywhere.
                let _ = pod.write_all(&data).await;
            }
            pending().await
        };
        let mut output = ReaderStream::new(output);
        let read = async {
            // A connection that breaks has ended.
            while let Some(Ok(part)) = output.next().await {
                let _ = parts.send((channel, part)).await;
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    }
}

/// Passes on what the client says until it has gone.
async fn listen(sender: &Sender, receiver: &mut Receiver, inputs: &[mpsc::Sender<Bytes>]) {
    while let Some(frame) = receiver.next().await {
        let Frame::Data(channel, data) = frame else { continue };
        let Some(input) = inputs.get(usize::from(channel / 2)) else { continue };
        if channel % 2 == 0 && sender.while_deaf(input.send(data)).await.is_none() {
            return;
        }
    }
}

/// Tells the client what comes from the pod; whether that has ended, and not the client gone.
async fn tell(sender: &Sender, mut parts: mpsc::Receiver<Part>) -> bool {
    while let Some((channel, data)) = parts.recv().await {
        if sender.send(channel, &data).await.is_err() {
            return false;
        }
    }
    true
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
