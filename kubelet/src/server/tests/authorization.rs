//! Who may, and who may not.

use super::{ADMINISTRATOR, Served, User};

/// The second is this cluster's.
const API_SERVERS: [User; 2] =
    [("system:kube-apiserver", &[]), ("kube-apiserver-kubelet-client", &["system:masters"])];
const OTHERS: [User; 5] = [
    ("system:node:n2", &["system:nodes"]),
    ("system:kube-proxy", &["system:node-proxier"]),
    // Without the group it is a name like others.
    ("kube-apiserver-kubelet-client", &[]),
    // A name is no group, and a group no name.
    ("system:masters", &["system:authenticated"]),
    ("alice", &["system:kube-apiserver"]),
];

/// What an administrator who asks without an upgrade, of a pod that is not there, is answered.
const PATHS: [(&str, u16); 13] = [
    ("/pods", 200),
    ("/healthz", 200),
    ("/containerLogs/default/web/main", 404),
    ("/exec/default/web/main?command=id&output=1", 404),
    ("/exec/default/web/u/main?command=id&output=1", 404),
    ("/attach/default/web/main?output=1", 404),
    ("/portForward/default/web?port=80", 404),
    ("/portForward/default/web/u?port=80", 404),
    ("/metrics", 200),
    ("/metrics/cadvisor", 200),
    ("/metrics/resource", 200),
    ("/stats/summary", 200),
    ("/nonsense", 404),
];

#[tokio::test]
async fn only_the_api_server_and_administrators_are_served() {
    let served = Served::start().await;
    for (path, code) in PATHS {
        for user in API_SERVERS.into_iter().chain([ADMINISTRATOR]) {
            assert_eq!(served.ask("GET", path, Some(user)).await.0, code, "{path} for {user:?}");
        }
        let unknown = served.ask("GET", path, None).await;
        assert_eq!(unknown, (401, "Unauthorized".to_owned()), "{path}");
        for user in OTHERS {
            assert_eq!(served.ask("GET", path, Some(user)).await.0, 403, "{path} for {user:?}");
        }
    }
}

#[tokio::test]
async fn who_monitors_may_read_what_everything_uses_and_nothing_else() {
    let served = Served::start().await;
    let monitor = Some(("prometheus", &["system:monitoring"] as &[_]));
    for (path, answer) in PATHS {
        let served_to_it = path.starts_with("/metrics") || path == "/stats/summary";
        let code = if served_to_it { answer } else { 403 };
        assert_eq!(served.ask("GET", path, monitor).await.0, code, "{path}");
    }
    for (method, path) in [("POST", "/metrics"), ("GET", "/metricsandmore"), ("GET", "/stats")] {
        assert_eq!(served.ask(method, path, monitor).await.0, 403, "{method} {path}");
    }
    let by_name = Some(("system:monitoring", &[] as &[_]));
    assert_eq!(served.ask("GET", "/metrics", by_name).await.0, 403);
}

#[tokio::test]
async fn a_refusal_says_what_was_missing() {
    let served = Served::start().await;
    for (method, path, verb, subresources) in [
        ("GET", "/pods", "get", "pods proxy"),
        ("GET", "/healthz", "get", "healthz proxy"),
        ("POST", "/exec/default/web/main", "create", "proxy"),
        ("GET", "/podsandmore", "get", "proxy"),
        ("GET", "/metrics/cadvisor", "get", "metrics"),
        ("GET", "/stats/summary", "get", "stats"),
    ] {
        let (code, said) = served.ask(method, path, Some(("alice", &[]))).await;
        let wanted = format!(
            "Forbidden (user=alice, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n"
        );
        assert_eq!((code, said), (403, wanted), "{path}");
    }
}
