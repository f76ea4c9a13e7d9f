//! A store of which a part is encrypted: the API shows it as it is, the store doesn't.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use apiserver::{ApiServer, Config, Encrypted};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use store::{Entry, Event, Revision, Store};
use tempfile::TempDir;

use crate::harness::{Api, CONFIG_MAPS, embedded, version};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const KEY: &str = "/registry/core/secrets/default/s";

/// A file with a configuration.
struct File {
    directory: TempDir,
}

impl File {
    /// Secrets are encrypted with the first of these keys, and all read.
    fn with(keys: &[(&str, u8)]) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        this.write(&configuration(keys));
        this
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("encryption.yaml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }
}

fn configuration(keys: &[(&str, u8)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(name, byte)| json!({"name": name, "secret": STANDARD.encode([*byte; 32])}))
        .collect();
    let providers = json!([{"secretbox": {"keys": keys}}, {"identity": {}}]);
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    })
    .to_string()
}

async fn serve(store: Arc<dyn Store>, file: &File) -> (Arc<Encrypted>, ApiServer) {
    let encrypted = Arc::new(Encrypted::open(store, &file.path()).await.unwrap());
    let server = ApiServer::start(Config::default(), encrypted.clone(), None).await.unwrap();
    (encrypted, server)
}

fn secret() -> Value {
    json!({"metadata": {"name": "s"}, "stringData": {"password": "correct horse"}})
}

async fn raw(store: &dyn Store, key: &str) -> String {
    String::from_utf8_lossy(&store.get(key).await.unwrap().unwrap().value).into_owned()
}

/// Whether a file has these bytes anywhere.
fn has(file: &Path, text: &str) -> bool {
    fs::read(file).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

#[tokio::test]
async fn secrets_are_read_in_plain_and_stored_encrypted() {
    let (directory, store) = embedded();
    let file = File::with(&[("one", 1)]);
    let (_, server) = serve(store.clone(), &file).await;
    let api = Api::start().await.with_server(server);
    let mut events = api.watch(&format!("{SECRETS}?watch=true")).await;
    let made = api.post(SECRETS, &secret()).await.ok();
    let stored = raw(&*store, KEY).await;
    assert!(stored.starts_with("k8s:enc:secretbox:v1:one:"), "{stored}");
    assert_eq!(api.get(&format!("{SECRETS}/s")).await.ok(), made);
    assert_eq!(events.next().await.unwrap()["object"], made);
    assert_eq!(api.get(SECRETS).await.ok()["items"][0]["data"], made["data"]);
    // Others are as they were.
    api.config_map("m", json!({})).await;
    assert!(raw(&*store, "/registry/core/configmaps/default/m").await.starts_with('{'));
    api.get(&format!("{CONFIG_MAPS}/m")).await.ok();
    let patched = json!({"data": {"password": null, "other": STANDARD.encode("battery")}});
    api.patch(&format!("{SECRETS}/s"), "merge-patch", &patched).await.ok();
    api.delete(&format!("{SECRETS}/s")).await.ok();
    // Nor does the store's file, with its log of what was there before.
    let file = directory.path().join("store.redb");
    assert!(has(&file, "/registry/core/secrets/default/s") && has(&file, "k8s:enc:secretbox"));
    for plain in ["password", &STANDARD.encode("correct horse"), &STANDARD.encode("battery")] {
        assert!(!has(&file, plain), "{plain} is in the store");
    }
}

#[tokio::test]
async fn a_new_key_writes_and_the_old_one_reads_until_all_is_written_anew() {
    let (_directory, store) = embedded();
    // Stored before anything was encrypted.
    let plain = ApiServer::start(Config::default(), store.clone(), None).await.unwrap();
    let api = Api::start().await.with_server(plain);
    api.post(SECRETS, &secret()).await.ok();
    assert!(raw(&*store, KEY).await.starts_with('{'));
    api.server.stop().await;
    let file = File::with(&[("one", 1)]);
    let (encrypted, server) = serve(store.clone(), &file).await;
    let api = api.with_server(server);
    let object = api.get(&format!("{SECRETS}/s")).await.ok();
    assert_eq!(object["data"]["password"], STANDARD.encode("correct horse"));
    // Nothing of it changes but how it is stored.
    let first = api.put(&format!("{SECRETS}/s"), &object).await.ok();
    assert!(raw(&*store, KEY).await.starts_with("k8s:enc:secretbox:v1:one:"));
    let again = api.put(&format!("{SECRETS}/s"), &first).await.ok();
    assert_eq!(version(&first), version(&again), "it is stored so already");
    file.write(&configuration(&[("two", 2), ("one", 1)]));
    assert!(encrypted.look().await.unwrap() && !encrypted.look().await.unwrap());
    let object = api.get(&format!("{SECRETS}/s")).await.ok();
    api.put(&format!("{SECRETS}/s"), &object).await.ok();
    assert!(raw(&*store, KEY).await.starts_with("k8s:enc:secretbox:v1:two:"));
    // What is of no use changes nothing.
    file.write("apiVersion: v1");
    encrypted.look().await.unwrap_err();
    api.get(&format!("{SECRETS}/s")).await.ok();
}

#[tokio::test]
async fn without_its_key_a_secret_is_what_can_not_be_read() {
    let (_directory, store) = embedded();
    let file = File::with(&[("one", 1)]);
    let (_, server) = serve(store.clone(), &file).await;
    let api = Api::start().await.with_server(server);
    api.post(SECRETS, &secret()).await.ok();
    api.server.stop().await;
    let mut api = api;
    for (keys, told) in [
        (&[("one", 9)], "cipher: message authentication failed"),
        (&[("two", 1)], "no matching key was found for the provided Secretbox transformer"),
    ] {
        let other = File::with(keys);
        let (_, server) = serve(store.clone(), &other).await;
        api = api.with_server(server);
        for path in [SECRETS.to_owned(), format!("{SECRETS}/s")] {
            let message = api.get(&path).await.fails(500, "StoreReadError");
            assert!(message.contains(told) && !message.contains("k8s:enc"), "{message}");
        }
        api.server.stop().await;
    }
    // Nothing of it is taken for an object by who does not know that it is encrypted.
    let plain = ApiServer::start(Config::default(), store.clone(), None).await.unwrap();
    let api = api.with_server(plain);
    let message = api.get(&format!("{SECRETS}/s")).await.fails(500, "StoreReadError");
    assert!(message.contains("identity transformer tried to read encrypted data"), "{message}");
    api.config_map("m", json!({})).await;
}

#[tokio::test]
async fn a_key_that_comes_later_opens_what_could_not_be_read() {
    let (_directory, store) = embedded();
    let file = File::with(&[("one", 1)]);
    let (_, server) = serve(store.clone(), &file).await;
    let api = Api::start().await.with_server(server);
    api.post(SECRETS, &secret()).await.ok();
    api.server.stop().await;
    file.write(&configuration(&[("two", 2)]));
    let (encrypted, server) = serve(store.clone(), &file).await;
    let api = api.with_server(server);
    api.get(SECRETS).await.fails(500, "StoreReadError");
    file.write(&configuration(&[("two", 2), ("one", 1)]));
    assert!(encrypted.look().await.unwrap());
    api.get(&format!("{SECRETS}/s")).await.ok();
    for query in ["", "?limit=1", "?resourceVersion=0"] {
        let list = api.get(&format!("{SECRETS}{query}")).await.ok();
        assert_eq!(list["items"][0]["data"]["password"], STANDARD.encode("correct horse"));
    }
}

#[tokio::test]
async fn a_change_is_remembered_as_it_was_before_it_was_encrypted() {
    let (_directory, store) = embedded();
    let file = File::with(&[("one", 1)]);
    let encrypted = Encrypted::open(store, &file.path()).await.unwrap();
    let written = encrypted.put(KEY, "{}".into(), None).await.unwrap();
    let put = |value: &'static str, revision: u64| {
        Event::Put(Entry { key: KEY.into(), value: value.into(), revision: Revision(revision) })
    };
    for (change, is_remembered) in [
        (put("{}", written.0), true),
        (put("[]", written.0), false),
        (put("{}", written.0 + 1), false),
        (Event::Delete { key: KEY.into(), revision: written }, false),
    ] {
        assert_eq!(encrypted.remembers(&change).await, Ok(is_remembered), "{change:?}");
    }
}
