//! A Gateway's requests, looked at as a whole and counted.

#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

use std::sync::Arc;

use api_machinery::gateway::{Action, Backend, References, Rules};
use api_types::gateway::HttpRoute;
use kube_proxy::{
    backend::gateway,
    gateway::{GatewayPlan, PlannedSite, Speaks},
};
use serde_json::{Value, json};

use super::*;

/// Names of the Services that somebody answers for: with its own name, or with what it was asked.
const BACKENDS: [&str; 3] = ["stable", "canary", "telling"];

fn backend_of(service: &str) -> Backend {
    Backend { namespace: "default".to_owned(), service: service.to_owned(), port: 80 }
}

fn rules(rules: Value) -> Rules {
    let route: HttpRoute = serde_json::from_value(
        json!({"metadata": {"namespace": "default", "name": "r"}, "spec": {"rules": rules}}),
    )
    .unwrap();
    let service = |_: &str, name: &str| {
        let service = json!({"spec": {"ports": [{"port": 80}]}});
        (name != "missing").then(|| Arc::new(serde_json::from_value(service).unwrap()))
    };
    Rules::read(&route, &References { service: &service, grants: &[] })
}

/// One whose host is `shop.test`, with all matches in the order in which they come first.
fn plan(node: &Node, given: Value) -> GatewayPlan {
    let read = rules(given);
    assert_eq!(read.unsupported, [] as [String; 0]);
    let actions: Vec<Action> = read.rules.iter().map(|rule| rule.action.clone()).collect();
    let all = read.rules.iter().enumerate();
    let mut matches: Vec<_> = all
        .flat_map(|(number, rule)| rule.matches.iter().map(move |it| (it.clone(), number)))
        .collect();
    matches.sort_by_key(|(matched, number)| (matched.precedence(), *number));
    let site = |host: &str, port, speaks, matches| PlannedSite {
        port,
        host: host.to_owned(),
        speaks,
        matches,
    };
    let certified = Speaks::Https(Some(certificate("shop.test")));
    let sites = vec![
        site("", 80, Speaks::Http, Vec::new()),
        site("*.shop.test", 80, Speaks::Http, matches.clone()),
        site("shop.test", 80, Speaks::Http, matches.clone()),
        site("", 443, Speaks::Https(None), Vec::new()),
        site("shop.test", 443, certified, matches),
    ];
    let [stable, canary, telling] = BACKENDS;
    let nobody = SocketAddr::new(node.vip, 9);
    GatewayPlan {
        uid: "kube-proxy-test-gateway".to_owned(),
        namespace: "default".to_owned(),
        service: "gateway-web".to_owned(),
        ips: [node.vip].into(),
        held: Default::default(),
        actions,
        sites,
        backends: [
            (backend_of(stable), [web_backend("stable")].into()),
            (backend_of(canary), [web_backend("canary")].into()),
            (backend_of(telling), [telling_backend()].into()),
            (backend_of("nobody"), [nobody].into()),
        ]
        .into(),
    }
}

fn to(service: &str) -> Value {
    json!([{"name": service, "port": 80}])
}

async fn served(node: &Node, proxy: &mut Reconciler<Docker, Loopback>, rules: Value) {
    proxy.want_all(gateway::KIND, gateway::specs(&plan(node, rules)));
    settle_all(proxy).await;
}

/// The head of the answer, and the body.
fn ask(node: &Node, request: &str, headers: &[&str]) -> (String, String) {
    let mut connection = TcpStream::connect(SocketAddr::new(node.vip, 80)).unwrap();
    let has_host = headers.iter().any(|header| header.starts_with("Host:"));
    let host = if has_host { "X-Nothing: 1" } else { "Host: shop.test" };
    let first = format!("{request} HTTP/1.1");
    let lines = [&[first.as_str(), "Connection: close", host], headers, &["", ""]].concat();
    connection.write_all(lines.join("\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn canary() -> Value {
    let version = json!({"name": "X-Version", "type": "RegularExpression", "value": "v2\\.[0-9]+"});
    json!([
        {"matches": [{"headers": [version]}, {"path": {"type": "RegularExpression", "value": "/(beta|preview)/.*"}}],
            "backendRefs": to("canary")},
        {"backendRefs": [
            {"name": "stable", "port": 80, "weight": 90}, {"name": "canary", "port": 80, "weight": 10},
        ]},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_ten_requests_goes_to_the_canary_and_all_that_ask_for_it() {
    let node = Node::new(13).await;
    let mut proxy = node.reconciler().await;
    served(&node, &mut proxy, canary()).await;
    let count = |path: &str, headers: &[&str]| {
        let mut counted = BTreeMap::<String, usize>::new();
        for _ in 0..1000 {
            *counted.entry(ask(&node, &format!("GET {path}"), headers).1).or_default() += 1;
        }
        counted
    };
    let shares = count("/", &[]);
    let canary = shares["canary"];
    // 100 are expected; seven times the deviation of 9.5 is out of reach.
    assert!((34..=166).contains(&canary), "{shares:?}");
    assert_eq!(canary + shares["stable"], 1000, "{shares:?}");
    let all = |name: &str| BTreeMap::from([(name.to_owned(), 1000)]);
    assert_eq!(count("/", &["X-Version: v2.17"]), all("canary"));
    assert_eq!(count("/beta/x", &[]), all("canary"));
    // All of it, and nothing else.
    let others = count("/beta", &["X-Version: v2.17x"]);
    assert!(others["stable"] > 800, "{others:?}");

    // The other way round, by nothing but a change of the weights.
    let mut moved = self::canary();
    moved[1]["backendRefs"][0]["weight"] = json!(0);
    served(&node, &mut proxy, moved).await;
    until("all go to the canary", || ask(&node, "GET /", &[]).1 == "canary");
    proxy.want_all(gateway::KIND, Vec::new());
    settle_all(&mut proxy).await;
    assert!(node.docker().list().await.unwrap().is_empty());
}

/// Of each thing that a route can say, some.
fn all_kinds() -> Value {
    let exact = |path: &str| json!({"path": {"type": "Exact", "value": path}});
    let prefix = |path: &str| json!({"path": {"value": path}});
    let slow = json!({"name": "x-slow", "type": "RegularExpression", "value": "(a+)+b"});
    let quoted = json!({"name": "x-quoted", "value": "\"; return 200; #$x\\"});
    let long = json!({"name": "x".repeat(256), "value": "long"});
    let modifier = json!({
        "set": [{"name": "X-Set", "value": "$remote_addr \"x\""}, long],
        "add": [{"name": "X-Added", "value": "b"}], "remove": ["X-Gone"],
    });
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier": modifier},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "X-Told", "value": "$host"}, long]}},
        {"type": "URLRewrite", "urlRewrite": {"hostname": "api.test",
            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}},
    ]);
    let redirect = |it: Value| json!([{"type": "RequestRedirect", "requestRedirect": it}]);
    let moved = json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"});
    let mut given = vec![
        json!({"matches": [{"path": {"value": "/m"}, "method": "POST"}], "backendRefs": to("canary")}),
        json!({"matches": [prefix("/m")], "backendRefs": to("stable")}),
        json!({"matches": [{"queryParams": [{"name": "a b", "value": "c&d"}]}], "backendRefs": to("canary")}),
        json!({"matches": [{"headers": [quoted]}, {"headers": [slow]}], "backendRefs": to("canary")}),
        json!({"matches": [exact("/only")], "backendRefs": to("stable")}),
        json!({"matches": [prefix("/api")], "filters": filters, "backendRefs": to("telling")}),
        json!({"matches": [prefix("/old")], "filters": redirect(json!({"scheme": "https", "path": moved}))}),
        json!({"matches": [prefix("/gone")], "filters": redirect(json!({"hostname": "x.test", "port": 81, "statusCode": 308}))}),
        json!({"matches": [prefix("/missing")], "backendRefs": to("missing")}),
        json!({"matches": [prefix("/nobody")], "backendRefs": to("nobody")}),
        json!({"matches": [prefix("/slow")], "timeouts": {"request": "200ms"}, "backendRefs": to("silent")}),
    ];
    // More conditions than are looked at together.
    for number in 0..100 {
        given.push(
            json!({"matches": [prefix(&format!("/p{number}"))], "backendRefs": to("stable")}),
        );
    }
    json!(given)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_is_chosen_by_all_of_a_request_and_filters_change_it() {
    let node = Node::new(14).await;
    let mut proxy = node.reconciler().await;
    let mut plan = plan(&node, all_kinds());
    let silent = server(|connection| assert!(BufReader::new(connection).lines().count() > 0));
    plan.backends.insert(backend_of("silent"), [silent].into());
    proxy.want_all(gateway::KIND, gateway::specs(&plan));
    settle_all(&mut proxy).await;

    for (request, headers, status, body) in [
        ("GET /m/x", &[][..], "200", "stable"),
        ("POST /m/x", &["Content-Length: 0"], "200", "canary"),
        ("GET /mx", &[], "404", ""),
        ("GET /x?q&a%20b=c%26d", &[], "200", "canary"),
        ("GET /x?a+b=c%26d&z", &[], "200", "canary"),
        ("GET /x?a%20b=x&a%20b=c%26d", &[], "404", ""),
        ("GET /x", &["X-Quoted: \"; return 200; #$x\\"], "200", "canary"),
        ("GET /x", &["X-Slow: aaab"], "200", "canary"),
        ("GET /x", &["X-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], "404", ""),
        ("GET /only", &[], "200", "stable"),
        ("GET /on%6Cy", &[], "200", "stable"),
        ("GET /only/", &[], "404", ""),
        ("GET /p7", &[], "200", "stable"),
        ("GET /p99/x", &[], "200", "stable"),
        ("GET /p7", &["Host: a.b.shop.test"], "200", "stable"),
        ("GET /p7", &["Host: other.test"], "404", ""),
        ("GET /missing", &[], "500", ""),
        ("GET /nobody", &[], "503", ""),
        ("GET /slow", &[], "504", ""),
    ] {
        let (head, found) = ask(&node, request, headers);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request} {headers:?}: {head}");
        assert!(body.is_empty() || found == body, "{request} {headers:?}: {found}");
    }

    check_changes(&node);
    assert_eq!(
        fetch("https://shop.test:443/only", node.vip),
        ("stable".to_owned(), "200".to_owned())
    );
    assert_eq!(fetch("https://other.test:443/only", node.vip).1, "000");
    proxy.want_all(gateway::KIND, Vec::new());
    settle_all(&mut proxy).await;
}

/// What filters change is seen by who answers and by the client.
fn check_changes(node: &Node) {
    let headers = ["X-Set: y", "X-Added: a", "X-Gone: z"];
    let (head, told) = ask(node, "GET /api/a%2Fb?c=%20", &headers);
    assert!(told.contains("GET /v1/a/b?c=%20 HTTP/1.1\n"), "{told}");
    for line in [
        "Host: api.test",
        "X-Set: $remote_addr \"x\"",
        "X-Added: a, b",
        "X-Forwarded-Host: shop.test",
    ] {
        assert!(told.lines().any(|it| it == line), "{line}: {told}");
    }
    assert!(!told.contains("X-Gone"), "{told}");
    assert!(head.contains("\r\nX-Told: $host"), "{head}");
    let long = format!("{}: long", "x".repeat(256));
    assert!(told.contains(&long) && head.contains(&long), "{told} {head}");
    // What is spoken behind an upgrade is looked at by nobody.
    let (_, told) = ask(node, "GET /api", &["Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]);
    assert!(!told.contains("h2c"), "{told}");
    let cookie = format!("Cookie: {}", "x".repeat(30_000));
    let (_, told) = ask(node, "GET /api", &[&cookie]);
    assert!(told.lines().any(|it| it == cookie), "{}", told.len());
    let (_, told) = ask(node, "GET /api", &["Upgrade: WebSocket"]);
    assert!(told.contains("Upgrade: WebSocket\n"), "{told}");
    for (request, code, location) in [
        ("GET /old/x%0d%0ay?a=b", "302", "https://shop.test/new/x%0D%0Ay?a=b"),
        ("GET /old", "302", "https://shop.test/new"),
        ("GET /gone/x?y", "308", "http://x.test:81/gone/x?y"),
    ] {
        let (head, _) = ask(node, request, &[]);
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{request}: {head}");
        assert!(
            head.lines().any(|line| line == format!("Location: {location}")),
            "{request}: {head}"
        );
    }
}
