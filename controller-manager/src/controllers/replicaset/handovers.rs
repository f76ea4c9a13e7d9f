//! Generated histories of pods that come from a warm pool: of a set that sees itself and its pods late, each by itself,
//! beside a pool that fails and is started anew.

use std::collections::BTreeMap;

use api_types::minik8s::Function;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

type Pods = BTreeMap<String, Arc<Pod>>;

/// What may happen next; if it cannot, nothing does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The pool has the set made larger, with so many pods promised.
    Promise {
        replicas: i32,
        pods: usize,
    },
    /// The oldest promise is kept.
    HandOver,
    /// It is not: its pod is deleted.
    GiveUp,
    /// Whoever promised is replaced by somebody who knows nothing of it, and deletes what waits and is promised.
    StartAnew,
    Scale(i32),
    SeeSet,
    SeePods,
    /// The set's controller looks.
    Look,
}

struct World {
    sets: Vec<Arc<ReplicaSet>>,
    pods: Vec<Pods>,
    /// How far the set's controller has seen.
    seen: (usize, usize),
    /// The version of the pods that shows the controller's own writes.
    own: usize,
    promises: Vec<String>,
    made: usize,
}

impl World {
    fn new() -> Self {
        let set = json!({"metadata": {"name": "add", "uid": "s", "generation": 1}, "spec": {"replicas": 0, "selector": {}}});
        let waiting = (0..3).map(|number| {
            (
                format!("w{number}"),
                pod(&format!("w{number}"), json!({"labels": {Function::POOL_LABEL: "python"}})),
            )
        });
        Self {
            sets: vec![Arc::new(serde_json::from_value(set).unwrap())],
            pods: vec![waiting.collect()],
            seen: (0, 0),
            own: 0,
            promises: Vec::new(),
            made: 0,
        }
    }

    fn latest(&self) -> &Pods {
        self.pods.last().unwrap()
    }

    fn own_pods(pods: &Pods) -> Vec<Arc<Pod>> {
        let is_own = |pod: &&Arc<Pod>| controller_of(&pod.metadata).is_some();
        pods.values().filter(is_own).cloned().collect()
    }

    fn write_pods(&mut self, change: impl FnOnce(&mut Pods)) {
        let mut pods = self.latest().clone();
        change(&mut pods);
        self.pods.push(pods);
    }

    fn write_set(&mut self, change: impl FnOnce(&mut ReplicaSet)) -> i64 {
        let mut set = ReplicaSet::clone(self.sets.last().unwrap());
        let generation = set.metadata.generation.get_or_insert_default();
        *generation += 1;
        let generation = *generation;
        change(&mut set);
        self.sets.push(Arc::new(set));
        generation
    }

    fn scale(&mut self, replicas: i32) -> i64 {
        self.write_set(|set| set.spec.as_mut().unwrap().replicas = Some(replicas))
    }

    fn generation(&self) -> i64 {
        self.sets.last().unwrap().metadata.generation.unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Promise { replicas, pods } => self.promise(replicas, pods),
            Step::HandOver => {
                let (name, at) = (self.promises.pop(), self.generation().to_string());
                let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "add", "uid": "s", "controller": true}]);
                let adopted = |name: &str| {
                    pod(
                        name,
                        json!({"ownerReferences": owner, "annotations": {Function::ADOPTED_ANNOTATION: at}}),
                    )
                };
                self.write_pods(|pods| {
                    pods.extend(name.map(|name| (name.clone(), adopted(&name))))
                });
            }
            Step::GiveUp => {
                let name = self.promises.pop();
                self.write_pods(|pods| drop(name.and_then(|name| pods.remove(&name))));
            }
            Step::StartAnew => {
                self.promises.clear();
                let (set, pods) = (self.sets.last().unwrap().clone(), self.latest().clone());
                for pod in adoption::outstanding(&set, |name| pods.get(name).cloned()) {
                    self.write_pods(|pods| drop(pods.remove(pod.metadata.name.as_ref().unwrap())));
                }
            }
            Step::Scale(replicas) => drop(self.scale(replicas)),
            Step::SeeSet => self.seen.0 = (self.seen.0 + 1).min(self.sets.len() - 1),
            Step::SeePods => self.seen.1 = (self.seen.1 + 1).min(self.pods.len() - 1),
            Step::Look => self.look(),
        }
    }

    /// As the pool does it: to a set that is to have no pod.
    fn promise(&mut self, replicas: i32, pods: usize) {
        let is_idle = self.sets.last().unwrap().spec.as_ref().unwrap().replicas == Some(0);
        let waiting = self.latest().values().filter(|pod| adoption::waits(pod));
        let names: Vec<_> =
            waiting.filter_map(|pod| pod.metadata.name.clone()).take(pods).collect();
        if is_idle && self.promises.is_empty() && !names.is_empty() {
            self.write_set(|set| {
                set.spec.as_mut().unwrap().replicas = Some(replicas);
                let promised = (adoption::PROMISED.to_owned(), names.join(","));
                set.metadata.annotations = Some([promised].into());
            });
            self.promises = names;
        }
    }

    /// What `reconcile` does between reading and writing.
    fn look(&mut self) {
        if self.seen.1 < self.own {
            return;
        }
        let (set, pods) = (self.sets[self.seen.0].clone(), self.pods[self.seen.1].clone());
        let own = Self::own_pods(&pods);
        if adoption::is_behind(&set, &own) {
            return;
        }
        let promised = adoption::outstanding(&set, |name| pods.get(name).cloned()).len();
        let (missing, surplus) = difference(&set, own.len(), promised);
        for _ in 0..missing {
            self.made += 1;
            let name = format!("m{}", self.made);
            let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "add", "uid": "s", "controller": true}]);
            let made = pod(&name, json!({"ownerReferences": owner}));
            self.write_pods(|pods| drop(pods.insert(name, made)));
            self.own = self.pods.len() - 1;
        }
        for victim in own.iter().take(surplus) {
            self.write_pods(|pods| drop(pods.remove(victim.metadata.name.as_ref().unwrap())));
            self.own = self.pods.len() - 1;
        }
    }

    /// All promises are kept, everything is seen, and looked at until nothing changes.
    fn settle(&mut self) {
        while !self.promises.is_empty() {
            self.step(Step::HandOver);
        }
        for _ in 0..3 {
            self.seen = (self.sets.len() - 1, self.pods.len() - 1);
            self.look();
        }
    }
}

fn pod(name: &str, metadata: Value) -> Arc<Pod> {
    let mut pod = json!({"metadata": metadata});
    pod["metadata"]["name"] = json!(name);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn step(scales: bool) -> impl Strategy<Value = Step> {
    let scale = if scales { 1 } else { 0 };
    prop_oneof![
        3 => (0..3_u8, 1..4_u8).prop_map(|(more, pods)| {
            Step::Promise { replicas: i32::from(more + pods), pods: pods.into() }
        }),
        3 => Just(Step::HandOver),
        scale => Just(Step::GiveUp),
        scale => Just(Step::StartAnew),
        scale => (0..4).prop_map(Step::Scale),
        4 => Just(Step::SeeSet),
        4 => Just(Step::SeePods),
        6 => Just(Step::Look),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever goes wrong, in the end there are as many as wanted.
    #[test]
    fn in_the_end_a_set_has_what_it_wants(steps in prop::collection::vec(step(true), 0..40)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        let wanted = world.sets.last().unwrap().spec.as_ref().unwrap().replicas.unwrap();
        prop_assert_eq!(World::own_pods(world.latest()).len(), usize::try_from(wanted).unwrap());
    }

    /// As long as promises are kept, however late, a set makes no pod in place of one that is promised to it, and deletes
    /// none that it was given.
    #[test]
    fn what_is_promised_is_neither_made_nor_deleted(steps in prop::collection::vec(step(false), 0..40)) {
        let mut world = World::new();
        for step in steps {
            let before = World::own_pods(world.latest()).len();
            world.step(step);
            let (own, set) = (World::own_pods(world.latest()).len(), world.sets.last().unwrap());
            prop_assert!(own >= before, "one is deleted");
            let wanted = set.spec.as_ref().unwrap().replicas.unwrap();
            prop_assert!(own + world.promises.len() <= usize::try_from(wanted).unwrap(), "one too many");
        }
    }
}
