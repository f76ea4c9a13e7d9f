//! Where a job's Slurm cluster is: what the job says, then its ConfigMap, then that of all jobs. Pure.

use std::collections::BTreeMap;

use api_machinery::login_node;
use api_types::api::core::v1::ConfigMap;
use api_types::minik8s::{GpuJob, GpuJobCluster};

pub(super) const CONFIG_NAMESPACE: &str = "kube-system";
const SSH_PORT: i32 = 22;

/// A login node with all that a server is told of it.
#[derive(Debug, PartialEq)]
pub(super) struct Cluster {
    pub(super) host: String,
    pub(super) port: i32,
    pub(super) host_key: Option<String>,
    pub(super) known_hosts: Option<String>,
    pub(super) directory: Option<String>,
}

/// What is wrong, and what to do.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Unknown {
    #[error("ConfigMap {0} does not exist")]
    NoConfigMap(String),
    #[error("{0}")]
    Key(String),
    #[error(
        "no host is named: make ConfigMap {CONFIG_NAMESPACE}/{name} with the keys host and hostKey (or knownHosts), or set \
         spec.cluster",
        name = GpuJob::CLUSTER_CONFIG_NAME
    )]
    NoHost,
    #[error(
        "the host key of {0} is not known: set hostKey or knownHosts where the host is named, as `ssh-keyscan {0}` prints it \
         and the administrators of {0} confirm it"
    )]
    NoHostKey(String),
}

/// The first that says something counts. What is said of a host is of no use for another.
pub(super) fn resolve(said: impl IntoIterator<Item = GpuJobCluster>) -> Result<Cluster, Unknown> {
    let mut all = GpuJobCluster::default();
    for more in said {
        if all.host.is_some() && more.host.is_some() && all.host != more.host {
            continue;
        }
        let has_key = all.host_key.is_some() || all.known_hosts.is_some();
        all.host = all.host.or(more.host);
        all.port = all.port.or(more.port);
        all.directory = all.directory.or(more.directory);
        if !has_key {
            (all.host_key, all.known_hosts) = (more.host_key, more.known_hosts);
        }
    }
    let host = all.host.ok_or(Unknown::NoHost)?;
    if all.host_key.is_none() && all.known_hosts.is_none() {
        return Err(Unknown::NoHostKey(host));
    }
    let GpuJobCluster { port, host_key, known_hosts, directory, .. } = all;
    Ok(Cluster { host, port: port.unwrap_or(SSH_PORT), host_key, known_hosts, directory })
}

/// What a ConfigMap says, by the rules of the fields of the same names. Who reads the job need not be one who may read the
/// ConfigMap: values are not told.
pub(super) fn of_config_map(name: &str, map: &ConfigMap) -> Result<GpuJobCluster, Unknown> {
    let none = BTreeMap::new();
    let data = map.data.as_ref().unwrap_or(&none);
    let get = |key: &str, fault: fn(&str) -> Option<&'static str>| {
        let value = data.get(key).map(|value| value.trim().to_owned());
        let value = value.filter(|value| !value.is_empty());
        match value.as_deref().and_then(fault) {
            Some(why) => Err(Unknown::Key(format!("ConfigMap {name}, key {key}: {why}"))),
            None => Ok(value),
        }
    };
    Ok(GpuJobCluster {
        config_map_ref: None,
        host: get("host", login_node::host)?,
        port: get("port", port)?.and_then(|text| text.parse().ok()),
        host_key: get("hostKey", login_node::host_key)?,
        known_hosts: get("knownHosts", login_node::known_hosts)?,
        directory: get("directory", directory)?,
    })
}

fn port(text: &str) -> Option<&'static str> {
    let port = text.parse::<u16>().unwrap_or_default();
    (port == 0).then_some("must be between 1 and 65535, inclusive")
}

fn directory(path: &str) -> Option<&'static str> {
    let is_plain = path.starts_with('/')
        && !path.split('/').any(|part| part == "..")
        && !path.contains(char::is_control);
    (!is_plain).then_some("must be an absolute path without '..'")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn map(data: Value) -> ConfigMap {
        serde_json::from_value(json!({"data": data})).unwrap()
    }

    #[test]
    fn what_is_said_first_counts_and_a_key_is_for_its_host() {
        let check = |said: &[Value], expected: Result<(&str, i32, &str), &str>| {
            let parsed = said.iter().map(|said| serde_json::from_value(said.clone()).unwrap());
            let found = resolve(parsed).map(|c| (c.host, c.port, c.host_key.unwrap_or_default()));
            let expected = expected.map(|(h, p, k)| (h.to_owned(), p, k.to_owned()));
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{said:?}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().starts_with(expected), "{error}");
                }
                (_, expected) => panic!("{found:?} and not {expected:?}"),
            }
        };
        let all = json!({"host": "a", "hostKey": "ka", "port": 2222});
        check(&[json!({}), all.clone()], Ok(("a", 2222, "ka")));
        check(&[json!({"host": "a", "port": 22}), all.clone()], Ok(("a", 22, "ka")));
        check(&[json!({"hostKey": "mine"}), all.clone()], Ok(("a", 2222, "mine")));
        check(&[json!({"host": "b", "hostKey": "kb"}), all.clone()], Ok(("b", 22, "kb")));
        check(&[json!({"host": "b"}), all], Err("the host key of b is not known"));
        check(&[json!({"directory": "/d"})], Err("no host is named"));
    }

    #[test]
    fn the_directory_of_one_host_is_not_that_of_another() {
        let directory = |said: [Value; 2]| {
            let said = said.map(|said| serde_json::from_value(said).unwrap());
            resolve(said).unwrap().directory
        };
        let all = json!({"host": "a", "hostKey": "ka", "directory": "/scratch"});
        assert_eq!(directory([json!({}), all.clone()]).as_deref(), Some("/scratch"));
        assert_eq!(directory([json!({"host": "a"}), all.clone()]).as_deref(), Some("/scratch"));
        assert_eq!(directory([json!({"host": "b", "hostKey": "kb"}), all]), None);
    }

    #[test]
    fn a_key_of_a_config_map_that_is_wrong_is_told() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ";
        let read = |data: Value| of_config_map("ns/c", &map(data));
        let known = format!("h {KEY}\n");
        let right =
            read(json!({"host": " h\n", "port": "2222", "knownHosts": known, "directory": "/d"}));
        let right = right.unwrap();
        assert_eq!((right.host.as_deref(), right.port), (Some("h"), Some(2222)));
        assert_eq!(right.directory.as_deref(), Some("/d"));
        for (key, value, expected) in [
            ("port", "0", "must be between 1 and 65535, inclusive"),
            ("port", "70000", "must be between 1 and 65535, inclusive"),
            ("directory", "/a/../b", "must be an absolute path without '..'"),
            ("host", "a b", "must be a DNS name or a valid IP address"),
            ("hostKey", "ka", "must be a fingerprint or a public key, (e.g. "),
            ("knownHosts", KEY, "must be lines of OpenSSH's known_hosts, (e.g. "),
        ] {
            let told = read(json!({key: value})).unwrap_err().to_string();
            let expected = format!("ConfigMap ns/c, key {key}: {expected}");
            assert!(told.starts_with(&expected), "{told}");
        }
    }
}
