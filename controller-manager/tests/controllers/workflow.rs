//! What is told of workflows, which runs are kept, and what becomes of those whose gateway is gone.

use api_types::api::{coordination::v1::Lease, core::v1::Event};
use api_types::minik8s::{Function, RunPhase, Workflow, WorkflowRun};
use kube::{Api, api::ListParams};
use serde_json::json;
use testkit::wait;

use crate::{Cluster, create, list, names, patch, patch_status};

fn workflow(history: i32) -> Workflow {
    serde_json::from_value(json!({
        "apiVersion": "minik8s.io/v1", "kind": "Workflow", "metadata": {"name": "w"},
        "spec": {"startAt": "addFive", "nodes": {"addFive": {"type": "Task"}}, "historyLimit": history},
    }))
    .unwrap()
}

fn run(name: &str) -> WorkflowRun {
    serde_json::from_value(json!({
        "apiVersion": "minik8s.io/v1", "kind": "WorkflowRun", "metadata": {"name": name},
        "spec": {"workflow": "w"},
    }))
    .unwrap()
}

fn functions_exist(workflow: Option<&Workflow>) -> Option<&str> {
    let conditions = &workflow?.status.as_ref()?.conditions;
    conditions.iter().find(|c| c.type_ == "FunctionsExist").map(|c| c.status.as_str())
}

#[tokio::test]
async fn it_is_told_of_a_workflow_whether_its_functions_exist() {
    let cluster = Cluster::start().await;
    let (workflows, functions) = (cluster.api::<Workflow>(), cluster.api::<Function>());
    create(&workflows, &workflow(1)).await;
    let missing = |w: Option<&Workflow>| functions_exist(w) == Some("False");
    wait::until_object(&workflows, "w", "its function is missed", missing).await;
    let function = json!({
        "apiVersion": "minik8s.io/v1", "kind": "Function", "metadata": {"name": "add-five"},
        "spec": {"source": {"files": {"add.py": "def main(params): return params"}}},
    });
    create(&functions, &serde_json::from_value(function).unwrap()).await;
    let there = |w: Option<&Workflow>| functions_exist(w) == Some("True");
    wait::until_object(&workflows, "w", "its function is found", there).await;
    let events = cluster.api::<Event>();
    let told = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let about = |e: &Event| e.involved_object.kind.as_deref() == Some("Workflow");
        let events = events.into_iter().filter(about).filter_map(|event| event.reason);
        match events.collect::<Vec<_>>() {
            reasons if reasons == ["FunctionsNotFound", "FunctionsFound"] => Ok(()),
            other => Err(other),
        }
    };
    wait::until("it is told in events", told).await;
}

#[tokio::test]
async fn runs_belong_to_their_workflow_which_keeps_those_that_ended_last() {
    let cluster = Cluster::start().await;
    let (workflows, runs) = (cluster.api::<Workflow>(), cluster.api::<WorkflowRun>());
    create(&workflows, &workflow(2)).await;
    for name in ["w-1", "w-2", "w-3", "w-4"] {
        create(&runs, &run(name)).await;
    }
    let owned =
        |run: Option<&WorkflowRun>| run.is_some_and(|r| r.metadata.owner_references.is_some());
    wait::until_object(&runs, "w-4", "it belongs to its workflow", owned).await;
    let now = api_types::jiff::Timestamp::now();
    for (name, ago) in [("w-1", 30), ("w-2", 10), ("w-3", 20)] {
        let ended = now - std::time::Duration::from_secs(ago);
        let status = json!({"phase": "Succeeded", "completionTime": format!("{ended:.0}")});
        patch_status(&runs, name, status).await;
    }
    let kept = async || match names(&list(&runs).await) {
        names if names == ["w-2", "w-3", "w-4"] => Ok(()),
        other => Err(other),
    };
    wait::until("the run that ended first is removed", kept).await;
    let told = |w: Option<&Workflow>| {
        let status = w.and_then(|w| w.status.as_ref());
        status.is_some_and(|s| {
            s.active == 1 && s.last_run.as_ref().is_some_and(|r| r.phase == RunPhase::Pending)
        })
    };
    wait::until_object(&workflows, "w", "its runs are counted", told).await;
    patch::<Workflow>(&workflows, "w", json!({"spec": {"historyLimit": 1}})).await;
    let kept = async || match names(&list(&runs).await) {
        names if names == ["w-2", "w-4"] => Ok(()),
        other => Err(other),
    };
    wait::until("fewer runs are kept", kept).await;
}

#[tokio::test]
async fn runs_of_a_workflow_that_does_not_exist_are_not_kept_for_ever() {
    let cluster = Cluster::start().await;
    let runs = cluster.api::<WorkflowRun>();
    for (name, days) in [("old", 8), ("new", 1)] {
        create(&runs, &run(name)).await;
        let ended = api_types::jiff::Timestamp::now() - std::time::Duration::from_hours(24 * days);
        let status = json!({"phase": "Failed", "completionTime": format!("{ended:.0}")});
        patch_status(&runs, name, status).await;
    }
    wait::until_gone(&runs, "old").await;
    assert_eq!(names(&list(&runs).await), ["new"]);
}

#[tokio::test]
async fn runs_are_anybodys_once_their_gateways_lease_is_deleted() {
    let cluster = Cluster::start().await;
    let leases = Api::<Lease>::namespaced(cluster.plane.client(), "kube-system");
    for gateway in ["a", "b"] {
        let lease = json!({"metadata": {"name": format!("serverless-gateway-{gateway}")}});
        create(&leases, &serde_json::from_value(lease).unwrap()).await;
    }
    let runs = cluster.api::<WorkflowRun>();
    let until = api_types::jiff::Timestamp::now() + std::time::Duration::from_secs(3600);
    for (name, gateway) in [("r-a", "a"), ("r-b", "b")] {
        create(&runs, &run(name)).await;
        let held =
            json!({"phase": "Running", "holder": gateway, "leaseUntil": format!("{until:.6}")});
        patch_status(&runs, name, held).await;
    }
    leases.delete("serverless-gateway-a", &Default::default()).await.unwrap();
    let holder = |run: Option<&WorkflowRun>| run?.status.as_ref()?.holder.clone();
    wait::until_object(&runs, "r-a", "it is free", |run| run.is_some() && holder(run).is_none())
        .await;
    let other = runs.get("r-b").await.unwrap();
    assert_eq!(holder(Some(&other)).as_deref(), Some("b"));
}
