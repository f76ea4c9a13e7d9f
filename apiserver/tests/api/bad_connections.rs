//! Connections that are no good to anybody: what is too long, too much or never comes ends them, and others are served.

use std::time::Duration;

use apiserver::Identity;
use http::Request;
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    harness::CONFIG_MAPS,
    tls::{Tls, exchange},
};

/// Beyond the time in which a connection may do nothing.
const LONG: Duration = Duration::from_secs(200);

fn selector(letters: usize) -> String {
    let names: Vec<_> = (0..letters / 8).map(|i| format!("n{i:06}")).collect();
    format!("{CONFIG_MAPS}?labelSelector=app+in+({})", names.join(","))
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_fields_is_refused() {
    let tls = Tls::start().await;
    let admin = Identity::admin();
    let head = |fields: &str| format!("GET /readyz HTTP/1.1\r\nhost: server\r\n{fields}\r\n");
    for (fields, begins) in [
        (format!("a: {}\r\n", "x".repeat(100 << 10)), "HTTP/1.1 200 "),
        (format!("a: {}\r\n", "x".repeat(300 << 10)), "HTTP/1.1 431 "),
        ("a: b\r\n".repeat(90), "HTTP/1.1 200 "),
        ("a: b\r\n".repeat(200), "HTTP/1.1 431 "),
    ] {
        let mut connection = tls.connection(Some(&admin)).await;
        let answer = exchange(&mut connection, head(&fields).as_bytes()).await;
        assert!(answer.starts_with(begins), "{begins}, not {answer}");
    }
}

#[tokio::test]
async fn in_http2_a_head_may_have_a_long_selector_and_not_be_endless() {
    let tls = Tls::start().await;
    let connection = tls.connection_for(Some(&Identity::admin()), b"h2").await;
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    for (path, field, code) in [(selector(60_000), 10, 200), (selector(8), 300 << 10, 431)] {
        let request = Request::get(tls.url(&path)).header("a", "x".repeat(field)).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        assert_eq!(wait::within("an answer", answer).await.unwrap().status(), code);
        client = client.ready().await.unwrap();
    }
    assert_eq!(client.current_max_send_streams(), 1000, "a connection may ask so much at once");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_ends() {
    let tls = Tls::start().await;
    let said: [(&[u8], &str); 4] = [
        (b"http/1.1", ""),
        (b"http/1.1", "GET /readyz HTTP/1.1\r\nhost: server\r\n"),
        (b"h2", ""),
        (b"h2", "PRI * HTTP/2.0\r\n"),
    ];
    for (protocol, head) in said {
        let mut slow = tls.connection_for(None, protocol).await;
        slow.write_all(head.as_bytes()).await.unwrap();
        slow.flush().await.unwrap();
        let mut told = Vec::new();
        tokio::time::pause();
        let ended = timeout(LONG, slow.read_to_end(&mut told)).await;
        tokio::time::resume();
        assert!(ended.is_ok(), "{} {head}", String::from_utf8_lossy(protocol));
    }
}

#[tokio::test]
async fn a_connection_of_http2_may_be_idle_for_as_long_as_clients_keep_it() {
    let tls = Tls::start().await;
    let connection = tls.connection_for(None, b"h2").await;
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    let ended = tokio::spawn(connection);
    for _ in 0..2 {
        let request = Request::get(tls.url("/readyz")).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        assert_eq!(wait::within("an answer", answer).await.unwrap().status(), 200);
        client = client.ready().await.unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(95)).await;
        tokio::time::resume();
    }
    tokio::time::pause();
    let ended = timeout(LONG, ended).await;
    tokio::time::resume();
    assert!(ended.is_ok(), "it ends some time");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Thousands of requests, each taken back as soon as it is made (CVE-2023-44487).
#[tokio::test]
async fn who_asks_and_takes_it_back_all_the_time_is_cut_off() {
    let tls = Tls::start().await;
    let mut connection = tls.connection_for(None, b"h2").await;
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    connection.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    // GET https://server/, of HPACK's static table but for the name.
    let head = [&[0x82, 0x87, 0x84, 0x41, 6][..], b"server"].concat();
    for request in 0..5_000_u32 {
        let stream = 2 * request + 1;
        let two = [frame(1, 5, stream, &head), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
        if connection.write_all(&two).await.is_err() {
            break;
        }
    }
    let _ = connection.flush().await;
    let mut told = Vec::new();
    // With an error, if it was cut off in the middle of a request.
    let _ = wait::within("it is cut off", connection.read_to_end(&mut told)).await;
    let mut other = tls.connection(None).await;
    let answer = exchange(&mut other, b"GET /readyz HTTP/1.1\r\nhost: server\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
