//! A kind that comes from data, while the server runs: over HTTPS, with a client that knows no types either.

use futures::{StreamExt, TryStreamExt};
use http::Request;
use kube::{
    Api, Client, Discovery,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    core::ApiResource,
};
use registry::{
    Column, CustomResource, Names, PrinterColumn, SameFields, ScalePaths, Scope, SelectorPath,
};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};

use crate::harness::TABLE;

const GROUP: &str = "stable.example.com";

fn names(version: &str) -> Names {
    Names {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        kind: "CronTab".to_owned(),
        plural: "crontabs".to_owned(),
        singular: "crontab".to_owned(),
        list_kind: "CronTabList".to_owned(),
        short_names: vec!["ct".to_owned()],
        categories: vec!["all".to_owned()],
    }
}

/// The example of Kubernetes' documentation, with a scale.
pub(crate) fn cron_tab(version: &str) -> CustomResource {
    let spec = json!({"type": "object", "required": ["cronSpec"], "properties": {
        "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
        "image": {"type": "string", "default": "cron:1"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "window": {"x-kubernetes-int-or-string": true, "nullable": true},
    }});
    let status = json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "labelSelector": {"type": "string"},
    }});
    let path = |outer: &str, inner: &str| vec![outer.to_owned(), inner.to_owned()];
    let column =
        Column { name: "Spec".to_owned(), type_: "string".to_owned(), ..Column::default() };
    CustomResource {
        names: names(version),
        scope: Scope::Namespaced,
        schema: json!({"type": "object", "properties": {"spec": spec, "status": status}}),
        columns: vec![PrinterColumn { column, json_path: ".spec.cronSpec".to_owned() }],
        has_status: true,
        scale: Some(ScalePaths {
            spec_replicas: path("spec", "replicas"),
            status_replicas: path("status", "replicas"),
            selector: SelectorPath::Text(path("status", "labelSelector")),
        }),
        deprecation_warning: None,
        webhook: None,
        conversion: None,
        is_served: true,
        selectable_fields: Vec::new(),
    }
}

/// In two versions.
fn serve(plane: &ControlPlane) {
    let mut kinds = plane.server().kinds();
    let beta = CustomResource { conversion: Some(Box::new(SameFields)), ..cron_tab("v1beta1") };
    kinds.extend([cron_tab("v1"), beta].map(|resource| resource.build().unwrap().into()));
    plane.server().serve_kinds(kinds).unwrap();
}

/// A server and an administrator's client over HTTPS.
async fn start() -> (ControlPlane, Client) {
    let plane = ControlPlane::builder().listen().start().await;
    let kubeconfig = plane.kubeconfig("admin", &["system:masters"], &[]);
    let args =
        component::ClientArgs { kubeconfig: Some(kubeconfig), ..component::ClientArgs::default() };
    let client = component::client(&args).await.unwrap();
    component::wait_for_apiserver(&client).await;
    (plane, client)
}

fn resource(version: &str) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{GROUP}/{version}"),
        kind: "CronTab".to_owned(),
        plural: "crontabs".to_owned(),
    }
}

fn api(client: &Client, version: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), "default", &resource(version))
}

fn object(name: &str, spec: &Value) -> DynamicObject {
    DynamicObject::new(name, &resource("v1")).data(json!({"spec": spec}))
}

const PATH: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

async fn get(client: &Client, path: &str, accept: &str) -> Value {
    let request = Request::get(path).header("Accept", accept).body(Vec::new()).unwrap();
    client.request(request).await.unwrap()
}

fn code(error: kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

async fn next(
    events: &mut (impl StreamExt<Item = kube::Result<WatchEvent<DynamicObject>>> + Unpin),
) -> String {
    let event = wait::within("the watch tells of a change", events.next()).await;
    match event.expect("the watch goes on").unwrap() {
        WatchEvent::Added(o) => {
            format!("ADDED {} {}", o.metadata.name.unwrap(), o.data["spec"]["replicas"])
        }
        WatchEvent::Modified(o) => {
            format!("MODIFIED {} {}", o.metadata.name.unwrap(), o.data["spec"]["replicas"])
        }
        WatchEvent::Deleted(o) => {
            format!("DELETED {} {}", o.metadata.name.unwrap(), o.data["spec"]["replicas"])
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_kind_from_data_comes_and_goes_while_the_server_runs() {
    let (plane, client) = start().await;
    let before = plane.server().kinds();
    let (tabs, beta) = (api(&client, "v1"), api(&client, "v1beta1"));
    assert_eq!(code(tabs.list(&ListParams::default()).await.unwrap_err()), 404);

    serve(&plane);
    let post = PostParams::default();
    let created = tabs
        .create(&post, &object("a", &json!({"cronSpec": "* * * * *", "odd": 1})))
        .await
        .unwrap();
    let defaulted = json!({"cronSpec": "* * * * *", "image": "cron:1", "replicas": 1});
    assert_eq!(created.data["spec"], defaulted);
    assert_eq!(tabs.get("a").await.unwrap(), created);
    assert_eq!(
        beta.get("a").await.unwrap().types.unwrap().api_version,
        "stable.example.com/v1beta1"
    );
    let wrong = tabs.create(&post, &object("b", &json!({"cronSpec": "* *"}))).await.unwrap_err();
    assert_eq!(code(wrong), 422);

    let params = WatchParams::default();
    let mut events = tabs.watch(&params, "0").await.unwrap().boxed();
    let mut of_beta = beta.watch(&params, "0").await.unwrap().boxed();
    assert_eq!(next(&mut events).await, "ADDED a 1");
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let patched = tabs.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.metadata.generation, Some(2));
    assert_eq!(next(&mut events).await, "MODIFIED a 3");
    assert_eq!([next(&mut of_beta).await, next(&mut of_beta).await], ["ADDED a 1", "MODIFIED a 3"]);
    let strategic = Patch::Strategic(json!({"spec": {"replicas": 4}}));
    let refused = tabs.patch("a", &PatchParams::default(), &strategic).await.unwrap_err();
    assert_eq!(code(refused), 415);
    let config = object("applied", &json!({"cronSpec": "* * * * *"}));
    let applied = tabs.patch("applied", &PatchParams::apply("test"), &Patch::Apply(&config)).await;
    let fields = applied.unwrap().metadata.managed_fields.unwrap()[0].fields_v1.clone();
    assert_eq!(fields.unwrap().0, json!({"f:spec": {"f:cronSpec": {}}}));
    assert_eq!(next(&mut events).await, "ADDED applied 1");
    let mut unknown = config;
    unknown.data["spec"]["cron"] = json!("x");
    let by = PatchParams::apply("test");
    let refused = tabs.patch("applied", &by, &Patch::Apply(&unknown)).await.unwrap_err();
    assert_eq!(code(refused), 400);
    tabs.delete("applied", &DeleteParams::default()).await.unwrap();
    assert_eq!(next(&mut events).await, "DELETED applied 1");
    let status =
        json!({"status": {"replicas": 2, "labelSelector": "a=b"}, "spec": {"replicas": 9}});
    let reported =
        tabs.patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    assert_eq!(
        (&reported.data["status"]["replicas"], &reported.data["spec"]["replicas"]),
        (&json!(2), &json!(3))
    );
    let scale = tabs.get_scale("a").await.unwrap();
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("a=b"));
    let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
    tabs.patch_scale("a", &PatchParams::default(), &scale).await.unwrap();
    let listed = tabs.list(&ListParams::default().labels("!x")).await.unwrap();
    assert_eq!(listed.items.iter().map(|o| &o.data["spec"]["replicas"]).collect::<Vec<_>>(), [5]);
    assert_eq!(
        [next(&mut events).await, next(&mut events).await],
        ["MODIFIED a 3", "MODIFIED a 5"]
    );

    plane.server().serve_kinds(before).unwrap();
    for events in [events, of_beta] {
        let ended = wait::within("the watch ends", events.try_collect::<Vec<_>>()).await;
        ended.expect("in order");
    }
    assert_eq!(code(tabs.get("a").await.unwrap_err()), 404);
    assert_eq!(code(tabs.watch(&params, "0").await.err().unwrap()), 404);

    serve(&plane);
    tabs.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(tabs.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_kind_from_data_is_discovered_described_and_shown_as_others_are() {
    let (plane, client) = start().await;
    serve(&plane);
    let discovery = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let group = discovery.get(GROUP).unwrap();
    assert_eq!(group.versions().collect::<Vec<_>>(), ["v1", "v1beta1"]);
    let (found, capabilities) = group.recommended_kind("CronTab").unwrap();
    assert_eq!(found, resource("v1"));
    let subresources = capabilities.subresources.iter().map(|(of, _)| of.plural.as_str());
    assert_eq!(subresources.collect::<Vec<_>>(), ["status", "scale"]);
    let old = get(&client, "/apis/stable.example.com/v1", "application/json").await;
    assert_eq!(old["resources"][0]["shortNames"], json!(["ct"]));

    let document = get(&client, "/openapi/v3/apis/stable.example.com/v1", "application/json").await;
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["replicas"]["maximum"], 10);
    let metadata = json!("#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let found = &schema["properties"]["metadata"];
    assert!(found["$ref"] == metadata || found["allOf"][0]["$ref"] == metadata, "{found}");
    let patch =
        &document["paths"][format!("{}/{{name}}", PATH.replace("default", "{namespace}"))]["patch"];
    let taken = patch["requestBody"]["content"].as_object().unwrap();
    assert!(taken.keys().all(|media| !media.contains("strategic")), "{taken:?}");

    let spec = json!({"cronSpec": "*/5 * * * *"});
    api(&client, "v1").create(&PostParams::default(), &object("a", &spec)).await.unwrap();
    let table = get(&client, PATH, TABLE).await;
    let headings = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].clone());
    assert_eq!(headings.collect::<Vec<_>>(), ["Name", "Spec"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "*/5 * * * *"]));
}

/// With a default that was not there before.
fn serve_with_suspend(plane: &ControlPlane) {
    let kinds = plane.server().kinds().into_iter().filter(|def| def.names.group != GROUP);
    let later = |version: &str| {
        let mut resource = cron_tab(version);
        let suspend = json!({"type": "boolean", "default": false});
        resource.schema["properties"]["spec"]["properties"]["suspend"] = suspend;
        resource
    };
    let beta = CustomResource { conversion: Some(Box::new(SameFields)), ..later("v1beta1") };
    let served = [later("v1"), beta].map(|resource| resource.build().unwrap().into());
    plane.server().serve_kinds(kinds.chain(served).collect()).unwrap();
}

#[tokio::test]
async fn an_object_has_the_defaults_that_came_after_it_was_stored() {
    let (plane, client) = start().await;
    serve(&plane);
    let tabs = api(&client, "v1");
    let spec = json!({"cronSpec": "* * * * *", "replicas": 5});
    tabs.create(&PostParams::default(), &object("cached", &spec)).await.unwrap();
    serve_with_suspend(&plane);
    // One that the cache meets only now, as after a restart: to the byte as a server writes it.
    let stored = plane.store();
    let collection = "/registry/stable.example.com/crontabs/default";
    let entry = stored.get(&format!("{collection}/cached")).await.unwrap().unwrap();
    let text = String::from_utf8(entry.value.to_vec()).unwrap().replace("cached", "read");
    stored.put(&format!("{collection}/read"), text.into(), None).await.unwrap();

    let suspend = |object: &DynamicObject| object.data["spec"]["suspend"].clone();
    for tabs in [&tabs, &api(&client, "v1beta1")] {
        let listed = tabs.list(&ListParams::default()).await.unwrap();
        assert_eq!(listed.items.iter().map(suspend).collect::<Vec<_>>(), [false, false]);
        for name in ["cached", "read"] {
            assert_eq!(suspend(&tabs.get(name).await.unwrap()), false, "{name}");
        }
        let params = WatchParams::default();
        let events = tabs.watch(&params, "0").await.unwrap().boxed();
        let first = wait::within("the objects that are there", events.take(2).collect::<Vec<_>>());
        for event in first.await {
            let Ok(WatchEvent::Added(object)) = event else { panic!("{event:?}") };
            assert_eq!(suspend(&object), false);
        }
    }
    // What is written has it, and is the object that was read.
    let unless = Patch::Json::<()>(
        serde_json::from_value(json!([
            {"op": "test", "path": "/spec/suspend", "value": false},
            {"op": "replace", "path": "/spec/replicas", "value": 6},
        ]))
        .unwrap(),
    );
    for name in ["cached", "read"] {
        tabs.patch(name, &PatchParams::default(), &unless).await.unwrap();
        let entry = stored.get(&format!("{collection}/{name}")).await.unwrap().unwrap();
        let object: Value = serde_json::from_slice(&entry.value).unwrap();
        assert_eq!(object["spec"]["suspend"], false, "{name}");
    }
}
