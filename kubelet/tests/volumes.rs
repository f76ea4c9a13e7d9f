//! Volumes with real mounts. Needs root.

#![expect(clippy::unwrap_used, reason = "in tests, helpers included, a panic is a failure")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use api_types::{
    Quantity,
    api::core::v1::{Container, PersistentVolumeClaim, Pod, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use kubelet::{
    objects::Objects,
    tokens::Tokens,
    volumes::{self, PodContext, Prepared, VolumeError, Volumes},
};
use serde_json::{Value, json};
use testkit::ControlPlane;

/// A pod's directory, and one for a volume of the host.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("pod")).unwrap();
        fs::create_dir(root.path().join("host")).unwrap();
        Self { root }
    }

    fn pod_dir(&self) -> PathBuf {
        self.root.path().join("pod")
    }

    fn host(&self) -> PathBuf {
        self.root.path().join("host")
    }

    /// What a container gets that mounts a part of the host's volume.
    fn part(&self, sub_path: &str) -> Result<PathBuf, VolumeError> {
        let mount = json!({"name": "v", "mountPath": "/data", "subPathExpr": sub_path});
        let container: Container =
            serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap();
        let volume = Prepared { path: self.host(), read_only: false };
        let volumes = Volumes::from([("v".to_owned(), volume)]);
        let variables = [("POD".to_owned(), "web".to_owned())];
        let found = volumes::mounts(&container, &volumes, &variables, &self.pod_dir())?;
        Ok(found.into_iter().next().unwrap().source.into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = volumes::tear_down(&self.pod_dir());
        assert!(left.is_ok() || std::thread::panicking(), "{left:?}");
    }
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_part_of_a_volume_stays_what_it_was_when_it_was_mounted() {
    let place = Place::new();
    let source = place.part("$(POD)").unwrap();
    fs::write(place.host().join("web/file"), "x").unwrap();
    fs::rename(place.host().join("web"), place.host().join("moved")).unwrap();
    symlink("/etc", place.host().join("web")).unwrap();
    assert_eq!(fs::read(source.join("file")).unwrap(), b"x");
    assert!(matches!(place.part("$(POD)"), Err(VolumeError::LeadsOut { .. })));
    fs::remove_file(place.host().join("web")).unwrap();
    // A container that is started again sees what is there now.
    fs::write(place.host().join("web"), "file").unwrap();
    assert_eq!(fs::read(place.part("$(POD)").unwrap()).unwrap(), b"file");
    assert_eq!(fs::read(place.part("moved/file").unwrap()).unwrap(), b"x");
}

#[test]
fn tearing_down_leaves_what_was_mounted() {
    let place = Place::new();
    let (pod, host) = (place.pod_dir(), place.host());
    fs::create_dir_all(host.join("below/deeper")).unwrap();
    // As systemd mounts everything: what is mounted or unmounted in a copy is so in the original.
    let shown = host.display();
    sh(&format!("mount --bind {shown} {shown}; mount --make-shared {shown}"));
    fs::write(host.join("below/kept"), "x").unwrap();
    sh(&format!("mount -t tmpfs none {shown}/below/deeper"));
    fs::write(host.join("below/deeper/kept"), "x").unwrap();
    place.part("below").unwrap();
    // A path as a user may have named a disk, reached through a link as /var may be one.
    let disk = pod.join("my disk");
    fs::create_dir(&disk).unwrap();
    sh(&format!("mount --rbind {shown} '{}'", disk.display()));
    let link = place.root.path().join("link");
    symlink(place.root.path(), &link).unwrap();
    volumes::tear_down(&link.join("pod")).unwrap();
    volumes::tear_down(&link.join("pod")).unwrap();
    assert!(!pod.exists());
    for kept in ["below/kept", "below/deeper/kept"] {
        assert_eq!(fs::read(host.join(kept)).unwrap(), b"x", "{kept}");
    }
    sh(&format!("umount {shown}/below/deeper; umount {shown}"));
}

/// The table that is read is the process's; what a thread with a mount namespace of its own mounts is not in it.
#[test]
fn what_the_table_of_mounts_does_not_tell_of_is_not_entered() {
    let place = Place::new();
    let (inside, kept) = (place.pod_dir().join("volumes/x"), place.host().join("kept"));
    fs::create_dir_all(&inside).unwrap();
    fs::write(&kept, "x").unwrap();
    let (pod, host) = (place.pod_dir(), place.host());
    let outcome = std::thread::spawn(move || {
        use nix::mount::{MsFlags, mount};
        let none = None::<&str>;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
        mount(Some(&host), &inside, none, MsFlags::MS_BIND, none).unwrap();
        volumes::tear_down(&pod)
    });
    assert!(outcome.join().unwrap().is_err());
    assert_eq!(fs::read(&kept).unwrap(), b"x");
}

fn pod(spec: &Value) -> Pod {
    let metadata = json!({"name": "web", "namespace": "default", "uid": "u"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

async fn set_up(client: &Client, pod_dir: &Path, spec: &Value) -> Volumes {
    set_up_pod(client, pod_dir, &pod(spec)).await
}

async fn set_up_pod(client: &Client, pod_dir: &Path, pod: &Pod) -> Volumes {
    let node = Node::new(client);
    volumes::set_up(node.context(pod, pod_dir)).await.unwrap()
}

/// What volumes are made of.
struct Node {
    objects: Objects,
    tokens: Tokens,
    allocatable: BTreeMap<String, Quantity>,
}

impl Node {
    fn new(client: &Client) -> Self {
        let (objects, tokens) = (Objects::new(client.clone()), Tokens::new(client.clone()));
        Self { objects, tokens, allocatable: BTreeMap::new() }
    }

    fn context<'a>(&'a self, pod: &'a Pod, pod_dir: &'a Path) -> PodContext<'a> {
        let Self { objects, tokens, allocatable } = self;
        PodContext { pod, pod_ip: "", host_ip: "", allocatable, pod_dir, objects, tokens }
    }
}

#[tokio::test]
async fn a_volume_that_cannot_be_refreshed_does_not_hold_up_the_next() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let name = json!({"path": "name", "fieldRef": {"fieldPath": "metadata.name"}});
    let pod = pod(&json!({"containers": [], "volumes": [
        {"name": "gone", "configMap": {"name": "gone"}},
        {"name": "shown", "projected": {"sources": [{"downwardAPI": {"items": [name]}}]}},
    ]}));
    let (node, pod_dir) = (Node::new(&control_plane.client()), place.pod_dir());
    let failed = volumes::refresh(node.context(&pod, &pod_dir)).await;
    assert!(failed.iter().map(|failed| &failed.volume).eq(["gone"]), "{failed:?}");
    let file = pod_dir.join("volumes/kubernetes.io~projected/shown/name");
    assert_eq!(fs::read(file).unwrap(), b"web");
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[tokio::test]
async fn secrets_are_in_memory_and_the_groups() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let client = control_plane.client();
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "hidden"}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    let spec = json!({"containers": [], "securityContext": {"fsGroup": 2000}, "volumes": [
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "e", "emptyDir": {}},
        {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]});
    let pod_dir = place.pod_dir().join("p");
    let found = set_up(&client, &pod_dir, &spec).await;
    assert_eq!(set_up(&client, &pod_dir, &spec).await, found, "a second container is started");
    let path = |name: &str| found[name].path.clone();
    let key = path("s").join("key");
    assert_eq!(fs::read(&key).unwrap(), b"hidden");
    assert_eq!((mode(&key), key.metadata().unwrap().gid()), (0o440, 2000));
    assert!(found["s"].read_only && !found["e"].read_only);
    for (name, in_memory) in [("s", true), ("m", true), ("e", false)] {
        let disk = pod_dir.metadata().unwrap().dev();
        assert_eq!(path(name).metadata().unwrap().dev() != disk, in_memory, "{name}");
    }
    for writable in ["e", "m"] {
        let path = path(writable);
        assert_eq!((mode(&path), path.metadata().unwrap().gid()), (0o2777, 2000), "{writable}");
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let real = path("s").canonicalize().unwrap();
    let mounted = table.lines().find(|line| line.contains(&format!(" {} ", real.display())));
    assert_eq!(mounted.unwrap().contains("noswap"), kernel() >= (6, 4));
    assert_eq!(mode(&pod_dir), 0o750);
    assert!(fs::write(path("m").join("large"), vec![0; 2 << 20]).is_err(), "more than its limit");
    volumes::tear_down(&pod_dir).unwrap();
    assert!(!pod_dir.exists());
}

#[tokio::test]
async fn what_a_container_mounted_on_a_volume_does_not_hold_up_its_end() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let (pod, kept) = (place.pod_dir(), place.host().join("kept"));
    fs::write(&kept, "x").unwrap();
    let absent = json!({"name": "none", "optional": true});
    let spec = json!({"containers": [], "volumes": [
        {"name": "c", "configMap": absent},
        {"name": "e", "emptyDir": {}},
    ]});
    for volume in set_up(&control_plane.client(), &pod, &spec).await.values() {
        sh(&format!("mount --bind {} {}", place.host().display(), volume.path.display()));
    }
    volumes::tear_down(&pod).unwrap();
    assert!(!pod.exists());
    assert_eq!(fs::read(&kept).unwrap(), b"x");
}

#[tokio::test]
async fn volumes_of_every_source_go_with_their_pod_and_what_is_the_nodes_stays() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let (pod, kept) = (place.pod_dir().join("p"), place.host().join("kept"));
    fs::write(&kept, "x").unwrap();
    let uid = json!({"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}});
    let spec = json!({"containers": [], "volumes": [
        {"name": "host", "hostPath": {"path": place.host(), "type": "Directory"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "config", "configMap": {"name": "none", "optional": true}},
        {"name": "secret", "secret": {"secretName": "none", "optional": true}},
        {"name": "downward", "downwardAPI": {"items": [uid]}},
    ]});
    let found = set_up(&control_plane.client(), &pod, &spec).await;
    assert_eq!(fs::read(found["downward"].path.join("uid")).unwrap(), b"u");
    let mounted = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        found
            .iter()
            .filter(|(_, volume)| {
                table.contains(&format!(" {} ", volume.path.canonicalize().unwrap().display()))
            })
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(mounted(), ["downward", "memory", "secret"]);
    for name in ["disk", "memory"] {
        fs::create_dir(found[name].path.join("made")).unwrap();
    }
    volumes::tear_down(&pod).unwrap();
    assert!(!pod.exists(), "nothing was mounted any more");
    assert_eq!(fs::read(&kept).unwrap(), b"x");
}

#[tokio::test]
async fn several_sources_are_the_files_of_one_volume_in_memory() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let client = control_plane.client();
    let make = async |object: Value| {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        let path = format!("/api/v1/namespaces/default/{kind}s");
        let request = http::Request::post(path).body(serde_json::to_vec(&object).unwrap());
        client.request::<Value>(request.unwrap()).await.unwrap()
    };
    make(json!({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}})).await;
    make(json!({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "1", "l": "2"}}))
        .await;
    let account = json!({"kind": "ServiceAccount", "metadata": {"name": "default"}});
    make(account).await;
    let sources = json!([
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "c", "items": [{"key": "k", "path": "d/k", "mode": 0o400}]}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "d/hidden"}]}},
        {"secret": {"name": "none", "optional": true}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]);
    let container = json!({"name": "c", "image": "x"});
    let spec = json!({
        "serviceAccountName": "default", "nodeName": "n1", "containers": [container],
        "securityContext": {"fsGroup": 2000, "runAsUser": 1000},
        "volumes": [{"name": "p", "projected": {"sources": sources}}],
    });
    let made = make(json!({"kind": "Pod", "metadata": {"name": "web"}, "spec": spec})).await;
    let pod_dir = place.pod_dir().join("p");
    let pod: Pod = serde_json::from_value(made).unwrap();
    let found = set_up_pod(&client, &pod_dir, &pod).await;
    let read = |name: &str| fs::read_to_string(found["p"].path.join(name)).unwrap();
    assert_eq!(
        (read("d/k"), read("d/hidden"), read("namespace")),
        ("1".into(), "hidden".into(), "default".into())
    );
    assert_eq!(read("token").split('.').count(), 3);
    let token = found["p"].path.join("token");
    let metadata = token.metadata().unwrap();
    assert_eq!((mode(&token), metadata.uid(), metadata.gid()), (0o640, 1000, 2000));
    assert_eq!(mode(&found["p"].path.join("d/k")), 0o440);
    assert_eq!(mode(&found["p"].path.join("d/hidden")), 0o644);
    assert!(found["p"].read_only);
    assert_ne!(found["p"].path.metadata().unwrap().dev(), pod_dir.metadata().unwrap().dev());
}

/// A claim of the volume at this path, which is of the node `n1`.
async fn bound_claim(client: &Client, path: &Path) {
    let create = async |plural: &str, object: Value| {
        let request = http::Request::post(plural).header("content-type", "application/json");
        let body = serde_json::to_vec(&object).unwrap();
        client.request_text(request.body(body).unwrap()).await.unwrap()
    };
    create("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    create("/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "v",
        "resources": {"requests": {"storage": "1Gi"}},
    }});
    let made = create("/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let here = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
        "claimRef": {"namespace": "default", "name": "data", "uid": made["metadata"]["uid"]},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}},
    }});
    create("/api/v1/persistentvolumes", volume).await;
}

#[tokio::test]
async fn a_claims_volume_is_given_where_it_can_be_used_once_it_is_bound() {
    let (control_plane, place) = (ControlPlane::start().await, Place::new());
    let client = control_plane.client();
    let path = place.root.path().join("volumes/v");
    bound_claim(&client, &path).await;
    let on = |node: &str| {
        let claim = json!({"claimName": "data", "readOnly": true});
        pod(
            &json!({"nodeName": node, "containers": [], "volumes": [{"name": "d", "persistentVolumeClaim": claim}]}),
        )
    };
    let (node, pod_dir) = (Node::new(&client), place.pod_dir());
    let unbound = volumes::set_up(node.context(&on("n1"), &pod_dir)).await.unwrap_err();
    assert!(matches!(unbound.source, VolumeError::Unbound(_)), "{unbound:?}");
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims.patch_status("data", &PatchParams::default(), &patch).await.unwrap();
    let elsewhere = volumes::set_up(node.context(&on("n2"), &pod_dir)).await.unwrap_err();
    assert!(matches!(elsewhere.source, VolumeError::Elsewhere(_)), "{elsewhere:?}");
    assert!(!path.exists());
    let made = set_up_pod(&client, &pod_dir, &on("n1")).await;
    assert_eq!(made["d"], Prepared { path: path.clone(), read_only: true });
    fs::write(path.join("kept"), "x").unwrap();
    // Started again, it does not ask.
    claims.delete("data", &DeleteParams::default()).await.unwrap();
    assert_eq!(set_up_pod(&client, &pod_dir, &on("n1")).await, made);
    volumes::tear_down(&pod_dir).unwrap();
    assert_eq!(fs::read(path.join("kept")).unwrap(), b"x");
    // Another does not start on what is to go.
    let going = volumes::set_up(node.context(&on("n1"), &pod_dir)).await.unwrap_err();
    assert!(matches!(going.source, VolumeError::Going(_)), "{going:?}");
}
