//! An operator with its tests, as somebody would write them who depends on this crate: a `Greeting` becomes a ConfigMap of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use envtest::Environment;
use futures::StreamExt;
use k8s_openapi::{
    api::{
        core::v1::ConfigMap,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, GroupVersionKind, Patch, PatchParams, PostParams},
    core::object::Object,
    runtime::{
        controller::{Action, Controller},
        wait::await_condition,
        watcher,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Whom to greet.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct GreetingSpec {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct GreetingStatus {
    text: String,
}

/// Most operators derive this and the definition from the types, with `kube::CustomResource`.
type Greeting = Object<GreetingSpec, GreetingStatus>;

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("demo.example.com", "v1", "Greeting"))
}

fn definition() -> CustomResourceDefinition {
    let name = json!({"type": "string", "maxLength": 20, "default": "world"});
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "properties": {"name": name}},
        "status": {"type": "object", "properties": {"text": {"type": "string"}}},
    }});
    let version = json!({"name": "v1", "served": true, "storage": true,
        "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({
        "metadata": {"name": "greetings.demo.example.com"},
        "spec": {
            "group": "demo.example.com", "scope": "Namespaced", "versions": [version],
            "names": {"kind": "Greeting", "plural": "greetings", "singular": "greeting"},
        },
    });
    serde_json::from_value(definition).unwrap()
}

async fn reconcile(greeting: Arc<Greeting>, client: Arc<Client>) -> kube::Result<Action> {
    let namespace = greeting.namespace().unwrap_or_default();
    let (name, text) = (greeting.name_any(), format!("Hello, {}!", greeting.spec.name));
    let apply = PatchParams::apply("greeter").force();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "ownerReferences": [greeting.controller_owner_ref(&resource())]},
        "data": {"text": text},
    });
    let maps = Api::<ConfigMap>::namespaced(Client::clone(&client), &namespace);
    maps.patch(&name, &apply, &Patch::Apply(map)).await?;
    let greetings =
        Api::<Greeting>::namespaced_with(Client::clone(&client), &namespace, &resource());
    let status = Patch::Merge(json!({"status": {"text": text}}));
    greetings.patch_status(&name, &PatchParams::default(), &status).await?;
    Ok(Action::await_change())
}

/// The operator itself: what its `main` runs.
async fn run(client: Client) {
    let greetings = Api::<Greeting>::all_with(client.clone(), &resource());
    Controller::new_with(greetings, watcher::Config::default(), resource())
        .owns(Api::<ConfigMap>::all(client.clone()), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client))
        .for_each(async |_| {})
        .await;
}

const ACCOUNT: &str = "system:serviceaccount:default:greeter";

/// The roles that are deployed with the operator.
async fn grant(client: Client) {
    let rules = json!([
        {"apiGroups": ["demo.example.com"], "resources": ["greetings", "greetings/status"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch", "create", "patch"]},
    ]);
    let metadata = json!({"name": "greeter"});
    let role = json!({"metadata": metadata, "rules": rules});
    let role: ClusterRole = serde_json::from_value(role).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &role).await.unwrap();
    let binding = json!({
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "greeter"},
        "subjects": [{"kind": "ServiceAccount", "name": "greeter", "namespace": "default"}],
    });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(client).create(&PostParams::default(), &binding).await.unwrap();
}

/// An environment with the operator in it.
async fn environment() -> Environment {
    let environment = Environment::start().await;
    environment.install([definition()]).await.unwrap();
    grant(environment.client()).await;
    let groups = ["system:serviceaccounts", "system:authenticated"];
    tokio::spawn(run(environment.client_as(ACCOUNT, &groups)));
    environment
}

fn greetings(environment: &Environment) -> Api<Greeting> {
    Api::default_namespaced_with(environment.client(), &resource())
}

fn greeting(name: &str, whom: &str) -> Greeting {
    Greeting::new(name, &resource(), GreetingSpec { name: whom.to_owned() })
}

fn says(text: &'static str) -> impl Fn(Option<&ConfigMap>) -> bool {
    move |map| map.and_then(|map| map.data.as_ref()).is_some_and(|data| data["text"] == text)
}

#[tokio::test]
async fn a_greeting_becomes_a_config_map_of_its_own() {
    let environment = environment().await;
    let greetings = greetings(&environment);
    let greeting = greeting("a", "you");
    let greeting = greetings.create(&PostParams::default(), &greeting).await.unwrap();
    let maps = Api::<ConfigMap>::default_namespaced(environment.client());
    let map = await_condition(maps.clone(), "a", says("Hello, you!")).await.unwrap().unwrap();
    assert_eq!(map.owner_references(), [greeting.controller_owner_ref(&resource()).unwrap()]);
    let told = |greeting: Option<&Greeting>| {
        greeting.is_some_and(|greeting| {
            greeting.status.as_ref().is_some_and(|it| it.text == "Hello, you!")
        })
    };
    await_condition(greetings, "a", told).await.unwrap();
    // What somebody else writes does not stay.
    let other = Patch::Merge(json!({"data": {"text": "Go away"}}));
    maps.patch("a", &PatchParams::default(), &other).await.unwrap();
    await_condition(maps, "a", says("Hello, you!")).await.unwrap();
}

#[tokio::test]
async fn the_schema_gives_defaults_and_refuses() {
    let environment = environment().await;
    let greetings = greetings(&environment);
    let long = greeting("a", &"x".repeat(21));
    let refused = greetings.create(&PostParams::default(), &long).await.unwrap_err();
    let kube::Error::Api(refused) = refused else { panic!("{refused}") };
    assert!(refused.message.contains("spec.name: Too long"), "{}", refused.message);
    let apply = PatchParams::apply("test");
    let nameless = json!({"apiVersion": "demo.example.com/v1", "kind": "Greeting", "spec": {}});
    let greeting = greetings.patch("b", &apply, &Patch::Apply(nameless)).await.unwrap();
    assert_eq!(greeting.spec.name, "world");
}
