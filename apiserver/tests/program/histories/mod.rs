//! Clients create, change, delete and read the same few objects while their server, its store, or whoever leads of the store's
//! members is killed: what each was told can be, by one history, and a watch told that history whole and in order.

mod check;
mod clients;
mod log;
mod rig;
mod watcher;

use std::pin::pin;

use futures::future::join_all;
use kube::Client;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use testkit::{Etcd, EtcdMembers, wait};
use tokio::sync::watch;

use self::{
    clients::{Clients, MAPS, send},
    rig::{Rig, Store},
    watcher::Watcher,
};

/// How many acts there are between two kills.
const ACTS: usize = 250;
const KILLS: usize = 4;
const MANY_KILLS: usize = 200;

/// Clients act, and what they act on is killed in the middle of it; both watchers look on, each at a server of its own if
/// there are two.
async fn live(rig: &mut Rig, clients: &Clients, watchers: [&mut Watcher; 2], random: &mut StdRng) {
    let of_servers = rig.clients().await;
    let (stop, [witness, late]) = (watch::Sender::new(false), watchers);
    let (acts, mut told) = (clients.acts() + ACTS, late.told());
    let first = random.random_range(0..of_servers.len());
    let looking = [(witness, first), (late, first + 1)]
        .map(|(watcher, at)| watcher.follow(&of_servers[at % of_servers.len()], stop.subscribe()));
    let mut acting = pin!(clients.act(&of_servers, stop.subscribe()));
    let killing = async {
        tokio::select! {
            () = enough(clients, acts, &mut told) => {}
            lost = &mut acting => panic!("no client is left: {lost:?}"),
        }
        let killing = async {
            if rig.kill(random).await {
                let more = clients.until(clients.acts() + ACTS / 2);
                wait::within("clients go on with what is left", more).await;
            }
            stop.send_replace(true);
        };
        tokio::join!(killing, acting);
    };
    tokio::join!(killing, join_all(looking));
}

/// So much has been done, and a watcher was told of it.
async fn enough(clients: &Clients, acts: usize, told: &mut watch::Receiver<usize>) {
    clients.until(acts).await;
    let told = told.wait_for(|events| *events > 0);
    wait::within("the late watcher is told something", told).await.unwrap();
}

/// The version of all objects, once the server has its store again.
async fn version(client: &Client) -> u64 {
    wait::until("the server lists", async || {
        send(client, "GET", MAPS, &Value::Null).await.map(|list| clients::version(&list))
    })
    .await
}

/// The history of clients through so many kills can be.
async fn can_be(store: Store, servers: usize, kills: usize) {
    let mut rig = Rig::start(store, servers).await;
    let random = &mut StdRng::seed_from_u64(7);
    let clients = Clients::default();
    let from = version(&rig.clients().await[0]).await;
    let mut witness = Watcher::from(from);
    for _ in 0..kills {
        // One that begins now is told the same from here on.
        let mut late = Watcher::from(version(&rig.clients().await[0]).await);
        live(&mut rig, &clients, [&mut witness, &mut late], random).await;
        rig.revive().await;
        late.is_part_of(&witness);
    }
    let client = &rig.clients().await[0];
    version(client).await;
    let last = json!({"metadata": {"name": "last"}, "data": {"value": "last"}});
    let last = clients::version(&send(client, "POST", MAPS, &last).await.unwrap());
    wait::within("the witness has seen all", witness.until(client, last)).await;
    let events = witness.events_before(last);
    let faults = check::faults(&clients.log(), &events);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(events.len() > kills * ACTS / 10, "{} events", events.len());
}

async fn etcd() -> Store {
    Store::Etcd(Etcd::spawn().await)
}

async fn members() -> Store {
    Store::Members(Box::new(EtcdMembers::spawn().await))
}

#[tokio::test]
async fn histories_through_kills_of_the_embedded_store_can_be() {
    can_be(Store::Embedded, 1, KILLS).await;
}

#[tokio::test]
async fn histories_through_kills_of_the_server_and_etcd_can_be() {
    can_be(etcd().await, 1, KILLS).await;
}

#[tokio::test]
async fn histories_through_kills_of_leading_members_of_etcd_can_be() {
    can_be(members().await, 1, KILLS).await;
}

#[tokio::test]
async fn histories_through_kills_of_either_of_two_servers_can_be() {
    can_be(etcd().await, 2, KILLS).await;
}

#[tokio::test]
#[ignore = "takes many minutes: scripts/test.sh --soak"]
async fn histories_through_many_kills_can_be() {
    can_be(Store::Embedded, 1, MANY_KILLS).await;
    can_be(etcd().await, 1, MANY_KILLS).await;
    can_be(etcd().await, 2, MANY_KILLS).await;
    can_be(members().await, 1, MANY_KILLS).await;
    can_be(members().await, 2, MANY_KILLS).await;
}
