#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

use std::collections::BTreeSet;

use api_types::{
    api::networking::v1::{Ingress, IngressClass},
    minik8s::Dns,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Of either kind.
#[derive(Clone, Debug)]
enum Object {
    Dns(Dns),
    Ingress(Ingress),
}

impl Object {
    fn claim(&self) -> Claim<'_> {
        match self {
            Object::Dns(dns) => Claim::of_dns(dns),
            Object::Ingress(ingress) => Claim::of_ingress(ingress),
        }
    }
}

fn created(second: u8) -> String {
    format!("2026-01-01T00:00:{second:02}Z")
}

fn dns(namespace: &str, name: &str, second: u8, host: &str, paths: &[&str]) -> Object {
    let path = |path: &&str| json!({"path": path, "service": {"name": name, "port": 80}});
    let paths: Vec<_> = paths.iter().map(path).collect();
    let dns = json!({
        "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created(second)},
        "spec": {"host": host, "paths": paths},
    });
    Object::Dns(serde_json::from_value(dns).unwrap())
}

fn backend(name: &str) -> Value {
    json!({"service": {"name": name, "port": {"name": "http"}}})
}

/// Of each path: its type, and where it is.
fn rule(host: &str, paths: &[(&str, &str)], to: &str) -> Value {
    let path = |(type_, path): &(&str, &str)| json!({"path": path, "pathType": type_, "backend": backend(to)});
    let paths: Vec<_> = paths.iter().map(path).collect();
    json!({"host": host, "http": {"paths": paths}})
}

fn ingress(namespace: &str, name: &str, second: u8, spec: Value) -> Object {
    let metadata =
        json!({"namespace": namespace, "name": name, "creationTimestamp": created(second)});
    Object::Ingress(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
}

fn path_text(path: &Path<'_>) -> String {
    match path {
        Path::Exact(path) => format!("={path}"),
        Path::Prefix(path) => format!("{path}/"),
    }
}

/// As `host namespace prefix=holder …`.
fn told(objects: &[Object]) -> Vec<String> {
    let told = |(host, routes): (&str, HostRoutes<'_>)| {
        let path = |(path, route): (&Path<'_>, &Route<'_>)| {
            format!("{}={}", path_text(path), route.holder.name)
        };
        let mut words = vec![host.to_owned(), routes.namespace.unwrap_or("*").to_owned()];
        words.extend(routes.routes.iter().map(path));
        words.extend(routes.default.map(|route| format!("default={}", route.holder.name)));
        words.extend(routes.tls.map(|it| {
            it.map_or("tls".to_owned(), |it| format!("tls={}/{}", it.namespace, it.name))
        }));
        words.join(" ")
    };
    hosts(objects.iter().map(Object::claim)).into_iter().map(told).collect()
}

#[test]
fn objects_with_one_host_merge_by_path_and_the_older_one_keeps_its_own() {
    let older = dns("ns", "older", 1, "shop.test", &["/a/", "/b"]);
    let younger = dns("ns", "younger", 2, "shop.test", &["/a", "/a/c", "/"]);
    let all = [younger.clone(), older.clone()];
    assert_eq!(told(&all), ["shop.test ns /=younger /a/=older /a/c/=younger /b/=older"]);
    let hosts = hosts(all.iter().map(Object::claim));
    let (shop, of_older) = (&hosts["shop.test"], older.claim().holder);
    let of_younger = younger.claim().holder;
    assert_eq!(shop.taken(of_younger, Path::Prefix("/a")), Some(Taken::Path(of_older)));
    assert_eq!(shop.taken(of_younger, Path::Prefix("/a/c")), None);
    assert_eq!(shop.taken(of_older, Path::Prefix("/a")), None);
}

#[test]
fn a_host_is_that_of_the_namespace_that_named_it_first() {
    let first = dns("z", "x", 1, "shop.test", &["/a"]);
    let other =
        ingress("a", "x", 2, json!({"rules": [rule("shop.test", &[("Prefix", "/b")], "x")]}));
    let all = [first, other.clone()];
    assert_eq!(told(&all), ["shop.test z /a/=x"]);
    let hosts = hosts(all.iter().map(Object::claim));
    let taken = hosts["shop.test"].taken(other.claim().holder, Path::Prefix("/b"));
    assert_eq!(taken, Some(Taken::Host));
    assert_eq!(told(&[other]), ["shop.test a /b/=x"]);
}

/// Whoever may write Ingresses in a namespace of his own is not to be in the way of the cluster's names.
#[test]
fn an_older_ingress_takes_neither_host_nor_path_from_a_dns_object() {
    let rules = json!({"rules": [rule("shop.test", &[("Prefix", "/a"), ("Prefix", "/b")], "x")]});
    let theirs = dns("z", "x", 2, "shop.test", &["/a"]);
    let strangers = ingress("a", "i", 1, rules.clone());
    let all = [strangers.clone(), theirs.clone()];
    assert_eq!(told(&all), ["shop.test z /a/=x"]);
    let shared = hosts(all.iter().map(Object::claim));
    let taken = shared["shop.test"].taken(strangers.claim().holder, Path::Prefix("/a"));
    assert_eq!(taken, Some(Taken::Host));
    assert_eq!(told(&[ingress("z", "i", 1, rules), theirs]), ["shop.test z /a/=x /b/=i"]);
}

#[test]
fn of_objects_of_one_second_the_first_name_counts() {
    let all = [
        dns("b", "a", 1, "h", &["/"]),
        dns("a", "c", 1, "h", &["/"]),
        dns("a", "b", 1, "h", &["/"]),
    ];
    assert_eq!(told(&all), ["h a /=b"]);
}

#[test]
fn exact_paths_are_others_than_those_below_which_all_is_meant() {
    let paths = [("Exact", "/a"), ("Exact", "/a/"), ("Prefix", "/a/")];
    let spec = json!({"rules": [rule("h", &paths, "x"), rule("h", &[("ImplementationSpecific", "/b")], "x")]});
    assert_eq!(told(&[ingress("ns", "i", 1, spec)]), ["h ns =/a=i =/a/=i /a/=i /b/=i"]);
}

#[test]
fn a_rule_without_paths_names_its_host_all_the_same() {
    let spec = json!({"rules": [{"host": "h"}], "defaultBackend": backend("d")});
    let other = json!({"rules": [rule("h", &[("Prefix", "/")], "x")]});
    let all = [ingress("ns", "i", 1, spec), ingress("other", "x", 2, other)];
    assert_eq!(told(&all), [" * default=i", "h ns default=i"]);
}

/// Kubernetes: "If none of the hosts or paths match the HTTP request in the Ingress objects".
#[test]
fn what_no_path_is_for_goes_to_the_default_of_the_host_and_other_hosts_to_the_oldest_one() {
    let first = json!({"rules": [rule("a.test", &[("Prefix", "/x")], "s")], "defaultBackend": backend("d")});
    let second = json!({"defaultBackend": backend("e")});
    let third = json!({"rules": [rule("b.test", &[("Prefix", "/x")], "s"), rule("", &[("Prefix", "/y")], "s")]});
    let all = [
        ingress("ns", "first", 1, first),
        ingress("other", "second", 2, second),
        ingress("other", "third", 3, third),
    ];
    let expected = [
        " * /y/=third default=first",
        "a.test ns /x/=first default=first",
        "b.test other /x/=third",
    ];
    assert_eq!(told(&all), expected);
}

#[test]
fn a_host_has_the_certificate_that_the_oldest_ingress_with_paths_of_it_names() {
    let spec = |tls: Value| {
        let rules =
            ["a.test", "b.a.test", "c.test"].map(|host| rule(host, &[("Prefix", "/")], "s"));
        json!({"rules": rules, "tls": tls})
    };
    let tls = |hosts: &[&str], secret: &str| json!({"hosts": hosts, "secretName": secret});
    let some = spec(json!([tls(&["*.a.test"], "wild"), tls(&["c.test", "other.test"], "")]));
    let expected = ["a.test ns /=i", "b.a.test ns /=i tls=ns/wild", "c.test ns /=i tls"];
    assert_eq!(told(&[ingress("ns", "i", 2, some.clone())]), expected);
    let strangers = spec(json!([tls(&["a.test"], "theirs")]));
    assert_eq!(told(&[ingress("ns", "i", 2, some), ingress("x", "j", 3, strangers)]), expected);
    let all = spec(json!([{"secretName": "all"}]));
    assert!(told(&[ingress("ns", "i", 2, all)]).iter().all(|it| it.ends_with("tls=ns/all")));
}

#[test]
fn of_an_ingress_with_more_rules_than_are_served_the_first_ones_count() {
    let rules: Vec<_> = (0..=MAX_RULES).map(|i| rule(&format!("h{i}.test"), &[], "s")).collect();
    let many = ingress("ns", "i", 1, json!({"rules": rules}));
    let claim = many.claim();
    assert!(claim.hosts.len() == MAX_RULES && !claim.hosts.contains("h1000.test"));
}

#[test]
fn of_entries_for_tls_the_first_one_that_is_for_a_host_counts() {
    let rules = ["a.test", "b.test"].map(|host| rule(host, &[("Prefix", "/")], "s"));
    let tls = |hosts: &[&str], secret: &str| json!({"hosts": hosts, "secretName": secret});
    let entries = [tls(&["*.test"], "wild"), tls(&["a.test"], "a"), tls(&[], "all")];
    let told_with =
        |entries: &[Value]| told(&[ingress("ns", "i", 1, json!({"rules": rules, "tls": entries}))]);
    let expected = ["a.test ns /=i tls=ns/wild", "b.test ns /=i tls=ns/wild"];
    assert_eq!(told_with(&entries), expected);
    let expected = ["a.test ns /=i tls=ns/a", "b.test ns /=i tls=ns/all"];
    assert_eq!(told_with(&entries[1..]), expected);
}

#[test]
fn an_ingress_of_a_class_of_another_controller_is_not_the_routers() {
    let class = |controller: &str| -> IngressClass {
        serde_json::from_value(json!({"spec": {"controller": controller}})).unwrap()
    };
    assert!(is_served(&class("minik8s.io/router")));
    assert!(!is_served(&class("k8s.io/ingress-nginx")) && !is_served(&IngressClass::default()));
    let named = |json: Value| {
        let ingress: Ingress = serde_json::from_value(json).unwrap();
        class_of(&ingress).map(str::to_owned)
    };
    let annotations = json!({"annotations": {"kubernetes.io/ingress.class": "old"}});
    assert_eq!(named(json!({"spec": {}})), None);
    assert_eq!(named(json!({"metadata": annotations, "spec": {}})).as_deref(), Some("old"));
    let both = json!({"metadata": annotations, "spec": {"ingressClassName": "new"}});
    assert_eq!(named(both).as_deref(), Some("new"));
}

#[test]
fn the_router_is_told_from_a_service_of_somebodys_with_its_name() {
    let service = |labels: Value| -> Service {
        let metadata = json!({"namespace": ROUTER.0, "name": ROUTER.1, "labels": labels});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    };
    assert!(!is_router(&service(json!(null))));
    assert!(!is_router(&service(json!({"k8s-app": ROUTER.1}))));
    assert!(!is_router(&service(json!({MANAGED_BY.0: "Helm"}))));
    assert!(is_router(&service(json!({MANAGED_BY.0: MANAGED_BY.1}))));
}

fn any_dns() -> impl Strategy<Value = Object> {
    let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/b//"]);
    let paths = prop::collection::vec(path, 0..4);
    ("[xy]", "[a-f]", 0..3_u8, "[hg]", paths)
        .prop_map(|(namespace, name, at, host, paths)| dns(&namespace, &name, at, &host, &paths))
}

fn any_ingress() -> impl Strategy<Value = Object> {
    let type_ = prop::sample::select(vec!["Exact", "Prefix", "ImplementationSpecific"]);
    let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b"]);
    let paths = prop::collection::vec((type_, path), 0..3);
    let rules = prop::collection::vec(("[hg]?", paths), 0..3);
    let (default, tls) = (any::<bool>(), prop::option::of("[hg]?"));
    ("[xy]", "[a-f]", 0..3_u8, rules, default, tls).prop_map(
        |(namespace, name, at, rules, default, tls)| {
            let rules: Vec<_> = rules.iter().map(|(host, paths)| rule(host, paths, "s")).collect();
            let hosts = |host: String| json!({"hosts": [host], "secretName": "s"});
            let tls: Vec<_> = tls.into_iter().map(hosts).collect();
            let default = default.then(|| backend("d"));
            ingress(
                &namespace,
                &name,
                at,
                json!({"rules": rules, "tls": tls, "defaultBackend": default}),
            )
        },
    )
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![any_dns(), any_ingress()]
}

/// No two of one name and kind.
fn objects() -> impl Strategy<Value = Vec<Object>> {
    prop::collection::vec(object(), 0..8).prop_map(|objects| {
        let mut seen = BTreeSet::new();
        let is_new = |object: &Object| {
            let holder = object.claim().holder;
            seen.insert((holder.kind, holder.namespace.to_owned(), holder.name.to_owned()))
        };
        let mut objects = objects;
        objects.retain(is_new);
        objects
    })
}

/// What is held: host, path, and by whom.
fn held(objects: &[Object]) -> BTreeSet<(String, String, String)> {
    let all = hosts(objects.iter().map(Object::claim));
    let of_host = |(host, routes): (&str, HostRoutes<'_>)| {
        let default = routes.default.map(|route| ("default".to_owned(), route));
        let paths = routes.routes.iter().map(|(path, route)| (path_text(path), *route));
        let one = |(path, route): (String, Route<'_>)| {
            (host.to_owned(), path, format!("{:?}", route.holder))
        };
        paths.chain(default).map(one).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(of_host).collect()
}

proptest! {
    #[test]
    fn the_order_in_which_objects_come_does_not_matter(
        (objects, shuffled) in objects().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        prop_assert_eq!(told(&objects), told(&shuffled));
    }

    #[test]
    fn whoever_asks_holds_a_path_or_is_told_who_does(objects in objects()) {
        let hosts = hosts(objects.iter().map(Object::claim));
        for claim in objects.iter().map(Object::claim) {
            for (name, path, _) in &claim.paths {
                let host = &hosts[name];
                let route = host.routes.get(path);
                match host.taken(claim.holder, *path) {
                    None => prop_assert_eq!(route.unwrap().holder, claim.holder),
                    Some(Taken::Path(holder)) => prop_assert!(holder != claim.holder && route.unwrap().holder == holder),
                    Some(Taken::Host) => prop_assert_ne!(host.namespace, Some(claim.holder.namespace)),
                }
            }
        }
    }

    #[test]
    fn a_named_host_leads_into_one_namespace(objects in objects()) {
        for (name, host) in hosts(objects.iter().map(Object::claim)) {
            prop_assert_eq!(host.namespace.is_none(), name == ANY_HOST);
            let namespaces = host.routes.values().chain(&host.default).map(|route| route.holder.namespace);
            let secret = host.tls.flatten().map(|secret| secret.namespace);
            for namespace in namespaces.chain(secret) {
                prop_assert_eq!(host.namespace.unwrap_or(namespace), namespace);
            }
        }
    }

    #[test]
    fn a_younger_object_takes_nothing_but_a_dns_object_from_ingresses(
        objects in objects(), other in object()
    ) {
        let (mut objects, mut younger) = (objects, other);
        if matches!(younger, Object::Dns(_)) {
            objects.retain(|object| matches!(object, Object::Dns(_)));
        }
        let metadata = match &mut younger {
            Object::Dns(dns) => &mut dns.metadata,
            Object::Ingress(ingress) => &mut ingress.metadata,
        };
        metadata.name = Some("zz".to_owned());
        metadata.creation_timestamp = Some(serde_json::from_value(json!(created(9))).unwrap());
        let before = held(&objects);
        let mut all = objects;
        all.push(younger);
        prop_assert!(before.is_subset(&held(&all)));
    }
}
