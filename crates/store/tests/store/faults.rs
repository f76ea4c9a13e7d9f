//! The disk is full, or fails for a while: the store says so, and goes on when the disk does, without a restart.

use std::time::Duration;

use bytes::Bytes;
use store::{
    Event, Query, Revision, Store, StoreError,
    embedded::{Embedded, Options},
};

use crate::{
    disk::{Disk, Faults},
    wait::{next, take, until, within},
};

fn open(disk: &Disk) -> Embedded {
    let disk = disk.clone();
    Embedded::open_on("a disk of the test", Options::default(), move || disk.open()).unwrap()
}

async fn put(store: &Embedded, key: &str) -> Result<Revision, StoreError> {
    store.put(key, Bytes::from(vec![b'x'; 10_000]), None).await
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result.unwrap_err() {
        StoreError::Unavailable(why) => why,
        other => panic!("{other:?}"),
    }
}

/// What must hold for each fault: what was acknowledged is there, the fault is named, and the end of the fault
/// is enough for writes to go on, with a history that has no holes.
async fn check(fault: Faults, named: &str) {
    let disk = Disk::default();
    let store = open(&disk);
    let first = put(&store, "/a/before").await.unwrap();
    let mut watch = store.watch(Revision(1)).await.unwrap();
    disk.set(fault);
    let failed = until("the fault", async || put(&store, "/a/during").await.err()).await;
    assert!(failed.to_string().contains(named), "{failed}");
    assert!(unavailable(store.check().await).contains(named), "health says so");
    // A disk that takes no write at all can't be opened again, since redb marks the file as open.
    if fault.capacity.is_some() {
        assert_eq!(store.get("/a/before").await.unwrap().unwrap().revision, first, "reads go on");
        assert!(!store.list("/a/", Query::default()).await.unwrap().entries.is_empty());
    }
    disk.set(Faults::default());
    let second =
        until("the store is whole again", async || put(&store, "/a/after").await.ok()).await;
    assert_eq!(store.check().await, Ok(()));
    let count = usize::try_from(second.0 - 1).unwrap();
    let changes = take(&mut watch, count).await;
    let revisions: Vec<u64> = changes.iter().map(|change| change.revision().0).collect();
    assert_eq!(revisions, (2..=second.0).collect::<Vec<_>>());
    drop((watch, store));
    let again = open(&disk);
    assert_eq!(again.revision().await, Ok(second));
    assert_eq!(again.get("/a/after").await.unwrap().unwrap().revision, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writes_until_there_is_room() {
    let sample = Disk::default();
    drop(open(&sample));
    check(Faults { capacity: Some(sample.len()), ..Faults::default() }, "no storage space").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_writes_is_used_again_when_it_takes_them() {
    check(Faults { writes: true, ..Faults::default() }, "the disk is broken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_no_acknowledgement_and_leaves_nothing_half_done() {
    check(Faults { syncs: true, ..Faults::default() }, "the disk did not take it").await;
}

/// Health finds a fault by itself, though nobody writes, and finds its end as well.
#[tokio::test(start_paused = true)]
async fn health_goes_as_far_as_the_disk() {
    let disk = Disk::default();
    let store = open(&disk);
    put(&store, "/a/x").await.unwrap();
    disk.set(Faults { writes: true, ..Faults::default() });
    assert_eq!(store.check().await, Ok(()), "a write has just succeeded");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(unavailable(store.check().await).contains("the disk is broken"));
    disk.set(Faults::default());
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.revision().await, Ok(Revision(2)), "it is no change");
}

/// Asking for health often costs few writes.
#[tokio::test(start_paused = true)]
async fn health_asks_the_disk_now_and_then_only() {
    let disk = Disk::default();
    let store = open(&disk);
    store.check().await.unwrap();
    let before = disk.syncs();
    for _ in 0..100 {
        store.check().await.unwrap();
    }
    assert_eq!(disk.syncs(), before);
    tokio::time::advance(Duration::from_secs(3)).await;
    store.check().await.unwrap();
    assert!(disk.syncs() > before);
}

/// While the disk fails, the store does not try it for each request, since that costs a check of the whole file.
#[tokio::test(start_paused = true)]
async fn a_failing_disk_is_tried_less_and_less_often() {
    let disk = Disk::default();
    let store = open(&disk);
    disk.set(Faults { syncs: true, ..Faults::default() });
    let before = disk.syncs();
    for _ in 0..1000 {
        put(&store, "/a/x").await.unwrap_err();
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    let tries = disk.syncs() - before;
    assert!((5..60).contains(&tries), "{tries} tries in 100 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_over_a_fault() {
    let disk = Disk::default();
    let store = open(&disk);
    let mut watch = store.watch(Revision(1)).await.unwrap();
    disk.set(Faults { writes: true, ..Faults::default() });
    put(&store, "/a/x").await.unwrap_err();
    disk.set(Faults::default());
    let written = until("a write", async || put(&store, "/a/x").await.ok()).await;
    let change: Event = next(&mut watch).await.unwrap();
    assert_eq!(within("the change", async { change.revision() }).await, written);
}
