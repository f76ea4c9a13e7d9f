//! A package index on the loopback address, with one package.

use std::convert::Infallible;
use std::io::{Cursor, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Html;
use axum::routing::get;
use controller_manager::functions::FunctionArgs;
use testkit::wait;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const WHEEL: &str = "greet-1.0-py3-none-any.whl";

/// It is not asked for.
pub(crate) const LOGIN: &str = "me:secret";

pub(crate) struct Index {
    url: String,
    /// How many wait for the package `endless`.
    waiting: watch::Sender<usize>,
    _server: AbortOnDropHandle<()>,
}

impl Index {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{LOGIN}@{}/simple", listener.local_addr().unwrap());
        let waiting = watch::Sender::default();
        let waits = waiting.clone();
        let page = format!("<a href=\"/{WHEEL}\">{WHEEL}</a>");
        let router = Router::new()
            .route("/simple/greet/", get(async || Html(page)))
            .route(
                "/simple/endless/",
                get(async || Body::from_stream(endless(Waiting::new(waits)))),
            )
            .route(&format!("/{WHEEL}"), get(async || wheel()));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, waiting, _server: AbortOnDropHandle::new(server) }
    }

    /// Waits until so many wait for `endless`: the commands of builds that are under way.
    pub(crate) async fn until_waiting(&self, number: usize) {
        let mut waiting = self.waiting.subscribe();
        let what = format!("{number} wait for the package");
        wait::within(&what, waiting.wait_for(|waiting| *waiting == number)).await.unwrap();
    }

    /// Builds reach it in the network of the host.
    pub(crate) fn settings(&self) -> FunctionArgs {
        FunctionArgs {
            function_package_index: Some(self.url.clone()),
            function_build_network: "host".to_owned(),
            ..FunctionArgs::default()
        }
    }
}

/// One that waits, until this is dropped.
struct Waiting(watch::Sender<usize>);

impl Waiting {
    fn new(all: watch::Sender<usize>) -> Self {
        all.send_modify(|waiting| *waiting += 1);
        Self(all)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// A page that goes on for as long as somebody reads it.
fn endless(waiting: Waiting) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    futures::stream::unfold(waiting, async |waiting| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(Bytes::from_static(b"<!-- -->")), waiting))
    })
}

fn wheel() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [
        ("greet.py", "def greet(name):\n    return 'hello ' + name\n"),
        ("greet-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n"),
        (
            "greet-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        ("greet-1.0.dist-info/RECORD", "greet.py,,\n"),
    ] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
