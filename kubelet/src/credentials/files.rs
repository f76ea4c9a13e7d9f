//! What is kept on disk: a kubeconfig with the certificate in it, and the server's certificate with its key. Each is there
//! whole or not at all, and readable by its owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use certificates::Validity;
use kube::config::{Cluster, Kubeconfig};
use serde_json::json;

use super::issue::Issued;

/// A kubeconfig: where the API server is, with whose authority, and who one is there.
pub(super) fn kubeconfig(cluster: &Cluster, user: &str, issued: &Issued) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "default", "cluster": cluster }],
        "users": [{ "name": user, "user": {
            "client-certificate-data": STANDARD.encode(&issued.certificate),
            "client-key-data": STANDARD.encode(&issued.key),
        } }],
        "contexts": [{ "name": "default", "context": { "cluster": "default", "user": user } }],
        "current-context": "default",
    })
}

/// The cluster of a kubeconfig.
pub(super) fn cluster(path: &Path) -> anyhow::Result<Cluster> {
    let wrong = || anyhow::anyhow!("kubeconfig {} names no cluster", path.display());
    let kubeconfig = Kubeconfig::read_from(path)?;
    kubeconfig.clusters.into_iter().next().and_then(|it| it.cluster).ok_or_else(wrong)
}

/// The authority of a kubeconfig's cluster, if it is in it.
pub(super) fn authority(path: &Path) -> Option<String> {
    let data = cluster(path).ok()?.certificate_authority_data?;
    String::from_utf8(STANDARD.decode(data).ok()?).ok()
}

/// From when until when the certificate in a kubeconfig is good; `None` if it has none.
pub(super) fn validity(path: &Path) -> Option<Validity> {
    let kubeconfig = Kubeconfig::read_from(path).ok()?;
    let user = kubeconfig.auth_infos.into_iter().next()?.auth_info?;
    let certificate = STANDARD.decode(user.client_certificate_data?).ok()?;
    certificates::validity(std::str::from_utf8(&certificate).ok()?)
}

/// Writes a file in place of what is there.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
