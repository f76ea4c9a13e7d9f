#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

use std::{collections::BTreeMap, sync::Arc};

use api_types::{
    api::core::v1::Service,
    gateway::{Gateway, HttpRoute, ReferenceGrant},
};
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

use super::{hostname::covers, *};
use crate::host_routes::Secret;

fn typed<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn gateway(listeners: Value) -> Gateway {
    typed(
        json!({"metadata": {"namespace": "infra", "name": "web"}, "spec": {"listeners": listeners}}),
    )
}

fn listener(name: &str, host: &str, from: &str) -> Value {
    let mut listener = json!({
        "name": name, "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": from}},
    });
    if !host.is_empty() {
        listener["hostname"] = json!(host);
    }
    listener
}

fn route(name: &str, second: u8, spec: Value) -> Arc<HttpRoute> {
    let created = format!("2026-01-01T00:00:{second:02}Z");
    let metadata = json!({"namespace": "shop", "name": name, "creationTimestamp": created});
    let mut spec = spec;
    if spec.get("parentRefs").is_none() {
        spec["parentRefs"] = json!([{"name": "web", "namespace": "infra"}]);
    }
    Arc::new(typed(json!({"metadata": metadata, "spec": spec})))
}

fn service(namespace: &str, name: &str) -> Option<Arc<Service>> {
    let spec = match name {
        "far" => json!({"type": "ExternalName", "ports": [{"port": 80}]}),
        "none" => return None,
        _ => json!({"ports": [
            {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "h2c", "port": 81, "appProtocol": "kubernetes.io/h2c"},
        ]}),
    };
    let metadata = json!({"namespace": namespace, "name": name});
    Some(Arc::new(typed(json!({"metadata": metadata, "spec": spec}))))
}

fn labels(namespace: &str) -> Option<BTreeMap<String, String>> {
    (namespace == "shop").then(|| [("team".to_owned(), "shop".to_owned())].into())
}

fn grant(kind: &str, from: &str, to: &str) -> Arc<ReferenceGrant> {
    let from = json!([{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": from}]);
    let spec = json!({"from": from, "to": [{"group": "", "kind": to, "name": "there"}]});
    Arc::new(typed(json!({"metadata": {"namespace": "other", "name": "g"}, "spec": spec})))
}

fn judged<'a>(gateway: &'a Gateway, grants: &[Arc<ReferenceGrant>]) -> Vec<JudgedListener<'a>> {
    let fault =
        |secret: Secret<'_>| (secret.name == "bad").then(|| "tls.crt is missing".to_owned());
    listeners(gateway, &Credentials { fault: &fault, grants })
}

fn read(rule: Value, grants: &[Arc<ReferenceGrant>]) -> Rules {
    let route = route("r", 0, json!({"rules": [rule]}));
    Rules::read(&route, &References { service: &service, grants })
}

/// What is said of the first listener.
fn told(listeners: Value, grants: &[Arc<ReferenceGrant>]) -> String {
    let gateway = gateway(listeners);
    let all = judged(&gateway, grants);
    let it = &all[0];
    let problems = [&it.refused, &it.conflict, &it.unresolved];
    let problems = problems.into_iter().flatten().map(|it| format!("{} {}", it.reason, it.message));
    let served = if it.is_served() { "served" } else { "not served" };
    [served.to_owned()].into_iter().chain(problems).collect::<Vec<_>>().join("; ")
}

#[test]
fn listeners_are_judged_each_beside_the_others() {
    let grants = [grant("Gateway", "infra", "Secret")];
    let told = |listeners| told(listeners, &grants);
    let http = |name: &str, port| json!({"name": name, "port": port, "protocol": "HTTP"});
    let https = |reference: Value| json!([{"name": "s", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": reference}}]);
    assert_eq!(told(json!([http("a", 80), http("b", 81)])), "served");
    assert_eq!(
        told(json!([http("a", 80), http("b", 80)])),
        "not served; HostnameConflict listener \"b\" has port 80, too, for the same hosts"
    );
    assert_eq!(
        told(json!([http("a", 80), {"name": "b", "port": 80, "protocol": "HTTPS"}])),
        "not served; ProtocolConflict listener \"b\" has port 80, too"
    );
    assert_eq!(
        told(json!([{"name": "a", "port": 80, "protocol": "TCP"}])),
        "not served; UnsupportedProtocol protocol \"TCP\" is not served, HTTP and HTTPS are"
    );
    let kinds = json!({"kinds": [{"kind": "TCPRoute"}, {"kind": "HTTPRoute"}]});
    assert_eq!(
        told(json!([{"name": "a", "port": 80, "protocol": "HTTP", "allowedRoutes": kinds}])),
        "served; InvalidRouteKinds routes of kind \"TCPRoute\" are not served"
    );
    assert_eq!(told(https(json!([{"name": "good"}]))), "served");
    assert_eq!(
        told(https(json!([{"name": "bad"}, {"name": "good"}]))),
        "served; InvalidCertificateRef secret \"bad\": tls.crt is missing"
    );
    assert_eq!(
        told(https(json!([{"name": "secret", "namespace": "other"}]))),
        "not served; RefNotPermitted no ReferenceGrant of namespace \"other\" lets it refer to secret \"secret\""
    );
    assert_eq!(told(https(json!([{"name": "there", "namespace": "other"}]))), "served");
    assert_eq!(
        told(https(json!([]))),
        "not served; InvalidCertificateRef HTTPS needs a reference to a certificate"
    );
}

#[test]
fn a_route_attaches_where_it_may_and_where_hosts_are_shared() {
    let selector = json!({
        "name": "chosen", "port": 81, "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "shop"}}}},
    });
    let gateway = gateway(json!([
        listener("all", "*.shop.test", "All"),
        listener("same", "", "Same"),
        selector,
    ]));
    let listeners = judged(&gateway, &[]);
    let parent = Parent { gateway: &gateway, listeners: &listeners, labels: &labels };
    let check = |spec: Value, expected: &str| {
        let route = route("r", 0, spec);
        let reference = &route.spec.parent_refs[0];
        assert!(is_meant(reference, &route, &gateway));
        let told = match attach(&route, reference, &parent) {
            Ok(all) => {
                let all = all.iter().map(|it| format!("{} {:?}", it.listener, it.hosts));
                all.collect::<Vec<_>>().join(", ")
            }
            Err(problem) => problem.reason.to_owned(),
        };
        assert_eq!(told, expected, "{route:?}");
    };
    let to = |more: Value| {
        let mut reference = json!({"name": "web", "namespace": "infra"});
        reference.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([reference])
    };
    check(json!({}), "0 [\"*.shop.test\"], 2 [\"\"]");
    check(
        json!({"hostnames": ["a.shop.test", "b.test", "*.a.shop.test"]}),
        "0 [\"*.a.shop.test\", \"a.shop.test\"], 2 [\"*.a.shop.test\", \"a.shop.test\", \"b.test\"]",
    );
    check(
        json!({"parentRefs": to(json!({"sectionName": "all"})), "hostnames": ["b.test"]}),
        "NoMatchingListenerHostname",
    );
    check(json!({"parentRefs": to(json!({"sectionName": "same"}))}), "NotAllowedByListeners");
    check(json!({"parentRefs": to(json!({"sectionName": "other"}))}), "NoMatchingParent");
    check(json!({"parentRefs": to(json!({"port": 81}))}), "2 [\"\"]");
}

#[test]
fn references_that_lead_nowhere_are_told_and_their_share_fails() {
    let grants = [grant("HTTPRoute", "shop", "Service")];
    let check = |reference: Value, expected: &str| {
        let rule = json!({"backendRefs": [{"name": "web", "port": 80, "weight": 9}, reference]});
        let rules = read(rule, &grants);
        let told = rules.unresolved.iter().map(|it| format!("{} {}", it.reason, it.message));
        assert_eq!(told.collect::<Vec<_>>().join("; "), expected);
        let Action::Forward(Forward { shares, .. }) = &rules.rules[0].action else { panic!() };
        let found: Vec<_> = shares.iter().map(|it| (it.weight, it.backend.is_some())).collect();
        assert_eq!(found, [(9, true), (1, expected.is_empty())]);
    };
    let at = |end: &str| format!("rules[0].backendRefs[1]: {end}");
    check(
        json!({"name": "none", "port": 80}),
        &format!("BackendNotFound {}", at("service \"none\" not found in namespace \"shop\"")),
    );
    check(
        json!({"name": "far", "port": 80}),
        &format!(
            "BackendNotFound {}",
            at("service \"far\" is an external name, without endpoints")
        ),
    );
    check(
        json!({"name": "web", "port": 53}),
        &format!("BackendNotFound {}", at("service \"web\" has no TCP port 53")),
    );
    check(
        json!({"name": "web"}),
        &format!("BackendNotFound {}", at("service \"web\": a port is required")),
    );
    check(
        json!({"name": "web", "port": 81}),
        &format!(
            "UnsupportedProtocol {}",
            at("service \"web\": its port 81 speaks kubernetes.io/h2c, which is not served")
        ),
    );
    check(
        json!({"name": "b", "kind": "Bucket", "group": "x.test"}),
        &format!("InvalidKind {}", at("Bucket \"b\": only Services are served")),
    );
    check(
        json!({"name": "hidden", "namespace": "other", "port": 80}),
        &format!(
            "RefNotPermitted {}",
            at("no ReferenceGrant of namespace \"other\" lets it refer to service \"hidden\"")
        ),
    );
    check(json!({"name": "there", "namespace": "other", "port": 80}), "");
}

#[test]
fn without_any_weight_requests_fail() {
    let zero = json!({"name": "web", "port": 80, "weight": 0});
    for rule in [json!({"backendRefs": [zero, zero]}), json!({})] {
        assert_eq!(read(rule, &[]).rules[0].action, Action::Fail);
    }
    let rules = read(json!({"backendRefs": [zero, {"name": "web", "port": 80}]}), &[]);
    let Action::Forward(Forward { shares, .. }) = &rules.rules[0].action else { panic!() };
    assert_eq!(shares.len(), 1);
}

#[test]
fn what_cannot_be_served_is_told_and_never_left_out() {
    let header = |set: Value| json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [set]}}]});
    let redirect =
        |it: Value| json!({"filters": [{"type": "RequestRedirect", "requestRedirect": it}]});
    let prefix = json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"});
    let exact = json!([{"path": {"type": "Exact", "value": "/a"}}]);
    for (rule, expected) in [
        (json!({"retry": {}}), "retry is not served"),
        (
            json!({"filters": [{"type": "RequestMirror"}]}),
            "filters of type \"RequestMirror\" are not served",
        ),
        (
            header(json!({"name": "a_b", "value": "x"})),
            "header \"a_b\": only letters, digits and hyphens are served in names",
        ),
        (
            header(json!({"name": "Host", "value": "x"})),
            "header \"Host\" is not changed by a filter",
        ),
        (
            header(json!({"name": "a", "value": "x\r\nb: c"})),
            "header \"a\": the value has control characters",
        ),
        (
            header(json!({"name": "a", "value": "$".repeat(500)})),
            "header \"a\": the value is too long",
        ),
        (redirect(json!({"scheme": "ftp"})), "redirects with the scheme \"ftp\" are not served"),
        (redirect(json!({"hostname": "a/b"})), "\"a/b\" is no host name"),
        (
            redirect(json!({"path": prefix, "statusCode": 308})),
            "redirects that replace a prefix are served with the code 301 or 302 alone",
        ),
        (
            json!({"matches": exact, "filters": [{"type": "URLRewrite", "urlRewrite": {"path": prefix}}]}),
            "a prefix is replaced where one path of type PathPrefix is matched",
        ),
        (
            json!({"timeouts": {"request": "soon"}}),
            "timeouts: invalid duration \"soon\": use e.g. 10s, 5m, 1h30m",
        ),
    ] {
        let rules = read(rule, &[]);
        assert_eq!(rules.unsupported, [format!("rules[0]: {expected}")]);
        assert!(!rules.any_is_sound);
        assert_eq!(rules.rules[0].action, Action::Fail);
    }
    let broken = json!({"path": {"type": "RegularExpression", "value": "("}});
    let rules =
        read(json!({"matches": [broken, {}], "backendRefs": [{"name": "web", "port": 80}]}), &[]);
    assert_eq!(rules.unsupported, ["Dropped Rule: rules[0]: path \"(\": unclosed group"]);
    assert!(rules.any_is_sound && rules.rules[0].matches.len() == 1);
}

#[test]
fn requests_of_a_route_that_cannot_be_served_fail() {
    let gateway = gateway(json!([listener("all", "", "All")]));
    let listeners = judged(&gateway, &[]);
    let parent = Parent { gateway: &gateway, listeners: &listeners, labels: &labels };
    let below = |path: &str| json!([{"path": {"value": path}}]);
    let backend = json!([{"name": "web", "port": 80}]);
    let mirror = json!([{"type": "RequestMirror"}]);
    let all = json!([{"matches": below("/"), "backendRefs": backend}]);
    let mirrored = json!([{"matches": below("/a"), "filters": mirror, "backendRefs": backend}]);
    let routes =
        [route("all", 0, json!({"rules": all})), route("mirrored", 1, json!({"rules": mirrored}))];
    let sites = sites(&parent, &routes, &References { service: &service, grants: &[] });
    let [site] = &sites.sites[..] else { panic!("{sites:?}") };
    let (matched, action) = &site.matches[0];
    assert_eq!(matched.path, PathMatch::Prefix("/a".to_owned()));
    assert_eq!(sites.actions[*action], Action::Fail);
}

#[test]
fn a_route_has_no_more_than_so_many_regular_expressions() {
    let on_path = |number: usize| json!({"path": {"type": "RegularExpression", "value": format!("/p{number}")}});
    // What comes again is one.
    let numbers = (0..64).chain([0]).chain([64]);
    let matches: Vec<_> = numbers.map(on_path).chain([json!({"path": {"value": "/x"}})]).collect();
    let rules =
        read(json!({"matches": matches, "backendRefs": [{"name": "web", "port": 80}]}), &[]);
    let told = "Dropped Rule: rules[0]: a route has at most 64 regular expressions";
    assert_eq!(rules.unsupported, [told]);
    assert!(rules.any_is_sound);
    assert_eq!(rules.rules[0].matches.len(), 66);
}

#[test]
fn what_headers_become_is_the_sum_of_the_filters() {
    let modifier = json!({
        "set": [{"name": "X-A", "value": "1"}], "add": [{"name": "x-a", "value": "2"}, {"name": "X-B", "value": "3"}],
        "remove": ["X-C"],
    });
    let filters = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]);
    let rules =
        read(json!({"filters": filters, "backendRefs": [{"name": "web", "port": 80}]}), &[]);
    let Action::Forward(Forward { shares, .. }) = &rules.rules[0].action else { panic!() };
    let found: Vec<_> = shares[0].changes.request.values().collect();
    let change = |name: &str, keeps, values: &[&str]| HeaderChange {
        name: name.to_owned(),
        keeps,
        values: values.iter().map(|it| (*it).to_owned()).collect(),
    };
    let expected =
        [change("X-A", false, &["1", "2"]), change("X-B", true, &["3"]), change("X-C", false, &[])];
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
}

#[test]
fn the_shorter_timeout_counts_and_zero_is_none() {
    let timeout = |request: &str, backend: &str| {
        let timeouts = json!({"request": request, "backendRequest": backend});
        let rules =
            read(json!({"timeouts": timeouts, "backendRefs": [{"name": "web", "port": 80}]}), &[]);
        let Action::Forward(Forward { timeout, .. }) = &rules.rules[0].action else { panic!() };
        timeout.map(|it| it.as_millis())
    };
    assert_eq!(timeout("10s", "500ms"), Some(500));
    assert_eq!(timeout("0s", "2s"), Some(2000));
    assert_eq!(timeout("0s", "0s"), None);
}

#[test]
fn a_service_is_a_gateways_by_its_labels_its_name_and_its_owner() {
    let service = |name: &str, labels: Value| -> Service {
        typed(json!({"metadata": {"name": name, "labels": labels}}))
    };
    let ours = json!({GATEWAY_LABEL: "web", "app.kubernetes.io/managed-by": "minik8s"});
    assert!(is_of_gateway(&service("gateway-web", ours.clone())));
    assert!(!is_of_gateway(&service("web", ours.clone())));
    assert!(!is_of_gateway(&service("gateway-web", json!({GATEWAY_LABEL: "web"}))));
    let of = |uid: &str| -> Gateway { typed(json!({"metadata": {"name": "web", "uid": uid}})) };
    let owner = json!({"apiVersion": "v1", "kind": "Gateway", "name": "web", "uid": "1"});
    let metadata = json!({"name": "gateway-web", "labels": ours, "ownerReferences": [owner]});
    let owned: Service = typed(json!({"metadata": metadata}));
    assert!(is_its_service(&owned, &of("1")) && !is_its_service(&owned, &of("2")));
    assert!(!is_its_service(&service("gateway-web", ours), &of("1")));
    let named = |name: &str| -> Gateway { typed(json!({"metadata": {"name": name}})) };
    assert_eq!(service_name(&named(&"g".repeat(55))).map(|it| it.len()), Some(63));
    assert_eq!(refusal(&named("a.b")).map(|it| it.reason), Some("Invalid"));
    assert_eq!(service_name(&named(&"g".repeat(56))), None);
}

/// A request.
#[derive(Clone, Debug)]
struct Request {
    host: &'static str,
    path: &'static str,
    method: &'static str,
    header: Option<&'static str>,
}

const HOSTS: [&str; 4] = ["", "*.test", "*.shop.test", "a.shop.test"];
const PATHS: [(&str, &str); 6] = [
    ("PathPrefix", "/"),
    ("PathPrefix", "/a"),
    ("PathPrefix", "/a/b/"),
    ("Exact", "/a"),
    ("Exact", "/a/b"),
    ("RegularExpression", "/a/[bc]"),
];

/// What the specification says, by looking at everything.
fn naive(request: &Request, listeners: &[&str], routes: &[Arc<HttpRoute>]) -> Option<String> {
    let host = request.host;
    let listener = listeners.iter().filter(|it| covers(it, host)).max_by_key(|it| closeness(it))?;
    let mut best: Option<(Vec<usize>, String)> = None;
    for route in routes {
        let hosts: Vec<_> = match route.spec.hostnames.is_empty() {
            true => vec![*listener],
            false => {
                let shared = route.spec.hostnames.iter().filter(|it| covers(it, host));
                shared
                    .map(|it| if covers(listener, it) { it.as_str() } else { *listener })
                    .collect()
            }
        };
        let Some(closest) = hosts.iter().map(|it| closeness(it)).max() else { continue };
        for (number, rule) in route.spec.rules.iter().enumerate() {
            for matched in rule.matches.iter().filter(|it| holds(it, request)) {
                let path = matched.path.as_ref().unwrap();
                let value = path.value.as_deref().unwrap();
                let kind = match path.type_.as_deref() {
                    Some("Exact") => 2,
                    Some("RegularExpression") => 1,
                    _ => 0,
                };
                let length =
                    if kind == 0 { value.trim_end_matches('/').len() } else { value.len() };
                let (method, headers) =
                    (usize::from(matched.method.is_some()), matched.headers.len());
                let age = route.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
                let age = usize::try_from(i64::from(i32::MAX) - age).unwrap();
                let key =
                    vec![closest.0, closest.1, kind, length, method, headers, age, 99 - number];
                let backend = rule.backend_refs[0].name.clone();
                if best.as_ref().is_none_or(|(other, _)| key > *other) {
                    best = Some((key, backend));
                }
            }
        }
    }
    best.map(|(_, backend)| backend)
}

fn closeness(host: &str) -> (usize, usize) {
    (usize::from(!host.is_empty() && !host.starts_with('*')), host.len())
}

fn holds(matched: &api_types::gateway::HttpRouteMatch, request: &Request) -> bool {
    let path = matched.path.as_ref().unwrap();
    let value = path.value.as_deref().unwrap();
    let on_path = match path.type_.as_deref().unwrap() {
        "Exact" => request.path == value,
        "RegularExpression" => {
            Regex::new(&format!("^(?:{value})$")).unwrap().is_match(request.path)
        }
        _ => format!("{}/", request.path).starts_with(&format!("{}/", value.trim_end_matches('/'))),
    };
    let header = |it: &api_types::gateway::NamedMatch| request.header == Some(it.value.as_str());
    let method = matched.method.as_deref().is_none_or(|it| it == request.method);
    on_path && method && matched.headers.iter().all(header)
}

/// What the sites have it, looked at in their order.
fn chosen(request: &Request, sites: &Sites<'_>) -> Option<String> {
    let covering = sites.sites.iter().filter(|it| covers(&it.host, request.host));
    let site = covering.max_by_key(|it| closeness(&it.host))?;
    let is_meant = |matched: &&(Match, usize)| {
        let Match { path, method, headers, .. } = &matched.0;
        let on_path = match path {
            PathMatch::Exact(path) => request.path == path,
            PathMatch::Pattern(it) => {
                Regex::new(&format!("^(?:{})$", it.given)).unwrap().is_match(request.path)
            }
            PathMatch::Prefix(prefix) => request
                .path
                .strip_prefix(prefix.as_str())
                .is_some_and(|it| it.is_empty() || it.starts_with('/')),
        };
        let header = |(_, value): &(String, ValueMatch)| matches!(value, ValueMatch::Exact(value) if request.header == Some(value.as_str()));
        on_path
            && method.as_deref().is_none_or(|it| it == request.method)
            && headers.iter().all(header)
    };
    let (_, action) = site.matches.iter().find(is_meant)?;
    let Action::Forward(Forward { shares, .. }) = &sites.actions[*action] else { panic!() };
    Some(shares[0].backend.as_ref().unwrap().service.clone())
}

fn matches() -> impl Strategy<Value = Value> {
    (0..PATHS.len(), prop::option::of("GET|POST"), prop::option::of("x|y")).prop_map(
        |(path, method, header)| {
            let (type_, value) = PATHS[path];
            let headers: Vec<_> =
                header.iter().map(|it| json!({"name": "v", "value": it})).collect();
            json!({"path": {"type": type_, "value": value}, "method": method, "headers": headers})
        },
    )
}

type GivenRoute = (Vec<usize>, Vec<Vec<Value>>);

fn given_route() -> impl Strategy<Value = GivenRoute> {
    let rules = prop::collection::vec(prop::collection::vec(matches(), 1..3), 1..3);
    (prop::collection::vec(1..HOSTS.len(), 0..3), rules)
}

fn requests() -> Vec<Request> {
    let mut all = Vec::new();
    for host in ["a.shop.test", "b.shop.test", "c.test", "elsewhere"] {
        for path in ["/", "/a", "/a/b", "/a/b/c", "/a/c", "/ab"] {
            for (method, header) in [("GET", None), ("POST", Some("x")), ("PUT", Some("y"))] {
                all.push(Request { host, path, method, header });
            }
        }
    }
    all
}

proptest! {
    #[test]
    fn who_answers_is_whom_the_specification_names(
        hosts in prop::collection::btree_set(0..HOSTS.len(), 1..4),
        given in prop::collection::vec(given_route(), 1..4),
    ) {
        let listeners_hosts: Vec<_> = hosts.iter().map(|it| HOSTS[*it]).collect();
        let all: Vec<_> = listeners_hosts.iter().map(|host| listener(&format!("l{host}"), host, "All")).collect();
        let gateway = gateway(json!(all));
        let listeners = judged(&gateway, &[]);
        let routes = given.iter().enumerate().map(|(place, (hosts, rules))| {
            let rule = |(number, matches): (usize, &Vec<Value>)| {
                json!({"matches": matches, "backendRefs": [{"name": format!("s-{place}-{number}"), "port": 80}]})
            };
            let rules: Vec<_> = rules.iter().enumerate().map(rule).collect();
            let hosts: Vec<_> = hosts.iter().map(|it| HOSTS[*it]).collect();
            // No two are of the same second.
            route(&format!("r{place}"), u8::try_from(place).unwrap(), json!({"hostnames": hosts, "rules": rules}))
        });
        let routes: Vec<_> = routes.collect();
        let parent = Parent { gateway: &gateway, listeners: &listeners, labels: &labels };
        let sites = sites(&parent, &routes, &References { service: &service, grants: &[] });
        for request in requests() {
            let expected = naive(&request, &listeners_hosts, &routes);
            prop_assert_eq!(chosen(&request, &sites), expected, "{:?} {:?}", request, sites);
        }
    }
}
