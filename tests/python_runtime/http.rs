//! The protocol itself, byte by byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{
    ECHO,
    instance::{Instance, until},
};

/// Sends all at once, and reads until the server closes, which it does at once.
fn exchange(instance: &Instance, sent: &str) -> String {
    let mut stream = TcpStream::connect(instance.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).unwrap();
    received
}

fn statuses(received: &str) -> Vec<&str> {
    received.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn requests_follow_each_other_on_a_connection_with_bodies_in_either_form() {
    let instance = Instance::ready(ECHO, &[]).await;
    let received = exchange(
        &instance,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n123\
         POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n[4\r\n1\r\n]\r\n0\r\nTrailer: t\r\n\r\n\
         GET / HTTP/1.1\r\n\r\n\
         POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n5\
         GET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(statuses(&received), ["200", "200", "405", "100", "200", "200"], "{received}");
    let bodies: Vec<_> = received
        .split("\r\n\r\n")
        .skip(1)
        .map(|rest| rest.split("HTTP/1.1").next().unwrap())
        .collect();
    assert_eq!((bodies[0], bodies[1], bodies[4], bodies[5]), ("123", "[4]", "5", "ok\n"));
    let received = exchange(&instance, "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n7");
    assert!(
        received.contains("Connection: close\r\n") && received.ends_with("\r\n\r\n7"),
        "{received}"
    );
}

#[tokio::test]
async fn what_is_not_clear_is_refused_and_ends_the_connection() {
    let instance = Instance::ready(ECHO, &[]).await;
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: a\r\n".repeat(300));
    let cases = [
        ("words\r\n\r\n", "400"),
        ("POST / HTTP/2.0\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 200000000\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFF\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "400"),
        ("POST / HTTP/1.1\r\n no name\r\n\r\n", "400"),
        (long.as_str(), "431"),
        (many.as_str(), "431"),
    ];
    for (sent, status) in cases {
        let received = exchange(&instance, sent);
        assert_eq!(statuses(&received), [status], "{sent}: {received}");
        assert!(received.contains("Connection: close\r\n"), "{received}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_costs_nobody_else_anything() {
    let mut instance = Instance::ready("def main(p):\n    return 'x' * (p << 20)\n", &[]).await;
    let mut stream = TcpStream::connect(instance.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n20").unwrap();
    stream.read_exact(&mut [0; 100]).unwrap();
    drop(stream);
    let mut stream = TcpStream::connect(instance.address()).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n1").unwrap();
    drop(stream);
    assert_eq!(instance.call("0").await.status, 200);
    instance.terminate();
    assert_eq!(instance.ended().await.0.code(), Some(0));
}

/// Whoever gives calls to an instance counts on that: there is no more in it than was asked for and not given up.
#[tokio::test]
async fn a_call_ends_with_the_connection_that_it_came_on() {
    let source = "import os, time\ndef main(p):\n    open(os.environ['HERE'] + '/' + p, 'w').write(str(os.getpid()))\n    time.sleep(60 if p == 'first' else 0)\n    return p\n";
    let instance = Instance::ready(source, &[("MINIK8S_CONCURRENCY", "1")]).await;
    let request = "POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\n\"first\"";
    let mut stream = TcpStream::connect(instance.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let begun = instance.path("first");
    let pid = || std::fs::read_to_string(&begun).ok().filter(|pid| !pid.is_empty());
    until("the call is under way", async || pid().is_some()).await;
    let process = format!("/proc/{}", pid().unwrap());
    // Half of the connection is enough; that the other half ends says that the call has.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "an answer that nobody wants");
    until("its process is gone", async || !std::path::Path::new(&process).exists()).await;
    assert_eq!(instance.call("\"second\"").await.body, "\"second\"");
}

#[tokio::test]
async fn a_call_that_can_be_sent_elsewhere_is_refused_while_there_is_no_place_for_it() {
    let source = "import os, time\ndef main(p):\n    while p and not os.path.exists(os.environ['HERE'] + '/go'):\n        time.sleep(0.01)\n    return p\n";
    let instance = Instance::ready(source, &[("MINIK8S_CONCURRENCY", "1")]).await;
    let calls = async {
        let repeatable = "POST / HTTP/1.1\r\nX-Minik8s-Repeatable: true\r\nConnection: close\r\nContent-Length: 1\r\n\r\n0";
        let busy = async || statuses(&exchange(&instance, repeatable)) == ["503"];
        until("the first call has the place", busy).await;
        let refused = exchange(&instance, repeatable);
        assert!(refused.contains("X-Minik8s-Not-Started: busy\r\n"), "{refused}");
        // Another one waits, for longer than it takes to be refused.
        let go = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            std::fs::write(instance.path("go"), "").unwrap();
        };
        let (waited, ()) = tokio::join!(instance.call("0"), go);
        assert_eq!((waited.status, statuses(&exchange(&instance, repeatable))), (200, vec!["200"]));
    };
    let (first, ()) = tokio::join!(instance.call("1"), calls);
    assert_eq!((first.status, first.body.as_str()), (200, "1"));
}
