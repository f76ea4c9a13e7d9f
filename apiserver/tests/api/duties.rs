//! What the server does by itself fails: it can't go on, and says so.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use apiserver::{ApiServer, Config, DutyError};
use component::Tasks;
use listwatch::Publisher;
use serde_json::json;
use testkit::wait;
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::{Api, embedded},
};

/// Longer than any duty waits.
const LONG: Duration = Duration::from_secs(3600);

/// A server whose store breaks off what is asked for below a key runs until this.
async fn check(op: Op, below: &'static str, expected: DutyError) {
    let (api, store) = Api::faulty().await;
    let event = json!({
        "metadata": {"name": "old"}, "involvedObject": {"namespace": "default"},
        "lastTimestamp": "2020-01-01T00:00:00Z",
    });
    api.post("/api/v1/namespaces/default/events", &event).await.ok();
    break_off(&store, op, below);
    let publisher = Publisher::connect(&"redis://127.0.0.1:1".into(), &Tasks::default()).unwrap();
    let server = ApiServer::start(Config::default(), store, Some(publisher)).await.unwrap();
    ends(api.with_server(server), expected).await;
}

/// The store does not survive what is asked for below a key.
fn break_off(store: &Faulty, op: Op, below: &'static str) {
    store.rule(move |asked, key| match asked == op && key.starts_with(below) {
        true => resume_unwind(Box::new("broken by the test")),
        false => Fate::Pass,
    });
}

async fn ends(api: Api, expected: DutyError) {
    tokio::time::pause();
    let shutdown = CancellationToken::new();
    let running = api.server.run(&shutdown);
    let ended = tokio::time::timeout(LONG, running).await.expect("the server ends");
    assert_eq!(ended, Err(expected));
    assert_eq!(api.get("/readyz/shutdown").await.code, 500, "it is stopped");
}

#[tokio::test]
async fn a_server_ends_that_publishes_no_more() {
    check(Op::Put, "/registry/minik8s.io/histories/", DutyError::Panicked("the publisher")).await;
}

#[tokio::test]
async fn a_server_ends_whose_events_stay() {
    let what = "the expiry of events";
    check(Op::Delete, "/registry/core/events/", DutyError::Panicked(what)).await;
}

#[tokio::test]
async fn a_server_ends_that_repairs_no_claims() {
    let what = "the repair of claims";
    // Those of addresses are looked at before the server begins, too.
    check(Op::List, "/registry/ranges/servicenodeports/", DutyError::Panicked(what)).await;
}

#[tokio::test]
async fn a_server_ends_whose_history_grows() {
    check(Op::Compact, "", DutyError::Panicked("the compaction of history")).await;
}

/// Without it, the server would not even begin.
#[tokio::test]
async fn a_server_ends_whose_cache_stays_behind() {
    let (api, store) = Api::faulty().await;
    break_off(&store, Op::Tell, "");
    ends(api, DutyError::Ended("the cache")).await;
}

/// As above.
#[tokio::test]
async fn a_server_ends_that_does_not_renew_its_lease() {
    let (api, store) = Api::faulty().await;
    break_off(&store, Op::Put, "/registry/masterleases/");
    ends(api, DutyError::Panicked("the upkeep of the system's objects")).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_has_not_failed() {
    let api = Api::start().await;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    assert_eq!(api.server.run(&shutdown).await, Ok(()));
}

#[tokio::test]
async fn a_server_that_can_not_begin_leaves_nothing_behind() {
    let (_directory, store) = embedded();
    let store = Faulty::over(store);
    store.rule(|op, _| if op == Op::Put { Fate::Fail } else { Fate::Pass });
    ApiServer::start(Config::default(), store.clone(), None).await.unwrap_err();
    wait::until("nobody has the store", async || match Arc::strong_count(&store) {
        1 => Ok(()),
        holders => Err(holders),
    })
    .await;
}
