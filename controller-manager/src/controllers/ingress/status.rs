//! Where Ingresses are served, and what of one leads nowhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_machinery::host_routes::{
    ANY_HOST, Claim, HOST_PORTS_ANNOTATION, Holder, Kind, MAX_PATH, MAX_RULES, Path, Port, Route,
    ServicePort, Taken, hosts, is_router,
};
use api_types::api::core::v1::{Node, Secret, Service};
use api_types::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use component::server_certificate::ServerCertificate;

/// What is amiss: a reason, and a message for people.
pub(super) type Problem = (&'static str, String);

/// Whether a path of it leads to this Service of its namespace.
pub(super) fn names_service(ingress: &Ingress, name: &str) -> bool {
    routes(&Claim::of_ingress(ingress))
        .any(|(_, route)| route.service.is_some_and(|service| service.name == name))
}

/// Whether a certificate of it is in this Secret of its namespace.
pub(super) fn names_secret(ingress: &Ingress, name: &str) -> bool {
    Claim::of_ingress(ingress).tls.iter().any(|(_, secret)| *secret == Some(name))
}

/// Those at which it is served: of ready nodes, if these do it at their own, and the router's otherwise.
pub(super) fn points<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    router: Option<&Service>,
) -> Vec<IngressLoadBalancerIngress> {
    let own: BTreeSet<_> = nodes.into_iter().flat_map(|node| addresses(Some(node))).collect();
    let router = router.filter(|router| own.is_empty() && is_router(router));
    let router = router.and_then(|router| router.spec.as_ref()?.cluster_ips.clone());
    let point = |ip| IngressLoadBalancerIngress { ip: Some(ip), ..Default::default() };
    own.into_iter().chain(router.unwrap_or_default()).map(point).collect()
}

/// Those that an Ingress says.
pub(super) fn written(ingress: &Ingress) -> Vec<IngressLoadBalancerIngress> {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default()
}

/// Those of a node at which Ingresses are served.
pub(super) fn addresses(node: Option<&Node>) -> Vec<String> {
    let Some(node) = node.filter(|node| serves(node) && is_ready(node)) else { return Vec::new() };
    let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let own = all.filter(|it| it.type_ == "InternalIP").map(|it| it.address.clone());
    own.collect()
}

fn serves(node: &Node) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(HOST_PORTS_ANNOTATION))
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}

/// `sharing`: of all objects with a host of it. `service`, `secret`: those of the namespace, by name.
pub(super) fn problems<'a>(
    ingress: &'a Ingress,
    sharing: impl IntoIterator<Item = Claim<'a>>,
    service: impl Fn(&str) -> Option<Arc<Service>>,
    secret: impl Fn(&str) -> Option<Arc<Secret>>,
) -> Vec<Problem> {
    let claim = Claim::of_ingress(ingress);
    let mut all = taken(&claim, sharing);
    let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_ref()).map_or(0, Vec::len);
    if rules > MAX_RULES {
        let told = format!("of {rules} rules the first {MAX_RULES} are served");
        all.push(("TooManyRules", told));
    }
    all.extend(claim.paths.iter().filter_map(|(host, path, _)| unserved(host, *path)));
    all.extend(routes(&claim).filter_map(|(what, route)| unresolved(&what, route, &service)));
    let secrets: BTreeSet<_> = claim.tls.iter().filter_map(|(_, name)| *name).collect();
    all.extend(secrets.into_iter().filter_map(|name| unusable(name, secret(name))));
    // The same for several paths.
    all.dedup();
    all
}

/// Each way with what is said of it.
fn routes<'c, 'a>(claim: &'c Claim<'a>) -> impl Iterator<Item = (String, Route<'a>)> + 'c {
    let paths = claim.paths.iter().map(|(host, path, route)| (shown(host, *path), *route));
    paths.chain(claim.default.map(|route| ("default backend".to_owned(), route)))
}

fn shown(host: &str, path: Path<'_>) -> String {
    let path = match path {
        Path::Exact(path) => path.to_owned(),
        Path::Prefix(path) => format!("{path}/"),
    };
    format!("path \"{host}{path}\"")
}

fn taken<'a>(claim: &Claim<'a>, sharing: impl IntoIterator<Item = Claim<'a>>) -> Vec<Problem> {
    let hosts = hosts(sharing);
    let taken = claim.paths.iter().filter_map(|(name, path, _)| {
        Some(match hosts.get(name)?.taken(claim.holder, *path)? {
            Taken::Host => {
                let others = format!(
                    "host {name:?} belongs to an older object, or to a DNS object, of another namespace"
                );
                ("HostConflict", others)
            }
            Taken::Path(Holder { namespace, name: other, kind }) => {
                let which = shown(if *name == ANY_HOST { "*" } else { name }, *path);
                let older = if kind == Kind::Ingress { "older " } else { "" };
                let whose = format!("{older}{kind} {namespace}/{other}");
                ("PathConflict", format!("{which} is that of the {whose}"))
            }
        })
    });
    taken.collect()
}

/// Why a path can't be in a server's configuration.
fn unserved(host: &str, path: Path<'_>) -> Option<Problem> {
    let (Path::Exact(text) | Path::Prefix(text)) = path;
    let why = if text.contains(char::is_control) {
        "control characters"
    } else if text.len() > MAX_PATH {
        "more than 255 bytes"
    } else {
        return None;
    };
    let shown = shown(host, path);
    let start: String = shown.chars().filter(|c| !c.is_control()).take(80).collect();
    Some(("UnsupportedPath", format!("{start}: a path with {why} is not served")))
}

/// Why a way leads nowhere.
fn unresolved(
    what: &str,
    route: Route<'_>,
    service: impl Fn(&str) -> Option<Arc<Service>>,
) -> Option<Problem> {
    let Some(ServicePort { name, port }) = route.service else {
        let other = format!("{what}: only backends that are services are served");
        return Some(("UnsupportedBackend", other));
    };
    let found = service(name);
    let Some(spec) = found.as_ref().and_then(|service| service.spec.as_ref()) else {
        return Some(("ServiceNotFound", format!("{what}: service {name:?} not found")));
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        let external = format!("{what}: service {name:?} is an external name, without endpoints");
        return Some(("UnsupportedService", external));
    }
    let has_port = spec.ports.iter().flatten().any(|given| {
        let is_tcp = given.protocol.as_deref().is_none_or(|it| it == "TCP");
        is_tcp
            && match port {
                Port::Number(number) => given.port == number,
                Port::Name(name) => given.name.as_deref() == Some(name),
            }
    });
    let shown = match port {
        Port::Number(number) => number.to_string(),
        Port::Name(name) => format!("{name:?}"),
    };
    let none = || format!("{what}: service {name:?} has no TCP port {shown}");
    (!has_port).then(|| ("PortNotFound", none()))
}

/// Why clients see a certificate that nobody vouches for.
fn unusable(name: &str, secret: Option<Arc<Secret>>) -> Option<Problem> {
    let instead = "clients are shown a certificate that the node has made";
    let Some(secret) = secret else {
        let missing = format!("no secret {name:?} of type kubernetes.io/tls: {instead}");
        return Some(("SecretNotFound", missing));
    };
    let why = ServerCertificate::of(&secret).err()?;
    Some(("InvalidCertificate", format!("secret {name:?}: {why}: {instead}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

    use serde_json::{Value, json};

    use super::*;

    fn typed<K: serde::de::DeserializeOwned>(object: Value) -> K {
        serde_json::from_value(object).unwrap()
    }

    fn backend(name: &str, port: Value) -> Value {
        json!({"service": {"name": name, "port": port}})
    }

    fn ingress(name: &str, second: u8, spec: Value) -> Ingress {
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let metadata = json!({"namespace": "ns", "name": name, "creationTimestamp": created});
        typed(json!({"metadata": metadata, "spec": spec}))
    }

    fn rule(paths: &[(&str, Value)]) -> Value {
        let path = |(path, backend): &(&str, Value)| json!({"path": path, "pathType": "Prefix", "backend": backend});
        let paths: Vec<_> = paths.iter().map(path).collect();
        json!({"host": "shop.test", "http": {"paths": paths}})
    }

    fn told(ingress: &Ingress, sharing: &[&Ingress]) -> Vec<String> {
        let service = |name: &str| {
            let spec = match name {
                "web" => {
                    json!({"ports": [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}]})
                }
                "far" => json!({"type": "ExternalName", "ports": [{"port": 80}]}),
                _ => return None,
            };
            Some(Arc::new(typed(json!({"spec": spec}))))
        };
        let secret = |name: &str| (name == "empty").then(|| Arc::new(Secret::default()));
        let claims = sharing.iter().map(|it| Claim::of_ingress(it));
        let problems = problems(ingress, claims, service, secret);
        problems.into_iter().map(|(reason, message)| format!("{reason} {message}")).collect()
    }

    #[test]
    fn each_path_that_leads_nowhere_is_told_of_and_the_others_are_not() {
        let number = |number: i32| json!({"number": number});
        let paths = [
            ("/a", backend("web", number(81))),
            ("/b", backend("none", number(80))),
            ("/c", backend("far", number(80))),
            ("/d", backend("web", number(53))),
            ("/e", backend("web", json!({"name": "https"}))),
            ("/f", json!({"resource": {"kind": "K", "name": "n"}})),
            ("/g", backend("web", number(80))),
            ("/h", backend("web", json!({"name": "http"}))),
        ];
        let spec = json!({"rules": [rule(&paths)], "defaultBackend": backend("gone", number(1))});
        let of = ingress("a", 1, spec);
        let expected = [
            "PortNotFound path \"shop.test/a/\": service \"web\" has no TCP port 81",
            "ServiceNotFound path \"shop.test/b/\": service \"none\" not found",
            "UnsupportedService path \"shop.test/c/\": service \"far\" is an external name, without endpoints",
            "PortNotFound path \"shop.test/d/\": service \"web\" has no TCP port 53",
            "PortNotFound path \"shop.test/e/\": service \"web\" has no TCP port \"https\"",
            "UnsupportedBackend path \"shop.test/f/\": only backends that are services are served",
            "ServiceNotFound default backend: service \"gone\" not found",
        ];
        assert_eq!(told(&of, &[&of]), expected);
    }

    #[test]
    fn the_younger_ingress_is_told_who_has_its_path_and_whoever_is_elsewhere_who_has_its_host() {
        let spec = json!({"rules": [rule(&[("/", backend("web", json!({"number": 80})))])]});
        let older = ingress("older", 1, spec.clone());
        let mut younger = ingress("younger", 2, spec);
        assert_eq!(told(&older, &[&older, &younger]), [] as [&str; 0]);
        let path = "PathConflict path \"shop.test/\" is that of the older Ingress ns/older";
        assert_eq!(told(&younger, &[&older, &younger]), [path]);
        younger.metadata.namespace = Some("other".to_owned());
        let host = "HostConflict host \"shop.test\" belongs to an older object, or to a DNS object, of another namespace";
        assert_eq!(told(&younger, &[&older, &younger]), [host]);
    }

    #[test]
    fn paths_that_no_server_is_told_of_are_told_of() {
        let web = || backend("web", json!({"number": 80}));
        let long = format!("/{}", "b".repeat(255));
        let rules = json!([rule(&[("/a\n", web()), (long.as_str(), web())])]);
        let of = ingress("a", 1, json!({"rules": rules}));
        let told = told(&of, &[&of]);
        assert_eq!(told.len(), 2, "{told:?}");
        let ends = ["control characters is not served", "more than 255 bytes is not served"];
        assert!(told.iter().zip(ends).all(|(told, end)| told.ends_with(end)), "{told:?}");
        assert!(told[0].starts_with("UnsupportedPath ") && !told[0].contains('\n'), "{told:?}");
    }

    #[test]
    fn rules_beyond_those_that_are_served_are_told_of() {
        let rules: Vec<_> = (0..=MAX_RULES).map(|i| json!({"host": format!("h{i}")})).collect();
        let of = ingress("a", 1, json!({"rules": rules}));
        let expected = ["TooManyRules of 1001 rules the first 1000 are served"];
        assert_eq!(told(&of, &[&of]), expected);
    }

    #[test]
    fn certificates_that_are_missing_or_bad_are_told_of() {
        let tls = json!([{"secretName": "none"}, {"secretName": "empty"}, {"hosts": ["a"]}, {"secretName": "none"}]);
        let spec = json!({"tls": tls, "defaultBackend": backend("web", json!({"number": 80}))});
        let of = ingress("a", 1, spec);
        let instead = "clients are shown a certificate that the node has made";
        let expected = [
            format!("InvalidCertificate secret \"empty\": tls.crt is missing: {instead}"),
            format!("SecretNotFound no secret \"none\" of type kubernetes.io/tls: {instead}"),
        ];
        assert_eq!(told(&of, &[&of]), expected);
    }

    #[test]
    fn it_is_served_by_ready_nodes_that_say_so_or_else_at_the_routers_addresses() {
        let node = |says: bool, ready: &str, ip: &str| -> Node {
            let annotations = if says { json!({HOST_PORTS_ANNOTATION: "true"}) } else { json!({}) };
            typed(json!({
                "metadata": {"annotations": annotations},
                "status": {
                    "conditions": [{"type": "Ready", "status": ready}],
                    "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": ip}],
                },
            }))
        };
        let router: Service = typed(json!({
            "metadata": {"namespace": "kube-system", "name": "dns-router",
                "labels": {"app.kubernetes.io/managed-by": "minik8s"}},
            "spec": {"clusterIPs": ["10.96.0.7", "fd00::7"]},
        }));
        let ips = |nodes: &[Node], router: Option<&Service>| {
            let points = points(nodes, router);
            points.into_iter().filter_map(|it| it.ip).collect::<Vec<_>>()
        };
        let nodes = [
            node(true, "True", "10.0.0.2"),
            node(true, "False", "10.0.0.3"),
            node(false, "True", "10.0.0.4"),
            node(true, "True", "10.0.0.1"),
        ];
        assert_eq!(ips(&nodes, Some(&router)), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(&nodes[1..3], Some(&router)), ["10.96.0.7", "fd00::7"]);
        assert_eq!(ips(&nodes[1..3], None), [] as [&str; 0]);
        let somebodys = Service { metadata: Default::default(), ..router };
        assert_eq!(ips(&[], Some(&somebodys)), [] as [&str; 0]);
    }
}
