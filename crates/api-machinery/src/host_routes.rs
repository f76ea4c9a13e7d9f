//! How DNS objects share hosts: a function from all of them, for who tells of it (the controller) and who serves it
//! (kube-proxy) alike.
//!
//! Guarantees: it does not matter in which order the objects come; each path of a host is one object's; what an object
//! holds is taken from it by no younger one; a host is served for one namespace alone, so that nobody can put a path
//! under a host of others.
//!
//! Assumption: an object's host stays what it was created with, as the registry has it. An old object would take a host
//! from younger ones otherwise.

use std::collections::{BTreeMap, btree_map::Entry};

use api_types::{
    api::core::v1::Service,
    meta::{ObjectMeta, Time},
    minik8s::{Dns, DnsService},
};

/// What leads where below one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRoutes<'a> {
    /// Whose host it is: the namespace of the oldest object that names it.
    pub namespace: &'a str,
    /// By the prefix of the path, as [`prefix`] gives it; the longest counts.
    pub routes: BTreeMap<&'a str, Route<'a>>,
}

/// Where the requests below a path go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route<'a> {
    /// The name of the object that holds the path.
    pub holder: &'a str,
    /// The Service, in the host's namespace.
    pub service: &'a DnsService,
}

/// Why an object does not have what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// The host is another namespace's.
    Host,
    /// The path is that of the object of this name.
    Path(&'a str),
}

/// All hosts that objects name.
#[must_use]
pub fn hosts<'a>(objects: impl IntoIterator<Item = &'a Dns>) -> BTreeMap<&'a str, HostRoutes<'a>> {
    let mut objects: Vec<_> = objects.into_iter().collect();
    objects.sort_by_key(|object| age(&object.metadata));
    let mut hosts = BTreeMap::new();
    for object in objects {
        let (namespace, name) = names(&object.metadata);
        let host = hosts
            .entry(object.spec.host.as_str())
            .or_insert_with(|| HostRoutes { namespace, routes: BTreeMap::new() });
        if host.namespace != namespace {
            continue;
        }
        for entry in &object.spec.paths {
            if let Entry::Vacant(free) = host.routes.entry(prefix(&entry.path)) {
                free.insert(Route { holder: name, service: &entry.service });
            }
        }
    }
    hosts
}

impl HostRoutes<'_> {
    /// Why the object does not hold this path, if it does not.
    #[must_use]
    pub fn taken(&self, object: &Dns, path: &str) -> Option<Taken<'_>> {
        let (namespace, name) = names(&object.metadata);
        if self.namespace != namespace {
            return Some(Taken::Host);
        }
        let holder = self.routes.get(prefix(path)).map(|route| route.holder);
        holder.filter(|holder| *holder != name).map(Taken::Path)
    }
}

/// How many bytes a path may have: web servers have limits of their own, and one path is in the configuration of all.
pub const MAX_PATH: usize = 255;

/// What `/shop` and `/shop/` have in common; of the whole host, nothing.
#[must_use]
pub fn prefix(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// What the host names of DNS objects lead to: the Service whose address their router has on every node.
pub const ROUTER: (&str, &str) = ("kube-system", "dns-router");

/// The class of Ingresses that is there from the beginning.
pub const INGRESS_CLASS: &str = "minik8s";

/// Who serves the Ingresses of a class, as the class says of the router.
pub const INGRESS_CONTROLLER: &str = "minik8s.io/router";

/// Whether it is the router's.
#[must_use]
pub fn is_router(service: &Service) -> bool {
    names(&service.metadata) == ROUTER
}

/// The oldest first; Kubernetes' times are whole seconds.
fn age(metadata: &ObjectMeta) -> (Option<&Time>, (&str, &str)) {
    (metadata.creation_timestamp.as_ref(), names(metadata))
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn dns(namespace: &str, name: &str, second: u8, host: &str, paths: &[&str]) -> Dns {
        let path = |path: &&str| json!({"path": path, "service": {"name": name, "port": 80}});
        let paths: Vec<_> = paths.iter().map(path).collect();
        let created = format!("2026-01-01T00:00:{second:02}Z");
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
            "spec": {"host": host, "paths": paths},
        }))
        .unwrap()
    }

    /// As `host namespace prefix=holder …`.
    fn told(objects: &[Dns]) -> Vec<String> {
        let told = |(host, routes): (&str, HostRoutes<'_>)| {
            let paths =
                routes.routes.iter().map(|(path, route)| format!("{path}={}", route.holder));
            let paths: Vec<_> = paths.collect();
            format!("{host} {} {}", routes.namespace, paths.join(" "))
        };
        hosts(objects).into_iter().map(told).collect()
    }

    #[test]
    fn objects_with_one_host_merge_by_path_and_the_older_one_keeps_its_own() {
        let older = dns("ns", "older", 1, "shop.test", &["/a/", "/b"]);
        let younger = dns("ns", "younger", 2, "shop.test", &["/a", "/a/c", "/"]);
        let all = [younger.clone(), older.clone()];
        assert_eq!(told(&all), ["shop.test ns =younger /a=older /a/c=younger /b=older"]);
        let hosts = hosts(&all);
        let shop = &hosts["shop.test"];
        assert_eq!(shop.taken(&younger, "/a"), Some(Taken::Path("older")));
        assert_eq!(shop.taken(&younger, "/a/c"), None);
        assert_eq!(shop.taken(&older, "/a/"), None);
    }

    #[test]
    fn a_host_is_that_of_the_namespace_that_named_it_first() {
        let first = dns("z", "x", 1, "shop.test", &["/a"]);
        let other = dns("a", "x", 2, "shop.test", &["/b"]);
        let all = [first.clone(), other.clone()];
        assert_eq!(told(&all), ["shop.test z /a=x"]);
        assert_eq!(hosts(&all)["shop.test"].taken(&other, "/b"), Some(Taken::Host));
        assert_eq!(told(&[other]), ["shop.test a /b=x"]);
    }

    #[test]
    fn of_objects_of_one_second_the_first_name_counts() {
        let all = [
            dns("b", "a", 1, "h", &["/"]),
            dns("a", "c", 1, "h", &["/"]),
            dns("a", "b", 1, "h", &["/"]),
        ];
        assert_eq!(told(&all), ["h a =b"]);
    }

    fn object() -> impl Strategy<Value = Dns> {
        let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/b//"]);
        let paths = prop::collection::vec(path, 0..4);
        ("[xy]", "[a-f]", 0..3_u8, "[hg]", paths).prop_map(|(namespace, name, at, host, paths)| {
            dns(&namespace, &name, at, &host, &paths)
        })
    }

    /// No two of one name.
    fn objects() -> impl Strategy<Value = Vec<Dns>> {
        prop::collection::vec(object(), 0..8).prop_map(|objects| {
            let mut seen = BTreeSet::new();
            let is_new = |object: &Dns| {
                let (namespace, name) = names(&object.metadata);
                seen.insert((namespace.to_owned(), name.to_owned()))
            };
            let mut objects = objects;
            objects.retain(is_new);
            objects
        })
    }

    /// What is held: namespace, name, host, prefix.
    fn held(objects: &[Dns]) -> BTreeSet<(String, String, String, String)> {
        let all = hosts(objects).into_iter().flat_map(|(host, routes)| {
            let one = move |(path, route): (&str, Route<'_>)| {
                let namespace = routes.namespace.to_owned();
                (namespace, route.holder.to_owned(), host.to_owned(), path.to_owned())
            };
            routes.routes.clone().into_iter().map(one).collect::<Vec<_>>()
        });
        all.collect()
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
            let hosts = hosts(&objects);
            for object in &objects {
                let host = &hosts[object.spec.host.as_str()];
                let (namespace, name) = names(&object.metadata);
                for entry in &object.spec.paths {
                    let route = host.routes.get(prefix(&entry.path));
                    match host.taken(object, &entry.path) {
                        None => prop_assert_eq!(route.unwrap().holder, name),
                        Some(Taken::Path(holder)) => prop_assert!(holder != name && route.unwrap().holder == holder),
                        Some(Taken::Host) => prop_assert_ne!(host.namespace, namespace),
                    }
                }
            }
        }

        #[test]
        fn a_younger_object_takes_nothing_from_anybody(objects in objects(), other in object()) {
            let mut younger = other;
            younger.metadata.name = Some("zz".to_owned());
            younger.metadata.creation_timestamp = dns("", "", 9, "", &[]).metadata.creation_timestamp;
            let before = held(&objects);
            let mut all = objects;
            all.push(younger);
            prop_assert!(before.is_subset(&held(&all)));
        }
    }
}
