//! What other API servers have to know to believe this one: the ConfigMap that they read, and the role that lets them
//! (Kubernetes: `pkg/controlplane/controller/clusterauthenticationtrust`). Several servers with authorities of their own are all in it.

use api_machinery::ApiError;
use http::Method;
use serde_json::{Value, json};

use crate::{
    config::Config,
    internal,
    pki::{FRONT_PROXY, FrontProxy},
    request_header::{RequestHeaderOptions, TRUST_MAP},
    service::InProcess,
};

const MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles";

/// Makes and completes both.
pub(super) async fn publish(api: &InProcess, config: &Config) -> Result<(), ApiError> {
    let Some(front_proxy) = &config.front_proxy else { return Ok(()) };
    let others = config.request_header.as_ref().map(|believed| &believed.options);
    internal::ensure(api, ROLES, &role()).await?;
    let path = format!("{MAPS}/{TRUST_MAP}");
    match internal::request(api, Method::GET, &path, &Value::Null).await {
        Err(error) if error.code() == 404 => {
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": TRUST_MAP },
                "data": data(&Value::Null, front_proxy, others),
            });
            internal::ensure(api, MAPS, &map).await
        }
        Err(error) => Err(error),
        Ok(mut map) => {
            let data = data(&map["data"], front_proxy, others);
            if map["data"] == data {
                return Ok(());
            }
            map["data"] = data;
            match internal::request(api, Method::PUT, &path, &map).await {
                // Another server was faster: the next look completes it.
                Err(error) if error.code() != 409 => Err(error),
                _ => Ok(()),
            }
        }
    }
}

fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {
            "name": "extension-apiserver-authentication-reader",
            "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
            "annotations": { "rbac.authorization.kubernetes.io/autoupdate": "true" },
        },
        "rules": [{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [TRUST_MAP],
            "verbs": ["get", "list", "watch"],
        }],
    })
}

/// What is to be there of this server and of the other front proxies that it believes, with what there is.
fn data(there: &Value, front_proxy: &FrontProxy, others: Option<&RequestHeaderOptions>) -> Value {
    let mut data = if there.is_object() { there.clone() } else { json!({}) };
    for (key, authorities) in [
        ("client-ca-file", Some(&front_proxy.client_authorities)),
        ("requestheader-client-ca-file", Some(&front_proxy.authority)),
        ("requestheader-client-ca-file", others.map(|others| &others.authorities)),
    ] {
        let Some(authorities) = authorities else { continue };
        data[key] = with(data[key].as_str().unwrap_or_default(), authorities).into();
    }
    for (key, own, others) in [
        ("requestheader-allowed-names", FRONT_PROXY, others.map(|it| &it.allowed_names)),
        ("requestheader-username-headers", "X-Remote-User", others.map(|it| &it.username_headers)),
        ("requestheader-uid-headers", "X-Remote-Uid", others.map(|it| &it.uid_headers)),
        ("requestheader-group-headers", "X-Remote-Group", others.map(|it| &it.group_headers)),
        (
            "requestheader-extra-headers-prefix",
            "X-Remote-Extra-",
            others.map(|it| &it.extra_header_prefixes),
        ),
    ] {
        let others = others.into_iter().flatten().map(String::as_str);
        let more = std::iter::once(own).chain(others);
        data[key] = together(data[key].as_str().unwrap_or_default(), more).into();
    }
    data
}

/// A list of names with more of them, each once. One that can't be read is nobody's.
fn together<'a>(list: &str, more: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = serde_json::from_str(list).unwrap_or_default();
    for name in more {
        if !names.iter().any(|there| there == name) {
            names.push(name.to_owned());
        }
    }
    json!(names).to_string()
}

/// A bundle with these certificates, each once.
fn with(bundle: &str, more: &str) -> String {
    let mut all = String::new();
    for certificate in certificates(bundle).chain(certificates(more)) {
        if !all.contains(certificate) {
            all += certificate;
            all += "\n";
        }
    }
    all
}

fn certificates(bundle: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = bundle.split_inclusive(END).map(str::trim);
    parts.filter(|part| part.ends_with(END) && part.starts_with("-----BEGIN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_of_all_servers_are_told_once() {
        let one = |text: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        let (a, b) = (one("a"), one("b"));
        assert_eq!(with("", &a), a);
        assert_eq!(with(&a, &a), a);
        assert_eq!(with(&a, &b), format!("{a}{b}"));
        assert_eq!(with(&format!("{a}{b}"), &a), format!("{a}{b}"));
    }

    #[test]
    fn the_names_of_all_servers_are_told_once() {
        let check = |list: &str, more: &[&str], expected: &str| {
            assert_eq!(together(list, more.iter().copied()), expected, "{list}");
        };
        check("", &["a"], r#"["a"]"#);
        check("[]", &["a", "b", "a"], r#"["a","b"]"#);
        check(r#"["b"]"#, &["a", "b"], r#"["b","a"]"#);
        check("of nobody", &["a"], r#"["a"]"#);
    }
}
