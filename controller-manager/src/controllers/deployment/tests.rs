//! The arithmetic of rollouts against Kubernetes' own, and the status over time.

use api_types::api::apps::v1::Deployment;
use api_types::jiff::Timestamp;
use serde_json::{Value, json};

use super::rolling::Limits;
use super::*;

pub(super) fn deployment(spec: Value) -> Deployment {
    let mut whole = json!({
        "replicas": 10, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600,
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "new"}]}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    });
    json_patch::merge(&mut whole, &spec);
    let metadata = json!({"namespace": "ns", "name": "web", "uid": "d", "generation": 1});
    serde_json::from_value(json!({"metadata": metadata, "spec": whole})).unwrap()
}

/// A set that was made in second `age`, with so many pods, of which so many serve.
fn set(age: i64, image: &str, replicas: i32, available: i32) -> ReplicaSet {
    let made = Timestamp::from_second(age).unwrap().to_string();
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": format!("web-{age}"), "uid": age.to_string(), "creationTimestamp": made},
        "spec": {"replicas": replicas, "selector": {}, "template": {
            "metadata": {"labels": {"app": "web", "pod-template-hash": "x"}},
            "spec": {"containers": [{"name": "main", "image": image}]},
        }},
        "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available},
    }))
    .unwrap()
}

fn sets(deployment: &Deployment, all: Vec<ReplicaSet>) -> Sets {
    Sets::of(deployment, all.into_iter().map(Arc::new).collect())
}

fn limits(wanted: i32, surge: Value, unavailable: Value) -> Limits {
    let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
    let made = deployment(json!({"replicas": wanted, "strategy": {"rollingUpdate": rolling}}));
    Limits::of(made.spec.as_ref().unwrap())
}

#[test]
fn parts_of_pods_are_more_and_not_fewer() {
    let check = |wanted, surge, unavailable, expected| {
        let limits = limits(wanted, surge, unavailable);
        assert_eq!((limits.surge, limits.unavailable), expected);
    };
    check(10, json!("25%"), json!("25%"), (3, 2));
    check(1, json!("25%"), json!("25%"), (1, 0));
    check(10, json!(0), json!(0), (0, 1));
    check(10, json!("0%"), json!("1%"), (0, 1));
    check(2, json!(1), json!(5), (1, 2));
    check(0, json!("25%"), json!("25%"), (0, 1));
}

/// Kubernetes' table for `NewRSNewReplicas`.
#[test]
fn the_new_set_grows_into_the_room_that_there_is() {
    let made = deployment(json!({}));
    let check = |wanted, surge: i32, old: i32, new: i32, expected: i32| {
        let sets = sets(&made, vec![set(1, "old", old, old), set(2, "new", new, 0)]);
        let limits = limits(wanted, json!(surge), json!(1));
        assert_eq!(rolling::of_new(limits, &sets, new), expected, "{wanted} {surge} {old} {new}");
    };
    check(10, 0, 10, 0, 0);
    check(10, 2, 10, 0, 2);
    check(10, 2, 5, 0, 7);
    check(10, 2, 10, 2, 2);
    check(10, 2, 0, 2, 10);
    check(10, 2, 0, 12, 10);
    check(1, 2, 10, 0, 0);
}

/// Kubernetes' table for `reconcileOldReplicaSets` and `cleanupUnhealthyReplicas`.
#[test]
fn old_sets_shrink_by_what_does_not_serve_and_then_by_what_may_be_missing() {
    let made = deployment(json!({}));
    let check = |unavailable: i32, old: &[(i32, i32)], new: (i32, i32), expected: &[i32]| {
        let old = old.iter().zip(1..).map(|((all, serve), age)| set(age, "old", *all, *serve));
        let all = old.chain([set(9, "new", new.0, new.1)]).collect();
        let limits = limits(10, json!(2), json!(unavailable));
        let left = rolling::of_old(limits, &sets(&made, all));
        let left: Vec<i32> = left.into_iter().map(|(_, left)| left).collect();
        assert_eq!(left, expected, "{unavailable} {new:?}");
    };
    check(0, &[(10, 10)], (0, 0), &[]);
    check(2, &[(10, 10)], (0, 0), &[8]);
    check(2, &[(10, 8)], (0, 0), &[8]);
    check(2, &[(10, 9)], (0, 0), &[8]);
    check(2, &[(8, 8)], (4, 0), &[]);
    check(2, &[(8, 8)], (4, 2), &[6]);
    check(0, &[(10, 0)], (2, 0), &[]);
    check(0, &[(10, 0)], (2, 2), &[8]);
    check(2, &[(3, 0), (7, 7)], (2, 0), &[1]);
    check(2, &[(4, 4), (4, 4)], (4, 4), &[0]);
}

/// Kubernetes' table for proportional scaling.
#[test]
fn a_change_in_size_is_shared_by_the_sets_of_a_rollout() {
    let check = |before: i32, after: i32, sizes: &[i32], expected: &[i32]| {
        let made = deployment(json!({"replicas": after}));
        let noted = |mut set: ReplicaSet| {
            set.metadata.annotations = Some(
                [(sets::DESIRED, before), (sets::MAXIMUM, before)]
                    .map(|(name, count)| (name.to_owned(), count.to_string()))
                    .into(),
            );
            set
        };
        let newest = sizes.len();
        let all = sizes.iter().enumerate().map(|(place, size)| {
            let image = if place + 1 == newest { "new" } else { "old" };
            noted(set(i64::try_from(place).unwrap() + 1, image, *size, 0))
        });
        let sets = sets(&made, all.collect());
        assert!(proportions::is_due(after, &sets));
        let limits = Limits { wanted: after, surge: 0, unavailable: 0 };
        let mut scaled = proportions::scaled(limits, &sets, false);
        scaled.sort_by_key(|(set, _)| sets::age(set));
        let sizes: Vec<i32> = scaled.into_iter().map(|(_, size)| size).collect();
        assert_eq!(sizes, expected, "{before} to {after}");
    };
    check(10, 12, &[10], &[12]);
    check(10, 5, &[10], &[5]);
    check(10, 12, &[5, 5], &[6, 6]);
    check(10, 20, &[1, 4, 5], &[2, 8, 10]);
    check(10, 5, &[5, 5], &[2, 3]);
    check(10, 4, &[8, 2], &[3, 1]);
    check(10, 100, &[1, 9], &[10, 90]);
    check(10, 0, &[5, 5], &[0, 0]);
    check(9, 5, &[3, 3, 3], &[1, 2, 2]);
    check(10, 11, &[5, 5], &[5, 6]);
}

#[test]
fn a_set_is_known_by_its_template_and_the_oldest_of_two_alike_is_it() {
    let made = deployment(json!({}));
    let all = vec![set(3, "new", 1, 0), set(2, "new", 1, 0), set(1, "old", 1, 0)];
    let sets = sets(&made, all);
    assert_eq!(sets.new.unwrap().metadata.name.as_deref(), Some("web-2"));
    let names: Vec<_> = sets.old.iter().map(|set| set.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["web-1", "web-3"]);
}

#[test]
fn an_empty_list_is_no_other_template() {
    let made = deployment(
        json!({"template": {"metadata": {"annotations": {}}, "spec": {"tolerations": []}}}),
    );
    assert!(sets(&made, vec![set(1, "new", 1, 0)]).new.is_some());
    let other =
        deployment(json!({"template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}}));
    assert!(sets(&other, vec![set(1, "new", 1, 0)]).new.is_none());
}

#[test]
fn a_template_always_has_the_same_name_and_another_one_after_a_collision() {
    let mut made = deployment(json!({}));
    let name = |made: &Deployment| {
        sets::make(made, made.spec.as_ref().unwrap(), 1, 1).metadata.name.unwrap()
    };
    let first = name(&made);
    assert_eq!(first, name(&made.clone()));
    assert_ne!(first, name(&deployment(json!({"template": {"spec": {"hostNetwork": true}}}))));
    made.status.get_or_insert_default().collision_count = Some(1);
    assert_ne!(first, name(&made));
}

#[test]
fn old_sets_beyond_the_limit_go_once_nothing_runs_of_them() {
    let mut made = deployment(json!({"revisionHistoryLimit": 1}));
    made.metadata.name = Some("web".to_owned());
    let with = |revision: i64, size| {
        let mut set = set(10 - revision, "old", size, size);
        let revision = (sets::REVISION.to_owned(), revision.to_string());
        set.metadata.annotations = Some([revision].into());
        set
    };
    let of = |sizes: [i32; 3]| {
        let all = sizes.into_iter().zip(1..).map(|(size, revision)| with(revision, size));
        let sets = sets(&made, all.chain([set(20, "new", 1, 1)]).collect());
        let gone = sets.forgotten(&made);
        gone.iter().map(|set| set.metadata.name.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of([0, 0, 0]), ["web-9", "web-8"], "by revision, not by age");
    assert_eq!(of([0, 1, 0]), ["web-9"]);
}

/// A deployment whose status is written again and again.
struct Told {
    deployment: Deployment,
    now: i64,
}

impl Told {
    fn look(&mut self, sets: &Sets, outcome: &Outcome) -> Option<std::time::Duration> {
        let now = Timestamp::from_second(self.now).unwrap();
        let spec = self.deployment.spec.clone().unwrap();
        let (status, next) = status::of(&self.deployment, &spec, sets, outcome, now);
        self.deployment.status = Some(status);
        next
    }

    fn progressing(&self) -> (String, String) {
        let conditions = self.deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let progressing = conditions.iter().find(|it| it.type_ == "Progressing").unwrap();
        (progressing.status.clone(), progressing.reason.clone().unwrap())
    }

    #[track_caller]
    fn check(&self, status: &str, reason: &str) {
        assert_eq!(self.progressing(), (status.to_owned(), reason.to_owned()));
    }
}

#[test]
fn progress_is_told_until_it_is_done_or_too_late() {
    let mut told = Told { deployment: deployment(json!({"replicas": 2})), now: 0 };
    let of = |told: &Told, all| sets(&told.deployment, all);
    told.look(&of(&told, vec![]), &Outcome::Created("web-1".to_owned()));
    told.check("True", "NewReplicaSetCreated");
    let next = told.look(&of(&told, vec![set(1, "new", 2, 0)]), &Outcome::Found);
    told.check("True", "ReplicaSetUpdated");
    assert_eq!(next, Some(std::time::Duration::from_millis(600_001)));
    told.now = 599;
    told.look(&of(&told, vec![set(1, "new", 2, 0)]), &Outcome::Found);
    told.check("True", "ReplicaSetUpdated");
    told.now = 601;
    let next = told.look(&of(&told, vec![set(1, "new", 2, 0)]), &Outcome::Found);
    told.check("False", "ProgressDeadlineExceeded");
    assert_eq!(next, None);
    told.look(&of(&told, vec![set(1, "new", 2, 1)]), &Outcome::Found);
    told.check("True", "ReplicaSetUpdated");
    told.now = 700;
    told.look(&of(&told, vec![set(1, "new", 2, 2)]), &Outcome::Found);
    told.check("True", "NewReplicaSetAvailable");
    told.now = 9000;
    told.look(&of(&told, vec![set(1, "new", 2, 1)]), &Outcome::Found);
    told.check("True", "NewReplicaSetAvailable");
    let available = told.deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
    let available = available.iter().find(|condition| condition.type_ == "Available").unwrap();
    assert_eq!(available.status, "False");
}

#[test]
fn a_rollout_that_begins_long_after_the_last_one_is_not_late() {
    let mut told = Told { deployment: deployment(json!({"replicas": 2})), now: 0 };
    let done = sets(&told.deployment, vec![set(1, "new", 2, 2)]);
    told.look(&done, &Outcome::Found);
    told.look(&done, &Outcome::Found);
    told.check("True", "NewReplicaSetAvailable");
    told.now = 100_000;
    let begun = sets(&told.deployment, vec![set(1, "old", 2, 2), set(2, "new", 0, 0)]);
    told.look(&begun, &Outcome::Found);
    told.check("True", "NewReplicaSetAvailable");
    let going = sets(&told.deployment, vec![set(1, "old", 2, 2), set(2, "new", 1, 0)]);
    told.look(&going, &Outcome::Found);
    told.check("True", "ReplicaSetUpdated");
}

#[test]
fn numbers_beyond_reason_are_counted_up_to_the_largest() {
    let made = deployment(json!({"replicas": i32::MAX}));
    let sets = sets(&made, vec![set(1, "old", i32::MAX, 1), set(2, "new", 5, 0)]);
    let limits = limits(i32::MAX, json!(i32::MAX), json!(0));
    assert_eq!(limits.most(), i32::MAX);
    assert_eq!(rolling::of_new(limits, &sets, 5), 5);
    assert_eq!(rolling::of_old(limits, &sets), []);
}

#[test]
fn a_pause_stops_the_clock() {
    let mut told = Told { deployment: deployment(json!({"replicas": 2, "paused": true})), now: 0 };
    let sets = sets(&told.deployment, vec![set(1, "new", 2, 0)]);
    assert_eq!(told.look(&sets, &Outcome::Found), None);
    told.check("Unknown", "DeploymentPaused");
    told.now = 10_000;
    told.look(&sets, &Outcome::Found);
    told.check("Unknown", "DeploymentPaused");
    told.deployment.spec.as_mut().unwrap().paused = None;
    told.look(&sets, &Outcome::Found);
    told.check("Unknown", "DeploymentResumed");
}

#[test]
fn a_set_that_cannot_be_made_is_told() {
    let mut told = Told { deployment: deployment(json!({})), now: 0 };
    let none = sets(&told.deployment, vec![]);
    told.look(&none, &Outcome::CannotCreate("exceeded quota".to_owned()));
    told.check("False", "ReplicaSetCreateError");
    told.look(&none, &Outcome::Collision);
    assert_eq!(told.deployment.status.as_ref().unwrap().collision_count, Some(1));
}

#[test]
fn what_a_set_cannot_do_its_deployment_says() {
    let mut told = Told { deployment: deployment(json!({})), now: 0 };
    let mut failing = set(1, "new", 2, 0);
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no quota"}]);
    failing.status.as_mut().unwrap().conditions = serde_json::from_value(failure).unwrap();
    told.look(&sets(&told.deployment, vec![failing]), &Outcome::Found);
    let failures = |told: &Told| {
        let all = told.deployment.status.clone().unwrap().conditions.unwrap();
        all.into_iter()
            .filter(|it| it.type_ == "ReplicaFailure")
            .filter_map(|it| it.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(failures(&told), ["no quota"]);
    told.look(&sets(&told.deployment, vec![set(1, "new", 2, 0)]), &Outcome::Found);
    assert!(failures(&told).is_empty());
}
