//! What the server says that it serves.

use serde_json::{Value, json};

use crate::harness::{Api, JSON, PODS, pod};

#[tokio::test]
async fn groups_versions_and_resources_can_be_found() {
    let api = Api::start().await;
    assert_eq!(api.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.ok();
    assert_eq!(groups["kind"], "APIGroupList");
    let apps = groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "apps").unwrap();
    assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
    assert_eq!(api.get("/apis/apps").await.ok()["kind"], "APIGroup");
    let core = api.get("/api/v1").await.ok();
    assert_eq!(core["groupVersion"], "v1");
    let find = |name: &str| -> Value {
        core["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
    };
    let pods = find("pods");
    assert_eq!(
        (&pods["kind"], &pods["namespaced"], &pods["shortNames"]),
        (&json!("Pod"), &json!(true), &json!(["po"]))
    );
    assert!(pods["verbs"].as_array().unwrap().contains(&json!("watch")));
    assert_eq!(find("pods/log")["verbs"], json!(["get"]));
    for (name, kind) in [
        ("pods/exec", "PodExecOptions"),
        ("pods/attach", "PodAttachOptions"),
        ("pods/portforward", "PodPortForwardOptions"),
    ] {
        let connection = find(name);
        assert_eq!(
            (&connection["verbs"], &connection["kind"]),
            (&json!(["create", "get"]), &json!(kind))
        );
    }
    for (name, kind) in [
        ("pods/proxy", "PodProxyOptions"),
        ("services/proxy", "ServiceProxyOptions"),
        ("nodes/proxy", "NodeProxyOptions"),
    ] {
        let proxy = find(name);
        let verbs = json!(["create", "delete", "get", "patch", "update"]);
        assert_eq!((&proxy["verbs"], &proxy["kind"]), (&verbs, &json!(kind)));
    }
    assert_eq!(find("bindings")["verbs"], json!(["create"]));
    assert_eq!(find("nodes")["namespaced"], false);
    api.get("/apis/frogs").await.fails(404, "NotFound");
    api.get("/apis/frogs/v1").await.fails(404, "NotFound");
}

#[tokio::test]
async fn discovery_comes_in_one_document_too() {
    let api = Api::start().await;
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = api.send("GET", "/apis", (JSON, accept), "").await;
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert_eq!(
        content_type,
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let list = answer.ok();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let apps =
        list["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let resource = resources.iter().find(|it| it["resource"] == "replicasets").unwrap();
    assert_eq!(resource["scope"], "Namespaced");
    let subresources = resource["subresources"].as_array().unwrap();
    let scale = subresources.iter().find(|s| s["subresource"] == "scale").unwrap();
    assert_eq!(
        scale["responseKind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
}

#[tokio::test]
async fn a_patch_is_documented_to_take_field_validation() {
    let api = Api::start().await;
    let document = api.get("/openapi/v3/api/v1").await.ok();
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "Pod"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
    assert!(
        document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
            .is_object()
    );
}

#[tokio::test]
async fn the_server_says_what_it_is_and_what_it_counted() {
    let api = Api::start().await;
    assert_eq!(api.get("/version").await.ok()["major"], "1");
    api.get("/api/v1/pods").await.ok();
    let metrics = api.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"apiserver_request_total{verb="LIST",group="",version="v1",resource="pods",subresource="",scope="cluster",component="apiserver",code="200"} 1"#),
        "{metrics}"
    );
    let count = r#"apiserver_request_duration_seconds_count{verb="LIST",group="",version="v1",resource="pods",subresource="",scope="cluster",component="apiserver"} 1"#;
    assert!(metrics.contains(count), "{metrics}");
    let under_way = r#"apiserver_current_inflight_requests{request_kind="readOnly"} 1"#;
    assert!(metrics.contains(under_way), "the one for the metrics: {metrics}");
}

#[tokio::test]
async fn the_server_says_what_it_keeps_and_how_long_its_store_takes() {
    let api = Api::start().await;
    let value = async |series: &str| {
        let text = api.get("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map(|value| value.trim().parse::<f64>().unwrap())
    };
    let pods = r#"apiserver_storage_objects{resource="pods"}"#;
    assert_eq!(value(pods).await, Some(0.0));
    let of = |operation: &str| {
        format!(r#"etcd_request_duration_seconds_count{{operation="{operation}",type="pods"}}"#)
    };
    assert_eq!(value(&of("create")).await, None);
    api.post(PODS, &pod("web")).await.ok();
    // It counts what the cache knows, for which a list waits.
    api.get(PODS).await.ok();
    assert_eq!((value(pods).await, value(&of("create")).await), (Some(1.0), Some(1.0)));
    assert_eq!(value(&of("update")).await, None);
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch(&format!("{PODS}/web"), "merge-patch", &labels).await.ok();
    assert_eq!((value(pods).await, value(&of("update")).await), (Some(1.0), Some(1.0)));
    let kind = r#"apiserver_storage_objects{resource="replicasets.apps"}"#;
    assert_eq!(value(kind).await, Some(0.0));
    // Nothing is kept of kinds that are computed.
    assert_eq!(value(r#"apiserver_storage_objects{resource="pods.metrics.k8s.io"}"#).await, None);
}

#[tokio::test]
async fn prometheus_is_told_what_there_is_to_scrape() {
    let api = Api::start().await;
    let addresses = json!([{"type": "InternalIP", "address": "10.0.0.1"}]);
    api.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
    let status = json!({"status": {"addresses": addresses}});
    api.patch("/api/v1/nodes/n1/status", "merge-patch", &status).await.ok();
    let mut scraped = pod("web");
    scraped["metadata"]["annotations"] = json!({"prometheus.io/scrape": "true"});
    let status = json!({"status": {"podIP": "10.1.0.7", "phase": "Running"}});
    for (name, pod) in [("web", scraped), ("other", pod("other"))] {
        api.post(PODS, &pod).await.ok();
        api.patch(&format!("{PODS}/{name}/status"), "merge-patch", &status).await.ok();
    }
    let told = async |role: &str| api.get(&format!("/prometheus/targets/{role}")).await.ok();
    let nodes = json!([{"targets": ["10.0.0.1:10250"], "labels": {"node": "n1"}}]);
    assert_eq!(told("nodes").await, nodes);
    let pods = told("pods").await;
    assert_eq!((pods.as_array().unwrap().len(), &pods[0]["labels"]["pod"]), (1, &json!("web")));
    api.get("/prometheus/targets/secrets").await.fails(404, "NotFound");
}

#[tokio::test]
async fn health_is_told_check_by_check() {
    let api = Api::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/livez/etcd", "/readyz/shutdown"]
    {
        let answer = api.get(path).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "ok"), "{path}");
    }
    for path in ["/readyz/x", "/healthz/frogs", "/livez/shutdown", "/readyz/ping/x"] {
        api.get(path).await.fails(404, "NotFound");
    }
    let all = api.get("/readyz?verbose").await.text;
    assert_eq!(all, "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n");
    let some = api.get("/livez?verbose&exclude=etcd").await.text;
    assert_eq!(some, "[+]ping ok\nlivez check passed\n");
    api.server.stop().await;
    let stopping = api.get("/readyz").await;
    assert_eq!(
        (stopping.code, stopping.text.as_str()),
        (500, "[+]ping ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n")
    );
    assert_eq!(api.get("/livez").await.code, 200);
}

#[tokio::test]
async fn documents_are_sent_once_to_those_who_keep_them() {
    let api = Api::start().await;
    let aggregated =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let index = api.get("/openapi/v3").await.ok();
    let core = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    let paths =
        ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/openapi/v3"];
    for (path, accept) in paths.iter().map(|p| (*p, JSON)).chain([
        ("/api", aggregated),
        ("/apis", aggregated),
        (core, JSON),
    ]) {
        let first = api.get_with(path, accept, None).await;
        let tag = first.headers["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && first.code == 200, "{path} {tag}");
        assert!(first.headers.contains_key("cache-control"), "{path}");
        let again = api.get_with(path, accept, Some(&tag)).await;
        assert_eq!((again.code, again.text.as_str()), (304, ""), "{path}");
        assert_eq!(
            (&again.headers["etag"], &again.headers["cache-control"]),
            (&first.headers["etag"], &first.headers["cache-control"])
        );
        assert_eq!(api.get_with(path, accept, Some("\"other\"")).await.text, first.text);
    }
    let kept = api.get(core).await;
    assert!(kept.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let moved = api.get("/openapi/v3/api/v1?hash=0").await;
    assert_eq!((moved.code, moved.headers["location"].to_str().unwrap()), (301, core));
}

#[tokio::test]
async fn both_forms_of_discovery_list_the_same() {
    let api = Api::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (root, group_version) in [
        ("/api", "/api/v1"),
        ("/apis", "/apis/apps/v1"),
        ("/apis", "/apis/minik8s.io/v1"),
        ("/apis", "/apis/metrics.k8s.io/v1beta1"),
    ] {
        let old = api.get(group_version).await.ok();
        let old: Vec<_> = old["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                (r["name"].as_str().unwrap().to_owned(), r["verbs"].clone(), r["kind"].clone())
            })
            .collect();
        let new = api.send("GET", root, (JSON, accept), "").await.ok();
        let group = group_version.split('/').nth(2).filter(|_| root == "/apis");
        let of_group = new["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|g| g["metadata"]["name"].as_str() == group)
            .unwrap();
        let mut found = Vec::new();
        for resource in of_group["versions"][0]["resources"].as_array().unwrap() {
            let name = resource["resource"].as_str().unwrap();
            found.push((
                name.to_owned(),
                resource["verbs"].clone(),
                resource["responseKind"]["kind"].clone(),
            ));
            for sub in resource["subresources"].as_array().into_iter().flatten() {
                let name = format!("{name}/{}", sub["subresource"].as_str().unwrap());
                found.push((name, sub["verbs"].clone(), sub["responseKind"]["kind"].clone()));
            }
        }
        assert_eq!(found, old, "{group_version}");
    }
}
