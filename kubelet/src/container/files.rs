//! `/etc/hosts` of a pod. Pure.

use api_types::api::core::v1::Pod;

use crate::spec;

/// `/etc/hosts` of a pod with a network of its own.
pub fn hosts(pod: &Pod, ips: &[&str], domain: &str) -> String {
    let full = spec::full_name(pod, domain).map(|name| name + "\t").unwrap_or_default();
    let hostname = spec::hostname(pod);
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        text.push_str(&format!("{ip}\t{full}{hostname}\n"));
    }
    let aliases = spec::spec(pod).and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        let metadata = json!({"name": "web", "namespace": "shop"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let aliases = json!([{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]);
        let text = hosts(
            &pod(&json!({"containers": [], "hostAliases": aliases})),
            &["10.244.0.5", "fd00::5"],
            "c.local",
        );
        assert!(text.contains("10.244.0.5\tweb\nfd00::5\tweb\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n192.0.2.7\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_pod_of_a_subdomain_has_its_full_name_too() {
        let mut spec = json!({"containers": [], "hostname": "first", "subdomain": "db"});
        let full = "first.db.shop.svc.c.local";
        let text = hosts(&pod(&spec), &["10.244.0.5"], "c.local");
        assert!(text.contains(&format!("10.244.0.5\t{full}\tfirst\n")), "{text}");
        assert_eq!(spec::kernel_hostname(&pod(&spec), "c.local").unwrap(), "first");
        spec["setHostnameAsFQDN"] = json!(true);
        assert_eq!(spec::kernel_hostname(&pod(&spec), "c.local").unwrap(), full);
        let error = spec::kernel_hostname(&pod(&spec), &"c".repeat(60)).unwrap_err();
        assert!(error.to_string().ends_with("(64 characters is the max, 78 characters requested)"));
    }
}
