//! What a running server and the repository say.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Request};
use kube::{
    Client, Config,
    client::Body,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testkit::Apiserver;

const PROGRAM: &str = env!("CARGO_BIN_EXE_apiserver");

pub(super) struct Facts {
    /// Of a file below the server's folder: its mode, and whether it is the server's own.
    pub(super) files: BTreeMap<PathBuf, (u32, bool)>,
    pub(super) codes: BTreeMap<&'static str, u16>,
    flags: String,
    stored: Vec<u8>,
}

impl Facts {
    pub(super) async fn gather() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Apiserver::spawn_with(PROGRAM, None, &hardening(folder.path())).await;
        let codes = codes(&server).await;
        let home = server.kubeconfig().parent().unwrap().to_owned();
        let mut files = BTreeMap::new();
        collect(&home, &home, &mut files);
        collect(folder.path(), folder.path(), &mut files);
        let output = Command::new(PROGRAM).arg("--help").output().unwrap();
        Self {
            files,
            codes,
            flags: String::from_utf8(output.stdout).unwrap(),
            stored: fs::read(home.join("data/store.redb")).unwrap(),
        }
    }

    /// Whether the files of such names are there, the server's own, and no more open than this.
    pub(super) fn is_closed(&self, end: &str, most: u32) -> bool {
        let mut found = self.files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(end));
        let is_closed = |(mode, is_own): &(u32, bool)| *is_own && mode & !most == 0;
        found.clone().next().is_some() && found.all(|(_, file)| is_closed(file))
    }

    /// Whether something is answered so.
    pub(super) fn answers(&self, what: &str, code: u16) -> bool {
        self.codes[what] == code
    }

    pub(super) fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains(&format!("--{flag} ")) || self.flags.contains(&format!("--{flag}\n"))
    }

    /// Whether nothing of the Secret is in the store as it was given.
    pub(super) fn has_no_plain_secret(&self) -> bool {
        let has = |text: &str| self.stored.windows(text.len()).any(|it| it == text.as_bytes());
        has("k8s:enc:secretbox") && !has(&STANDARD.encode("correct horse"))
    }
}

/// Whether a file of the repository says something.
pub(super) fn says(file: &str, text: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(file)).unwrap().contains(text)
}

fn hardening(folder: &Path) -> Vec<String> {
    let key = STANDARD.encode([7; 32]);
    let encryption = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [
            {"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}},
        ]}],
    });
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
    });
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("encryption.yaml"), encryption.to_string()).unwrap();
    fs::write(at("policy.yaml"), policy.to_string()).unwrap();
    vec![
        format!("--encryption-provider-config={}", at("encryption.yaml")),
        format!("--audit-policy-file={}", at("policy.yaml")),
        format!("--audit-log-path={}", at("audit.log")),
        "--enable-admission-plugins=DenyServiceExternalIPs".to_owned(),
    ]
}

async fn codes(server: &Apiserver) -> BTreeMap<&'static str, u16> {
    let admin = server.client().await;
    let nobody = client(server, |_| AuthInfo::default()).await;
    let bob = client(server, |server| signed(server, "bob", "people")).await;
    let node = client(server, |server| signed(server, "system:node:n1", "system:nodes")).await;
    let named = |name: &str| json!({"metadata": {"name": name}});
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "correct horse"}});
    let exposed = json!({"metadata": {"name": "e"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["10.0.0.9"]}});
    let secrets = "/api/v1/namespaces/default/secrets";
    let asked = [
        ("admin: a node", &admin, Method::POST, "/api/v1/nodes", named("n2")),
        ("admin: a secret", &admin, Method::POST, secrets, secret),
        ("nobody: health", &nobody, Method::GET, "/livez", Value::Null),
        ("nobody: pods", &nobody, Method::GET, "/api/v1/pods", Value::Null),
        ("nobody: groups", &nobody, Method::GET, "/apis", Value::Null),
        ("bob: pods", &bob, Method::GET, "/api/v1/pods", Value::Null),
        ("node: a secret", &node, Method::GET, "/api/v1/namespaces/default/secrets/s", Value::Null),
        ("node: itself", &node, Method::POST, "/api/v1/nodes", named("n1")),
        (
            "node: another",
            &node,
            Method::PATCH,
            "/api/v1/nodes/n2",
            json!({"metadata": {"labels": {"a": "b"}}}),
        ),
        (
            "admin: a namespace that is not",
            &admin,
            Method::POST,
            "/api/v1/namespaces/none/configmaps",
            named("m"),
        ),
        (
            "admin: an external IP",
            &admin,
            Method::POST,
            "/api/v1/namespaces/default/services",
            exposed,
        ),
        ("admin: a profile", &admin, Method::GET, "/debug/pprof/profile", Value::Null),
    ];
    let mut codes = BTreeMap::new();
    for (what, client, method, path, body) in asked {
        codes.insert(what, code(client, method, path, &body).await);
    }
    codes
}

async fn code(client: &Client, method: Method, path: &str, body: &Value) -> u16 {
    let type_ = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = Request::builder().method(method).uri(path).header("content-type", type_);
    let body =
        if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
    client.send(request.body(body).unwrap()).await.unwrap().status().as_u16()
}

/// A client of the server who is somebody else than the administrator.
async fn client(server: &Apiserver, who: impl Fn(&Apiserver) -> AuthInfo) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    kubeconfig.auth_infos[0].auth_info = Some(who(server));
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Somebody whose certificate the server's authority has signed.
fn signed(server: &Apiserver, user: &str, group: &str) -> AuthInfo {
    let home = server.kubeconfig().parent().unwrap().to_owned();
    let output = home.join(format!("{group}.conf"));
    let made = Command::new(PROGRAM)
        .args(["kubeconfig", "--server", "https://unused", "--user", user, "--group", group])
        .arg("--data-dir")
        .arg(home.join("data"))
        .arg("--output")
        .arg(&output)
        .status();
    assert!(made.unwrap().success());
    Kubeconfig::read_from(&output).unwrap().auth_infos.remove(0).auth_info.unwrap()
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<PathBuf, (u32, bool)>) {
    let own = fs::metadata("/proc/self").unwrap().uid();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let known = fs::metadata(&path).unwrap();
        let file = (known.mode() & 0o777, known.uid() == own);
        files.insert(path.strip_prefix(root).unwrap().to_owned(), file);
        if known.is_dir() {
            collect(root, &path, files);
        }
    }
}
