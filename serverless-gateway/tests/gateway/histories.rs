//! Generated histories: instances come and go, and some that are said to be ready do not listen, while calls come. Each
//! call is answered, and was worked on once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, routing::post};
use futures::future::join_all;
use kube::runtime::watcher::Event;
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::rig::{Rig, address, function, instance, pod_of};

/// Instances by the last byte of their addresses. Those above `LISTENING` do not listen.
const INSTANCES: u8 = 4;
const LISTENING: u8 = 2;

#[derive(Clone, Debug)]
enum Step {
    Call(usize),
    /// An instance's pod becomes ready, or unready.
    Tell(u8, bool),
    /// Calls that an instance is given at a time.
    Concurrency(u8),
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20_usize).prop_map(Step::Call),
        5 => (1..=INSTANCES, any::<bool>()).prop_map(|(which, ready)| Step::Tell(which, ready)),
        1 => (0..4_u8).prop_map(Step::Concurrency),
        2 => Just(Step::Pause),
    ]
}

/// How often each call was worked on.
type Worked = Arc<Mutex<BTreeMap<String, usize>>>;

struct Scene {
    rig: Rig,
    worked: Worked,
    calls: Vec<JoinHandle<u16>>,
}

async fn work(State(worked): State<Worked>, id: String) {
    *worked.lock().unwrap().entry(id).or_default() += 1;
    tokio::time::sleep(Duration::from_millis(2)).await;
}

impl Scene {
    async fn new() -> Self {
        let worked = Worked::default();
        let routes = Router::new().route("/", post(work)).with_state(worked.clone());
        let port = instance(address(1), 0, routes.clone()).await;
        for which in 2..=LISTENING {
            instance(address(which), port, routes.clone()).await;
        }
        Scene { rig: Rig::start(port, &[]).await, worked, calls: Vec::new() }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Call(count) => (0..count).for_each(|_| self.call()),
            Step::Tell(which, ready) => self.tell(which, ready),
            Step::Concurrency(most) => {
                let add = function("add", &json!({"containerConcurrency": most}));
                self.rig.functions.function(Event::Apply(add));
            }
            Step::Pause => tokio::time::sleep(Duration::from_millis(3)).await,
        }
    }

    fn call(&mut self) {
        let id = self.calls.len().to_string();
        let call = self.rig.client.post(format!("{}/add", self.rig.url)).body(id).send();
        self.calls.push(tokio::spawn(async { call.await.unwrap().status().as_u16() }));
    }

    fn tell(&self, which: u8, ready: bool) {
        self.rig.functions.pod(Event::Apply(pod_of("add", "1", address(which), ready)));
    }

    async fn end(self) {
        self.tell(1, true);
        let calls = self.calls.len();
        for code in join_all(self.calls).await {
            assert_eq!(code.unwrap(), 200);
        }
        let worked = self.worked.lock().unwrap();
        assert_eq!(worked.len(), calls);
        assert!(worked.values().all(|times| *times == 1), "{worked:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 32, ..ProptestConfig::default() })]

    #[test]
    fn no_call_is_lost_or_doubled_while_instances_come_and_go(steps in vec(step(), 1..30)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut scene = Scene::new().await;
            for step in &steps {
                scene.take(step).await;
            }
            scene.end().await;
        });
    }
}
