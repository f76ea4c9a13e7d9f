//! Deployments, their ReplicaSets and pods. Nobody runs the pods: the tests say that they are ready.

use api_types::api::apps::v1::{Deployment, ReplicaSet};
use api_types::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::{Value, json};
use testkit::wait;

use crate::{Cluster, create, list, names, patch, patch_status};

fn deployment(spec: &Value) -> Deployment {
    let mut whole = json!({
        "replicas": 4, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "image:1"}]}},
    });
    json_patch::merge(&mut whole, spec);
    let object = json!({"metadata": {"name": "web"}, "spec": whole});
    serde_json::from_value(object).unwrap()
}

fn image(version: u32) -> Value {
    let containers = json!([{"name": "main", "image": format!("image:{version}")}]);
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

struct Stage {
    cluster: Cluster,
    deployments: Api<Deployment>,
    sets: Api<ReplicaSet>,
    pods: Api<Pod>,
}

impl Stage {
    async fn new(spec: Value) -> Self {
        let cluster = Cluster::start().await;
        let (deployments, sets, pods) = (cluster.api(), cluster.api(), cluster.api());
        create(&cluster.cluster_api(), &testkit::node("n1").build()).await;
        create(&deployments, &deployment(&spec)).await;
        Self { cluster, deployments, sets, pods }
    }

    /// All pods that there are become ready.
    async fn serve(&self) {
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        for pod in list(&self.pods).await {
            let is_running =
                pod.status.and_then(|status| status.phase).as_deref() == Some("Running");
            if !is_running && pod.metadata.deletion_timestamp.is_none() {
                patch_status(&self.pods, &pod.metadata.name.unwrap(), ready.clone()).await;
            }
        }
    }

    /// Pods become ready as they come, until all are of the newest template.
    async fn until_done(&self) -> Deployment {
        wait::until("the rollout is done", async || {
            self.serve().await;
            let deployment = self.deployments.get("web").await.unwrap();
            if is_done(&deployment) {
                Ok(deployment)
            } else {
                Err(format!("{:?}", deployment.status))
            }
        })
        .await
    }

    async fn until(&self, what: &str, is: impl Fn(&Deployment) -> bool) -> Deployment {
        wait::until_is(&self.deployments, "web", what, is).await
    }

    async fn images(&self) -> Vec<String> {
        let living = list(&self.pods)
            .await
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let mut images: Vec<String> =
            living.filter_map(|pod| pod.spec.unwrap().containers.remove(0).image).collect();
        images.sort();
        images
    }

    async fn revisions(&self) -> Vec<(String, i32)> {
        let mut all: Vec<_> = list(&self.sets)
            .await
            .into_iter()
            .map(|set| (revision(&set.metadata), set.spec.unwrap().replicas.unwrap()))
            .collect();
        all.sort();
        all
    }
}

fn revision(metadata: &api_types::meta::ObjectMeta) -> String {
    metadata.annotations.as_ref().unwrap()["deployment.kubernetes.io/revision"].clone()
}

fn is_done(deployment: &Deployment) -> bool {
    let (spec, status) =
        (deployment.spec.as_ref().unwrap(), deployment.status.clone().unwrap_or_default());
    let is_new = deployment
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|all| all.contains_key("deployment.kubernetes.io/revision"));
    is_new
        && status.observed_generation == deployment.metadata.generation
        && [status.replicas, status.updated_replicas, status.available_replicas]
            .iter()
            .all(|count| *count == spec.replicas)
}

fn condition(deployment: &Deployment, type_: &str) -> String {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.clone());
    let found = conditions.into_iter().flatten().find(|condition| condition.type_ == type_);
    found.and_then(|condition| condition.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_template_takes_over_step_by_step_and_an_old_one_can_come_back() {
    let stage = Stage::new(json!({})).await;
    let first = stage.until_done().await;
    assert_eq!(revision(&first.metadata), "1");
    assert_eq!(condition(&first, "Available"), "MinimumReplicasAvailable");
    patch(&stage.deployments, "web", image(2)).await;
    // 25 % of 4: one more, and one that may be missing, until the new ones are ready.
    wait::until("the rollout waits for new pods", async || {
        let images = stage.images().await;
        if images == ["image:1", "image:1", "image:1", "image:2", "image:2"] {
            Ok(())
        } else {
            Err(images)
        }
    })
    .await;
    let second = stage.until_done().await;
    assert_eq!(revision(&second.metadata), "2");
    assert_eq!(stage.images().await, ["image:2"; 4]);
    assert_eq!(stage.revisions().await, [("1".to_owned(), 0), ("2".to_owned(), 4)]);
    stage
        .until("says that it is done", |it| {
            condition(it, "Progressing") == "NewReplicaSetAvailable"
        })
        .await;

    patch(&stage.deployments, "web", image(1)).await;
    let third = wait::until("the third revision is there", async || {
        let deployment = stage.until_done().await;
        if revision(&deployment.metadata) == "3" {
            Ok(deployment)
        } else {
            Err(deployment.metadata)
        }
    })
    .await;
    assert_eq!(condition(&third, "ReplicaFailure"), "");
    assert_eq!(stage.images().await, ["image:1"; 4]);
    assert_eq!(stage.revisions().await, [("2".to_owned(), 0), ("3".to_owned(), 4)]);
    let told = list(&stage.cluster.api::<Event>()).await;
    let scaled = told.iter().filter(|event| event.reason.as_deref() == Some("ScalingReplicaSet"));
    let messages: Vec<_> = scaled.filter_map(|event| event.message.clone()).collect();
    let is_first = |message: &String| {
        message.starts_with("Scaled up replica set web-") && message.ends_with(" from 0 to 4")
    };
    assert!(messages.iter().any(is_first), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_recreate_new_pods_come_when_the_old_are_gone() {
    // On a node, whose kubelet never says that they have ended.
    let on_node = json!({"spec": {"nodeName": "n1"}});
    let stage =
        Stage::new(json!({"replicas": 2, "strategy": {"type": "Recreate"}, "template": on_node}))
            .await;
    stage.until_done().await;
    patch(&stage.deployments, "web", image(2)).await;
    let going = wait::until("the pods are on their way out", async || {
        let all = list(&stage.pods).await;
        let are_going = all.iter().all(|pod| pod.metadata.deletion_timestamp.is_some());
        if are_going { Ok(names(&all)) } else { Err(names(&all)) }
    })
    .await;
    let at_once = DeleteParams::default().grace_period(0);
    for (pod, left) in going.iter().zip([1, 0]) {
        let replicas =
            |it: &Deployment| it.status.clone().unwrap_or_default().replicas.unwrap_or(0);
        stage.until("has no pods", |it| replicas(it) == 0).await;
        assert_eq!(stage.revisions().await, [("1".to_owned(), 0)], "{left} after this one");
        stage.pods.delete(pod, &at_once).await.unwrap();
    }
    stage.until_done().await;
    assert_eq!(stage.images().await, ["image:2"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_paused_a_deployment_is_scaled_and_not_updated() {
    let stage = Stage::new(json!({})).await;
    stage.until_done().await;
    patch(&stage.deployments, "web", json!({"spec": {"paused": true}})).await;
    patch(&stage.deployments, "web", image(2)).await;
    patch(&stage.deployments, "web", json!({"spec": {"replicas": 6}})).await;
    wait::until("there are six pods", async || {
        stage.serve().await;
        let images = stage.images().await;
        if images == ["image:1"; 6] { Ok(()) } else { Err(images) }
    })
    .await;
    let paused = stage
        .until("says that it is paused", |it| condition(it, "Progressing") == "DeploymentPaused")
        .await;
    assert_eq!(paused.status.unwrap().updated_replicas, None);
    patch(&stage.deployments, "web", json!({"spec": {"paused": null}})).await;
    stage.until_done().await;
    assert_eq!(stage.images().await, ["image:2"; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_old_revisions_as_many_are_kept_as_wanted() {
    let stage = Stage::new(json!({"replicas": 1, "revisionHistoryLimit": 1})).await;
    for version in [1, 2, 3] {
        patch(&stage.deployments, "web", image(version)).await;
        wait::until("the revision is there", async || {
            let deployment = stage.until_done().await;
            let now = revision(&deployment.metadata);
            if now == version.to_string() { Ok(()) } else { Err(now) }
        })
        .await;
    }
    wait::until("the first is forgotten", async || {
        let revisions = stage.revisions().await;
        if revisions == [("2".to_owned(), 0), ("3".to_owned(), 1)] {
            Ok(())
        } else {
            Err(revisions)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_has_the_name_already_is_left_alone() {
    let stage = Stage::new(json!({"replicas": 1})).await;
    stage.until_done().await;
    let name = names(&list(&stage.sets).await).remove(0);
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    stage.deployments.delete("web", &orphan).await.unwrap();
    wait::until("the Deployment is gone", async || {
        match stage.deployments.get_opt("web").await.unwrap() {
            None => Ok(()),
            Some(there) => Err(there.metadata),
        }
    })
    .await;
    // Somebody else's now, by its labels.
    patch(&stage.sets, &name, json!({"metadata": {"labels": {"app": "other"}}})).await;
    create(&stage.deployments, &deployment(&json!({"replicas": 1}))).await;
    let made = stage.until_done().await;
    assert_eq!(made.status.unwrap().collision_count, Some(1));
    assert_eq!(list(&stage.sets).await.len(), 2);
    let other = stage.sets.get(&name).await.unwrap();
    assert_eq!(other.metadata.owner_references.unwrap_or_default(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_is_refused_is_told_and_tried_again() {
    let cluster = Cluster::start().await;
    let refused = cluster.plane.refuse(|request| {
        request.method() == "POST" && request.uri().path().ends_with("/replicasets")
    });
    let deployments = cluster.api::<Deployment>();
    create(&deployments, &deployment(&json!({"replicas": 1}))).await;
    let told = |it: &Deployment| condition(it, "Progressing") == "ReplicaSetCreateError";
    wait::until_is(&deployments, "web", "says that it cannot", told).await;
    drop(refused);
    let made = |it: &Deployment| condition(it, "Progressing") == "NewReplicaSetCreated";
    wait::until_is(&deployments, "web", "has a set", made).await;
}
