//! A process that counts by compare-and-swap is killed again and again: no count is lost or doubled, and a watcher
//! that goes on from its last revision sees each once and in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use futures::future::join_all;
use store::{
    Entry, Event, Expect, Revision, Store, StoreError,
    embedded::{Embedded, Options},
};

use crate::wait::take;

/// Where to count, for the child: this very program, in which the test does so instead.
const FILE_OF_CHILD: &str = "STORE_TEST_COUNTERS";
const NAME: &str = "kills::no_count_is_lost_or_doubled_by_kills";

const COUNTERS: usize = 64;
const KILLS: usize = 55;
/// How many counts are acknowledged before a kill; the kill comes in the middle of others.
const COUNTS: usize = 1300;
/// Of all counters, at the end.
const LEAST: u64 = 80_000;

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Options::default()).unwrap()
}

#[test]
fn no_count_is_lost_or_doubled_by_kills() {
    if let Some(file) = std::env::var_os(FILE_OF_CHILD) {
        return count_until_killed(Path::new(&file));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    let mut witness = Witness { seen: Revision(1), counts: BTreeMap::new() };
    for kill in 1..=KILLS {
        let acknowledged = count_and_kill(&file, COUNTS + 7 * kill);
        witness.check(&file, &acknowledged);
    }
    let counts: u64 = witness.counts.values().sum();
    assert!(counts >= LEAST, "{counts}");
}

/// Runs the child until so many counts were acknowledged, and gives each counter's latest.
fn count_and_kill(file: &Path, counts: usize) -> BTreeMap<String, u64> {
    let mut child = spawn(file);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = BTreeSet::new();
    let mut note = |line: &str| {
        let Some(counted) = counted(line) else { return false };
        assert!(acknowledged.insert(counted), "acknowledged before, and lost: {line}");
        true
    };
    let mut left = counts;
    while left > 0 {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child counts on");
        left -= usize::from(note(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    for line in rest.split_inclusive('\n') {
        note(line);
    }
    // Of each counter the last, which is the highest.
    acknowledged.into_iter().collect()
}

/// What a whole line says.
fn counted(line: &str) -> Option<(String, u64)> {
    let (key, count) = line.strip_prefix("counted ")?.strip_suffix('\n')?.split_once(' ')?;
    Some((key.to_owned(), count.parse().ok()?))
}

fn spawn(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FILE_OF_CHILD, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A watcher that goes on from the last revision that it saw.
struct Witness {
    seen: Revision,
    counts: BTreeMap<String, u64>,
}

impl Witness {
    #[tokio::main(flavor = "current_thread")]
    async fn check(&mut self, file: &Path, acknowledged: &BTreeMap<String, u64>) {
        let store = open(file);
        let latest = store.revision().await.unwrap();
        let count = usize::try_from(latest.0 - self.seen.0).unwrap();
        for change in take(&mut store.watch(self.seen).await.unwrap(), count).await {
            self.see(&change);
        }
        for (key, count) in acknowledged {
            let stored = number(&store.get(key).await.unwrap().unwrap());
            assert_eq!(Some(&stored), self.counts.get(key), "the watcher saw all");
            // Each of the two who count at it may have done one more, and not said so.
            assert!((*count..=count + 2).contains(&stored), "{key}: {count} became {stored}");
        }
    }

    fn see(&mut self, change: &Event) {
        assert_eq!(change.revision().0, self.seen.0 + 1, "each revision once, in order");
        self.seen = change.revision();
        let Event::Put(entry) = change else { panic!("nothing is deleted: {change:?}") };
        let before = self.counts.insert(entry.key.to_string(), number(entry)).unwrap_or(0);
        assert_eq!(number(entry), before + 1, "{}", entry.key);
    }
}

fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

/// Two tasks count at each counter; the slower one has to try again.
#[tokio::main(flavor = "current_thread")]
async fn count_until_killed(file: &Path) {
    let store = &open(file);
    let count = async |task: usize| loop {
        count_once(store, &format!("/a/{}", task % COUNTERS)).await;
    };
    join_all((0..2 * COUNTERS).map(count)).await;
}

#[allow(clippy::print_stdout, reason = "the parent reads it")]
async fn count_once(store: &Embedded, key: &str) {
    let found = store.get(key).await.unwrap();
    let expect = found.as_ref().map_or(Expect::Absent, |entry| Expect::At(entry.revision));
    let next = found.as_ref().map_or(0, number) + 1;
    match store.put(key, next.to_string().into(), Some(expect)).await {
        Ok(_) => println!("counted {key} {next}"),
        Err(StoreError::Conflict { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}
