//! Configuration data that is not for everyone.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{ByteString, api::core::v1::Secret};
use certificates::fault_of_pair;
use serde_json::json;

use super::config_map::{MAX_SIZE, stays_immutable};
use crate::{
    Exists, ResourceDef, Strategy, resource,
    rules::{self, text},
};

pub(crate) fn definition() -> ResourceDef {
    resource::<Secret, _>(SecretStrategy)
        .column("Type", "string", 0, |secret, _| json!(text(secret.type_.as_ref())))
        .column("Data", "string", 0, |secret, _| json!(secret.data.as_ref().map_or(0, |d| d.len())))
        .build()
}

const TLS: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// The keys that a Secret of a type must have. Of `basic-auth`'s one is enough.
const REQUIRED: [(&str, &[&str]); 4] = [
    (TLS, &[CERTIFICATE, KEY]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

struct SecretStrategy;

impl Strategy<Secret> for SecretStrategy {
    fn default(&self, secret: &mut Secret) {
        if text(secret.type_.as_ref()).is_empty() {
            secret.type_ = Some("Opaque".to_owned());
        }
        let Some(texts) = secret.string_data.take() else { return };
        let bytes = texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
        secret.data.get_or_insert_default().extend(bytes);
    }

    fn validate(&self, secret: &Secret, errors: &mut FieldErrors) {
        let path = FieldPath::new("data");
        for key in secret.data.iter().flat_map(|d| d.keys()) {
            rules::follows(key, names::config_map_key, &path.key(key), errors);
        }
        let size: usize = secret.data.iter().flatten().map(|(_, v)| v.0.len()).sum();
        if size > MAX_SIZE {
            errors.too_long(&path, MAX_SIZE);
        }
        let has = |key: &str| secret.data.as_ref().is_some_and(|d| d.contains_key(key));
        let type_ = text(secret.type_.as_ref());
        for (_, keys) in REQUIRED.iter().filter(|(t, _)| *t == type_) {
            for key in keys.iter().filter(|k| !has(k)) {
                errors.required(&path.key(key), "");
            }
        }
        if type_ == "kubernetes.io/basic-auth" && !has("username") && !has("password") {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
    }

    fn validate_update(&self, new: &Secret, old: &Secret, errors: &mut FieldErrors) {
        let shown = text(new.type_.as_ref());
        rules::immutable(&new.type_, &old.type_, shown, &FieldPath::new("type"), errors);
        let changed = [("data", new.data != old.data)];
        stays_immutable(old.immutable, new.immutable, &changed, errors);
    }

    fn warnings(&self, secret: &Secret, _: Option<&Secret>, _: &Exists<'_>) -> Vec<String> {
        if text(secret.type_.as_ref()) != TLS {
            return Vec::new();
        }
        let data = |key| secret.data.as_ref().and_then(|all| all.get(key));
        let bytes = |key| data(key).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
        fault_of_pair(bytes(CERTIFICATE), bytes(KEY)).into_iter().collect()
    }

    fn fields(&self, secret: &Secret) -> Vec<(&'static str, String)> {
        vec![("type", text(secret.type_.as_ref()).to_owned())]
    }
}
