//! What every backend has to do alike.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use store::{Entry, Event, Expect, Guard, Page, Query, Revision, Store, StoreError};

use crate::{
    backends,
    wait::{next, take, within},
};

type AnyStore = Arc<dyn Store>;

macro_rules! suite {
    ($($case:ident)*) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let running = super::backends::embedded().await;
                    super::$case(&running.store).await;
                }
            )*
        }
        mod etcd {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    let running = super::backends::etcd().await;
                    super::$case(&running.store).await;
                }
            )*
        }
    };
}

suite! {
    an_empty_store_is_at_revision_one
    a_key_is_created_once
    an_update_needs_the_latest_revision
    a_write_without_expectation_overwrites
    a_deletion_needs_the_key_and_the_revision
    a_guarded_write_needs_its_guards_at_their_revisions
    a_key_that_is_not_as_expected_is_told_before_a_guard_that_is_not
    a_key_can_be_its_own_guard
    no_guarded_write_comes_after_the_guard_s_deletion
    counting_by_compare_and_swap_loses_nothing
    a_prefix_ends_at_its_slash
    pages_at_a_revision_fit_together_while_writes_go_on
    a_key_of_many_versions_is_listed_once
    a_list_as_of_the_future_is_refused
    a_long_list_of_long_values_fits
    a_watch_delivers_every_revision_once_under_concurrent_writers
    a_watch_from_the_past_sees_deletions
    an_idle_watch_waits_for_the_next_change
    compaction_forgets_what_came_before
    compaction_at_a_deletion_loses_no_event
    compaction_of_the_future_is_refused
    the_revision_includes_every_acknowledged_write
}

fn bytes(value: &impl ToString) -> Bytes {
    Bytes::from(value.to_string())
}

async fn put(store: &AnyStore, key: &str, value: impl ToString) -> Revision {
    store.put(key, bytes(&value), None).await.unwrap()
}

fn entry(key: &str, value: &str, revision: Revision) -> Entry {
    Entry { key: key.into(), value: bytes(&value), revision }
}

fn conflict(key: &str, current: Option<Revision>) -> Result<Revision, StoreError> {
    Err(StoreError::Conflict { key: key.into(), current })
}

fn missing(key: &str) -> Result<Revision, StoreError> {
    Err(StoreError::NotFound { key: key.into() })
}

fn keys(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| &*entry.key).collect()
}

async fn an_empty_store_is_at_revision_one(store: &AnyStore) {
    assert_eq!(store.revision().await, Ok(Revision(1)));
    let page = store.list("/a/", Query::default()).await.unwrap();
    assert_eq!((keys(&page), page.revision, page.more), (vec![], Revision(1), false));
    assert_eq!(store.get("/a/x").await, Ok(None));
    assert_eq!(put(store, "/a/x", 1).await, Revision(2));
}

async fn a_key_is_created_once(store: &AnyStore) {
    let created = store.put("/a/x", bytes(&1), Some(Expect::Absent)).await.unwrap();
    let again = store.put("/a/x", bytes(&2), Some(Expect::Absent)).await;
    assert_eq!(again, conflict("/a/x", Some(created)));
    assert_eq!(store.get("/a/x").await, Ok(Some(entry("/a/x", "1", created))));
    assert_eq!(store.revision().await, Ok(created), "a refused write is no change");
}

async fn an_update_needs_the_latest_revision(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    let second = store.put("/a/x", bytes(&2), Some(Expect::At(first))).await.unwrap();
    assert!(second > first);
    let stale = store.put("/a/x", bytes(&3), Some(Expect::At(first))).await;
    assert_eq!(stale, conflict("/a/x", Some(second)));
    assert_eq!(store.get("/a/x").await, Ok(Some(entry("/a/x", "2", second))));
    for revision in [Revision(0), first] {
        let absent = store.put("/a/y", bytes(&1), Some(Expect::At(revision))).await;
        assert_eq!(absent, conflict("/a/y", None));
    }
}

async fn a_write_without_expectation_overwrites(store: &AnyStore) {
    put(store, "/a/x", 1).await;
    let revision = put(store, "/a/x", "").await;
    assert_eq!(store.get("/a/x").await, Ok(Some(entry("/a/x", "", revision))));
}

async fn a_deletion_needs_the_key_and_the_revision(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    assert_eq!(store.delete("/a/y", None).await, missing("/a/y"));
    assert_eq!(store.delete("/a/y", Some(first)).await, missing("/a/y"));
    let second = put(store, "/a/x", 2).await;
    assert_eq!(store.delete("/a/x", Some(first)).await, conflict("/a/x", Some(second)));
    assert_eq!(store.revision().await, Ok(second), "a refused deletion is no change");
    assert_eq!(store.delete("/a/x", Some(second)).await, Ok(Revision(second.0 + 1)));
    assert_eq!(store.get("/a/x").await, Ok(None));
    assert_eq!(store.delete("/a/x", None).await, missing("/a/x"));
    let created = store.put("/a/x", bytes(&3), Some(Expect::Absent)).await.unwrap();
    assert_eq!(store.delete("/a/x", None).await, Ok(Revision(created.0 + 1)));
}

fn guard(key: &str, revision: Revision) -> Guard {
    Guard { key: key.into(), revision }
}

fn guard_failed(key: &str, current: Option<Revision>) -> Result<Revision, StoreError> {
    Err(StoreError::GuardFailed { key: key.into(), current })
}

async fn a_guarded_write_needs_its_guards_at_their_revisions(store: &AnyStore) {
    let put = async |key, expect, guards: &[Guard]| {
        store.put_guarded(key, bytes(&1), expect, guards).await
    };
    let first = store.put("/n/1", bytes(&1), None).await.unwrap();
    let second = store.put("/n/2", bytes(&1), None).await.unwrap();
    let both = [guard("/n/1", first), guard("/n/2", second)];
    let created = put("/a/x", Some(Expect::Absent), &both).await.unwrap();
    assert_eq!(store.get("/a/x").await, Ok(Some(entry("/a/x", "1", created))));
    let updated = put("/a/x", Some(Expect::At(created)), &both).await.unwrap();
    assert_eq!(put("/a/x", None, &both).await, Ok(Revision(updated.0 + 1)));

    let second = store.put("/n/2", bytes(&2), None).await.unwrap();
    for expect in [None, Some(Expect::Absent)] {
        assert_eq!(put("/a/y", expect, &both).await, guard_failed("/n/2", Some(second)));
    }
    let deleted = store.delete("/n/1", None).await.unwrap();
    assert_eq!(put("/a/y", None, &both).await, guard_failed("/n/1", None), "the first is told");
    for never in [Revision(0), deleted] {
        assert_eq!(put("/a/y", None, &[guard("/n/1", never)]).await, guard_failed("/n/1", None));
    }
    assert_eq!(store.get("/a/y").await, Ok(None));
    assert_eq!(store.revision().await, Ok(deleted), "a refused write is no change");
}

async fn a_key_that_is_not_as_expected_is_told_before_a_guard_that_is_not(store: &AnyStore) {
    let there = put(store, "/a/x", 1).await;
    let stale = [guard("/n/1", there)];
    let put = async |key, expect| store.put_guarded(key, bytes(&2), Some(expect), &stale).await;
    assert_eq!(put("/a/x", Expect::Absent).await, conflict("/a/x", Some(there)));
    assert_eq!(put("/a/y", Expect::At(there)).await, conflict("/a/y", None));
    assert_eq!(put("/a/x", Expect::At(there)).await, guard_failed("/n/1", None));
    assert_eq!(put("/a/y", Expect::Absent).await, guard_failed("/n/1", None));
}

async fn a_key_can_be_its_own_guard(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    let own = [guard("/a/x", first)];
    let put = async |expect| store.put_guarded("/a/x", bytes(&2), expect, &own).await;
    assert_eq!(put(Some(Expect::Absent)).await, conflict("/a/x", Some(first)));
    let second = put(None).await.unwrap();
    assert_eq!(put(None).await, guard_failed("/a/x", Some(second)));
}

async fn no_guarded_write_comes_after_the_guard_s_deletion(store: &AnyStore) {
    let namespace = put(store, "/n/1", 1).await;
    let guards = [guard("/n/1", namespace)];
    let write = async |writer: usize| {
        let mut last = Revision(0);
        for number in 0..1000 {
            let key = format!("/a/{writer}-{number}");
            match store.put_guarded(&key, bytes(&1), Some(Expect::Absent), &guards).await {
                Ok(written) => last = written,
                refused => {
                    assert_eq!(refused, guard_failed("/n/1", None));
                    return last;
                }
            }
        }
        panic!("the guard never failed");
    };
    let delete = async {
        for number in 0..10 {
            put(store, "/b/x", number).await;
        }
        store.delete("/n/1", Some(namespace)).await.unwrap()
    };
    let (written, deleted) = tokio::join!(join_all((0..8).map(write)), delete);
    assert!(written.iter().all(|last| *last < deleted), "{written:?} {deleted}");
    assert_eq!(store.revision().await, Ok(deleted));
}

async fn counting_by_compare_and_swap_loses_nothing(store: &AnyStore) {
    put(store, "/a/counter", 0).await;
    join_all((0..8).map(|_| count(store, 10))).await;
    assert_eq!(store.get("/a/counter").await.unwrap().unwrap().value, "80");
}

async fn count(store: &AnyStore, times: usize) {
    let mut counted = 0;
    while counted < times {
        let current = store.get("/a/counter").await.unwrap().unwrap();
        let number: usize = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
        let expect = Some(Expect::At(current.revision));
        match store.put("/a/counter", bytes(&(number + 1)), expect).await {
            Ok(_) => counted += 1,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn a_prefix_ends_at_its_slash(store: &AnyStore) {
    for key in
        ["/a/n1/x", "/a/n10/y", "/a/n1/a", "/a/n2/z", "/a/n1-/b", "/b/n1/x", "/a/n1/\u{7fff}"]
    {
        put(store, key, key).await;
    }
    let list = async |prefix| store.list(prefix, Query::default()).await.unwrap();
    assert_eq!(keys(&list("/a/n1/").await), ["/a/n1/a", "/a/n1/x", "/a/n1/\u{7fff}"]);
    assert_eq!(keys(&list("/a/n10/").await), ["/a/n10/y"]);
    assert_eq!(keys(&list("/a/n3/").await), [""; 0]);
    assert_eq!(list("/a/").await.entries.len(), 6);
    assert_eq!(list("").await.entries.len(), 7);
}

async fn pages_at_a_revision_fit_together_while_writes_go_on(store: &AnyStore) {
    for number in 0..25 {
        put(store, &format!("/a/{number:02}"), number).await;
    }
    let mut query = Query { limit: Some(10), ..Query::default() };
    let mut seen = Vec::new();
    for remaining in [15, 5, 0] {
        let page = store.list("/a/", query.clone()).await.unwrap();
        assert_eq!(page.more, remaining > 0);
        assert!(page.remaining.is_none_or(|known| known == remaining));
        assert_eq!(page.revision, query.at.unwrap_or(page.revision));
        query.at = Some(page.revision);
        query.after = page.entries.last().map(|entry| entry.key.to_string());
        seen.extend(page.entries.into_iter().map(|entry| (entry.key.to_string(), entry.value)));
        put(store, "/a/00a", "new").await;
        put(store, "/a/24", "changed").await;
        store.delete(&format!("/a/{:02}", 23 - remaining), None).await.unwrap();
    }
    let expected = (0..25).map(|number| (format!("/a/{number:02}"), bytes(&number)));
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

/// The versions of a key that changes often lie between those of others.
async fn a_key_of_many_versions_is_listed_once(store: &AnyStore) {
    for key in ["/a/1", "/a/2", "/a/3"] {
        put(store, key, "first").await;
    }
    let mut revisions = Vec::new();
    for number in 0..60 {
        revisions.push(put(store, "/a/2", number).await);
    }
    store.delete("/a/1", None).await.unwrap();
    let gone = store.delete("/a/2", None).await.unwrap();
    put(store, "/a/2", "again").await;
    let list = async |at, limit| {
        let page = store.list("/a/", Query { at, limit, ..Query::default() }).await.unwrap();
        let entries = page.entries.iter();
        let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        let entries = entries.map(|entry| format!("{}={}", entry.key, text(&entry.value)));
        (entries.collect::<Vec<_>>().join(" "), page.more)
    };
    assert_eq!(list(None, None).await, ("/a/2=again /a/3=first".into(), false));
    assert_eq!(list(None, Some(1)).await, ("/a/2=again".into(), true));
    assert_eq!(list(Some(gone), None).await, ("/a/3=first".into(), false));
    let middle = Some(revisions[30]);
    assert_eq!(list(middle, None).await, ("/a/1=first /a/2=30 /a/3=first".into(), false));
    assert_eq!(list(middle, Some(2)).await, ("/a/1=first /a/2=30".into(), true));
    assert!(!list(middle, Some(3)).await.1);
}

async fn a_list_as_of_the_future_is_refused(store: &AnyStore) {
    let future = Revision(put(store, "/a/x", 1).await.0 + 1);
    let page = store.list("/a/", Query { at: Some(future), ..Query::default() }).await;
    assert_eq!(page.map(drop), Err(StoreError::Future { revision: future }));
}

async fn a_long_list_of_long_values_fits(store: &AnyStore) {
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    for number in 0..6 {
        store.put(&format!("/a/{number}"), value.clone(), None).await.unwrap();
    }
    let page = store.list("/a/", Query::default()).await.unwrap();
    assert!(page.entries.iter().all(|entry| entry.value == value));
    assert_eq!(page.entries.len(), 6);
    let mut watch = store.watch(Revision(1)).await.unwrap();
    assert_eq!(take(&mut watch, 6).await.len(), 6);
}

async fn a_watch_delivers_every_revision_once_under_concurrent_writers(store: &AnyStore) {
    let start = put(store, "/a/start", 0).await;
    for number in 0..20 {
        put(store, "/a/before", number).await;
    }
    let write = async |writer: usize| {
        for number in 0..20 {
            put(store, &format!("/a/{writer}"), number).await;
        }
    };
    let watch = async || {
        let mut watch = store.watch(start).await.unwrap();
        take(&mut watch, 100).await.iter().map(Event::revision).collect::<Vec<_>>()
    };
    let writers = join_all((0..4).map(write));
    let (early, late, _) = tokio::join!(watch(), watch(), writers);
    let all: Vec<_> = (1..=100).map(|number| Revision(start.0 + number)).collect();
    assert_eq!(early, all);
    assert_eq!(late, all);
    assert_eq!(watch().await, all, "afterwards, too");
}

async fn a_watch_from_the_past_sees_deletions(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    let deleted = store.delete("/a/x", None).await.unwrap();
    let last = put(store, "/b/y", 2).await;
    let mut watch = store.watch(Revision(0)).await.unwrap();
    let expected = [
        Event::Put(entry("/a/x", "1", first)),
        Event::Delete { key: "/a/x".into(), revision: deleted },
        Event::Put(entry("/b/y", "2", last)),
    ];
    assert_eq!(take(&mut watch, 3).await, expected);
}

async fn an_idle_watch_waits_for_the_next_change(store: &AnyStore) {
    let known = put(store, "/a/x", 1).await;
    let mut watch = store.watch(known).await.unwrap();
    let (event, written) = tokio::join!(next(&mut watch), put(store, "/a/x", 2));
    assert_eq!(event, Ok(Event::Put(entry("/a/x", "2", written))));
}

async fn compaction_forgets_what_came_before(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    put(store, "/a/old", 1).await;
    store.delete("/a/old", None).await.unwrap();
    let second = put(store, "/a/x", 2).await;
    let third = put(store, "/a/x", 3).await;
    store.compact(second).await.unwrap();

    let at = async |at| store.list("/a/", Query { at: Some(at), ..Query::default() }).await;
    let compacted = StoreError::Compacted { oldest: second };
    assert_eq!(at(first).await.map(drop), Err(compacted.clone()));
    assert_eq!(at(second).await.unwrap().entries, [entry("/a/x", "2", second)]);
    assert_eq!(at(third).await.unwrap().entries, [entry("/a/x", "3", third)]);

    assert_eq!(watch_error(store, Revision(second.0 - 1)).await, compacted);
    let mut watch = store.watch(second).await.unwrap();
    assert_eq!(next(&mut watch).await, Ok(Event::Put(entry("/a/x", "3", third))));

    assert_eq!(store.compact(first).await, Ok(()), "it is compacted already");
    assert_eq!(store.get("/a/x").await, Ok(Some(entry("/a/x", "3", third))));
}

/// Why a watch can't begin; backends differ in whether they say so at once.
async fn watch_error(store: &AnyStore, after: Revision) -> StoreError {
    match store.watch(after).await {
        Ok(mut watch) => next(&mut watch).await.unwrap_err(),
        Err(error) => error,
    }
}

async fn compaction_at_a_deletion_loses_no_event(store: &AnyStore) {
    let first = put(store, "/a/x", 1).await;
    let deleted = store.delete("/a/x", None).await.unwrap();
    put(store, "/a/y", 1).await;
    store.compact(deleted).await.unwrap();
    assert_eq!(watch_error(store, first).await, StoreError::Compacted { oldest: deleted });
    let at = Query { at: Some(deleted), ..Query::default() };
    assert_eq!(keys(&store.list("/a/", at).await.unwrap()), [""; 0]);
}

async fn compaction_of_the_future_is_refused(store: &AnyStore) {
    let future = Revision(put(store, "/a/x", 1).await.0 + 1);
    assert_eq!(store.compact(future).await, Err(StoreError::Future { revision: future }));
}

async fn the_revision_includes_every_acknowledged_write(store: &AnyStore) {
    let write = async |writer: usize| {
        for number in 0..20 {
            let written = put(store, &format!("/a/{writer}"), number).await;
            assert!(store.revision().await.unwrap() >= written);
            let read = store.get(&format!("/a/{writer}")).await.unwrap().unwrap();
            assert_eq!(read.revision, written);
        }
    };
    within("writers", join_all((0..8).map(write))).await;
    assert_eq!(store.revision().await, Ok(Revision(161)));
}
