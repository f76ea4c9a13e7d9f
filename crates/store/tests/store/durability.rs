//! The embedded store's file: what was acknowledged is in it, whatever happens to the process; and a file
//! that can't be used is refused with the reason.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures::future::join_all;
use store::{
    Query, Revision, Store, StoreError,
    embedded::{Embedded, Options},
};
use tempfile::TempDir;

use crate::{disk::Disk, wait::within};

/// Where to write, for the kill test's child: this very program, in which that test does so instead.
const FILE_OF_CHILD: &str = "STORE_TEST_FILE";

/// What a change of a short key to a short value counts for.
const SIZE: u64 = 78;

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    (directory, file)
}

fn open(path: &Path) -> Result<Embedded, StoreError> {
    Embedded::open(path, Options::default())
}

async fn filled(path: &Path, count: usize) -> Embedded {
    let store = open(path).unwrap();
    let (keys, value) = ((0..count).map(|n| format!("/a/{n}")), "value".repeat(100));
    join_all(keys.map(async |key| store.put(&key, value.clone().into(), None).await.unwrap()))
        .await;
    store
}

#[tokio::test]
async fn a_reopened_file_goes_on_where_it_was() {
    let (_directory, file) = directory();
    let store = filled(&file, 100).await;
    let deleted = store.delete("/a/7", None).await.unwrap();
    drop(store);
    let store = open(&file).unwrap();
    assert_eq!(store.revision().await, Ok(deleted));
    assert_eq!(store.list("/a/", Query::default()).await.unwrap().entries.len(), 99);
    let written = store.put("/a/7", "again".into(), None).await.unwrap();
    assert_eq!(written, Revision(deleted.0 + 1));
}

#[tokio::test]
async fn the_history_is_trimmed_to_what_is_to_be_kept() {
    let (_directory, file) = directory();
    let store =
        Embedded::open(&file, Options { keep_bytes: 100 * SIZE, ..Options::default() }).unwrap();
    store.put("/a/constant", "1".into(), None).await.unwrap();
    for number in 0..20 {
        let writes = (0..50).map(async |n| {
            store.put(&format!("/a/{n}"), number.to_string().into(), None).await.unwrap()
        });
        join_all(writes).await;
    }
    let latest = store.revision().await.unwrap();
    let at = async |revision| {
        let query = Query { at: Some(Revision(revision)), ..Query::default() };
        store.list("/a/", query).await.map(|page| page.entries.len())
    };
    assert_eq!(at(latest.0 - 95).await, Ok(51));
    assert!(matches!(at(latest.0 - 120).await, Err(StoreError::Compacted { .. })));
    assert!(matches!(at(2).await, Err(StoreError::Compacted { .. })));
    assert!(matches!(store.watch(Revision(2)).await.err(), Some(StoreError::Compacted { .. })));
}

/// At any rate of writing: only their bytes end the history, and who compacts it as time goes by.
#[tokio::test]
async fn many_small_changes_are_remembered() {
    let (_directory, file) = directory();
    let store = filled(&file, 1).await;
    let first = store.revision().await.unwrap();
    for batch in 0..30 {
        let keys = (0..500).map(|n| format!("/a/{}", (batch + n) % 50));
        join_all(keys.map(async |key| store.put(&key, "x".into(), None).await.unwrap())).await;
    }
    let query = Query { at: Some(first), ..Query::default() };
    assert_eq!(store.list("/a/", query).await.unwrap().entries.len(), 1);
    let latest = store.revision().await.unwrap();
    store.compact(latest).await.unwrap();
    let query = Query { at: Some(Revision(latest.0 - 1)), ..Query::default() };
    let forgotten = store.list("/a/", query).await.unwrap_err();
    assert_eq!(forgotten, StoreError::Compacted { oldest: latest });
}

#[tokio::test]
async fn what_is_trimmed_takes_no_place_in_the_file() {
    let (_directory, file) = directory();
    let store =
        Embedded::open(&file, Options { keep_bytes: 50 * 10_000, ..Options::default() }).unwrap();
    let value = bytes::Bytes::from(vec![b'x'; 10_000]);
    for _ in 0..50 {
        let keys = (0..100).map(|n| format!("/a/{}", n % 10));
        join_all(keys.map(async |key| store.put(&key, value.clone(), None).await.unwrap())).await;
    }
    let (written, length) = (50 * 100 * value.len() as u64, fs::metadata(&file).unwrap().len());
    assert!(length < written / 2, "{length} bytes for the last of {written}");
}

#[test]
fn every_write_that_was_acknowledged_survives_a_kill() {
    if let Some(file) = std::env::var_os(FILE_OF_CHILD) {
        return write_until_killed(Path::new(&file));
    }
    let (_directory, file) = directory();
    let mut child = spawn_writer(&file);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged: Vec<String> = Vec::new();
    while acknowledged.len() < 200 {
        acknowledged.extend(written(&lines.next().expect("the child writes on").unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The last line may be torn: of that one, nobody knows.
    let mut rest: Vec<_> = lines.map_while(Result::ok).collect();
    rest.pop();
    acknowledged.extend(rest.iter().filter_map(|line| written(line)));
    check_written(&file, &acknowledged);
}

/// The key of an acknowledged write, out of the child's output.
fn written(line: &str) -> Option<String> {
    line.strip_prefix("written ").map(str::to_owned)
}

fn spawn_writer(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "durability::every_write_that_was_acknowledged_survives_a_kill",
            "--nocapture",
        ])
        .env(FILE_OF_CHILD, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn check_written(file: &Path, keys: &[String]) {
    let store = open(file).unwrap();
    for key in keys {
        assert!(store.get(key).await.unwrap().is_some(), "{key} is lost");
    }
    assert!(store.revision().await.unwrap().0 > keys.len() as u64);
    store.put("/a/after", "1".into(), None).await.unwrap();
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "the parent reads it")]
async fn write_until_killed(file: &Path) {
    let store = &open(file).unwrap();
    let write = async |writer: usize| {
        for number in 0.. {
            let key = format!("/a/{writer}/{number}");
            store.put(&key, "value".into(), None).await.unwrap();
            println!("written {key}");
        }
    };
    join_all((0..8).map(write)).await;
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let (_directory, file) = directory();
    let _store = filled(&file, 1).await;
    let error = open(&file).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("is in use by another process"), "{error}");
}

#[tokio::test]
async fn a_file_in_use_is_waited_for() {
    let (_directory, file) = directory();
    let first = filled(&file, 1).await;
    let waiting = Embedded::open_within(&file, Options::default(), Duration::from_secs(60));
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), waiting.as_mut()).await;
    assert!(early.is_err(), "it waits");
    drop(first);
    let second = within("the file", waiting).await.unwrap();
    assert!(second.get("/a/0").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_file_in_use_is_not_waited_for_for_ever() {
    let (_directory, file) = directory();
    let _store = open(&file).unwrap();
    let error = Embedded::open_within(&file, Options::default(), Duration::from_secs(10)).await;
    assert!(matches!(error.unwrap_err(), StoreError::InUse(_)));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let (_directory, file) = directory();
    fs::write(&file, "some notes of mine\n".repeat(1000)).unwrap();
    let error = open(&file).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("some notes"));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (_directory, file) = directory();
    drop(filled(&file, 1000).await);
    let length = fs::metadata(&file).unwrap().len();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length / 3).unwrap();
    assert!(matches!(open(&file).unwrap_err(), StoreError::Corrupt(_)));
}

/// In a file that was closed in order, only who asks for it has every page verified: that takes the longer,
/// the larger the file is.
#[tokio::test]
async fn a_flipped_bit_is_found_by_verifying() {
    let (_directory, file) = directory();
    drop(filled(&file, 1000).await);
    let mut bytes = fs::read(&file).unwrap();
    let value = bytes.windows(10).rposition(|window| window == b"valuevalue").unwrap();
    bytes[value] ^= 1;
    fs::write(&file, bytes).unwrap();
    let verified = Embedded::open(&file, Options { verify: true, ..Options::default() });
    assert!(matches!(verified.unwrap_err(), StoreError::Corrupt(_)));
}

/// How much is read of a disk to open it, after it was closed in order.
async fn read_to_open(count: usize) -> usize {
    let disk = Disk::default();
    let open = |disk: &Disk| {
        let disk = disk.clone();
        Embedded::open_on("a disk", Options::default(), move || disk.open()).unwrap()
    };
    let store = open(&disk);
    for batch in 0..count / 100 {
        let keys = (0..100).map(|n| format!("/a/{batch}/{n}"));
        let value = bytes::Bytes::from(vec![b'x'; 1000]);
        join_all(keys.map(async |key| store.put(&key, value.clone(), None).await.unwrap())).await;
    }
    store.close().await;
    assert!(store.get("/a/0/0").await.is_err(), "it is closed");
    let before = disk.bytes_read();
    drop(open(&disk));
    disk.bytes_read() - before
}

#[tokio::test]
async fn opening_does_not_read_the_whole_file() {
    let (small, large) = (read_to_open(200).await, read_to_open(4000).await);
    assert!(large < 2 * small.max(100_000), "{small} bytes, then {large}");
}

#[test]
fn a_missing_directory_is_named() {
    let error = open(Path::new("/nowhere/to/be/found/store")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/to/be/found/store"), "{error}");
}

#[tokio::test]
async fn a_file_is_synced_unless_it_need_not_outlive_a_power_cut() {
    let is_unsynced = |options: Options| {
        let (_directory, file) = directory();
        let store = Embedded::open(&file, options).unwrap();
        format!("{store:?}").contains("Unsynced")
    };
    assert!(!is_unsynced(Options::default()));
    assert!(is_unsynced(Options { outlives_power_cuts: false, ..Options::default() }));
}

#[tokio::test]
async fn what_need_not_outlive_a_power_cut_outlives_its_store_and_is_one_processs_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store");
    let options = || Options { outlives_power_cuts: false, ..Options::default() };
    let store = Embedded::open(&file, options()).unwrap();
    store.put("/a", "1".into(), None).await.unwrap();
    let other = Embedded::open(&file, Options::default());
    assert!(matches!(other, Err(StoreError::InUse(_))), "{other:?}");
    // As after a kill: nothing is closed.
    let copy = directory.path().join("copy");
    fs::copy(&file, &copy).unwrap();
    drop(store);
    for file in [file, copy] {
        let store = Embedded::open(&file, options()).unwrap();
        assert_eq!(store.get("/a").await.unwrap().unwrap().value, "1");
    }
}
