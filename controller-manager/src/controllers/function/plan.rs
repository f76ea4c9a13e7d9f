//! What there is to do for a function: pure.
//!
//! The version that is wanted gets a set. If another one serves, the wanted one's set is first made as large as that
//! one's, and takes over when all of it is ready; the other one's instances go a moment later, when gateways have heard of
//! it. What is wrong with a version is told and not final: it takes over if it becomes ready after all.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::ReplicaSet;
use api_types::jiff::Timestamp;
use api_types::meta::Time;
use api_types::minik8s::{
    Function, FunctionSpec, FunctionStatus, FunctionVersion, FunctionVersionPhase as Phase,
};

use super::{instances, status};
use crate::frame::Next;

/// Gateways hear of a version that has taken over within this time.
const HEARD: Duration = Duration::from_secs(3);

/// What is seen of a function.
pub(super) struct Seen<'a> {
    pub(super) function: &'a Function,
    pub(super) sets: &'a [Arc<ReplicaSet>],
    /// What keeps instances of a version from being ready.
    pub(super) trouble: &'a dyn Fn(i64) -> Option<String>,
    pub(super) url: String,
    pub(super) now: Timestamp,
}

/// What there is to do; the status first.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) status: FunctionStatus,
    pub(super) actions: Vec<Action>,
    pub(super) next: Next,
}

#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Makes a version's set.
    Create { version: i64, replicas: i32 },
    /// Makes a set larger or smaller.
    Scale { version: i64, replicas: i32 },
    /// Removes the set of a version that is forgotten.
    Delete { version: i64 },
}

pub(super) fn plan(seen: &Seen<'_>) -> Plan {
    let function = seen.function;
    let mut status = function.status.clone().unwrap_or_default();
    let wanted = status::wanted(&function.spec, &mut status.versions, seen.now);
    let mut planning =
        Planning { seen, wanted, is_lost: false, status, actions: Vec::new(), next: Next::Change };
    planning.serve();
    planning.retire();
    planning.tell();
    Plan { status: planning.status, actions: planning.actions, next: planning.next }
}

struct Planning<'a> {
    seen: &'a Seen<'a>,
    wanted: i64,
    /// Whether the wanted version cannot be made again.
    is_lost: bool,
    status: FunctionStatus,
    actions: Vec<Action>,
    next: Next,
}

impl Planning<'_> {
    fn serve(&mut self) {
        let Some(version) = status::find(&self.status.versions, self.wanted) else { return };
        if version.image.is_none() {
            return;
        }
        let set = self.set(self.wanted);
        // Of an earlier version only its set knows what it is made of.
        self.is_lost = set.is_none() && !status::is_of(version, &self.seen.function.spec);
        let size = self.size();
        let is_serving = self.status.version == Some(self.wanted);
        match &set {
            None if !self.is_lost => {
                self.actions.push(Action::Create { version: self.wanted, replicas: size });
            }
            Some(set) if !is_serving && instances::replicas(set) < size => {
                self.actions.push(Action::Scale { version: self.wanted, replicas: size });
            }
            _ => {}
        }
        let ready = set.as_deref().map_or(0, instances::ready);
        self.note_readiness(ready);
        if !is_serving && (self.serving().is_none() || ready >= size) {
            self.status.version = Some(self.wanted);
            self.status.serving_since = Some(Time(self.seen.now));
        }
    }

    /// How many instances of the wanted version there are to be before it takes over.
    fn size(&self) -> i32 {
        let FunctionSpec { min_scale, max_scale, .. } = self.seen.function.spec;
        let serving = self.status.version.filter(|version| *version != self.wanted);
        let serving = serving.and_then(|version| self.set(version));
        let now = serving.as_deref().map_or(0, instances::replicas);
        now.max(min_scale.unwrap_or_default()).max(1).min(max_scale.unwrap_or(i32::MAX))
    }

    /// A version that was ready once stays so.
    fn note_readiness(&mut self, ready: i32) {
        let trouble = (self.seen.trouble)(self.wanted);
        let version = status::find_mut(&mut self.status.versions, self.wanted);
        let Some(version) = version.filter(|version| version.phase != Phase::Ready) else { return };
        if ready > 0 {
            (version.phase, version.message) = (Phase::Ready, None);
        } else if trouble.is_some() {
            (version.phase, version.message) = (Phase::Failed, trouble);
        }
    }

    /// Other versions have no instances, and those beyond the limit no set.
    fn retire(&mut self) {
        let kept = status::kept(&self.status, self.wanted, &self.seen.function.spec);
        for set in self.seen.sets {
            let Some(version) = instances::version(set) else { continue };
            if version == self.wanted || Some(version) == self.status.version {
                continue;
            }
            if instances::replicas(set) > 0 {
                self.empty(version);
            } else if !kept.contains(&version) && instances::is_empty(set) {
                self.actions.push(Action::Delete { version });
            }
        }
    }

    fn empty(&mut self, version: i64) {
        let since = self.status.serving_since.as_ref().map_or(self.seen.now, |time| time.0);
        let left = (since + HEARD).duration_since(self.seen.now);
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => self.next = self.next.or_after(left),
            _ => self.actions.push(Action::Scale { version, replicas: 0 }),
        }
    }

    fn tell(&mut self) {
        let set = self.serving().and_then(|version| self.set(version.version));
        let counts = set.as_ref().and_then(|set| set.status.as_ref());
        self.status.replicas = counts.map_or(0, |counts| counts.replicas);
        self.status.ready_replicas = counts.and_then(|c| c.ready_replicas).unwrap_or_default();
        self.status.url = Some(self.seen.url.clone());
        self.status.observed_generation = self.seen.function.metadata.generation;
        let state = match self.is_lost {
            true => status::State::Lost,
            false => status::State::Kept((self.seen.trouble)(self.wanted)),
        };
        let Seen { function, now, .. } = *self.seen;
        status::set_conditions(&mut self.status, self.wanted, state, function, now);
    }

    fn serving(&self) -> Option<&FunctionVersion> {
        status::find(&self.status.versions, self.status.version?)
    }

    fn set(&self, version: i64) -> Option<Arc<ReplicaSet>> {
        let mut sets = self.seen.sets.iter();
        sets.find(|set| instances::version(set) == Some(version)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(version: i64, replicas: i32, ready: i32) -> Arc<ReplicaSet> {
        let labels = json!({Function::VERSION_LABEL: version.to_string()});
        let set = json!({
            "metadata": {"name": format!("add-v{version}"), "generation": 1, "labels": labels},
            "spec": {"replicas": replicas, "selector": {}},
            "status": {"replicas": ready, "readyReplicas": ready, "observedGeneration": 1},
        });
        Arc::new(serde_json::from_value(set).unwrap())
    }

    /// Version 2 is wanted, version 1 has served for 10 s or for less than a second.
    fn function(serving: i64, seconds: i64, more: Value) -> (Function, Timestamp) {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let mut function = json!({
            "metadata": {"name": "add"},
            "spec": {"runtime": "container", "image": "one", "maxScale": 10, "historyLimit": 3},
        });
        let mut decoded: Function = serde_json::from_value(function.clone()).unwrap();
        let mut status = FunctionStatus::default();
        for image in ["one", "two"] {
            decoded.spec.image = Some(image.to_owned());
            status::wanted(&decoded.spec, &mut status.versions, now);
        }
        status.version = Some(serving);
        status.serving_since = Some(Time(now - Duration::from_secs(seconds.unsigned_abs())));
        function["spec"]["image"] = json!("two");
        let spec = function["spec"].as_object_mut().unwrap();
        spec.extend(more.as_object().cloned().unwrap_or_default());
        let mut function: Function = serde_json::from_value(function).unwrap();
        function.status = Some(status);
        (function, now)
    }

    /// The version that serves then, and what is done.
    fn check(
        (function, now): (Function, Timestamp),
        sets: &[Arc<ReplicaSet>],
        serving: i64,
        actions: &[Action],
    ) -> Next {
        let seen = Seen { function: &function, sets, trouble: &|_| None, url: String::new(), now };
        let plan = plan(&seen);
        assert_eq!(plan.status.version, Some(serving));
        assert_eq!(plan.actions, actions);
        plan.next
    }

    #[test]
    fn the_next_version_gets_as_many_instances_as_serve() {
        let create = |replicas| [Action::Create { version: 2, replicas }];
        check(function(1, 10, json!({})), &[set(1, 3, 3)], 1, &create(3));
        check(function(1, 10, json!({})), &[set(1, 0, 0)], 1, &create(1));
        check(function(1, 10, json!({"minScale": 2})), &[set(1, 0, 0)], 1, &create(2));
        check(function(1, 10, json!({"maxScale": 2})), &[set(1, 3, 3)], 1, &create(2));
        let grown = [Action::Scale { version: 2, replicas: 4 }];
        check(function(1, 10, json!({})), &[set(1, 4, 4), set(2, 3, 3)], 1, &grown);
    }

    #[test]
    fn it_serves_once_all_of_them_are_ready() {
        check(function(1, 10, json!({})), &[set(1, 3, 3), set(2, 3, 2)], 1, &[]);
        let next = check(function(1, 10, json!({})), &[set(1, 3, 3), set(2, 3, 3)], 2, &[]);
        assert_eq!(next, Next::After(HEARD), "gateways have to hear of it");
    }

    #[test]
    fn instances_that_are_about_to_go_do_not_count() {
        let grown = [Action::Scale { version: 2, replicas: 2 }];
        check(function(1, 10, json!({})), &[set(1, 2, 2), set(2, 0, 2)], 1, &grown);
    }

    #[test]
    fn the_old_instances_go_when_gateways_have_heard() {
        let next = check(function(2, 1, json!({})), &[set(1, 3, 3), set(2, 3, 3)], 2, &[]);
        assert_eq!(next, Next::After(Duration::from_secs(2)));
        let gone = [Action::Scale { version: 1, replicas: 0 }];
        check(function(2, 3, json!({})), &[set(1, 3, 3), set(2, 3, 3)], 2, &gone);
    }

    #[test]
    fn a_set_beyond_the_limit_goes_when_it_is_empty() {
        let limit = || json!({"historyLimit": 0});
        check(function(2, 9, limit()), &[set(1, 0, 1), set(2, 3, 3)], 2, &[]);
        let deleted = [Action::Delete { version: 1 }];
        check(function(2, 9, limit()), &[set(1, 0, 0), set(2, 3, 3)], 2, &deleted);
        check(function(2, 9, json!({})), &[set(1, 0, 0), set(2, 3, 3)], 2, &[]);
    }

    #[test]
    fn an_earlier_version_comes_back_from_its_own_set() {
        let back = || json!({"rollbackTo": 1});
        let grown = [Action::Scale { version: 1, replicas: 3 }];
        check(function(2, 9, back()), &[set(1, 0, 0), set(2, 3, 3)], 2, &grown);
        check(function(2, 9, back()), &[set(1, 3, 3), set(2, 3, 3)], 1, &[]);
    }

    #[test]
    fn an_earlier_version_whose_set_is_gone_cannot_come_back_and_says_so() {
        for (serving, instances) in [(1, 0), (2, 3)] {
            let (function, now) = function(serving, 9, json!({"rollbackTo": 1}));
            let sets = [set(2, instances, instances)];
            let url = String::new();
            let seen = Seen { function: &function, sets: &sets, trouble: &|_| None, url, now };
            let Plan { status, actions, .. } = plan(&seen);
            assert_eq!((status.version, actions), (Some(serving), Vec::new()));
            let ready = status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
            assert_eq!((&*ready.status, &*ready.reason), ("False", "VersionLost"));
            let told = "version 1 cannot serve again: its ReplicaSet add-v1 is gone; \
                        take spec.rollbackTo back, or roll back to another version";
            assert!(ready.message.starts_with(told), "{}", ready.message);
        }
    }
}
