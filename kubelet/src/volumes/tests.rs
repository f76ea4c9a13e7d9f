use std::collections::BTreeSet;

use api_types::api::core::v1::{KeyToPath, Pod};
use serde_json::json;

use super::{payload::Keys, writer::Target, *};

fn data() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())])
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

fn keys(items: &[KeyToPath]) -> Keys<'_> {
    Keys { items: Some(items), ..Keys::default() }
}

fn target(directory: &Path) -> Target<'_> {
    Target { directory, group: None, nested: BTreeSet::new() }
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_payload_is_replaced_whole() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let all = payload::select(data(), Keys::default(), "config").unwrap();
    payload::on_disk(&all, &target(&directory)).unwrap();
    assert_eq!(std::fs::read(directory.join("a")).unwrap(), b"1");
    let items = [item("b", "x/y")];
    let one = payload::select(data(), Keys { mode: Some(0o400), ..keys(&items) }, "config");
    payload::on_disk(&one.unwrap(), &target(&directory)).unwrap();
    assert!(!directory.join("a").exists());
    assert_eq!(std::fs::read(directory.join("x/y")).unwrap(), b"2");
    // One directory of data, its link, and the visible name.
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
}

#[test]
fn a_file_that_is_no_longer_there_goes_from_deep_inside_too() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let both = payload::select(data(), keys(&[item("a", "x/a"), item("b", "x/b")]), "config");
    payload::on_disk(&both.unwrap(), &target(&directory)).unwrap();
    let one = payload::select(data(), keys(&[item("a", "x/a")]), "config");
    payload::on_disk(&one.unwrap(), &target(&directory)).unwrap();
    assert!(directory.join("x/a").exists() && !directory.join("x/b").exists());
}

#[test]
fn a_place_of_something_else_is_none_of_the_writers() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let some = |keys: &[KeyToPath]| payload::select(data(), self::keys(keys), "config").unwrap();
    let show = |payload: &payload::Payload, nested: &[&str]| {
        let nested = nested.iter().map(|place| (*place).to_owned()).collect();
        payload::on_disk(payload, &Target { nested, ..target(&directory) }).unwrap();
        names(&directory)
    };
    let one = some(&[item("a", "a")]);
    let before = show(&one, &["n/m"]);
    assert_eq!(before[1..], ["..data", "a", "n"]);
    assert!(directory.join("n/m").is_dir());
    // As for a subPath that nothing is at.
    std::fs::create_dir(directory.join("b")).unwrap();
    let found = show(&one, &["n/m"]);
    assert_eq!(
        found,
        [&before[..3], &["b".to_owned(), "n".to_owned()][..]].concat(),
        "the same files"
    );
    let all = some(&[item("a", "a"), item("b", "b"), item("b", "n")]);
    let found = show(&all, &["n/m"]);
    assert_eq!(found[1..], ["..data", "a", "b", "n"], "and one directory of files");
    assert_eq!(std::fs::read(directory.join("b")).unwrap(), b"2");
    assert!(directory.join("n/m").is_dir(), "something is mounted there");
    assert_eq!(show(&all, &["n/m"]), found, "the same files");
}

#[test]
fn files_that_cannot_be_written_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let good = payload::select(data(), Keys::default(), "config").unwrap();
    payload::on_disk(&good, &target(&directory)).unwrap();
    let before = names(&directory);
    let conflict = payload::select(data(), keys(&[item("a", "c"), item("b", "c/d")]), "config");
    payload::on_disk(&conflict.unwrap(), &target(&directory)).unwrap_err();
    assert_eq!(names(&directory), before);
    // Left by a kubelet that died.
    std::fs::create_dir(directory.join("..1")).unwrap();
    payload::on_disk(&good, &target(&directory)).unwrap();
    assert_eq!(names(&directory), before);
}

#[test]
fn paths_are_what_they_mean() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let items = [item("a", "d/x"), item("a", "d-e"), item("b", "d//x"), item("a", "d/./y")];
    let payload = payload::select(data(), keys(&items), "config").unwrap();
    payload::on_disk(&payload, &target(&directory)).unwrap();
    assert_eq!(names(&directory.join("d")), ["x", "y"]);
    let before = names(&directory);
    payload::on_disk(&payload, &target(&directory)).unwrap();
    assert_eq!(names(&directory), before, "the same files");
}

#[test]
fn a_missing_key_is_an_error_unless_optional() {
    let items = [item("c", "c")];
    let error = payload::select(data(), keys(&items), "config").unwrap_err();
    assert_eq!(error.to_string(), "references non-existent config key: c");
    let optional = Keys { optional: Some(true), ..keys(&items) };
    assert!(payload::select(data(), optional, "config").unwrap().is_empty());
}

#[test]
fn a_payload_cannot_leave_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let files = payload::select(data(), keys(&[item("a", "../a")]), "config").unwrap();
    assert!(matches!(payload::on_disk(&files, &target(root.path())), Err(VolumeError::Escapes(_))));
}

#[test]
fn a_link_that_a_container_made_does_not_lead_the_writer_out() {
    let root = tempfile::tempdir().unwrap();
    let (directory, outside) = (root.path().join("v"), root.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    for leads_to in ["../outside", outside.to_str().unwrap(), "..", "."] {
        let all = payload::select(data(), Keys::default(), "config").unwrap();
        payload::on_disk(&all, &target(&directory)).unwrap();
        std::fs::remove_file(directory.join("..data")).unwrap();
        std::os::unix::fs::symlink(leads_to, directory.join("..data")).unwrap();
        let one = payload::select(data(), keys(&[item("b", "b")]), "config");
        payload::on_disk(&one.unwrap(), &target(&directory)).unwrap();
        assert!(outside.is_dir() && directory.join("b").is_file(), "{leads_to}");
    }
}

fn mount_of(mount: &serde_json::Value, read_only: bool) -> Result<Mount, VolumeError> {
    let container: Container =
        serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap();
    let volume = Prepared { path: "/volumes/v".into(), read_only };
    let volumes = Volumes::from([("v".to_owned(), volume)]);
    let found = mounts(&container, &volumes, &[], Path::new("/pods/p"))?;
    Ok(found.into_iter().next().unwrap())
}

#[test]
fn a_mount_is_as_writable_and_as_shared_as_it_says() {
    let wanted = json!({"name": "v", "mountPath": "/data", "mountPropagation": "HostToContainer"});
    let expected = Mount {
        source: "/volumes/v".into(),
        target: "/data".into(),
        read_only: false,
        propagation: Propagation::HostToContainer,
    };
    assert_eq!(mount_of(&wanted, false).unwrap(), expected);
    assert!(mount_of(&wanted, true).unwrap().read_only, "what is only shown cannot be written");
    let read_only = json!({"name": "v", "mountPath": "/data", "readOnly": true});
    let found = mount_of(&read_only, false).unwrap();
    assert!(found.read_only && found.propagation == Propagation::None);
    let unknown = json!({"name": "w", "mountPath": "/data"});
    assert!(matches!(mount_of(&unknown, false), Err(VolumeError::Unknown(_))));
    let out = json!({"name": "v", "mountPath": "/data", "subPath": "../etc"});
    assert!(matches!(mount_of(&out, false), Err(VolumeError::Escapes(_))));
}

#[test]
fn volumes_with_a_limit_are_those_on_disk() {
    let volume = |name: &str, source: serde_json::Value| json!({"name": name, "emptyDir": source});
    let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "volumes": [
        volume("free", json!({})),
        volume("zero", json!({"sizeLimit": "0"})),
        volume("memory", json!({"medium": "Memory", "sizeLimit": "1Mi"})),
        volume("small", json!({"sizeLimit": "1Mi"})),
        {"name": "host", "hostPath": {"path": "/"}},
    ]}}))
    .unwrap();
    let found = empty_dir::limited(&pod, Path::new("/p"));
    let brief: Vec<_> = found.iter().map(|l| (l.volume.as_str(), l.limit)).collect();
    assert_eq!(brief, [("small", 1 << 20)]);
    assert_eq!(found[0].path, Path::new("/p/volumes/kubernetes.io~empty-dir/small"));
}

#[test]
fn tear_down_removes_the_pods_directory_twice() {
    let root = tempfile::tempdir().unwrap();
    let pod = root.path().join("pod");
    std::fs::create_dir_all(pod.join("volumes/x")).unwrap();
    tear_down(&pod).unwrap();
    tear_down(&pod).unwrap();
    assert!(!pod.exists());
}

#[test]
fn nothing_is_removed_when_nobody_can_tell_what_is_mounted() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("pod/volumes/x/kept");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "x").unwrap();
    let unreadable = || {
        let path = Path::new("/proc/self/mountinfo");
        Err(VolumeError::io(path)(io::ErrorKind::NotFound.into()))
    };
    assert!(tear_down_by(unreadable, &root.path().join("pod")).is_err() && file.exists());
}

#[test]
fn a_large_directory_is_removed_beside_the_tasks() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1).build().unwrap().block_on(async {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("pod");
        std::fs::create_dir(&directory).unwrap();
        // As long as the only other thread is busy, nothing can be removed there.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || wait.recv());
        let mut removal = std::pin::pin!(remove(directory.clone()));
        assert!(futures::poll!(&mut removal).is_pending());
        drop(go);
        removal.await.unwrap();
        assert!(!directory.exists());
    });
}
