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
    let start = "2026-01-02T03:04:05.000000Z";
    let failures = json!([
        {"attempt": 1, "time": "2026-01-02T03:04:05.003000Z", "error": "Busy", "cause": "later"},
        {"attempt": 2, "error": "States.Timeout"}]);
    let (long, cut) = ("x".repeat(70), "x".repeat(59));
    let steps = json!([
        {"state": "add", "function": "add-five", "attempts": 3, "startTime": start, "failures": failures,
         "completionTime": "2026-01-02T03:04:05.012000Z", "input": {"x": 1}, "output": {"x": 6}},
        {"state": "each", "iteration": 3, "attempts": 1, "startTime": start, "output": long,
         "completionTime": "2026-01-02T03:04:07.500000Z", "error": "ValueError", "cause": "no\nway"},
    ]);
    let status = json!({
        "phase": "Failed", "steps": steps, "stepsDropped": 7, "error": "ValueError", "message": "no way"});
    set_status(&kubectl, &name, status).await;
    let shown = kubectl.ok(&format!("wf history {name}")).await;
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split("   ").collect()).collect();
    let words = |line: usize| {
        let words = lines[line].iter().map(|word| word.trim()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>()
    };
    assert_eq!(shown.lines().next(), Some("7 earlier steps are not kept"));
    let titles = ["STATE", "FUNCTION", "ATTEMPTS", "DURATION", "INPUT", "OUTPUT", "ERROR"];
    assert_eq!(words(1), titles);
    let input = [r#"{"x":1}"#, r#"{"x":6}"#];
    assert_eq!(words(2), ["add", "add-five", "3", "12ms", input[0], input[1], "<none>"]);
    assert_eq!(words(3), ["attempt 1 failed", "3ms", "Busy: later"]);
    assert_eq!(words(4), ["attempt 2 failed", "<none>", "States.Timeout"]);
    let output = format!("\"{cut}…");
    let error = "ValueError: no way";
    assert_eq!(words(5), ["each[3]", "<none>", "1", "2.5s", input[1], &output, error]);
    assert!(shown.ends_with("\n\nPhase: Failed\nError: ValueError: no way\n"), "{shown}");
    let wide = kubectl.ok(&format!("wf history {name} -o wide")).await;
    assert!(wide.contains(&format!("\"{long}\"")), "{wide}");
    let document = kubectl.ok(&format!("wf history {name} -o json")).await;
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!((&document["run"], &document["earlierStepsNotKept"]), (&json!(name), &json!(7)));
    let of_second = &document["steps"][1];
    assert_eq!(
        (&of_second["input"], &of_second["output"], &of_second["cause"]),
        (&json!({"x": 6}), &json!(long), &json!("no\nway"))
    );
    assert_eq!(document["steps"][0]["failures"][1]["error"], "States.Timeout");
    let document = kubectl.ok(&format!("wf history {name} -o yaml")).await;
    assert!(document.contains("earlierStepsNotKept: 7\n"), "{document}");
    let listed = kubectl.ok("wf runs hello").await;
    assert!(listed.contains(&name) && listed.lines().count() == 2, "{listed}");
    assert_eq!(kubectl.ok("wf runs").await.lines().count(), 3);
    assert!(kubectl.ok("wf get").await.starts_with("NAME    READY"));
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
