//! Versions, faults and absences, with stand-ins for daemons of other times.

#![allow(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use docker::{Build, Command, Docker, Error, LogOptions, Output, models::ContainerCreateBody};
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

/// A daemon that understands these versions, 1.x each, and refuses all others as Docker does.
struct Engine {
    versions: RangeInclusive<u32>,
    asked: Vec<String>,
    /// What it says to everything instead of an answer.
    fault: Option<(StatusCode, &'static str)>,
}

type Shared = Arc<Mutex<Engine>>;

impl Engine {
    fn answer(&mut self, method: &Method, path: &str) -> Result<Value, (StatusCode, String)> {
        self.asked.push(format!("{method} {path}"));
        if path == "/version" {
            let (oldest, newest) = (self.versions.start(), self.versions.end());
            return Ok(json!({"ApiVersion": format!("1.{newest}"),
                "MinAPIVersion": format!("1.{oldest}")}));
        }
        let asked = path.strip_prefix("/v1.").and_then(|path| path.split_once('/'));
        let Some((version, path)) = asked else {
            return Err((StatusCode::BAD_REQUEST, "no version".to_owned()));
        };
        self.check(version.parse().unwrap())?;
        if let Some((status, message)) = self.fault {
            return Err((status, message.to_owned()));
        }
        if path == "exec/e/json" {
            let asked = self.asked.iter().filter(|asked| asked.ends_with(path)).count();
            return Ok(json!({"ExitCode": (asked > 2).then_some(5)}));
        }
        Ok(if path == "containers/json" { json!([]) } else { json!({"Type": "container"}) })
    }

    fn check(&self, version: u32) -> Result<(), (StatusCode, String)> {
        let (oldest, newest) = (self.versions.start(), self.versions.end());
        let why = if version < *oldest {
            format!("old. Minimum supported API version is 1.{oldest}, please upgrade your client")
        } else if version > *newest {
            format!("new. Maximum supported API version is 1.{newest}")
        } else {
            return Ok(());
        };
        Err((StatusCode::BAD_REQUEST, format!("client version 1.{version} is too {why}")))
    }
}

async fn answer(State(engine): State<Shared>, method: Method, uri: Uri) -> Response {
    match engine.lock().answer(&method, uri.path()) {
        Ok(answer) => Json(answer).into_response(),
        Err((status, message)) => (status, Json(json!({"message": message}))).into_response(),
    }
}

/// A socket at which there may be a daemon.
struct Rig {
    folder: TempDir,
    docker: Docker,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let docker = Docker::new(&format!("unix://{}", socket(folder.path()))).unwrap();
        Rig { folder, docker }
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(socket(self.folder.path())).unwrap()
    }

    fn start(&self, versions: RangeInclusive<u32>) -> Shared {
        let engine = Arc::new(Mutex::new(Engine { versions, asked: Vec::new(), fault: None }));
        let router = Router::new().fallback(answer).with_state(engine.clone());
        let listener = self.listen();
        tokio::spawn(async move { axum::serve(listener, router).await });
        engine
    }

    async fn works(&self) {
        assert_eq!(self.docker.containers(&[]).await.unwrap(), []);
    }
}

fn socket(folder: &Path) -> String {
    folder.join("docker.sock").display().to_string()
}

#[tokio::test]
async fn daemons_of_all_times_are_spoken_to_in_a_version_of_theirs() {
    // Docker 20.10, 27, 29, and one to come.
    for (oldest, newest) in [(12, 41), (24, 47), (44, 52), (998, 999)] {
        let rig = Rig::new();
        let engine = rig.start(oldest..=newest);
        rig.works().await;
        rig.works().await;
        let version = if oldest == 998 { 998 } else { newest };
        let list = format!("GET /v1.{version}/containers/json");
        assert_eq!(engine.lock().asked, ["GET /version", &list, &list]);
    }
}

#[tokio::test]
async fn a_daemon_may_be_replaced_by_a_newer_or_older_one() {
    let rig = Rig::new();
    let engine = rig.start(12..=41);
    rig.works().await;
    for versions in [44..=52, 12..=41] {
        engine.lock().versions = versions;
        rig.works().await;
    }
    // Who reads a stream begins it anew.
    engine.lock().versions = 44..=52;
    let first = || async { rig.docker.events(&[], &[]).next().await.unwrap() };
    assert!(matches!(first().await, Err(Error::Refused(_))));
    assert!(first().await.is_ok());
}

#[tokio::test]
async fn a_daemon_that_is_away_is_no_reason_to_end() {
    let rig = Rig::new();
    let away = rig.docker.containers(&[]).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    let away = rig.docker.logs("id", &LogOptions::default()).next().await.unwrap();
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    // A socket that nobody listens at.
    drop(rig.listen());
    let away = rig.docker.containers(&[]).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    std::fs::remove_file(socket(rig.folder.path())).unwrap();
    rig.start(12..=41);
    rig.works().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_stuck_is_not_waited_for_without_end() {
    let rig = Rig::new();
    let listener = rig.listen();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert_ne!(connection.read(&mut [0; 1024]).await.unwrap(), 0);
            // The rest never comes.
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
            connection.write_all(begun).await.unwrap();
            connections.push(connection);
        }
    });
    let stuck = rig.docker.containers(&[]).await;
    assert!(matches!(stuck, Err(Error::Unavailable(_))), "{stuck:?}");
}

#[tokio::test]
async fn callers_can_tell_one_refusal_from_another() {
    let rig = Rig::new();
    let engine = rig.start(12..=41);
    let said = |status| engine.lock().fault = Some((status, "why"));
    let kind = |result: Result<(), Error>| match result.unwrap_err() {
        Error::NotFound(why) => format!("not found: {why}"),
        Error::InUse(why) => format!("in use: {why}"),
        Error::Conflict(why) => format!("conflict: {why}"),
        Error::Refused(why) => format!("refused: {why}"),
        other => panic!("{other:?}"),
    };
    let create =
        async || rig.docker.create("name", &ContainerCreateBody::default()).await.map(drop);
    said(StatusCode::NOT_FOUND);
    assert_eq!(kind(create().await), "not found: why");
    said(StatusCode::CONFLICT);
    assert_eq!(kind(create().await), "in use: why");
    assert_eq!(kind(rig.docker.kill("id", "HUP").await), "conflict: why");
    said(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(kind(rig.docker.remove("id").await), "refused: why");
}

#[tokio::test]
async fn what_a_build_prints_is_told_as_it_comes_and_so_is_its_end() {
    let rig = Rig::new();
    let answer = async |uri: Uri| match uri.path() {
        "/version" => r#"{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}"#.to_owned(),
        "/v1.41/build" if uri.query().unwrap().contains("t=good%3A1") => {
            "{\"stream\": \"Step 1\\n\"}\r\n{\"aux\": {\"ID\": \"sha256:1\"}}\r\n".to_owned()
        }
        "/v1.41/build" => {
            let error = json!({"errorDetail": {"message": "returned 1"}, "error": "returned 1"});
            format!("{{\"stream\": \"no such module\\n\"}}\r\n{error}\r\n")
        }
        other => panic!("{other}"),
    };
    let (router, listener) = (Router::new().fallback(answer), rig.listen());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let build = async |image: &str| {
        let (mut log, image) = (String::new(), image.to_owned());
        let build = Build { image, ..Build::default() };
        let done = rig.docker.build(&build, |text| log.push_str(text)).await;
        (done.map_err(|error| error.to_string()), log)
    };
    assert_eq!(build("good:1").await, (Ok(()), "Step 1\n".to_owned()));
    let failed = (Err("returned 1".to_owned()), "no such module\n".to_owned());
    assert_eq!(build("bad:1").await, failed);
}

#[tokio::test]
async fn the_status_of_a_command_is_there_once_it_has_ended() {
    let rig = Rig::new();
    rig.start(12..=41);
    assert_eq!(rig.docker.exec_status("e").await.unwrap(), 5);
}

#[tokio::test]
async fn it_is_known_which_process_listens() {
    let rig = Rig::new();
    assert_eq!(rig.docker.listener().await, None);
    let _listener = rig.listen();
    assert_eq!(rig.docker.listener().await, i32::try_from(std::process::id()).ok());
    let elsewhere = Docker::new("tcp://127.0.0.1:2375").unwrap();
    assert_eq!(elsewhere.listener().await, None);
}

#[test]
fn an_address_is_one_of_those_that_are_understood() {
    for host in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "http://127.0.0.1:2375"] {
        assert!(Docker::new(host).is_ok(), "{host}");
    }
    for host in ["", "/run/docker.sock", "unix://", "ssh://host", "https://host"] {
        assert!(matches!(Docker::new(host), Err(Error::Host(_))), "{host}");
    }
}

/// Makes the connection one of bytes both ways, and says this.
fn switch(request: Request, says: &'static [u8]) -> Response {
    tokio::spawn(async move {
        let connection = hyper::upgrade::on(request).await.unwrap();
        TokioIo::new(connection).write_all(says).await.unwrap();
    });
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "tcp")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[tokio::test]
async fn what_a_terminal_says_is_never_taken_for_frames() {
    // As a frame, a header whose data never comes.
    const SAID: &[u8] = b"\x01\0\0\0\xff\xff\xff\xffhello";
    let rig = Rig::new();
    let answer = async |request: Request| match request.uri().path() {
        "/version" => Json(json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12"})).into_response(),
        "/v1.41/containers/c/json" => Json(json!({"Config": {"Tty": true}})).into_response(),
        "/v1.41/containers/c/exec" => Json(json!({"Id": "e"})).into_response(),
        "/v1.41/exec/e/start" | "/v1.41/containers/c/attach" => switch(request, SAID),
        other => panic!("{other}"),
    };
    let (router, listener) = (Router::new().fallback(answer), rig.listen());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let command = Command { words: vec!["sh".into()], tty: true, ..Command::default() };
    let command = rig.docker.exec("c", &command).await.unwrap().streams;
    for streams in [command, rig.docker.attach("c", false).await.unwrap()] {
        let parts: Vec<Output> = streams.output.try_collect().await.unwrap();
        let [Output::Stdout(said)] = &parts[..] else { panic!("{parts:?}") };
        assert_eq!(said, SAID);
    }
}

#[tokio::test]
async fn a_refusal_to_attach_is_one_like_all_others() {
    let rig = Rig::new();
    let engine = rig.start(12..=41);
    engine.lock().fault = Some((StatusCode::CONFLICT, "it is paused"));
    let refused = rig.docker.attach("c", false).await.unwrap_err();
    assert!(matches!(&refused, Error::Conflict(why) if why == "it is paused"), "{refused:?}");
}
