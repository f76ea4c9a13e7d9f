//! How the etcd backend deals with servers that are not there.

use std::net::TcpListener;

use store::{StoreError, etcd::Etcd};

use crate::{backends::etcd, wait::within};

async fn failure(url: &str) -> String {
    match within("an error", Etcd::connect(&[url.to_owned()])).await {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// Takes connections, and says nothing.
fn mute() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = mute();
    let reason = failure(&url(&listener)).await;
    assert!(reason.contains("no answer within"), "{reason}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url = url(&mute());
    let reason = failure(&url).await;
    assert!(reason.contains("connect error"), "{reason}");
}

#[tokio::test]
async fn an_address_that_is_none_is_named() {
    let reason = failure("http://a b").await;
    assert!(reason.contains("uri"), "{reason}");
}

#[tokio::test]
async fn a_value_that_etcd_does_not_take_is_told_from_an_etcd_that_is_away() {
    let etcd = etcd().await;
    for megabytes in [2, 3] {
        let value = vec![b'x'; megabytes << 20];
        let error = within("an error", etcd.put("/a", value.into(), None)).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge(_)), "{error:?}");
    }
    assert_eq!(within("an answer", etcd.get("/a")).await.unwrap(), None);
}
