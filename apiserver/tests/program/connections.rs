//! Thousands of connections that are of no use to anybody keep nobody else from being answered.

use futures::{StreamExt, future::join_all, stream};
use testkit::{Apiserver, Connections, wait};

const OF_EACH: usize = 1000;
const MANY: usize = 10_000;
const AT_ONCE: usize = 32;
const OTHERS: usize = 20;
/// What a connection may take of the server's memory.
const ROOM: u64 = 64 << 10;

async fn others_are_answered(server: &Apiserver) {
    let ask = async || server.client().await.apiserver_version().await;
    let answers = wait::within("others are answered", join_all((0..OTHERS).map(|_| ask()))).await;
    for answer in answers {
        answer.unwrap();
    }
}

fn each_takes_little(server: &Apiserver, before: u64, count: usize) {
    let each = server.allocated().saturating_sub(before) / count as u64;
    assert!(each < ROOM, "a connection takes {each} bytes");
}

/// The server was started with the usual limit of 1,024 open files.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_and_slow_connections_keep_nobody_from_being_answered() {
    let server = crate::spawn().await;
    let before = server.allocated();
    let opened = Connections::open(&server, OF_EACH, 10);
    let mut connections = wait::within("all connect", opened).await;
    wait::until("all are connected at once", async || match server.open_files() {
        open if open > 3 * OF_EACH => Ok(()),
        open => Err(open),
    })
    .await;
    others_are_answered(&server).await;
    each_takes_little(&server, before, 3 * OF_EACH);
    let ended = wait::within("slow requests are ended", connections.answers()).await;
    for line in ended {
        assert_eq!(line, "HTTP/1.1 504 Gateway Timeout");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: scripts/test.sh --soak"]
async fn ten_thousand_idle_connections_keep_nobody_from_being_answered() {
    let server = crate::spawn().await;
    let before = server.allocated();
    let opening = stream::iter(0..MANY).map(|_| server.connect()).buffer_unordered(AT_ONCE);
    let connections: Vec<_> = opening.collect().await;
    assert!(server.open_files() > MANY, "{} of {MANY} are open", server.open_files());
    others_are_answered(&server).await;
    each_takes_little(&server, before, connections.len());
}
