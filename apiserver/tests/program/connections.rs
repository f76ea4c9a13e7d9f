//! Thousands of connections that are of no use to anybody keep nobody else from being answered.

use futures::future::join_all;
use testkit::{Connections, wait};

const OF_EACH: usize = 1000;
const OTHERS: usize = 20;

/// The server was started with the usual limit of 1,024 open files.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_and_slow_connections_keep_nobody_from_being_answered() {
    let server = crate::spawn().await;
    let opened = Connections::open(&server, OF_EACH, 10);
    let mut connections = wait::within("all connect", opened).await;
    wait::until("all are connected at once", async || match server.open_files() {
        open if open > 3 * OF_EACH => Ok(()),
        open => Err(open),
    })
    .await;
    let ask = async || server.client().await.apiserver_version().await;
    let answers = wait::within("others are answered", join_all((0..OTHERS).map(|_| ask()))).await;
    for answer in answers {
        answer.unwrap();
    }
    let ended = wait::within("slow requests are ended", connections.answers()).await;
    for line in ended {
        assert_eq!(line, "HTTP/1.1 504 Gateway Timeout");
    }
}
