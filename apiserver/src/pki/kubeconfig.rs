//! kubeconfig files: where the server is, whom to trust, and who one is.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{Certificate, PkiError};

const CLUSTER: &str = "minik8s";

/// A kubeconfig as YAML.
pub(super) fn render(
    server: &str,
    user: &str,
    ca: &str,
    certificate: &Certificate,
) -> Result<String, PkiError> {
    let context = format!("{user}@{CLUSTER}");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": CLUSTER, "cluster": {
            "server": server,
            "certificate-authority-data": BASE64.encode(ca),
        } }],
        "users": [{ "name": user, "user": {
            "client-certificate-data": BASE64.encode(&certificate.certificate),
            "client-key-data": BASE64.encode(&certificate.key),
        } }],
        "contexts": [{ "name": context, "context": { "cluster": CLUSTER, "user": user } }],
        "current-context": context,
    });
    Ok(serde_yaml::to_string(&config)?)
}

/// Whether a kubeconfig is for this server and trusts this CA.
pub(super) fn is_of(text: &str, server: &str, ca: &str) -> bool {
    let config: Value = serde_yaml::from_str(text).unwrap_or_default();
    let cluster = &config["clusters"][0]["cluster"];
    cluster["server"] == server && cluster["certificate-authority-data"] == BASE64.encode(ca)
}
