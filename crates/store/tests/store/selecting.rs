//! The cache's indexes: objects by their labels, changes by what they are watched by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use futures::{FutureExt, StreamExt};
use store::{
    Entry, Revision, Store, StoreError,
    cache::{Cache, Object, Options, Snapshot, Subscription},
};
use tempfile::TempDir;

use crate::{
    backends::{self, Running},
    faulty::Faulty,
    wait::{next, within},
};

const PODS: &str = "/registry/core/pods/";

/// A pod: `node a=b c=d`, or something that is none.
#[derive(Debug)]
struct Pod {
    text: String,
    /// How often anybody looked for a trigger.
    looks: Arc<AtomicUsize>,
}

impl Object for Pod {
    fn weight(&self) -> usize {
        self.text.len()
    }

    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        let words = self.text.split(' ').skip(1);
        (self.text != "?").then(|| words.filter_map(|word| word.split_once('=')))
    }

    fn trigger(&self) -> Option<&str> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.text.split(' ').next().filter(|node| *node != "?")
    }
}

type Listed = Snapshot<Pod>;

struct Rig {
    store: Arc<Faulty>,
    cache: Arc<Cache<Pod>>,
    looks: Arc<AtomicUsize>,
    _running: Running<TempDir>,
}

impl Rig {
    async fn new(window: usize) -> Self {
        let running = backends::embedded().await;
        let store = Faulty::new(Arc::clone(&running.store));
        let looks = Arc::new(AtomicUsize::new(0));
        let looked = Arc::clone(&looks);
        let decode = move |entry: &Entry| {
            let text = String::from_utf8(entry.value.to_vec()).unwrap();
            Pod { text, looks: Arc::clone(&looked) }
        };
        let options = Options { window, ..Options::default() };
        let cache = Cache::start(store.clone(), options, decode).await.unwrap();
        Self { store, cache, looks, _running: running }
    }

    async fn put(&self, name: &str, text: &str) -> Revision {
        let key = format!("{PODS}d/{name}");
        let revision = self.store.put(&key, text.to_owned().into(), None).await.unwrap();
        self.cache.wait_for(revision).await.unwrap();
        revision
    }

    async fn delete(&self, name: &str) {
        let revision = self.store.delete(&format!("{PODS}d/{name}"), None).await.unwrap();
        self.cache.wait_for(revision).await.unwrap();
    }

    /// The names of what a list by these labels looks at.
    fn having(&self, prefix: &str, labels: &[(&str, &str)]) -> String {
        let list = self.cache.list_having(prefix, labels.iter().copied());
        let names = list.items.iter().map(|item| item.key.rsplit('/').next().unwrap());
        names.collect::<Vec<_>>().join(" ")
    }

    fn watch(&self, node: &str) -> Subscription<Pod> {
        self.cache.watch_value(PODS, Some(node), self.cache.revision()).unwrap()
    }
}

#[tokio::test]
async fn a_list_by_labels_looks_at_those_alone_that_have_them() {
    let rig = Rig::new(100).await;
    for (name, text) in [("a", "n x=1 y=1"), ("b", "n x=2 y=1"), ("c", "n x=1"), ("d", "n")] {
        rig.put(name, text).await;
    }
    assert_eq!(rig.having(PODS, &[]), "a b c d");
    assert_eq!(rig.having(PODS, &[("x", "1")]), "a c");
    assert_eq!(rig.having(PODS, &[("z", "1")]), "");
    assert_eq!(rig.having(PODS, &[("y", "1"), ("z", "1")]), "");
    assert_eq!(rig.having(&format!("{PODS}e/"), &[("x", "1")]), "");
    rig.put("a", "n x=2").await;
    rig.put("d", "m x=1").await;
    rig.delete("c").await;
    assert_eq!(rig.having(PODS, &[("x", "1")]), "d");
    assert_eq!(rig.having(PODS, &[("x", "2")]), "a b");
    assert_eq!(rig.having(PODS, &[("y", "1")]), "b");
}

#[tokio::test]
async fn a_list_by_labels_has_the_latest_of_each_and_what_was_listed_stays() {
    let rig = Rig::new(100).await;
    let texts =
        |list: &Listed| list.items.iter().map(|item| item.object.text.clone()).collect::<Vec<_>>();
    rig.put("a", "n1 x=1").await;
    let before = rig.cache.list_having(PODS, [("x", "1")].into_iter());
    let revision = rig.put("a", "n2 x=1").await;
    let after = rig.cache.list_having(PODS, [("x", "1")].into_iter());
    assert_eq!((texts(&before), texts(&after)), (vec!["n1 x=1".into()], vec!["n2 x=1".into()]));
    assert_eq!(after.revision, revision);
}

#[tokio::test]
async fn what_can_not_be_read_is_among_all_that_are_looked_at() {
    let rig = Rig::new(100).await;
    rig.put("a", "n x=1").await;
    rig.put("b", "n").await;
    rig.put("c", "?").await;
    assert_eq!(rig.having(PODS, &[("x", "1")]), "a b c");
    rig.put("c", "n").await;
    assert_eq!(rig.having(PODS, &[("x", "1")]), "a");
    rig.put("b", "?").await;
    rig.delete("b").await;
    assert_eq!(rig.having(PODS, &[("x", "1")]), "a");
}

#[tokio::test]
async fn labels_are_known_after_a_load_too() {
    let rig = Rig::new(100).await;
    rig.put("a", "n x=1").await;
    let mut watch = rig.watch("n");
    let restored = backends::embedded().await;
    restored.put(&format!("{PODS}d/b"), "n x=1".into(), None).await.unwrap();
    rig.store.break_watches();
    rig.store.swap(Arc::clone(&restored.store));
    rig.store.mend();
    assert!(matches!(next(&mut watch).await, Err(StoreError::Compacted { .. })));
    assert_eq!(rig.having(PODS, &[("x", "1")]), "b");
}

/// The texts before and after the next change.
async fn change(watch: &mut Subscription<Pod>) -> (String, String) {
    let change = next(watch).await.unwrap();
    let text = |item: &Option<Arc<store::cache::Item<Pod>>>| {
        item.as_ref().map_or("", |item| &item.object.text).to_owned()
    };
    (text(&change.old), text(&change.new))
}

#[tokio::test]
async fn a_watch_of_a_value_sees_what_comes_to_it_and_what_leaves_it() {
    let rig = Rig::new(100).await;
    rig.put("a", "n1 x=0").await;
    let mut watch = rig.watch("n1");
    for text in ["n1 x=1", "n2", "n2 x=1", "n1"] {
        rig.put("a", text).await;
    }
    rig.delete("a").await;
    for (old, new) in [("n1 x=0", "n1 x=1"), ("n1 x=1", "n2"), ("n2 x=1", "n1"), ("n1", "")] {
        assert_eq!(change(&mut watch).await, (old.to_owned(), new.to_owned()));
    }
    assert!(watch.next().now_or_never().is_none());
    // It has seen everything, also what was none of its own.
    let last = rig.put("b", "n2").await;
    assert_eq!(watch.revision(), last);
}

#[tokio::test]
async fn a_watch_of_a_value_begins_in_the_past() {
    let rig = Rig::new(100).await;
    let before = rig.put("a", "n1").await;
    rig.put("b", "n2").await;
    rig.put("c", "n1 x=1").await;
    let mut watch = rig.cache.watch_value(PODS, Some("n1"), before).unwrap();
    assert_eq!(change(&mut watch).await.1, "n1 x=1");
    let _other = rig.watch("n1");
    rig.put("d", "n1 x=2").await;
    assert_eq!(change(&mut watch).await.1, "n1 x=2");
}

#[tokio::test]
async fn watches_of_a_value_begin_where_each_wants_to() {
    let rig = Rig::new(6).await;
    let start = rig.cache.revision();
    rig.put("a", "n1 x=0").await;
    let middle = rig.put("a", "n1 x=1").await;
    rig.put("b", "n2").await;
    rig.put("c", "n1 x=2").await;
    let at = |after| rig.cache.watch_value(PODS, Some("n1"), after).unwrap();
    let (mut late, mut middle) = (rig.watch("n1"), at(middle));
    rig.put("d", "n1 x=3").await;
    assert_eq!(change(&mut middle).await.1, "n1 x=2");
    let mut early = at(start);
    rig.put("e", "n1 x=4").await;
    for number in 0..5 {
        assert_eq!(change(&mut early).await.1, format!("n1 x={number}"));
    }
    for number in 0..3 {
        rig.put("b", &format!("n2 x={number}")).await;
    }
    // Forgotten is what only `early` wanted.
    for watch in [&mut middle, &mut late] {
        for number in 3..5 {
            assert_eq!(change(watch).await.1, format!("n1 x={number}"));
        }
        assert!(watch.next().now_or_never().is_none());
    }
}

#[tokio::test]
async fn a_watch_of_a_value_looks_at_no_more_than_it_missed() {
    let rig = Rig::new(1000).await;
    for number in 0..100 {
        rig.put("a", &format!("n1 x={number}")).await;
    }
    let known = rig.put("b", "n1").await;
    rig.put("b", "n2").await;
    let looked = rig.looks.load(Ordering::SeqCst);
    let mut watch = rig.cache.watch_value(PODS, Some("n2"), known).unwrap();
    let looked = rig.looks.load(Ordering::SeqCst) - looked;
    assert!(looked < 10, "{looked}");
    assert_eq!(change(&mut watch).await, ("n1".to_owned(), "n2".to_owned()));
}

#[tokio::test]
async fn what_can_not_be_read_is_seen_by_every_watch_of_a_value() {
    let rig = Rig::new(2).await;
    let mut watch = rig.watch("n1");
    let start = rig.cache.revision();
    let before = rig.put("a", "?").await;
    assert_eq!(change(&mut watch).await.1, "?");
    let mut late = rig.cache.watch_value(PODS, Some("n3"), start).unwrap();
    assert_eq!(change(&mut late).await.1, "?");
    rig.put("a", "n2").await;
    assert_eq!(change(&mut watch).await, ("?".to_owned(), "n2".to_owned()));
    rig.put("a", "n1").await;
    assert_eq!(change(&mut watch).await, ("n2".to_owned(), "n1".to_owned()));
    assert!(rig.cache.watch_value(PODS, Some("n1"), before).is_ok());
    rig.put("a", "?").await;
    rig.delete("a").await;
    assert_eq!(change(&mut watch).await, ("n1".to_owned(), "?".to_owned()));
    assert_eq!(change(&mut watch).await, ("?".to_owned(), String::new()));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_watch_of_a_value_is_woken_by_no_other() {
    let rig = Rig::new(100).await;
    let mut watch = rig.watch("n1");
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    assert!(watch.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    for _ in 0..5 {
        rig.put("a", "n2").await;
    }
    assert_eq!(counter.0.load(Ordering::SeqCst), 0);
    rig.put("b", "n1").await;
    let woken = async {
        while counter.0.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the waker", woken).await;
}

#[tokio::test]
async fn a_quiet_watch_of_a_value_does_not_expire_and_a_slow_one_does() {
    let rig = Rig::new(4).await;
    let first = rig.put("a", "n1").await;
    let (mut quiet, mut slow) = (rig.watch("n1"), rig.watch("n2"));
    for number in 0..20 {
        rig.put("b", &format!("n2 x={number}")).await;
    }
    rig.put("a", "n1 x=1").await;
    assert_eq!(change(&mut quiet).await.1, "n1 x=1");
    assert!(matches!(next(&mut slow).await, Err(StoreError::Compacted { .. })));
    assert!(rig.cache.watch_value(PODS, Some("n1"), first).is_err());
}
