//! Generated histories of rollouts: the controller sees each set late, writes are refused where it saw too little, and
//! pods come and go at their own pace.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::tests::deployment;
use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another template.
    Update(u8),
    /// The controller sees the newest version of the Nth set.
    See(usize),
    Look,
    /// The Nth set makes and removes pods.
    Work(usize),
    /// A pod of the Nth set becomes ready.
    Ready(usize),
}

/// A set as it is, and what runs of it.
#[derive(Clone)]
struct Running {
    set: ReplicaSet,
    ready: i32,
    made: i32,
}

struct World {
    deployment: Deployment,
    sets: BTreeMap<String, Running>,
    seen: BTreeMap<String, ReplicaSet>,
    writes: u32,
    /// The controller's last write to each set.
    own: BTreeMap<String, u32>,
}

impl World {
    /// A Deployment whose first rollout is done.
    fn new(wanted: i32, surge: i32, unavailable: i32) -> Self {
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let spec = json!({"replicas": wanted, "strategy": {"rollingUpdate": rolling}});
        let deployment = deployment(spec);
        let mut world = Self {
            deployment,
            sets: BTreeMap::new(),
            seen: BTreeMap::new(),
            writes: 0,
            own: BTreeMap::new(),
        };
        world.settle();
        world
    }

    fn step(&mut self, step: Step) {
        let names: Vec<String> = self.sets.keys().cloned().collect();
        let name = |place: usize| names.get(place % names.len().max(1)).cloned();
        match step {
            Step::Update(image) => {
                let spec = self.deployment.spec.as_mut().unwrap();
                let pod = spec.template.spec.as_mut().unwrap();
                pod.containers[0].image = Some(image.to_string());
            }
            Step::See(place) => self.see(name(place)),
            Step::Look => self.look(),
            Step::Work(place) => self.work(name(place)),
            Step::Ready(place) => {
                if let Some(running) = name(place).and_then(|name| self.sets.get_mut(&name)) {
                    running.ready = (running.ready + 1).min(running.made);
                }
                self.report(name(place));
            }
        }
    }

    fn see(&mut self, name: Option<String>) {
        let Some(name) = name else { return };
        let now = self.sets[&name].set.clone();
        self.seen.insert(name, now);
    }

    /// Pods that don't serve go first.
    fn work(&mut self, name: Option<String>) {
        if let Some(running) = name.as_ref().and_then(|name| self.sets.get_mut(name)) {
            running.made = replicas(&running.set);
            running.ready = running.ready.min(running.made);
        }
        self.report(name);
    }

    fn report(&mut self, name: Option<String>) {
        let Some(running) = name.and_then(|name| self.sets.get_mut(&name)) else { return };
        let status = json!({"replicas": running.made, "readyReplicas": running.ready, "availableReplicas": running.ready});
        let status = Some(serde_json::from_value(status).unwrap());
        if running.set.status != status {
            running.set.status = status;
            self.writes += 1;
            running.set.metadata.resource_version = Some(self.writes.to_string());
        }
    }

    fn shows_own_writes(&self) -> bool {
        let version = |name: &String| -> u32 {
            let seen = self.seen.get(name).and_then(|set| set.metadata.resource_version.as_ref());
            seen.map_or(0, |version| version.parse().unwrap())
        };
        self.own.iter().all(|(name, own)| version(name) >= *own)
    }

    fn look(&mut self) {
        if !self.shows_own_writes() {
            return;
        }
        let seen = self.seen.values().cloned().map(Arc::new).collect();
        let sets = Sets::of(&self.deployment, seen);
        let spec = self.deployment.spec.clone().unwrap();
        for action in plan::actions(&self.deployment, &spec, &sets, false) {
            if !self.write(action) {
                return;
            }
        }
    }

    /// Whether it was not refused.
    fn write(&mut self, action: Action) -> bool {
        self.writes += 1;
        let version = Some(self.writes.to_string());
        match action {
            Action::Create(set) => {
                let name = set.metadata.name.clone().unwrap();
                let mut set = *set;
                set.metadata.resource_version = version;
                let made = api_types::jiff::Timestamp::from_second(self.writes.into()).unwrap();
                set.metadata.creation_timestamp = Some(api_types::meta::Time(made));
                let is_new = !self.sets.contains_key(&name);
                if is_new {
                    self.own.insert(name.clone(), self.writes);
                }
                self.sets.entry(name).or_insert(Running { set, ready: 0, made: 0 });
                is_new
            }
            Action::Change { set, replicas, annotations, .. } => {
                let name = set.metadata.name.as_deref().unwrap();
                let now = &mut self.sets.get_mut(name).unwrap().set;
                if now.metadata.resource_version != set.metadata.resource_version {
                    return false;
                }
                now.metadata.resource_version = version;
                self.own.insert(name.to_owned(), self.writes);
                now.metadata.annotations.get_or_insert_default().extend(annotations);
                now.spec.as_mut().unwrap().replicas = Some(replicas);
                true
            }
            Action::Delete(_) => true,
        }
    }

    fn total(&self) -> i32 {
        self.sets.values().map(|running| replicas(&running.set)).sum()
    }

    fn serving(&self) -> i32 {
        self.sets.values().map(|running| running.ready).sum()
    }

    /// All is seen and done, until nothing changes.
    fn settle(&mut self) {
        let mut before = None;
        while before != Some(self.writes) {
            before = Some(self.writes);
            for name in self.sets.keys().cloned().collect::<Vec<_>>() {
                self.work(Some(name.clone()));
                let running = self.sets.get_mut(&name).unwrap();
                running.ready = running.made;
                self.report(Some(name.clone()));
                self.see(Some(name));
            }
            self.look();
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..3_u8).prop_map(Step::Update),
        6 => (0..4_usize).prop_map(Step::See),
        6 => Just(Step::Look),
        4 => (0..4_usize).prop_map(Step::Work),
        6 => (0..4_usize).prop_map(Step::Ready),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_rollout_keeps_its_limits_and_ends(
        wanted in 1..8_i32,
        surge in 0..4_i32,
        unavailable in 0..4_i32,
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::new(wanted, surge, unavailable);
        let limits = rolling::Limits::of(world.deployment.spec.as_ref().unwrap());
        prop_assert_eq!(world.serving(), wanted);
        for step in steps {
            world.step(step);
            prop_assert!(world.total() <= limits.most(), "{} of at most {}", world.total(), limits.most());
            prop_assert!(world.serving() >= limits.least_available(), "{} serve", world.serving());
        }
        world.settle();
        let image = world.deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone();
        for running in world.sets.values() {
            let template = running.set.spec.as_ref().unwrap().template.as_ref().unwrap();
            let is_new = template.spec.as_ref().unwrap().containers[0].image == image;
            prop_assert_eq!(running.ready, if is_new { wanted } else { 0 });
        }
    }
}
