//! Thousands of watches, each on a connection of its own, of a server that was started with the usual limit of 1,024 open
//! files.

use api_types::api::core::v1::ConfigMap;
use futures::{StreamExt, stream};
use kube::{Api, api::PostParams};
use testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const WATCHERS: usize = 5000;
const AT_ONCE: usize = 32;
const PATH: &str = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0";

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_watchers_are_told_of_a_change() {
    let server = crate::spawn().await;
    let watch = async |_| {
        let mut connection = server.connect().await;
        let head = format!("GET {PATH} HTTP/1.1\r\nhost: server\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        let mut told = Vec::new();
        // From here on it is told of changes, and no more of what was there.
        while !String::from_utf8_lossy(&told).contains("\r\n\r\n") {
            let read = wait::within("there is an answer", connection.read_buf(&mut told)).await;
            assert_ne!(read.unwrap(), 0, "there is an answer");
        }
        (connection, told)
    };
    let opening = stream::iter(0..WATCHERS).map(watch).buffer_unordered(AT_ONCE);
    let watchers: Vec<_> = opening.collect().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client().await);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("the-change".to_owned());
    maps.create(&PostParams::default(), &map).await.unwrap();
    let telling =
        stream::iter(watchers).for_each_concurrent(None, async |(mut connection, mut told)| {
            while !String::from_utf8_lossy(&told).contains(r#""name":"the-change""#) {
                assert_ne!(connection.read_buf(&mut told).await.unwrap(), 0, "the watch goes on");
            }
        });
    wait::within("all are told", telling).await;
}
