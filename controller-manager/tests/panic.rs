//! A controller that panics ends the program in order, and another replica takes over. This executable is
//! the test, and with arguments of its own also the program, with one controller more.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "it reports as the test harness does")]

use std::path::Path;
use std::pin::pin;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::{Namespace, ServiceAccount};
use clap::Parser;
use component::Runtime;
use controller_manager::frame::{Controller, Error, Next, ObjectKey, Registered, WorkQueue};
use controller_manager::{Context, controllers};
use futures::TryStreamExt;
use kube::Api;
use kube::api::{PostParams, WatchEvent, WatchParams};
use serde_json::json;
use testkit::{ControlPlane, wait};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// The program, and whether it has the controller.
#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    program: controller_manager::Args,
    #[arg(long)]
    panic: bool,
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--kubeconfig") {
        return component::main::<Flags>("controller-manager", program);
    }
    component::install_crypto_provider();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(a_panic_ends_the_program_and_another_replica_takes_over());
    println!("test a_panic_ends_the_program_and_another_replica_takes_over ... ok");
    ExitCode::SUCCESS
}

async fn program(flags: Flags, runtime: Runtime) -> anyhow::Result<()> {
    let all = |context: &Context, tasks: &mut JoinSet<()>| {
        let mut all = controllers::all(context, tasks);
        all.extend(flags.panic.then(|| panicking(context)));
        all
    };
    controller_manager::main_with(flags.program, runtime, all).await
}

/// Panics at a namespace of that name.
fn panicking(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let wanted = queue.clone();
    context.informers.namespaces.on_change(move |change| {
        change.new.iter().for_each(|namespace| wanted.add(ObjectKey::of(&namespace.metadata)));
    });
    Registered::new(Panicking, queue)
}

struct Panicking;

#[async_trait::async_trait]
impl Controller for Panicking {
    fn name(&self) -> &'static str {
        "panicking-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        assert_ne!(key.name, "malformed");
        Ok(Next::Change)
    }
}

fn replica(kubeconfig: &Path, more: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--health-address", "127.0.0.1:0"])
        .args(more);
    command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

fn holder(lease: &Lease) -> String {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default()
}

async fn a_panic_ends_the_program_and_another_replica_takes_over() {
    let plane = ControlPlane::builder().listen().start().await;
    let kubeconfig = plane.kubeconfig("system:kube-controller-manager", &["system:masters"], &[]);
    let leases = Api::<Lease>::namespaced(plane.client(), "kube-system");
    let first = replica(&kubeconfig, &["--panic"]);
    let is_held = |lease: &Lease| !holder(lease).is_empty();
    let held = wait::until_is(&leases, "controller-manager", "is held", is_held).await;
    let _second = replica(&kubeconfig, &[]);

    create_namespace(&plane, "malformed").await;
    let ended = tokio::time::timeout(wait::DEADLINE, first.wait_with_output()).await;
    let ended = ended.expect("the program ends").unwrap();
    let log = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{log}");
    assert!(log.contains("controller-manager: a controller has failed: "), "{log}");

    let holders = holders_since(&held, &leases).await;
    let [.., released, next] = holders.as_slice() else { panic!("{holders:?}") };
    assert_eq!(released, "", "the lease was given back before {next} took it");
    create_namespace(&plane, "later").await;
    let accounts = Api::<ServiceAccount>::namespaced(plane.client(), "later");
    wait::until_is(&accounts, "default", "is made by the next one", |_| true).await;
}

async fn create_namespace(plane: &ControlPlane, name: &str) {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let api = Api::<Namespace>::all(plane.client());
    api.create(&PostParams::default(), &namespace).await.unwrap();
}

/// Who held the lease one after the other, until it is another one.
async fn holders_since(lease: &Lease, leases: &Api<Lease>) -> Vec<String> {
    let version = lease.metadata.resource_version.as_deref().unwrap();
    let params = WatchParams::default().fields("metadata.name=controller-manager");
    let mut events = pin!(leases.watch(&params, version).await.unwrap());
    let mut holders = vec![holder(lease)];
    while holders.last().is_none_or(|last| last.is_empty() || *last == holders[0]) {
        let event = tokio::time::timeout(wait::DEADLINE, events.try_next()).await;
        let event = event.unwrap_or_else(|_| panic!("nobody takes over: {holders:?}")).unwrap();
        if let Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease)) = event {
            holders.push(holder(&lease));
        }
    }
    holders
}
