//! `kubectl port-forward`: ports of this machine that lead into a pod. Each connection is a WebSocket of its
//! own, in which the first two bytes of a channel name its port.

use std::{fmt::Display, net::IpAddr, time::Duration};

use bytes::Bytes;
use clap::Args;
use futures::{Sink, SinkExt, Stream, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    heard::{Heard, pings},
    pods,
};
use crate::{
    Failure, Io,
    api::{Api, Call},
    object::{self, list, number, text},
    session::Session,
};

const DATA: u8 = 0;
const ERROR: u8 = 1;
const BUFFER: usize = 32 << 10;
/// A client that has said all may wait so long for the next that it is told: the protocol knows no end of
/// one direction.
const LEAVE: Duration = Duration::from_secs(30);

/// Forward one or more local ports to a pod
///
/// Ends when it is interrupted.
#[derive(Args, Debug)]
#[command(
    override_usage = "kubectl port-forward (POD | TYPE/NAME) [LOCAL_PORT:]REMOTE_PORT... [flags]",
    after_help = "Examples:\n  kubectl port-forward pod/web 8080:80\n  kubectl port-forward svc/web 8080      # to one of its pods\n  kubectl port-forward pod/web :http     # from a port that is free\n  kubectl port-forward pod/web 80 --address=0.0.0.0"
)]
pub struct PortForward {
    /// POD or TYPE/NAME, then [LOCAL_PORT:]REMOTE_PORT...
    words: Vec<String>,
    /// Addresses to listen on
    #[arg(long, default_value = "localhost", value_delimiter = ',')]
    address: Vec<String>,
}

/// A port of this machine, 0 for one that is free, and what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    local: u16,
    remote: u16,
}

impl PortForward {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let [word, ports @ ..] = self.words.as_slice() else {
            return Err(usage());
        };
        if ports.is_empty() {
            return Err(usage());
        }
        let (pod, object) = pods::named(session, word, "forward ports to").await?;
        let phase = text(&pod, "/status/phase");
        if phase != "Running" {
            let why = format!(
                "unable to forward port because pod is not running. Current status={phase}"
            );
            return Err(Failure::message(why));
        }
        let pairs: Result<Vec<_>, _> = ports.iter().map(|p| pair(p, &object, &pod)).collect();
        let addresses = addresses(&self.address)?;
        let mut forwards = JoinSet::new();
        for pair in pairs? {
            for (listener, local) in listen(&addresses, pair).await? {
                let from = listener.local_addr()?;
                session.io.line(format_args!("Forwarding from {from} -> {}", pair.remote))?;
                let call = Call::get(pods::path(&pod, "portforward"))
                    .query("ports", pair.remote.to_string());
                let pair = Pair { local, ..pair };
                let (api, io) = (session.api().await?.clone(), session.io.clone());
                forwards.spawn(async move { serve(listener, pair, &api, &call, &io).await });
            }
        }
        forwards.join_next().await.and_then(Result::ok).unwrap_or(Ok(()))
    }
}

fn usage() -> Failure {
    Failure::message(
        "TYPE/NAME and list of ports are required for port-forward\nSee 'kubectl port-forward -h' for help and examples",
    )
}

// === Ports ===

/// `8080:80`, `80`, `:80`, or a name in the place of the second.
fn pair(word: &str, object: &Value, pod: &Value) -> Result<Pair, Failure> {
    let (local, remote) = word.split_once(':').unwrap_or(("", word));
    let target = target(remote, object, pod)?;
    let local = match (word.contains(':'), local) {
        (true, "") => 0,
        (true, local) => local.parse().map_err(|error| {
            Failure::message(format!("error parsing local port {local:?}: {error}"))
        })?,
        // The same here as there, by the number that was said.
        (false, _) => remote.parse().unwrap_or(target),
    };
    Ok(Pair { local, remote: target })
}

/// The pod's port behind that of a service, or of the pod itself.
fn target(remote: &str, object: &Value, pod: &Value) -> Result<u16, Failure> {
    if object::kind(object) != "Service" {
        return match remote.parse() {
            Ok(port) => Ok(port),
            Err(_) => named(remote, pod),
        };
    }
    let name = object::name(object);
    let matches = |port: &&Value| match remote.parse::<i64>() {
        Ok(wanted) => number(port, "/port") == Some(wanted),
        Err(_) => text(port, "/name") == remote,
    };
    let port = list(object, "/spec/ports").iter().find(matches).ok_or_else(|| {
        Failure::message(format!("Service {name} does not have a service port {remote}"))
    })?;
    let own = number(port, "/port").unwrap_or_default();
    if text(object, "/spec/clusterIP") == "None" {
        return fit(own);
    }
    match &port["targetPort"] {
        Value::String(name) => named(name, pod),
        Value::Number(number) => fit(number.as_i64().filter(|port| *port > 0).unwrap_or(own)),
        _ => fit(own),
    }
}

fn named(name: &str, pod: &Value) -> Result<u16, Failure> {
    let containers = list(pod, "/spec/containers").iter();
    let mut ports = containers.flat_map(|container| list(container, "/ports"));
    let found = ports.find(|port| text(port, "/name") == name);
    let found = found.and_then(|port| number(port, "/containerPort"));
    found.map_or_else(
        || {
            let pod = object::name(pod);
            Err(Failure::message(format!("Pod '{pod}' does not have a named port '{name}'")))
        },
        fit,
    )
}

fn fit(port: i64) -> Result<u16, Failure> {
    u16::try_from(port).map_err(|_| Failure::message(format!("{port} is not a port")))
}

// === Connections ===

fn addresses(words: &[String]) -> Result<Vec<Vec<IpAddr>>, Failure> {
    let one = |word: &String| match word.as_str() {
        "localhost" => Ok(vec![[127, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1].into()]),
        other => other
            .parse()
            .map(|address| vec![address])
            .map_err(|_| Failure::message(format!("{other} is not a valid IP"))),
    };
    words.iter().map(one).collect()
}

/// Listens at all addresses; of `localhost`, one will do. All listen at the same port.
async fn listen(addresses: &[Vec<IpAddr>], pair: Pair) -> Result<Vec<(TcpListener, u16)>, Failure> {
    let (mut listeners, mut local) = (Vec::new(), pair.local);
    for names in addresses {
        let (before, mut why) = (listeners.len(), None);
        for address in names {
            match TcpListener::bind((*address, local)).await {
                Ok(listener) => {
                    local = listener.local_addr()?.port();
                    listeners.push((listener, local));
                }
                Err(error) => why = Some(error),
            }
        }
        if let Some(why) = why.filter(|_| listeners.len() == before) {
            return Err(Failure::message(format!("unable to listen on port {local}: {why}")));
        }
    }
    Ok(listeners)
}

async fn serve(
    listener: TcpListener,
    pair: Pair,
    api: &Api,
    call: &Call,
    io: &Io,
) -> Result<(), Failure> {
    loop {
        let (client, _) = listener.accept().await?;
        io.line(format_args!("Handling connection for {}", pair.local))?;
        let (api, call, io) = (api.clone(), call.clone(), io.clone());
        tokio::spawn(async move {
            if let Err(why) = lead(client, &api, call).await {
                let Pair { local, remote } = pair;
                io.note(format_args!(
                    "error: an error occurred forwarding {local} -> {remote}: {why}"
                ));
            }
        });
    }
}

/// Leads one connection until the pod has nothing more to say. The error is why that is not reached.
async fn lead(client: TcpStream, api: &Api, call: Call) -> Result<(), String> {
    let connection = api.connect(call).await.map_err(|failure| failure.to_string())?;
    let (sink, messages) = connection.into_stream().split();
    relay(client, sink, messages).await
}

async fn relay<E: Display>(
    client: impl AsyncRead + AsyncWrite,
    sink: impl Sink<Message, Error = E> + Unpin,
    messages: impl Stream<Item = Result<Message, E>> + Unpin,
) -> Result<(), String> {
    let (read, write) = tokio::io::split(client);
    let (heard, data) = (Heard::new(), Heard::new());
    tokio::select! {
        biased;
        ended = back(messages, write, &heard, &data) => ended,
        ended = there(read, sink, &heard, &data) => ended,
        () = heard.lost() => Err("the server does not answer".to_owned()),
    }
}

/// Passes on what the client says. `heard` is of all that the server says, `data` of what the pod says.
async fn there<E: Display>(
    mut read: impl AsyncRead + Unpin,
    mut sink: impl Sink<Message, Error = E> + Unpin,
    heard: &Heard,
    data: &Heard,
) -> Result<(), String> {
    let (mut buffer, mut pings, mut all) = (vec![DATA; 1 + BUFFER], pings(), false);
    loop {
        let message = tokio::select! {
            length = read.read(&mut buffer[1..]), if !all => match length {
                Ok(0) => {
                    all = true;
                    data.now();
                    continue;
                }
                Ok(length) => Message::binary(buffer[..=length].to_vec()),
                // It has gone.
                Err(_) => return Ok(()),
            },
            () = data.silence(LEAVE), if all => {
                return Err(format!("nothing came for {LEAVE:?} after all was said"));
            }
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        if let Err(error) = sink.send(message).await {
            heard.last().await;
            return Err(error.to_string());
        }
    }
}

/// Passes on what the pod says.
async fn back<E>(
    mut messages: impl Stream<Item = Result<Message, E>> + Unpin,
    mut write: impl AsyncWrite + Unpin,
    heard: &Heard,
    data: &Heard,
) -> Result<(), String> {
    let mut named = [false; 2];
    while let Some(Ok(message)) = messages.next().await {
        heard.now();
        let bytes = message.into_data();
        let Some((&channel @ (DATA | ERROR), part)) = bytes.split_first() else { continue };
        if !std::mem::replace(&mut named[usize::from(channel)], true) {
            continue;
        }
        if channel == ERROR {
            return Err(String::from_utf8_lossy(part).into_owned());
        }
        data.now();
        if write.write_all(part).await.is_err() {
            break;
        }
        // A client that reads slowly has not kept the server from speaking.
        heard.now();
        data.now();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;

    fn pod() -> Value {
        let ports = json!([{"name": "http", "containerPort": 80}]);
        json!({"kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"ports": ports}]}})
    }

    fn told(word: &str, object: &Value) -> Result<(u16, u16), String> {
        let found = pair(word, object, &pod());
        found.map(|Pair { local, remote }| (local, remote)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn ports_of_a_pod_are_numbers_or_names() {
        for (word, expected) in [
            ("8080:80", (8080, 80)),
            ("80", (80, 80)),
            (":80", (0, 80)),
            ("http", (80, 80)),
            ("8080:http", (8080, 80)),
        ] {
            assert_eq!(told(word, &pod()), Ok(expected), "{word}");
        }
        let why = "error: Pod 'web' does not have a named port 'other'";
        assert_eq!(told("other", &pod()), Err(why.to_owned()));
        assert!(told("x:80", &pod()).unwrap_err().starts_with("error: error parsing local port"));
    }

    #[test]
    fn ports_of_a_service_lead_to_those_behind_it() {
        let ports = json!([
            {"name": "front", "port": 8080, "targetPort": "http"},
            {"name": "other", "port": 8081, "targetPort": 81},
            {"name": "same", "port": 82},
        ]);
        let spec = json!({"ports": ports});
        let service = json!({"kind": "Service", "metadata": {"name": "web"}, "spec": spec});
        for (word, expected) in
            [("8080", (8080, 80)), (":front", (0, 80)), ("90:8081", (90, 81)), ("82", (82, 82))]
        {
            assert_eq!(told(word, &service), Ok(expected), "{word}");
        }
        let why = "error: Service web does not have a service port 80";
        assert_eq!(told("80", &service), Err(why.to_owned()));
        let mut headless = service;
        headless["spec"]["clusterIP"] = "None".into();
        assert_eq!(told("8081", &headless), Ok((8081, 8081)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_said_all_is_told_as_long_as_the_pod_speaks() {
        let (mut client, ours) = tokio::io::duplex(64);
        let (sink, _said) = futures::channel::mpsc::channel(64);
        let (mut pod, messages) = futures::channel::mpsc::channel(1);
        let speak = async {
            client.shutdown().await.unwrap();
            for message in ["\0\x50\0", "\0a", "\0b", "\0c"] {
                pod.send(Ok(Message::binary(message))).await.unwrap();
                sleep(LEAVE * 2 / 3).await;
            }
        };
        let (ended, ()) = tokio::join!(relay(ours, sink, messages), speak);
        assert_eq!(ended, Err("nothing came for 30s after all was said".to_owned()));
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        assert_eq!(told, "abc");
    }
}
