//! What programs that use kube-rs do, after its own examples: typed and dynamic objects, entries, server-side apply,
//! watchers, reflectors and metadata, and a controller that owns objects and keeps a finalizer.

use std::{sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{ConfigMap, Pod},
    apiextensions::v1::CustomResourceDefinition,
};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Object,
        PartialObjectMeta, PartialObjectMetaExt, Patch, PatchParams, PostParams,
    },
    core::ObjectMeta,
    discovery::{Discovery, Scope, pinned_kind, verbs},
    runtime::{
        Controller, WatchStreamExt,
        controller::Action,
        finalizer::{self, Event, finalizer},
        reflector,
        wait::{await_condition, conditions},
        watcher::{self, watcher},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{ControlPlane, pod, wait};

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"tour": "1"}}, "data": {"value": value},
    }))
    .unwrap()
}

fn value(map: &ConfigMap) -> &str {
    &map.data.as_ref().unwrap()["value"]
}

fn maps(plane: &ControlPlane) -> Api<ConfigMap> {
    Api::default_namespaced(plane.client())
}

#[tokio::test]
async fn typed_objects_are_written_read_in_pages_and_deleted() {
    let plane = ControlPlane::start().await;
    let (maps, post) = (maps(&plane), PostParams::default());
    for i in 0..25 {
        maps.create(&post, &config_map(&format!("m{i}"), "0")).await.unwrap();
    }
    let (mut page, mut names) = (ListParams::default().labels("tour=1").limit(10), vec![]);
    loop {
        let list = maps.list_metadata(&page).await.unwrap();
        names.extend(list.items.iter().map(ResourceExt::name_any));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names.len(), 25, "{names:?}");
    let stale = maps.get("m0").await.unwrap();
    let entry = maps.entry("m0").await.unwrap();
    let mut entry = entry
        .and_modify(|map| drop(map.data.replace([("value".into(), "1".into())].into())))
        .or_insert(|| unreachable!("it is there"));
    entry.commit(&post).await.unwrap();
    let conflict = maps.replace("m0", &post, &stale).await.unwrap_err();
    assert!(matches!(conflict, kube::Error::Api(status) if status.is_conflict()));
    let gone = maps.delete("m0", &DeleteParams::default().preconditions(of(&stale))).await;
    gone.unwrap().right().expect("it is gone at once");
    maps.delete_collection(&DeleteParams::default(), &ListParams::default().labels("tour=1"))
        .await
        .unwrap();
    assert!(maps.get_opt("m1").await.unwrap().is_none());
}

fn of(map: &ConfigMap) -> kube::api::Preconditions {
    kube::api::Preconditions { uid: map.uid(), ..Default::default() }
}

#[tokio::test]
async fn pods_have_a_status_and_end_gracefully() {
    let plane = ControlPlane::start().await;
    let pods: Api<Pod> = Api::default_namespaced(plane.client());
    pods.create(&PostParams::default(), &pod("web").node("n1").build()).await.unwrap();
    let running = json!({"status": {"phase": "Running"}});
    pods.patch_status("web", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
    let is_running = await_condition(pods.clone(), "web", conditions::is_pod_running());
    wait::within("it runs", is_running).await.unwrap();
    let metadata = ObjectMeta { labels: Some([("a".into(), "1".into())].into()), ..<_>::default() };
    let metadata = metadata.into_request_partial::<Pod>();
    let params = PatchParams::apply("tour");
    let labelled = pods.patch_metadata("web", &params, &Patch::Apply(&metadata)).await.unwrap();
    assert_eq!(labelled.labels()["a"], "1");
    let uid = labelled.uid().unwrap();
    let ending = pods.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(ending.left().expect("it ends first").metadata.deletion_timestamp.is_some());
    pods.delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
    let is_deleted = await_condition(pods, "web", conditions::is_deleted(&uid));
    wait::within("it is gone", is_deleted).await.unwrap();
}

#[tokio::test]
async fn server_side_apply_keeps_managers_apart() {
    let plane = ControlPlane::start().await;
    let maps = maps(&plane);
    let apply = async |manager: &str, force: bool, data: Value| {
        let (kind, api_version) = ("ConfigMap", "v1");
        let map = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "m"}, "data": data});
        let params = PatchParams::apply(manager);
        let params = if force { params.force() } else { params };
        maps.patch("m", &params, &Patch::Apply(map)).await
    };
    apply("one", false, json!({"value": "1", "other": "1"})).await.unwrap();
    let refused = apply("two", false, json!({"value": "2"})).await.unwrap_err();
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert!(status.is_conflict() && status.message.contains("conflict with \"one\": .data.value"));
    apply("two", true, json!({"value": "2"})).await.unwrap();
    let left = apply("one", false, json!({})).await.unwrap();
    assert_eq!(left.data.unwrap(), [("value".to_owned(), "2".to_owned())].into());
}

/// Follows maps into a store by watches as configured, and sees that the store has them as they are.
async fn reflects(plane: &ControlPlane, config: watcher::Config) {
    let maps = maps(plane);
    maps.create(&PostParams::default(), &config_map("before", "0")).await.unwrap();
    let (reader, writer) = reflector::store();
    let stream = watcher(maps.clone(), config.labels("tour=1")).default_backoff();
    let stream = stream.modify(|map| map.managed_fields_mut().clear()).reflect(writer);
    let following = tokio::spawn(stream.touched_objects().try_for_each(async |_| Ok(())));
    wait::within("it has listed", reader.wait_until_ready()).await.unwrap();
    // A streamed list begins with what any version has, which may be older than the map.
    wait::until("the store has the first map", async || match &reader.state()[..] {
        [map] if map.name_any() == "before" && value(map) == "0" => Ok(()),
        state => Err(state.to_vec()),
    })
    .await;
    maps.create(&PostParams::default(), &config_map("after", "0")).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"value": "1"}}));
    maps.patch("after", &PatchParams::default(), &patch).await.unwrap();
    maps.delete("before", &DeleteParams::default()).await.unwrap();
    wait::until("the store has them as they are", async || {
        let state = reader.state();
        match &state[..] {
            [map] if map.name_any() == "after" && value(map) == "1" => Ok(()),
            _ => Err(state),
        }
    })
    .await;
    following.abort();
    maps.delete("after", &DeleteParams::default()).await.unwrap();
}

#[tokio::test]
async fn reflectors_follow_lists_and_streamed_lists() {
    let plane = ControlPlane::start().await;
    reflects(&plane, watcher::Config::default().page_size(1)).await;
    let before = plane.requests().len();
    reflects(&plane, watcher::Config::default().streaming_lists()).await;
    let asked = plane.requests()[before..].join("\n");
    assert!(asked.contains("sendInitialEvents=true"), "{asked}");
    assert!(!asked.contains("limit="), "{asked}");
}

fn definition() -> Value {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let schema = object(json!({
        "spec": object(json!({"content": {"type": "string"}})),
        "status": object(json!({"generated": {"type": "integer"}})),
    }));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "generators.tour.example.com"},
        "spec": {
            "group": "tour.example.com", "scope": "Namespaced",
            "names": {"plural": "generators", "singular": "generator", "kind": "Generator"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
            }],
        },
    })
}

/// Applies the definition and waits until its kind is served.
async fn define(client: &Client) -> ApiResource {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let (name, params) = ("generators.tour.example.com", PatchParams::apply("tour"));
    definitions.patch(name, &params, &Patch::Apply(definition())).await.unwrap();
    let established = await_condition(definitions, name, conditions::is_crd_established());
    wait::within("it is established", established).await.unwrap();
    let kind = GroupVersionKind::gvk("tour.example.com", "v1", "Generator");
    let (resource, capabilities) = pinned_kind(client, &kind).await.unwrap();
    assert_eq!(capabilities.scope, Scope::Namespaced);
    assert!(capabilities.supports_operation(verbs::WATCH));
    resource
}

#[tokio::test]
async fn dynamic_objects_of_discovered_kinds_are_written_and_watched() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    let resource = define(&client).await;
    let found = Discovery::new(client.clone()).run_aggregated().await.unwrap();
    let group = found.get("tour.example.com").expect("it is discovered");
    assert_eq!(group.recommended_kind("Generator").unwrap().0, resource);
    let metadata: Api<PartialObjectMeta<DynamicObject>> =
        Api::default_namespaced_with(client.clone(), &resource);
    let generators: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let mut seen = watcher(metadata, watcher::Config::default()).touched_objects().boxed();
    let made = DynamicObject::new("g", &resource).data(json!({"spec": {"content": "a"}}));
    let made = generators.create(&PostParams::default(), &made).await.unwrap();
    assert_eq!(
        (made.data["spec"]["content"].as_str(), &made.data["status"]),
        (Some("a"), &Value::Null)
    );
    let told = wait::within("it is told of", seen.try_next()).await.unwrap().unwrap();
    assert_eq!(told.name_any(), "g");
    let status = Patch::Merge(json!({"status": {"generated": 1}, "spec": {"content": "b"}}));
    let changed = generators.patch_status("g", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(changed.data, json!({"spec": {"content": "a"}, "status": {"generated": 1}}));
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Spec {
    content: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Status {
    generated: i64,
}

type Generator = Object<Spec, Status>;

/// What the controller is given.
struct Context {
    client: Client,
    resource: ApiResource,
}

impl Context {
    fn generators(&self) -> Api<Generator> {
        Api::default_namespaced_with(self.client.clone(), &self.resource)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client.clone())
    }

    /// Makes the map that a generator wants, and says so.
    async fn apply(&self, generator: &Generator) -> kube::Result<Action> {
        let owner = generator.controller_owner_ref(&self.resource).expect("it is stored");
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": generator.name_any(), "ownerReferences": [owner]},
            "data": {"value": generator.spec.content},
        });
        let params = PatchParams::apply("generator").force();
        self.maps().patch(&generator.name_any(), &params, &Patch::Apply(map)).await?;
        let status = json!({"status": {"generated": generator.metadata.generation}});
        let (name, params) = (generator.name_any(), PatchParams::default());
        self.generators().patch_status(&name, &params, &Patch::Merge(status)).await?;
        Ok(Action::await_change())
    }

    async fn clean_up(&self, generator: &Generator) -> kube::Result<Action> {
        let (maps, name) = (self.maps(), generator.name_any());
        // It may have been done before.
        if maps.get_opt(&name).await?.is_some() {
            maps.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(Action::await_change())
    }
}

async fn reconcile(
    generator: Arc<Generator>,
    context: Arc<Context>,
) -> Result<Action, finalizer::Error<kube::Error>> {
    let generators = context.generators();
    finalizer(&generators, "tour.example.com/map", generator, async |event| match event {
        Event::Apply(generator) => context.apply(&generator).await,
        Event::Cleanup(generator) => context.clean_up(&generator).await,
    })
    .await
}

async fn control(context: Arc<Context>) {
    let (config, resource) = (watcher::Config::default(), context.resource.clone());
    Controller::new_with(context.generators(), config.clone(), resource)
        .owns(context.maps(), config)
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(100)), context)
        .for_each(|_| std::future::ready(()))
        .await;
}

#[tokio::test]
async fn a_controller_owns_objects_and_cleans_up_by_its_finalizer() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    let resource = define(&client).await;
    let context = Arc::new(Context { client, resource });
    let (generators, maps) = (context.generators(), context.maps());
    tokio::spawn(control(context.clone()));
    let made = Generator::new("g", &context.resource, Spec { content: "a".to_owned() });
    generators.create(&PostParams::default(), &made).await.unwrap();
    wait::until_is(&maps, "g", "is made", |map| value(map) == "a").await;
    let patch = Patch::Merge(json!({"spec": {"content": "b"}}));
    generators.patch("g", &PatchParams::default(), &patch).await.unwrap();
    let first = wait::until_is(&maps, "g", "is changed", |map| value(map) == "b").await;
    maps.delete("g", &DeleteParams::default()).await.unwrap();
    let is_another = |map: &ConfigMap| map.uid() != first.uid() && value(map) == "b";
    wait::until_is(&maps, "g", "is made anew", is_another).await;
    let has_told = |status: &Value| status["status"]["generated"] == 2;
    wait::until("its status says what was done", async || {
        let now = serde_json::to_value(generators.get("g").await.unwrap()).unwrap();
        if has_told(&now) { Ok(()) } else { Err(now) }
    })
    .await;
    generators.delete("g", &DeleteParams::default()).await.unwrap();
    wait::until("both are gone", async || {
        let left = (generators.get_opt("g").await.unwrap(), maps.get_opt("g").await.unwrap());
        if let (None, None) = left { Ok(()) } else { Err(left) }
    })
    .await;
}
