//! Pools over a control plane in process; what waits in them is played by a server of the test's.

use std::net::Ipv4Addr;

use api_types::api::core::v1::Event;
use kube::api::ListParams;
use serde_json::Value;
use testkit::{ControlPlane, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::controllers::{self, tests::context};
use crate::frame;
use crate::workers::WorkersArgs;

/// What a load came with, and what was answered.
type Loads = Arc<Mutex<Vec<String>>>;

struct World {
    plane: ControlPlane,
    pools: Pools,
    informers: Informers,
    functions: Api<Function>,
    sets: Api<ReplicaSet>,
    pods: Api<Pod>,
    loads: Loads,
    answer: Arc<Mutex<&'static str>>,
    _tasks: JoinSet<()>,
}

impl World {
    /// All of functions' controllers but the one that builds images, and that of ReplicaSets.
    async fn new(size: &str) -> Self {
        Self::over(ControlPlane::start().await, size).await
    }

    async fn over(plane: ControlPlane, size: &str) -> Self {
        let mut context =
            context(plane.listwatch_as("kube-controller-manager"), WorkersArgs::default());
        context.settings.functions.warm_pool = vec![size.parse().unwrap()];
        let mut tasks = JoinSet::new();
        let (loads, answer) = (Loads::default(), Arc::new(Mutex::new("200 OK")));
        let port = serve(&mut tasks, loads.clone(), answer.clone()).await;
        let mut pools = Pools::new(&context);
        Arc::get_mut(&mut pools.inner).unwrap().port = port;
        let registered =
            [register_pools(&context, &pools), controllers::replicaset::register(&context)];
        context.informers.start(&context.listwatch, &mut tasks);
        registered.iter().for_each(|registered| frame::work(registered, &mut tasks));
        let client = plane.client();
        Self {
            pools,
            informers: context.informers.clone(),
            functions: Api::namespaced(client.clone(), "default"),
            sets: Api::namespaced(client.clone(), "default"),
            pods: Api::namespaced(client, "default"),
            loads,
            answer,
            plane,
            _tasks: tasks,
        }
    }

    /// A function whose version 1 serves, without instances.
    async fn add(&self, name: &str, spec: Value) -> Function {
        let mut function = json!({
            "apiVersion": "minik8s.io/v1", "kind": "Function", "metadata": {"name": name},
            "spec": {"source": {"files": {"func.py": "def main(p): pass"}}},
        });
        function["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let function = serde_json::from_value(function).unwrap();
        let mut function: Function =
            self.functions.create(&PostParams::default(), &function).await.unwrap();
        let mut known = api_types::minik8s::FunctionStatus::default();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        known.version =
            Some(super::super::status::wanted(&function.spec, &mut known.versions, now));
        known.versions[0].image = Some("built".to_owned());
        function.status = Some(known.clone());
        let set = instances::set(&function, &known.versions[0], 0, None);
        self.sets.create(&PostParams::default(), &set).await.unwrap();
        self.functions.replace_status(name, &PostParams::default(), &function).await.unwrap()
    }

    /// As the autoscaler asks for them.
    async fn take(&self, function: &Function, replicas: u32) -> bool {
        let name = format!("{}-v1", function.metadata.name.as_ref().unwrap());
        let key = ObjectKey::new("default", name);
        let set = wait::until("the set is seen", async || {
            self.informers.replica_sets.get(&key).ok_or("it is not")
        });
        self.pools.take(function, &set.await, replicas)
    }

    /// The container of a pod has ended, and runs again.
    async fn restart(&self, pod: &Pod) {
        let status = json!({"status": {"containerStatuses": [{"name": "function", "image": "",
            "imageID": "", "ready": true, "restartCount": 1,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
        let name = pod.metadata.name.as_ref().unwrap();
        let (params, patch) = (PatchParams::default(), Patch::Merge(status));
        self.pods.patch_status(name, &params, &patch).await.unwrap();
    }

    async fn all(&self) -> Vec<Pod> {
        self.pods.list(&ListParams::default()).await.unwrap().items
    }

    /// Waits until so many pods wait, has them ready, and gives their uids.
    async fn until_waiting(&self, count: usize) -> Vec<String> {
        let waiting = async || {
            let mut pods = self.all().await;
            pods.retain(|pod| adoption::waits(pod) && crate::pods::is_active(pod));
            if pods.len() == count { Ok(pods) } else { Err(pods.len()) }
        };
        let pods = wait::until("instances wait", waiting).await;
        for pod in &pods {
            let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1",
                "conditions": [{"type": "Ready", "status": "True"}]}});
            let name = pod.metadata.name.as_ref().unwrap();
            self.pods
                .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
                .await
                .unwrap();
        }
        wait::until("they are seen", async || {
            let seen = self.pools.inner.waiting("default").len();
            if seen == count && self.pools.inner.tokens.lock().len() == 1 {
                Ok(())
            } else {
                Err(seen)
            }
        })
        .await;
        pods.into_iter().filter_map(|pod| pod.metadata.uid).collect()
    }

    /// Waits until the function has so many instances, and gives them.
    async fn until_instances(&self, function: &str, count: usize) -> Vec<Pod> {
        let instances = async || {
            let mut pods = self.all().await;
            pods.retain(|pod| {
                label(pod, Function::LABEL) == Some(function) && crate::pods::is_active(pod)
            });
            if pods.len() == count { Ok(pods) } else { Err(self.all().await) }
        };
        wait::until(&format!("{function} has {count} instances"), instances).await
    }

    async fn until_status(&self, set: &str, replicas: i32) {
        wait::until_is(&self.sets, set, "counts its pods", |set| {
            set.status.as_ref().is_some_and(|s| {
                s.replicas == replicas && s.observed_generation == set.metadata.generation
            })
        })
        .await;
    }

    async fn until_asked(&self, what: &str, times: usize, is_it: impl Fn(&str) -> bool) {
        wait::until(&format!("the API server is asked {what}"), async || {
            let requests = self.plane.requests();
            let asked = requests.iter().filter(|request| is_it(request)).count();
            if asked >= times { Ok(()) } else { Err(asked) }
        })
        .await;
    }

    fn made(&self) -> usize {
        let created =
            |request: &&String| request.starts_with("POST /api/v1/namespaces/default/pods?");
        self.plane.requests().iter().filter(created).count()
    }
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    Some(pod.metadata.labels.as_ref()?.get(name)?.as_str())
}

/// Notes what it is asked, and answers as it is told.
async fn serve(tasks: &mut JoinSet<()>, loads: Loads, answer: Arc<Mutex<&'static str>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            loads.lock().push(String::from_utf8(request).unwrap());
            let body = r#"{"error": {"type": "SyntaxError", "message": "in line 1"}}"#;
            let answer = *answer.lock();
            let head = format!("HTTP/1.1 {answer}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).await.unwrap();
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_where_a_function_may_need_it_and_goes_with_the_last_one() {
    let world = World::new("2").await;
    world.add("busy", json!({"minScale": 1})).await;
    world.add("large", json!({"resources": {"limits": {"memory": "1Gi"}}})).await;
    world.add("add", json!({})).await;
    world.until_waiting(2).await;
    let pod = world.all().await.remove(0);
    let container = &pod.spec.unwrap().containers[0];
    assert_eq!(container.image.as_deref(), Some("minik8s/function-python:0.1"));
    let env: Vec<_> =
        container.env.iter().flatten().map(|v| (&*v.name, v.value.as_deref())).collect();
    assert_eq!(
        env,
        [("MINIK8S_WARM", Some("1")), ("MINIK8S_LOAD_TOKEN", None)],
        "the token is in a secret"
    );
    world.functions.delete("add", &DeleteParams::default()).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    // Nobody takes the finalizer away here.
    world.functions.patch("add", &PatchParams::default(), &patch).await.ok();
    wait::until("the pool is gone", async || {
        let secrets = Api::<Secret>::namespaced(world.plane.client(), "default");
        let left = (
            world.sets.get_opt(objects::NAME).await.unwrap().is_some(),
            secrets.get_opt(objects::NAME).await.unwrap().is_some(),
        );
        if left == (false, false) { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_waits_becomes_the_functions_and_is_replaced() {
    let world = World::new("python=1").await;
    let function = world.add("add", json!({"env": [{"name": "WHO", "value": "me"}]})).await;
    let waiting = world.until_waiting(1).await;
    assert!(world.take(&function, 1).await);
    let instance = world.until_instances("add", 1).await.remove(0);
    assert_eq!(instance.metadata.uid.as_ref(), Some(&waiting[0]));
    assert_eq!(label(&instance, Function::VERSION_LABEL), Some("1"));
    let owner = crate::owners::controller_of(&instance.metadata).unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "add-v1"));
    let loads = world.loads.lock().clone();
    let token = world.pools.inner.tokens.lock()["default"].clone();
    assert!(loads[0].starts_with("POST /_minik8s/load HTTP/1.1\r\n"), "{loads:?}");
    assert!(loads[0].contains(&format!("authorization: Bearer {token}\r\n")), "{loads:?}");
    assert!(loads[0].contains(r#""env":{"WHO":"me"}"#) && loads.len() == 1, "{loads:?}");
    let next = world.until_waiting(1).await;
    assert_ne!(next, waiting);
    world.until_status("add-v1", 1).await;
    assert_eq!(world.made(), 2, "both of the pool's; the function's own set made none");

    // Idle again, it goes like any other.
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    world.sets.patch("add-v1", &PatchParams::default(), &patch).await.unwrap();
    world.until_instances("add", 0).await;
    world.until_status("add-v1", 0).await;
    wait::until("it may have another one", async || {
        if world.take(&function, 1).await { Ok(()) } else { Err("not yet") }
    })
    .await;
    assert_eq!(world.until_instances("add", 1).await[0].metadata.uid.as_ref(), Some(&next[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pool_does_not_have_the_set_makes() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let waiting = world.until_waiting(1).await;
    assert!(world.take(&function, 3).await);
    let instances = world.until_instances("add", 3).await;
    let of_pool = instances.iter().filter(|pod| pod.metadata.uid.as_ref() == Some(&waiting[0]));
    assert_eq!(of_pool.count(), 1);
    world.until_waiting(1).await;
    assert_eq!(world.made(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_loaded_is_started_by_itself_and_told() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let waiting = world.until_waiting(1).await;
    *world.answer.lock() = "422 Unprocessable Content";
    assert!(world.take(&function, 1).await);
    let instance = world.until_instances("add", 1).await.remove(0);
    assert_eq!(instance.spec.unwrap().containers[0].image.as_deref(), Some("built"));
    assert_ne!(world.until_waiting(1).await, waiting, "what has failed is not used again");
    let events = Api::<Event>::namespaced(world.plane.client(), "default");
    wait::until("it is told", async || {
        let told = events.list(&ListParams::default()).await.unwrap().items;
        let message = "add-v1 cannot be loaded into a waiting instance, and is started by itself: SyntaxError: in line 1";
        let found = told.iter().any(|event| event.message.as_deref() == Some(message));
        if found { Ok(()) } else { Err(told) }
    })
    .await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    world.sets.patch("add-v1", &PatchParams::default(), &patch).await.unwrap();
    world.until_instances("add", 0).await;
    world.until_status("add-v1", 0).await;
    wait::until("nothing is under way", async || {
        if world.take(&function, 1).await { Err("it is") } else { Ok(()) }
    })
    .await;
    assert_eq!(world.loads.lock().len(), 1, "it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_loaded_but_not_handed_over_is_replaced() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let waiting = world.until_waiting(1).await;
    let name = world
        .pods
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
        .remove(0)
        .metadata
        .name
        .unwrap();
    let refused = world.plane.refuse(move |request| {
        request.method() == "PATCH" && request.uri().path().ends_with(&format!("/pods/{name}"))
    });
    assert!(world.take(&function, 1).await);
    let instance = world.until_instances("add", 1).await.remove(0);
    drop(refused);
    assert_ne!(instance.metadata.uid.as_ref(), Some(&waiting[0]));
    assert_ne!(world.until_waiting(1).await, waiting);
    world.until_status("add-v1", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_container_has_ended_is_replaced() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let before = world.until_waiting(1).await;
    world.restart(&world.all().await[0]).await;
    wait::until("the one that waited is replaced", async || {
        let left = world.all().await;
        if left.iter().any(|pod| pod.metadata.uid == Some(before[0].clone())) {
            Err(left)
        } else {
            Ok(())
        }
    })
    .await;
    let waiting = world.until_waiting(1).await;
    assert!(world.take(&function, 1).await);
    let adopted = world.until_instances("add", 1).await.remove(0);
    assert_eq!(adopted.metadata.uid.as_ref(), Some(&waiting[0]));
    world.restart(&adopted).await;
    wait::until("the function's is replaced", async || {
        let instances = world.until_instances("add", 1).await;
        let image = instances[0].spec.as_ref().unwrap().containers[0].image.clone();
        if image.as_deref() == Some("built") { Ok(()) } else { Err(instances) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_ends_whenever_the_api_server_allows_it() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let waiting = world.until_waiting(1).await;
    *world.answer.lock() = "503 Service Unavailable";
    let deletes =
        |request: &str| request.starts_with("DELETE /api/v1/namespaces/default/pods/warm-python-");
    let patches = |request: &str| request.starts_with("PATCH") && request.contains("/add-v1?");
    let undeletable = world
        .plane
        .refuse(move |request| deletes(&format!("{} {}", request.method(), request.uri())));
    assert!(world.take(&function, 1).await);
    world.until_asked("to delete the instance", 1, deletes).await;
    let unchangeable = world
        .plane
        .refuse(move |request| patches(&format!("{} {}", request.method(), request.uri())));
    drop(undeletable);
    world
        .until_asked("to make the set larger, and twice to take the promise back", 3, patches)
        .await;
    drop(unchangeable);
    world.until_instances("add", 1).await;
    assert_ne!(world.until_waiting(1).await, waiting);
    wait::until("nothing is under way", async || {
        if world.take(&function, 1).await { Err("it is") } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_can_be_used_by_a_controller_that_has_just_started() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    world.until_waiting(1).await;
    wait::until("the pool is seen to be full", async || {
        let pool = world.informers.replica_sets.get(&ObjectKey::new("default", objects::NAME));
        if pool.is_some_and(|pool| instances::ready(&pool) == 1) {
            Ok(())
        } else {
            Err("it is not")
        }
    })
    .await;
    world.pools.inner.tokens.lock().clear();
    world.pools.reconcile(&ObjectKey::cluster("default")).await.unwrap();
    assert!(world.take(&function, 1).await);
}

/// It was made before the cluster had another registry.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_pulled_with_another_secret_is_made_anew() {
    let world = World::new("1").await;
    world.add("add", json!({})).await;
    world.until_waiting(1).await;
    let before = world.sets.get(objects::NAME).await.unwrap();
    let pod = json!({"imagePullSecrets": [{"name": "other"}]});
    let patch = Patch::Merge(json!({"spec": {"template": {"spec": pod}}}));
    world.sets.patch(objects::NAME, &PatchParams::default(), &patch).await.unwrap();
    wait::until("the pool is made anew", async || {
        match world.sets.get_opt(objects::NAME).await.unwrap() {
            Some(set) if set.metadata.uid != before.metadata.uid => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_nobody_is_left_to_keep_ends() {
    let plane = ControlPlane::start().await;
    let world = World::over(plane, "1").await;
    world.add("add", json!({})).await;
    let waiting = world.until_waiting(1).await;
    let name = world.all().await.remove(0).metadata.name.unwrap();
    // As another controller-manager left it, that ended between its two writes.
    let patch = Patch::Merge(json!({
        "metadata": {"annotations": {adoption::PROMISED: name}}, "spec": {"replicas": 1},
    }));
    world.sets.patch("add-v1", &PatchParams::default(), &patch).await.unwrap();
    let instance = world.until_instances("add", 1).await.remove(0);
    assert_ne!(instance.metadata.uid.as_ref(), Some(&waiting[0]));
    assert_ne!(world.until_waiting(1).await, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_for_a_set_that_has_instances_or_cannot_be_loaded() {
    let world = World::new("1").await;
    let function = world.add("add", json!({})).await;
    let large = world.add("large", json!({"timeoutSeconds": 1000})).await;
    world.until_waiting(1).await;
    assert!(!world.take(&large, 1).await);
    assert!(!world.take(&function, 0).await);
    let patch = Patch::Merge(json!({"spec": {"replicas": 1}}));
    world.sets.patch("add-v1", &PatchParams::default(), &patch).await.unwrap();
    world.until_status("add-v1", 1).await;
    let key = ObjectKey::new("default", "add-v1");
    wait::until("that is seen", async || {
        let set = world.informers.replica_sets.get(&key);
        set.filter(|set| instances::replicas(set) == 1).map(drop).ok_or("it is not")
    })
    .await;
    assert!(!world.take(&function, 1).await);
    assert!(world.loads.lock().is_empty());
}
