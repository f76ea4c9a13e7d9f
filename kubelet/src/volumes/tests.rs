use api_types::api::core::v1::KeyToPath;
use serde_json::json;

use super::*;

fn data() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())])
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }
}

#[test]
fn a_payload_is_replaced_whole() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("v");
    let all = payload::select(data(), None, None, false, "config").unwrap();
    payload::write(&directory, &all).unwrap();
    assert_eq!(std::fs::read(directory.join("a")).unwrap(), b"1");
    let one = payload::select(data(), Some(&[item("b", "x/y")]), Some(0o400), false, "config");
    payload::write(&directory, &one.unwrap()).unwrap();
    assert!(!directory.join("a").exists());
    assert_eq!(std::fs::read(directory.join("x/y")).unwrap(), b"2");
    // One directory of data, its link, and the visible name.
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3);
}

#[test]
fn a_missing_key_is_an_error_unless_optional() {
    let items = [item("c", "c")];
    let error = payload::select(data(), Some(&items), None, false, "config").unwrap_err();
    assert_eq!(error.to_string(), "references non-existent config key: c");
    assert!(payload::select(data(), Some(&items), None, true, "config").unwrap().is_empty());
}

#[test]
fn a_payload_cannot_leave_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let files = payload::select(data(), Some(&[item("a", "../a")]), None, false, "config").unwrap();
    assert!(matches!(payload::write(root.path(), &files), Err(VolumeError::Escapes(_))));
}

fn mounts_of(root: &Path, mount: &serde_json::Value) -> Result<Vec<Mount>, VolumeError> {
    let container: Container =
        serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap();
    let paths = BTreeMap::from([("v".to_owned(), root.to_owned())]);
    mounts(&container, &paths, &[("POD".to_owned(), "web".to_owned())])
}

#[test]
fn sub_paths_are_made_and_stay_inside() {
    let root = tempfile::tempdir().unwrap();
    let given =
        json!({"name": "v", "mountPath": "/data", "subPathExpr": "$(POD)", "readOnly": true});
    let found = mounts_of(root.path(), &given).unwrap();
    let source = root.path().canonicalize().unwrap().join("web").to_string_lossy().into_owned();
    assert_eq!(found, [Mount { source, target: "/data".into(), read_only: true }]);
    let out = json!({"name": "v", "mountPath": "/data", "subPath": "../etc"});
    assert!(matches!(mounts_of(root.path(), &out), Err(VolumeError::Escapes(_))));
    std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
    let link = json!({"name": "v", "mountPath": "/data", "subPath": "link"});
    assert!(matches!(mounts_of(root.path(), &link), Err(VolumeError::Escapes(_))));
    let unknown = json!({"name": "w", "mountPath": "/data"});
    assert!(matches!(mounts_of(root.path(), &unknown), Err(VolumeError::Unknown(_))));
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
