//! `/portForward/…`: connections into a pod's network. Each port has two channels: its data, and why it
//! could not be reached. (Kubernetes: `k8s.io/cri-streaming/pkg/streaming/portforward`.)

use std::{future::ready, io, sync::Arc};

use axum::{
    extract::{Path, Query, State, ws::WebSocket},
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, net::tcp::OwnedWriteHalf};
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
        let (mut sender, mut receiver) = channels::split(socket, self.protocol);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for (port, channel) in self.ports.iter().zip((0..=u8::MAX).step_by(2)) {
            let (input, output) = self.forward(*port, channel).await;
            inputs.push(input);
            outputs.push(output);
        }
        let ended = tokio::select! {
            () = listen(&mut receiver, inputs) => false,
            ended = tell(&mut sender, stream::select_all(outputs)) => ended,
        };
        if ended {
            channels::close(sender, receiver).await;
        }
    }

    /// The way into the pod, if there is one, and what is to be said to the client.
    async fn forward(
        &self,
        port: u16,
        channel: u8,
    ) -> (Option<OwnedWriteHalf>, BoxStream<'static, Part>) {
        let name = Bytes::copy_from_slice(&port.to_le_bytes());
        let names = stream::iter([(channel, name.clone()), (channel + 1, name)]);
        match self.runtime.connect(&self.sandbox, port).await {
            Ok(connection) => {
                let (output, input) = connection.into_split();
                // A connection that breaks has ended.
                let part = move |part: io::Result<Bytes>| Some((channel, part.ok()?));
                let parts = ReaderStream::new(output).scan((), move |(), read| ready(part(read)));
                (Some(input), names.chain(parts).boxed())
            }
            Err(error) => {
                let sandbox = &self.sandbox;
                let why = format!("error forwarding port {port} to pod {sandbox}, uid : {error}");
                let why = stream::iter([(channel + 1, Bytes::from(why))]);
                (None, names.chain(why).boxed())
            }
        }
    }
}

/// Passes on what the client says until it has gone.
async fn listen(receiver: &mut Receiver, mut inputs: Vec<Option<OwnedWriteHalf>>) {
    while let Some(frame) = receiver.next().await {
        let Frame::Data(channel, data) = frame else { continue };
        let Some(input) = inputs.get_mut(usize::from(channel / 2)) else { continue };
        // What comes too late for a connection is lost, as everywhere.
        if channel % 2 == 0
            && let Some(open) = input
            && open.write_all(&data).await.is_err()
        {
            *input = None;
        }
    }
}

/// Tells the client what comes from the pod; whether that has ended, and not the client gone.
async fn tell(sender: &mut Sender, mut parts: impl stream::Stream<Item = Part> + Unpin) -> bool {
    while let Some((channel, data)) = parts.next().await {
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
