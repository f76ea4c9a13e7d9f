//! `kubectl wf`, with runs that the test ends as a gateway would.

use api_types::minik8s::{WorkflowRun, WorkflowRunStatus};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testkit::wait;

use crate::harness::{Buffer, Kubectl, words};

const HELLO: &str = r#"{"apiVersion": "/api/v1", "kind": "Workflow", "metadata": {"name": "hello"},
    "startAt": "func", "params": {"a": 1}, "nodes": {"func": {"type": "Task"}}}"#;

fn runs(kubectl: &Kubectl) -> Api<WorkflowRun> {
    Api::default_namespaced(kubectl.plane.client())
}

async fn only_run(kubectl: &Kubectl) -> WorkflowRun {
    let mut runs = runs(kubectl).list(&ListParams::default()).await.unwrap().items;
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

async fn set_status(kubectl: &Kubectl, name: &str, status: Value) {
    let status: WorkflowRunStatus = serde_json::from_value(status).unwrap();
    let patch = Patch::Merge(json!({"status": status}));
    runs(kubectl).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn apply_defines_a_workflow_and_runs_it_once_each_time() {
    let kubectl = Kubectl::new().await;
    let applied = kubectl.run_with("wf apply -f -", HELLO).await;
    assert_eq!(applied.out, "workflow.minik8s.io/hello created\n");
    let run = only_run(&kubectl).await;
    let created = format!("workflowrun.minik8s.io/{} created", run.name_any());
    assert!(applied.err.contains(&created), "{}", applied.err);
    assert_eq!(run.spec.workflow, "hello");
    assert_eq!(run.metadata.owner_references.unwrap()[0].name, "hello");
    assert_eq!(
        kubectl.ok_with("wf apply -f - --no-run", HELLO).await,
        "workflow.minik8s.io/hello unchanged\n"
    );
    only_run(&kubectl).await;
}

#[tokio::test]
async fn a_file_for_step_functions_is_a_workflow_of_its_name() {
    let kubectl = Kubectl::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.asl.json");
    let definition = json!({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}});
    std::fs::write(&file, definition.to_string()).unwrap();
    let applied = kubectl.ok(&format!("wf apply --no-run -f {}", file.display())).await;
    assert_eq!(applied, "workflow.minik8s.io/order created\n");
    let stored = kubectl.ok("get wf order -o jsonpath={.spec.definition}").await;
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), definition);
    let broken = json!({"StartAt": "B", "States": {"A": {"Type": "Pass", "Next": "C"}}});
    std::fs::write(&file, broken.to_string()).unwrap();
    let refused = kubectl.fails(&format!("wf apply -f {}", file.display()), "").await;
    for fault in ["spec.definition.StartAt: Not found: \"B\"", "States[A].Next: Not found: \"C\""] {
        assert!(refused.contains(fault), "{refused}");
    }
}

#[tokio::test]
async fn run_waits_for_the_end_and_prints_the_output() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", HELLO).await;
    for (status, ok, said) in [
        (json!({"phase": "Succeeded", "output": {"x": 1.0}}), true, "{\"x\":1.0}\n"),
        (
            json!({"phase": "Failed", "error": "ValueError", "message": "no"}),
            false,
            "ValueError: no",
        ),
        (json!({"phase": "Cancelled"}), false, "the run was cancelled"),
    ] {
        let err = Buffer::default();
        let out = Buffer::default();
        let io = kubectl::Io::new(std::io::empty(), out.clone(), err.clone());
        let line = words("wf run hello --wait -d {\"x\":5}");
        let command = tokio::spawn(kubectl::run(line, io, kubectl.environment()));
        err.contains("created").await;
        let run = only_run(&kubectl).await;
        assert_eq!(run.spec.input, Some(json!({"x": 5})));
        set_status(&kubectl, &run.name_any(), status).await;
        let code = command.await.unwrap();
        assert_eq!(format!("{code:?}") == format!("{:?}", std::process::ExitCode::SUCCESS), ok);
        let text = if ok { out.text() } else { err.text() };
        assert!(text.contains(said), "{text}");
        kubectl.ok(&format!("delete workflowrun {}", run.name_any())).await;
    }
}

#[tokio::test]
async fn run_does_not_wait_for_what_was_deleted_while_nobody_watched() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", HELLO).await;
    let watch = |request: &http::Request<_>| request.uri().to_string().contains("watch=true");
    let held = kubectl.plane.hold(watch);
    let err = Buffer::default();
    let io = kubectl::Io::new(std::io::empty(), Buffer::default(), err.clone());
    let command = kubectl::run(words("wf run hello --wait"), io, kubectl.environment());
    let command = tokio::spawn(command);
    wait::until("the command watches", async || {
        let watches = kubectl.plane.requests().iter().any(|request| request.contains("watch=true"));
        watches.then_some(()).ok_or(())
    })
    .await;
    let name = only_run(&kubectl).await.name_any();
    runs(&kubectl).delete(&name, &DeleteParams::default()).await.unwrap();
    drop(held);
    command.await.unwrap();
    assert!(err.text().contains("was deleted"), "{}", err.text());
}

#[tokio::test]
async fn runs_and_their_steps_are_shown() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("wf apply -f -", HELLO).await;
    let name = only_run(&kubectl).await.name_any();
    kubectl.ok_with("wf apply -f -", &HELLO.replace("hello", "other")).await;
    let steps = json!([
        {"state": "add", "function": "add-five", "attempts": 2, "startTime": "2026-01-02T03:04:05.000000Z",
         "completionTime": "2026-01-02T03:04:05.012000Z", "input": {"x": 1}, "output": {"x": 6}},
        {"state": "each", "iteration": 3, "attempts": 1, "startTime": "2026-01-02T03:04:05.000000Z",
         "completionTime": "2026-01-02T03:04:07.500000Z", "error": "ValueError", "cause": "no\nway"},
    ]);
    let status =
        json!({"phase": "Failed", "steps": steps, "error": "ValueError", "message": "no way"});
    set_status(&kubectl, &name, status).await;
    let shown = kubectl.ok(&format!("wf history {name}")).await;
    let expected = "\
STATE     FUNCTION   ATTEMPTS   DURATION   INPUT     OUTPUT    ERROR
add       add-five   2          12ms       {\"x\":1}   {\"x\":6}   <none>
each[3]   <none>     1          2.5s       {\"x\":6}   <none>    ValueError: no way

Phase: Failed
Error: ValueError: no way
";
    assert_eq!(shown, expected);
    let listed = kubectl.ok("wf runs hello").await;
    assert!(listed.contains(&name) && listed.lines().count() == 2, "{listed}");
    assert_eq!(kubectl.ok("wf runs").await.lines().count(), 3);
    assert!(kubectl.ok("wf get").await.starts_with("NAME    STATUS"));
}

#[tokio::test]
async fn a_run_is_cancelled_and_a_workflow_removed_by_name() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("wf apply -f -", HELLO).await;
    let name = only_run(&kubectl).await.name_any();
    let said = kubectl.ok(&format!("wf cancel {name}")).await;
    assert_eq!(said, format!("workflowrun.minik8s.io/{name} cancelled\n"));
    assert!(only_run(&kubectl).await.spec.cancel);
    assert_eq!(kubectl.ok("wf rm hello").await, "workflow.minik8s.io/hello deleted\n");
    assert!(kubectl.fails("wf rm hello", "").await.contains("not found"));
}

#[tokio::test]
async fn the_examples_are_valid() {
    let kubectl = Kubectl::new().await;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let (folder, order) = ("workflows", "order-pipeline/order.asl.json");
    let applied =
        kubectl.ok(&format!("wf apply -f {examples}/{folder} -f {examples}/{order}")).await;
    for name in ["add-all", "hello", "order", "print", "print-string"] {
        assert!(applied.contains(&format!("workflow.minik8s.io/{name} created")), "{applied}");
    }
}
