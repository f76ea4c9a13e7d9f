//! The cache over a store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, StreamExt, future::join_all};
use store::{
    Entry, Query, Revision, Store, StoreError,
    cache::{Cache, Change, Options, Snapshot, Subscription},
    etcd::Etcd,
};
use tempfile::TempDir;

use crate::{
    backends::{self, EtcdServer, Running},
    faulty::Faulty,
    wait::{next, take, until, within},
};

const PODS: &str = "/registry/core/pods/";
const NODES: &str = "/registry/core/nodes/";

type Texts = Cache<String>;

/// A cache of texts over a store that can be broken.
struct Rig {
    store: Arc<Faulty>,
    cache: Arc<Texts>,
    decoded: Arc<AtomicUsize>,
    _running: Running<TempDir>,
}

async fn rig(window: usize) -> Rig {
    let running = backends::embedded().await;
    let store = Faulty::new(Arc::clone(&running.store));
    let decoded = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&decoded);
    let decode = move |entry: &Entry| {
        counter.fetch_add(1, Ordering::SeqCst);
        text(entry)
    };
    let options = Options { window, ..Options::default() };
    let cache = Cache::start(store.clone(), options, decode).await.unwrap();
    Rig { store, cache, decoded, _running: running }
}

impl Rig {
    async fn put(&self, key: &str, value: impl ToString) -> Revision {
        put(&*self.store, key, value).await
    }

    /// Puts, and waits until the cache has it.
    async fn put_seen(&self, key: &str, value: impl ToString) -> Revision {
        let revision = self.put(key, value).await;
        self.cache.wait_for(revision).await.unwrap();
        revision
    }
}

fn text(entry: &Entry) -> String {
    String::from_utf8(entry.value.to_vec()).unwrap()
}

async fn start(store: &Arc<dyn Store>, options: Options) -> Arc<Texts> {
    Cache::start(Arc::clone(store), options, text).await.unwrap()
}

async fn put(store: &dyn Store, key: &str, value: impl ToString) -> Revision {
    store.put(key, value.to_string().into(), None).await.unwrap()
}

fn texts(snapshot: &Snapshot<String>) -> Vec<&str> {
    snapshot.items.iter().map(|item| item.object.as_str()).collect()
}

fn pod(name: impl std::fmt::Display) -> String {
    format!("{PODS}n1/{name}")
}

/// What a client would hold after a list and the changes since.
#[derive(Debug, Default, PartialEq)]
struct Mirror(BTreeMap<String, (Revision, String)>);

impl Mirror {
    fn of(snapshot: &Snapshot<String>) -> Self {
        let items = snapshot.items.iter();
        Self(items.map(|i| (i.key.to_string(), (i.revision, i.object.clone()))).collect())
    }

    fn apply(&mut self, change: &Change<String>) {
        let old = change.old.as_ref().map(|old| (old.revision, old.object.clone()));
        let held = match &change.new {
            Some(new) => {
                assert_eq!(new.revision, change.revision);
                self.0.insert(change.key().into(), (new.revision, new.object.clone()))
            }
            None => self.0.remove(change.key()),
        };
        assert_eq!(held, old, "{change:?}");
    }
}

#[tokio::test]
async fn lists_are_ordered_and_end_at_the_namespace() {
    let rig = rig(100).await;
    for key in ["n10/x", "n1/b", "n1/a", "n2/a"] {
        rig.put_seen(&format!("{PODS}{key}"), key).await;
    }
    let last = rig.put_seen(&format!("{NODES}a"), "node").await;
    assert_eq!(texts(&rig.cache.list(PODS)), ["n1/a", "n1/b", "n10/x", "n2/a"]);
    assert_eq!(texts(&rig.cache.list(&format!("{PODS}n1/"))), ["n1/a", "n1/b"]);
    assert_eq!(texts(&rig.cache.list(NODES)), ["node"]);
    assert_eq!(texts(&rig.cache.list("/registry/apps/replicasets/")), [""; 0]);
    assert_eq!(rig.cache.list(PODS).revision, last, "a list is as of now, not of its last change");
    assert_eq!(rig.cache.get(&pod("b")).unwrap().object, "n1/b");
    assert!(rig.cache.get(&pod("c")).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_after_catching_up_has_every_acknowledged_write() {
    let rig = rig(1000).await;
    let write = async |writer: usize| {
        for number in 0..20 {
            let written = rig.put(&pod(writer), number).await;
            assert!(rig.cache.catch_up().await.unwrap() >= written);
            assert_eq!(rig.cache.get(&pod(writer)).unwrap().revision, written);
            assert!(rig.cache.list(PODS).revision >= written);
        }
    };
    within("writers", join_all((0..8).map(write))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_continues_a_list_without_gap_or_repetition() {
    let rig = rig(10_000).await;
    let write = async |writer: usize| {
        for number in 0..60 {
            let key = pod((writer + number) % 10);
            match number % 5 {
                4 => drop(rig.store.delete(&key, None).await),
                _ => drop(rig.put(&key, number).await),
            }
        }
    };
    let watch = async |wait: usize| {
        let begin = rig.cache.revision().0 + 10 * wait as u64;
        rig.cache.wait_for(Revision(begin)).await.unwrap();
        let snapshot = rig.cache.list(PODS);
        let watch = rig.cache.watch(PODS, snapshot.revision).unwrap();
        (Mirror::of(&snapshot), watch)
    };
    let (mirrors, _) = tokio::join!(join_all((0..10).map(watch)), join_all((0..4).map(write)));
    let last = rig.put_seen(&pod("last"), "last").await;
    let list = Mirror::of(&rig.cache.list(PODS));
    for (mut mirror, mut watch) in mirrors {
        follow(&mut mirror, &mut watch, last).await;
        assert_eq!(mirror, list);
    }
}

/// Applies changes up to a revision.
async fn follow(mirror: &mut Mirror, watch: &mut Subscription<String>, last: Revision) {
    loop {
        let change = next(watch).await.unwrap();
        mirror.apply(&change);
        if change.revision == last {
            return;
        }
    }
}

/// The decoder is called in the middle of a burst, when some of its changes are in their collection already.
#[tokio::test]
async fn no_list_is_older_than_its_items() {
    let running = backends::embedded().await;
    let slot = Arc::new(OnceLock::<Weak<Texts>>::new());
    let (seen, wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (cache, newest, older) = (Arc::clone(&slot), Arc::clone(&seen), Arc::clone(&wrong));
    let decode = move |entry: &Entry| {
        let list = cache.get().and_then(Weak::upgrade).map(|cache| cache.list(PODS));
        let revisions = list.iter().flat_map(|l| l.items.iter().map(|i| (i.revision, l.revision)));
        for (item, list) in revisions {
            newest.fetch_add(1, Ordering::SeqCst);
            older.fetch_add(usize::from(list < item), Ordering::SeqCst);
        }
        text(entry)
    };
    let options = Options::default();
    let cache = Cache::start(Arc::clone(&running.store), options, decode).await.unwrap();
    slot.set(Arc::downgrade(&cache)).unwrap();
    let keys: Vec<_> = (0..20).map(pod).collect();
    join_all(keys.iter().map(|key| put(&**running, key, 1))).await;
    cache.catch_up().await.unwrap();
    assert!(seen.load(Ordering::SeqCst) > 0);
    assert_eq!(wrong.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_by_a_change() {
    let rig = rig(100).await;
    let mut watch = rig.cache.watch(PODS, rig.cache.revision()).unwrap();
    assert!(watch.next().now_or_never().is_none());
    // In a task of its own, so that nothing but the cache wakes it.
    let watcher = tokio::spawn(async move { watch.next().await.unwrap().unwrap().revision });
    let written = rig.put_seen(&pod("a"), 1).await;
    assert_eq!(within("the watcher", watcher).await.unwrap(), written);
}

#[tokio::test]
async fn a_change_names_the_one_before_it_in_its_collection() {
    let rig = rig(100).await;
    let loaded = rig.cache.revision();
    let mut all = rig.cache.recall_all(loaded).1;
    let first = rig.put(&pod("a"), 1).await;
    let node = rig.put(&format!("{NODES}a"), 1).await;
    let second = rig.put(&pod("b"), 1).await;
    let deleted = rig.store.delete(&pod("a"), None).await.unwrap();
    let changes = take(&mut all, 4).await;
    let chain: Vec<_> = changes.iter().map(|change| (change.previous, change.revision)).collect();
    assert_eq!(chain, [(loaded, first), (loaded, node), (first, second), (second, deleted)]);
    let deletion = &changes[3];
    assert_eq!((deletion.key(), deletion.new.is_none()), (&*pod("a"), true));
    assert_eq!(deletion.old.as_ref().unwrap().revision, first);
}

/// Pages are decoded at the same time, and put together in their order: the first is not done before the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_loaded_in_many_pages() {
    let running = backends::embedded().await;
    let names: Vec<_> = (0..2600).map(|number| format!("{number:04}")).collect();
    join_all(names.iter().map(async |name| put(&*running.store, &pod(name), name).await)).await;
    let latest = put(&*running.store, &format!("{NODES}a"), "node").await;
    running.store.compact(latest).await.unwrap();
    let (decoded, several) = (AtomicUsize::new(0), std::thread::available_parallelism().unwrap());
    let decode = move |entry: &Entry| {
        while several.get() > 1
            && *entry.key == *pod("0000")
            && decoded.load(Ordering::SeqCst) < 500
        {
            std::thread::yield_now();
        }
        decoded.fetch_add(1, Ordering::SeqCst);
        text(entry)
    };
    let cache = Cache::start(Arc::clone(&running.store), Options::default(), decode);
    let cache = within("the load", cache).await.unwrap();
    assert_eq!(texts(&cache.list(PODS)), names);
    assert_eq!(texts(&cache.list(NODES)), ["node"]);
    assert!(names.iter().all(|name| cache.get(&pod(name)).unwrap().object == *name));
}

#[tokio::test]
async fn a_list_can_be_as_of_each_revision_in_the_window() {
    const WINDOW: usize = 60;
    let rig = rig(WINDOW).await;
    let mut lists = Vec::new();
    for number in 0..2 * WINDOW {
        // Each comes, changes, goes, and comes again.
        let key = pod(number * 7 % 10);
        match number % 4 {
            3 => drop(rig.store.delete(&key, None).await),
            _ => drop(rig.put(&key, number).await),
        }
        rig.put(&format!("{PODS}n2/a"), number).await;
        rig.cache.catch_up().await.unwrap();
        lists.push(rig.cache.list(PODS));
    }
    let (oldest, newest) = (&lists[0], lists.last().unwrap());
    assert!(rig.cache.list_at(PODS, "", oldest.revision).is_none(), "it is not known any more");
    assert!(rig.cache.list_at(PODS, "", Revision(newest.revision.0 + 1)).is_none());
    let known: Vec<_> = lists
        .iter()
        .filter_map(|list| Some((list, rig.cache.list_at(PODS, "", list.revision)?)))
        .collect();
    assert!(known.len() >= WINDOW / 2);
    for (list, again) in known {
        assert_eq!((again.revision, Mirror::of(&again)), (list.revision, Mirror::of(list)));
        let (prefix, after) = (format!("{PODS}n1/"), pod(4));
        let part = rig.cache.list_at(&prefix, &after, list.revision).unwrap();
        let mut expected = Mirror::of(list);
        expected.0.retain(|key, _| key.starts_with(&prefix) && *key > after);
        assert_eq!((part.items.len(), Mirror::of(&part)), (expected.0.len(), expected));
        for beyond in [pod("~"), "~".to_owned()] {
            let none = rig.cache.list_at(&prefix, &beyond, list.revision).unwrap();
            assert_eq!((none.items.len(), Mirror::of(&none)), (0, Mirror::default()));
        }
    }
}

#[tokio::test]
async fn what_is_recalled_is_not_forgotten_while_it_is_read() {
    let rig = rig(4).await;
    let mut written = Vec::new();
    for number in 0..10 {
        written.push(rig.put_seen(&pod("a"), number).await);
    }
    let (since, mut recalled) = rig.cache.recall_all(Revision(1));
    assert_eq!(since, written[5], "what came after it is known");
    let (latest, mut none) = rig.cache.recall_all(written[9]);
    assert_eq!(latest, written[9]);
    for number in 10..14 {
        written.push(rig.put_seen(&pod("a"), number).await);
    }
    let revisions = |changes: Vec<Arc<Change<String>>>| {
        changes.iter().map(|change| change.revision).collect::<Vec<_>>()
    };
    assert_eq!(revisions(take(&mut recalled, 8).await), written[6..]);
    assert_eq!(revisions(take(&mut none, 4).await), written[10..]);
    assert_eq!(recalled.revision(), written[13]);
}

#[tokio::test]
async fn a_watch_of_a_namespace_skips_the_others() {
    let rig = rig(100).await;
    let start = rig.cache.revision();
    let mut watch = rig.cache.watch(&format!("{PODS}n1/"), start).unwrap();
    for key in ["n10/x", "n2/x", "n1/a", "n10/y", "n1/b"] {
        rig.put(&format!("{PODS}{key}"), key).await;
    }
    let changes = take(&mut watch, 2).await;
    let objects: Vec<_> = changes.iter().map(|c| c.new.as_ref().unwrap().object.clone()).collect();
    assert_eq!(objects, ["n1/a", "n1/b"]);
}

#[tokio::test]
async fn a_bookmark_is_the_revision_up_to_which_all_was_delivered() {
    let rig = rig(100).await;
    let mut watch = rig.cache.watch(PODS, rig.cache.revision()).unwrap();
    let node = rig.put_seen(&format!("{NODES}a"), 1).await;
    assert_eq!(watch.revision(), node, "other collections move it");
    let first = rig.put(&pod("a"), 1).await;
    let second = rig.put_seen(&pod("b"), 1).await;
    assert_eq!(watch.revision(), node, "two changes wait");
    take(&mut watch, 1).await;
    assert_eq!(watch.revision(), first);
    take(&mut watch, 1).await;
    assert_eq!(watch.revision(), second);
}

#[tokio::test]
async fn a_slow_watcher_expires_and_the_others_go_on() {
    let rig = rig(10).await;
    let start = rig.cache.revision();
    let mut slow = rig.cache.watch(PODS, start).unwrap();
    let mut quick = rig.cache.watch(PODS, start).unwrap();
    for number in 0..30 {
        rig.put_seen(&pod("a"), number).await;
        take(&mut quick, 1).await;
    }
    assert!(matches!(next(&mut slow).await, Err(StoreError::Compacted { .. })));
    assert!(slow.next().await.is_none(), "that was its end");
    let last = rig.put(&pod("a"), "last").await;
    assert_eq!(take(&mut quick, 1).await[0].revision, last);
}

#[tokio::test]
async fn a_watch_from_before_the_window_is_refused() {
    let rig = rig(10).await;
    let start = rig.cache.revision();
    let mut last = start;
    for number in 0..30 {
        last = rig.put_seen(&pod("a"), number).await;
    }
    assert!(matches!(rig.cache.watch(PODS, start), Err(StoreError::Compacted { .. })));
    assert!(rig.cache.watch(PODS, Revision(last.0 - 10)).is_ok());
    assert!(rig.cache.watch(PODS, Revision(last.0 - 11)).is_err());
    let idle = rig.cache.watch(NODES, start);
    assert!(idle.is_ok(), "nothing has happened there since the cache began");
    assert!(rig.cache.watch(NODES, Revision(start.0 - 1)).is_err());
}

#[tokio::test]
async fn the_cache_goes_on_after_its_watch_broke() {
    let rig = rig(100).await;
    let mut watch = rig.cache.watch(PODS, rig.cache.revision()).unwrap();
    rig.put_seen(&pod("a"), 1).await;
    for round in 0..3 {
        rig.store.break_watches();
        rig.put(&pod("b"), round).await;
        let last = rig.put(&pod("c"), round).await;
        rig.store.mend();
        within("the cache", rig.cache.wait_for(last)).await.unwrap();
    }
    let changes = take(&mut watch, 7).await;
    assert!(changes.windows(2).all(|pair| pair[1].previous == pair[0].revision));
    assert_eq!(rig.decoded.load(Ordering::SeqCst), 7, "each revision is decoded once");
}

#[tokio::test]
async fn watchers_expire_when_the_store_forgot_what_the_cache_missed() {
    let rig = rig(100).await;
    let start = rig.put_seen(&pod("a"), 1).await;
    rig.put_seen(&pod("same"), 1).await;
    let mut watch = rig.cache.watch(PODS, start).unwrap();
    take(&mut watch, 1).await;
    let mut idle = rig.cache.watch(NODES, start).unwrap();
    rig.store.break_watches();
    rig.store.delete(&pod("a"), None).await.unwrap();
    rig.put(&pod("b"), 2).await;
    let last = rig.put(&pod("c"), 3).await;
    rig.store.compact(last).await.unwrap();
    rig.store.mend();
    within("the cache", rig.cache.wait_for(last)).await.unwrap();
    let expired = StoreError::Compacted { oldest: last };
    assert_eq!(next(&mut watch).await.unwrap_err(), expired);
    assert_eq!(next(&mut idle).await.unwrap_err(), expired);
    assert_eq!(texts(&rig.cache.list(PODS)), ["2", "3", "1"]);
    let mut watch = rig.cache.watch(PODS, last).unwrap();
    let next = rig.put(&pod("d"), 4).await;
    let change = &take(&mut watch, 1).await[0];
    assert_eq!((change.previous, change.revision), (last, next));
}

#[tokio::test]
async fn the_cache_follows_a_store_that_was_set_back() {
    let rig = rig(100).await;
    let mut watch = rig.cache.watch(PODS, rig.cache.revision()).unwrap();
    for number in 0..10 {
        rig.put_seen(&pod(number), number).await;
    }
    take(&mut watch, 10).await;
    let backup = backends::embedded().await;
    put(&**backup, &pod("restored"), "restored").await;
    rig.store.break_watches();
    rig.store.swap(Arc::clone(&backup.store));
    rig.store.mend();
    assert!(matches!(next(&mut watch).await, Err(StoreError::Compacted { .. })));
    rig.put_seen(&pod("new"), "new").await;
    assert_eq!(texts(&rig.cache.list(PODS)), ["new", "restored"]);
}

/// The restored store has gone on to the revision that the cache knows, or beyond: only its contents tell.
#[tokio::test]
async fn the_cache_notices_another_history_of_the_same_length() {
    for more in [0, 1, 20] {
        let rig = rig(100).await;
        let mut watch = rig.cache.watch(PODS, rig.cache.revision()).unwrap();
        let mut last = Revision(0);
        for number in 0..10 {
            last = rig.put_seen(&pod("a"), number).await;
        }
        take(&mut watch, 10).await;
        let restored = backends::embedded().await;
        while put(&**restored, &pod("a"), "restored").await.0 < last.0 + more {}
        rig.store.break_watches();
        rig.store.swap(Arc::clone(&restored.store));
        rig.store.mend();
        assert!(matches!(next(&mut watch).await, Err(StoreError::Compacted { .. })));
        assert_eq!(texts(&rig.cache.list(PODS)), ["restored"]);
        assert!(rig.cache.watch(PODS, Revision(last.0 - 1)).is_err());
    }
}

/// Restores a backup of etcd, and writes until it is beyond a revision, before anybody finds it where it was.
async fn restore_beyond(etcd: &mut EtcdServer, backup: &TempDir, known: Revision) -> Revision {
    etcd.restore(backup);
    let home = etcd.move_to(backends::free_port());
    etcd.restart().await;
    let store = Etcd::connect(&[etcd.url()]).await.unwrap();
    let mut written = Revision(0);
    while written <= known {
        written = put(&store, &pod("new"), "2").await;
    }
    etcd.kill();
    etcd.move_to(home);
    etcd.restart().await;
    written
}

/// The restored etcd is the same cluster by its name and id.
#[tokio::test(flavor = "multi_thread")]
async fn the_cache_notices_that_etcd_was_restored() {
    let mut running = backends::etcd().await;
    let store = Arc::clone(&running.store);
    put(&*store, &pod("kept"), 1).await;
    running.keeper.kill();
    let backup = running.keeper.backup();
    running.keeper.restart().await;
    until("etcd", async || store.put(&pod("lost"), "1".into(), None).await.ok()).await;
    let cache = start(&store, Options::default()).await;
    let known = cache.catch_up().await.unwrap();
    let mut watch = cache.watch(PODS, known).unwrap();
    running.keeper.kill();
    let written = restore_beyond(&mut running.keeper, &backup, known).await;
    assert!(matches!(next(&mut watch).await, Err(StoreError::Compacted { .. })));
    within("the cache", cache.wait_for(written)).await.unwrap();
    assert_eq!(texts(&cache.list(PODS)), ["1", "2"]);
}

#[tokio::test]
async fn watchers_go_on_after_a_restart_of_the_cache() {
    let running = backends::embedded().await;
    let old = start(&running, Options::default()).await;
    let first = put(&**running, &pod("a"), 1).await;
    old.wait_for(first).await.unwrap();
    drop(old);
    let second = put(&**running, &pod("b"), 2).await;
    let new = start(&running, Options::default()).await;
    let mut watch = new.watch(PODS, first).unwrap();
    let change = &take(&mut watch, 1).await[0];
    assert_eq!((change.previous, change.revision), (first, second));
}

async fn compacted_history(store: &Arc<dyn Store>) {
    put(&**store, &pod("a"), 1).await;
    let oldest = put(&**store, &pod("a"), 2).await;
    let last = put(&**store, &pod("a"), 3).await;
    store.compact(oldest).await.unwrap();
    let cache = start(store, Options::default()).await;
    assert_eq!(texts(&cache.list(PODS)), ["3"]);
    let mut watch = cache.watch(PODS, oldest).unwrap();
    assert_eq!(take(&mut watch, 1).await[0].revision, last);
    assert!(cache.watch(PODS, Revision(oldest.0 - 1)).is_err());
}

#[tokio::test]
async fn a_cache_begins_as_far_back_as_the_embedded_store_remembers() {
    compacted_history(&backends::embedded().await.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_begins_as_far_back_as_etcd_remembers() {
    compacted_history(&backends::etcd().await.store).await;
}

#[tokio::test]
async fn keys_of_others_only_move_the_revision() {
    let rig = rig(100).await;
    let before = rig.put_seen(&pod("a"), 1).await;
    let foreign = rig.put_seen("/elsewhere/core/pods/a", 1).await;
    let shallow = rig.put_seen("/registry/version", 1).await;
    rig.store.delete("/registry/version", None).await.unwrap();
    assert!(before < foreign && foreign < shallow);
    assert_eq!(rig.decoded.load(Ordering::SeqCst), 1);
    assert_eq!(texts(&rig.cache.list("/elsewhere/core/pods/")), [""; 0]);
}

#[tokio::test]
async fn questions_for_the_latest_revision_are_shared() {
    let rig = rig(100).await;
    rig.put_seen(&pod("a"), 0).await;
    let asked = || rig.store.questions.load(Ordering::SeqCst);
    let before = asked();
    rig.store.permits.forget_permits(usize::MAX);
    let cache = &rig.cache;
    let mut first = Box::pin(cache.catch_up());
    assert!(first.as_mut().now_or_never().is_none(), "it waits for the answer");
    let written = rig.put(&pod("a"), 1).await;
    let mut others: Vec<_> = (0..100).map(|_| Box::pin(cache.catch_up())).collect();
    assert!(others.iter_mut().all(|other| other.as_mut().now_or_never().is_none()));
    rig.store.permits.add_permits(2);
    first.await.unwrap();
    for revision in within("answers", join_all(others)).await {
        assert_eq!(revision, Ok(written), "it was asked after the write");
    }
    assert_eq!(asked() - before, 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_revision_that_never_comes_ends() {
    let rig = rig(100).await;
    let revision = rig.put_seen(&pod("a"), 1).await;
    let waited = rig.cache.wait_for(Revision(revision.0 + 1)).await;
    assert!(matches!(waited, Err(StoreError::Unavailable(_))));
    rig.put_seen(&pod("a"), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_of_ten_thousand_objects_all_see_each_change() {
    let rig = rig(10_000).await;
    let fill = async |batch: usize| {
        for number in 0..100 {
            rig.put(&pod(format_args!("{batch}-{number}")), number).await;
        }
    };
    within("objects", join_all((0..100).map(fill))).await;
    let start = rig.cache.catch_up().await.unwrap();
    assert_eq!(rig.cache.list(PODS).items.len(), 10_000);
    let watchers = (0..1000).map(|_| {
        let mut watch = rig.cache.watch(PODS, start).unwrap();
        tokio::spawn(async move { take(&mut watch, 100).await.last().unwrap().revision })
    });
    let watchers: Vec<_> = watchers.collect();
    let mut last = start;
    for number in 0..100 {
        last = rig.put(&pod("changing"), number).await;
    }
    for revision in within("watchers", join_all(watchers)).await {
        assert_eq!(revision.unwrap(), last);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_survives_a_restart_of_etcd() {
    let mut running = backends::etcd().await;
    let cache = start(&running, Options::default()).await;
    let mut watch = cache.watch(PODS, cache.revision()).unwrap();
    let first = put(&**running, &pod("a"), 1).await;
    assert_eq!(take(&mut watch, 1).await[0].revision, first);
    running.keeper.kill();
    assert_eq!(texts(&cache.list(PODS)), ["1"], "what is known is served on");
    running.keeper.restart().await;
    let store = &running.store;
    let second = until("etcd", async || store.put(&pod("b"), "2".into(), None).await.ok()).await;
    let change = &take(&mut watch, 1).await[0];
    assert_eq!((change.previous, change.revision), (first, second));
    assert!(cache.catch_up().await.unwrap() >= second);
    assert_eq!(store.list(PODS, Query::default()).await.unwrap().entries.len(), 2);
}
