//! What programs do with the API server, against a real one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use api_types::api::{
    coordination::v1::Lease,
    core::v1::{Event, Pod},
};
use component::{
    Check, ClientArgs, Credentials, LeaderArgs, Replica, ReplicaArgs, Runtime, ServeArgs, Tasks,
    events::{EventType, Recorder},
    leader,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::json;
use testkit::{ControlPlane, pod, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

async fn only_event(events: &Api<Event>, count: i32) -> Event {
    wait::until("the event is counted", async || {
        let mut list = events.list(&Default::default()).await.map_err(|e| e.to_string())?.items;
        match list.as_slice() {
            [event] if event.count == Some(count) => Ok(list.remove(0)),
            others => Err(format!("{others:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_panic_while_an_event_is_written_is_told() {
    let plane = ControlPlane::start().await;
    let _panicking = plane.panic(|request| request.uri().path().ends_with("/events"));
    let tasks = Tasks::default();
    let recorder = Recorder::new(&tasks, plane.client(), "kubelet", "n1");
    recorder.about(&pod("a").build(), EventType::Normal, "Started", "it runs");
    let told = tokio::time::timeout(wait::DEADLINE, tasks.panicked()).await;
    assert_eq!(told.expect("it is told").to_string(), "writing events has failed");
}

#[tokio::test]
async fn a_repeated_event_is_counted() {
    let plane = ControlPlane::start().await;
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    let events: Api<Event> = Api::namespaced(plane.client(), "default");
    let pod = pods.create(&PostParams::default(), &pod("a").build()).await.unwrap();
    let recorder = Recorder::new(&Tasks::default(), plane.client(), "kubelet", "n1");
    for _ in 0..3 {
        recorder.about(&pod, EventType::Warning, "BackOff", "restarting");
    }
    let event = only_event(&events, 3).await;
    assert_eq!(event.involved_object.uid, pod.metadata.uid);
    assert_eq!(
        (event.reason.as_deref(), event.type_.as_deref()),
        (Some("BackOff"), Some("Warning"))
    );
    assert!(event.last_timestamp.unwrap().0 >= event.first_timestamp.unwrap().0);

    // An event that somebody deleted begins anew, and the server may be away meanwhile.
    let name = event.metadata.name.unwrap();
    events.delete(&name, &DeleteParams::default()).await.unwrap();
    recorder.about(&pod, EventType::Warning, "BackOff", "restarting");
    let again = only_event(&events, 1).await;
    assert_ne!(again.metadata.name, Some(name));
}

#[tokio::test]
async fn an_event_of_what_happens_again_and_again_says_what_was_last() {
    let plane = ControlPlane::start().await;
    let events: Api<Event> = Api::namespaced(plane.client(), "default");
    let recorder = Recorder::new(&Tasks::default(), plane.client(), "serverless-gateway", "");
    let object = Resource::object_ref(&pod("a").build(), &());
    for seconds in ["5", "10", "15"] {
        recorder.replace(&object, EventType::Warning, "CallsFailed", seconds);
    }
    let event = only_event(&events, 3).await;
    assert_eq!(event.message.as_deref(), Some("15"));
}

#[tokio::test]
async fn recording_without_a_server_harms_nobody() {
    let plane = ControlPlane::start().await;
    plane.stop_server().await;
    let recorder = Recorder::new(&Tasks::default(), plane.client(), "kubelet", "n1");
    let object = pod("a").build();
    for i in 0..5000 {
        recorder.about(&object, EventType::Normal, "Pulled", format!("image {i}"));
    }
    wait::until("what fits in the queue has been tried", async || {
        let tried = plane.requests().len();
        if tried >= 1024 { Ok(()) } else { Err(tried) }
    })
    .await;
    plane.start_server().await;
    let events: Api<Event> = Api::namespaced(plane.client(), "default");
    wait::until("events are written again", async || {
        recorder.about(&object, EventType::Normal, "Started", "container");
        let list = events.list(&Default::default()).await.map_err(|e| e.to_string())?;
        list.iter()
            .any(|e| e.reason.as_deref() == Some("Started"))
            .then_some(())
            .ok_or_else(String::new)
    })
    .await;
}

fn clients(client: kube::Client) -> leader::Clients {
    leader::Clients { work: client.clone(), lease: client }
}

#[tokio::test]
async fn one_replica_leads_and_hands_over_when_it_stops() {
    let plane = ControlPlane::start().await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), "kube-system");
    let args = LeaderArgs { leader_elect: true };
    let replica = |identity: &'static str, shutdown: &CancellationToken| {
        let (client, shutdown) = (plane.client(), shutdown.clone());
        tokio::spawn(async move {
            let lead = |_| shutdown.clone().cancelled_owned();
            leader::lead(args, clients(client), "scheduler", identity, &shutdown, lead).await
        })
    };
    let holds = |identity: &'static str| {
        move |lease: &Lease| {
            let holder = lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref());
            holder == Some(identity)
        }
    };
    let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
    let a = replica("a", &stop_a);
    wait::until_is(&leases, "scheduler", "is held by a", holds("a")).await;
    let b = replica("b", &stop_b);
    stop_a.cancel();
    assert_eq!(a.await.unwrap(), Some(()));
    wait::until_is(&leases, "scheduler", "is held by b", holds("b")).await;
    stop_b.cancel();
    assert_eq!(b.await.unwrap(), Some(()));
}

#[tokio::test]
async fn a_leader_whose_time_is_over_writes_nothing_and_still_reads() {
    let plane = ControlPlane::start().await;
    let leases: Api<Lease> = Api::namespaced(plane.client(), "kube-system");
    let (shutdown, (terms, mut term)) = (CancellationToken::new(), mpsc::unbounded_channel());
    let (client, stop) = (plane.client(), shutdown.clone());
    tokio::spawn(async move {
        let lead = |client| {
            terms.send(client).unwrap();
            std::future::pending::<()>()
        };
        leader::elect(clients(client), "scheduler", "a", &stop, lead).await
    });
    let fenced: Api<Pod> = Api::namespaced(term.recv().await.unwrap(), "default");
    fenced.create(&PostParams::default(), &pod("in-time").build()).await.unwrap();

    // Somebody takes the lease by force, as an administrator may.
    let thief = json!({"spec": {"holderIdentity": "thief"}});
    leases.patch("scheduler", &PatchParams::default(), &Patch::Merge(thief)).await.unwrap();
    let refused = wait::until("writes are refused", async || {
        match fenced.delete("nobody", &DeleteParams::default()).await {
            Err(kube::Error::Service(error)) => Ok(error.to_string()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(refused.contains("lease is lost"), "{refused}");
    assert!(fenced.get("in-time").await.is_ok());
}

/// One exchange over TLS; the error of either side ends it.
async fn exchange(server: &Credentials, client: ClientConfig) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(server.server_config().unwrap()));
    let serve = async {
        let mut stream = acceptor.accept(listener.accept().await?.0).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    };
    let ask = async {
        let name = ServerName::try_from("n1").unwrap();
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    let (served, asked) = tokio::join!(serve, ask);
    served.and(asked)
}

fn client(credentials: &Credentials, with_certificate: bool) -> ClientConfig {
    let config = ClientConfig::builder().with_root_certificates(credentials.root_store().unwrap());
    if !with_certificate {
        return config.with_no_client_auth();
    }
    let key = credentials.key.clone_key();
    config.with_client_auth_cert(credentials.certificate.clone(), key).unwrap()
}

fn credentials(path: &Path) -> Credentials {
    Credentials::from_kubeconfig(path).unwrap()
}

#[tokio::test]
async fn a_server_with_a_kubeconfigs_certificate_refuses_forged_clients() {
    let plane = ControlPlane::builder().listen().start().await;
    let stranger = ControlPlane::builder().listen().start().await;
    let node = credentials(&plane.kubeconfig("system:node:n1", &["system:nodes"], &["n1"]));
    let admin = credentials(&plane.kubeconfig("admin", &["system:masters"], &[]));
    let other = credentials(&stranger.kubeconfig("admin", &["system:masters"], &[]));
    assert_eq!(exchange(&node, client(&admin, true)).await.unwrap(), "hello");
    assert_eq!(exchange(&node, client(&admin, false)).await.unwrap(), "hello");
    let forged = ClientConfig::builder()
        .with_root_certificates(admin.root_store().unwrap())
        .with_client_auth_cert(other.certificate.clone(), other.key.clone_key())
        .unwrap();
    assert!(exchange(&node, forged).await.is_err());
}

#[tokio::test]
async fn what_a_kubeconfig_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, "apiVersion: v1\nkind: Config\n").unwrap();
    let error = Credentials::from_kubeconfig(&path).unwrap_err().to_string();
    assert!(error.contains("context"), "{error}");
    let args =
        ClientArgs { kubeconfig: Some(path.with_file_name("missing")), ..ClientArgs::default() };
    let error = format!("{:#}", component::client(&args).await.err().unwrap());
    assert!(error.contains("missing"), "{error}");
}

/// The status code and body of a GET.
async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (code, body.to_owned())
}

/// What its work was waiting for when the term ended says nothing about it any more.
#[tokio::test]
async fn a_replica_whose_term_is_over_is_as_ready_as_one_in_waiting() {
    let plane = ControlPlane::builder().listen().start().await;
    let kubeconfig = plane.kubeconfig("tester", &["system:masters"], &[]);
    let args = ReplicaArgs {
        client: ClientArgs { kubeconfig: Some(kubeconfig), ..ClientArgs::default() },
        serve: ServeArgs::default(),
        leader: LeaderArgs::default(),
    };
    let runtime = Runtime::default();
    let work = async |_, check: Check| {
        assert!(runtime.health.is_ready());
        check.failed("it waits for pods");
        assert!(!runtime.health.is_ready());
        Ok(())
    };
    let replica = Replica { lease: "tester", health_address: "127.0.0.1:0" };
    replica.run(&args, &runtime, work).await.unwrap();
    assert!(runtime.health.is_ready());
}

#[tokio::test]
async fn health_is_served_until_shutdown() {
    let runtime = Runtime::default();
    let check = runtime.health.check("nodes");
    let address = runtime.serve(&ServeArgs::default(), "127.0.0.1:0").await.unwrap();
    assert_eq!(get(address, "/livez").await, (200, "ok".to_owned()));
    assert_eq!(get(address, "/readyz").await, (503, "[-]nodes failed: not started\n".to_owned()));
    check.ready();
    assert_eq!(get(address, "/readyz").await.0, 200);
    assert_eq!(get(address, "/metrics").await, (200, "# EOF\n".to_owned()));
    runtime.shutdown.cancel();
    wait::until("the server is gone", async || match TcpStream::connect(address).await {
        Ok(_) => Err("connected"),
        Err(_) => Ok(()),
    })
    .await;
}
