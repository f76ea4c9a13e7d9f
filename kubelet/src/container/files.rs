//! `/etc/hosts` and `/etc/resolv.conf` of a pod. Pure.

use api_types::api::core::v1::Pod;

use crate::pod::spec;

/// The cluster's DNS, for pods with `dnsPolicy: ClusterFirst`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDns {
    /// Name servers; none: pods use the node's.
    pub servers: Vec<String>,
    /// The cluster's domain.
    pub domain: String,
}

/// `/etc/hosts` of a pod with a network of its own.
pub fn hosts(pod: &Pod, ip: &str) -> String {
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
    text.push_str(&format!("{ip}\t{hostname}\n"));
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

/// The lines of a `resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => resolver.servers.extend(words),
                Some("search") => resolver.searches = words.collect(),
                Some("options") => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }

    fn render(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// `/etc/resolv.conf` of a pod, from its `dnsPolicy`, its `dnsConfig` and the node's file.
pub fn resolv_conf(pod: &Pod, cluster: &ClusterDns, node: &str) -> String {
    let policy = spec::spec(pod).and_then(|spec| spec.dns_policy.as_deref());
    let cluster_first = match policy.unwrap_or("ClusterFirst") {
        "ClusterFirst" => !spec::host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = match policy {
        Some("None") => Resolver::default(),
        _ => Resolver::parse(node),
    };
    if cluster_first && !cluster.servers.is_empty() {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let domain = &cluster.domain;
        let mut searches =
            vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        searches.append(&mut resolver.searches);
        resolver = Resolver {
            servers: cluster.servers.clone(),
            searches,
            options: vec!["ndots:5".to_owned()],
        };
    }
    add_config(&mut resolver, pod);
    resolver.render()
}

fn add_config(resolver: &mut Resolver, pod: &Pod) {
    let Some(config) = spec::spec(pod).and_then(|spec| spec.dns_config.as_ref()) else { return };
    resolver.servers.extend(config.nameservers.iter().flatten().cloned());
    resolver.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        resolver.options.retain(|o| o != &name && !o.starts_with(&format!("{name}:")));
        resolver.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        let metadata = json!({"name": "web", "namespace": "shop"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn check_resolv(spec: &Value, expected: &str) {
        let cluster =
            ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() };
        let node = "# comment\nnameserver 192.0.2.1\nsearch example.org\n";
        assert_eq!(resolv_conf(&pod(spec), &cluster, node), expected);
    }

    #[test]
    fn cluster_first_asks_the_cluster() {
        check_resolv(
            &json!({"containers": []}),
            "search shop.svc.cluster.local svc.cluster.local cluster.local example.org\n\
             nameserver 10.96.0.10\noptions ndots:5\n",
        );
    }

    #[test]
    fn default_and_the_hosts_network_ask_the_nodes_server() {
        let node = "search example.org\nnameserver 192.0.2.1\n";
        check_resolv(&json!({"containers": [], "dnsPolicy": "Default"}), node);
        check_resolv(&json!({"containers": [], "hostNetwork": true}), node);
    }

    #[test]
    fn none_takes_only_the_pods_own_configuration() {
        let config =
            json!({"nameservers": ["192.0.2.9"], "options": [{"name": "ndots", "value": "2"}]});
        check_resolv(
            &json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config}),
            "nameserver 192.0.2.9\noptions ndots:2\n",
        );
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let aliases = json!([{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]);
        let text = hosts(&pod(&json!({"containers": [], "hostAliases": aliases})), "10.244.0.5");
        assert!(text.contains("10.244.0.5\tweb\n"), "{text}");
        assert!(text.ends_with("# Entries added by HostAliases.\n192.0.2.7\ta\tb\n"), "{text}");
    }
}
