//! Configuration data that is not for everyone.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{ByteString, api::core::v1::Secret};
use certificates::fault_of_pair;
use serde_json::{Value, json};

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

const ACCOUNT: &str = "kubernetes.io/service-account.name";
const TLS: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

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
        of_type(secret, errors);
    }

    /// What was taken before it was refused can be written anew, by another key of the store's encryption, too.
    fn lasting(&self, _: &Secret, old: &Secret) -> FieldErrors {
        self.faults(old)
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

/// What a Secret of its type must have (Kubernetes: `ValidateSecret`).
fn of_type(secret: &Secret, errors: &mut FieldErrors) {
    let value = |key: &str| Some(secret.data.as_ref()?.get(key)?.0.as_slice());
    let mut required = |key: &str| errors.required(&FieldPath::new("data").key(key), "");
    match text(secret.type_.as_ref()) {
        "kubernetes.io/service-account-token" => names_account(secret, errors),
        "kubernetes.io/dockercfg" => is_json(".dockercfg", value(".dockercfg"), errors),
        "kubernetes.io/dockerconfigjson" => {
            is_json(".dockerconfigjson", value(".dockerconfigjson"), errors);
        }
        "kubernetes.io/basic-auth" => {
            let keys = ["username", "password"];
            if keys.iter().all(|key| value(key).is_none()) {
                keys.into_iter().for_each(required);
            }
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            required("ssh-privatekey");
        }
        TLS => {
            let missing = [CERTIFICATE, KEY].into_iter().filter(|key| value(key).is_none());
            missing.for_each(required);
        }
        _ => {}
    }
}

fn names_account(secret: &Secret, errors: &mut FieldErrors) {
    let annotations = secret.metadata.annotations.as_ref();
    if text(annotations.and_then(|all| all.get(ACCOUNT))).is_empty() {
        let path = FieldPath::new("metadata").child("annotations");
        errors.required(&path.key(ACCOUNT), "");
    }
}

/// Of what is there, only that it is wrong is shown.
fn is_json(key: &str, value: Option<&[u8]>, errors: &mut FieldErrors) {
    let path = FieldPath::new("data").key(key);
    match value.map(json_fault) {
        None => errors.required(&path, ""),
        Some(Some(fault)) => errors.invalid(&path, "<secret contents redacted>", &fault),
        Some(None) => {}
    }
}

/// Why it is no object in JSON, as Go says it, but for where what character is wrong.
fn json_fault(json: &[u8]) -> Option<String> {
    let found = match serde_json::from_slice(json) {
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
        Err(error) if error.is_eof() => return Some("unexpected end of JSON input".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    Some(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
}
