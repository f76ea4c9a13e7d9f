//! Clients that are built or fetched first, as they come: `scripts/test.sh --clients`. What they did is printed, a line for
//! each step.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use testkit::Apiserver;

use crate::harness::{Backing, Cluster, Done, programs, root, run, target};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// How long it goes on.
const SECONDS: &str = "300";
/// What makes client-go send CBOR, and ask for it.
const CBOR: [&str; 2] = ["KUBE_FEATURE_ClientsAllowCBOR", "KUBE_FEATURE_ClientsPreferCBOR"];

fn folder() -> PathBuf {
    root().join("tests/clients")
}

/// Builds a package of one of the modules there.
fn build(module: &str, package: &str) -> PathBuf {
    let program = target().join("tmp").join(module);
    let (module, output) = (folder().join(module), program.to_string_lossy().into_owned());
    let args = ["build", "-C", &module.to_string_lossy(), "-o", &output, package];
    run("go", &args).expect_ok();
    program
}

#[expect(clippy::print_stdout, reason = "for who runs it by hand, and for docs/clients.md")]
fn print(line: &str) {
    println!("{line}");
}

#[tokio::test]
#[ignore = "fetches Go modules: scripts/test.sh --clients"]
async fn programs_of_client_go_do_what_they_do() {
    let program = build("client-go", ".");
    let cluster = Cluster::start(Backing::Services).await;
    let kubeconfig = cluster.folder().join("config/admin.conf");
    // As they come, and speaking CBOR wherever they could.
    for (name, gates) in [("client-go ", &CBOR[..0]), ("in CBOR   ", &CBOR[..])] {
        let mut program = Command::new(&program);
        program.arg(&kubeconfig).envs(gates.iter().map(|gate| (gate, "true"))).stdin(Stdio::null());
        let toured: Done = program.output().unwrap().into();
        toured.stdout.lines().for_each(|line| print(&format!("{name} {line}")));
        toured.expect_ok();
    }
}

/// What controller-runtime's envtest starts is ours.
#[tokio::test]
#[ignore = "fetches Go modules: scripts/test.sh --clients"]
async fn an_operators_own_tests_pass_on_this_control_plane() {
    let assets = target().join("tmp/envtest");
    run(programs().join("apiserver"), &["envtest", &assets.to_string_lossy()]).expect_ok();
    let mut tests = Command::new("go");
    tests.args(["test", "-v", "-count=1", "./..."]).current_dir(folder().join("envtest"));
    tests.env("KUBEBUILDER_ASSETS", &assets).stdin(Stdio::null());
    let tested: Done = tests.output().unwrap().into();
    let results = tested.stdout.lines().filter(|line| line.starts_with("--- "));
    results.for_each(|line| print(&format!("envtest    {line}")));
    tested.expect_ok();
}

/// Helm with a release of the chart there, in a cluster.
struct Helm {
    program: PathBuf,
    cluster: Cluster,
}

impl Helm {
    fn call(&self, args: &[&str]) -> Done {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(folder()).stdin(Stdio::null());
        command.env("KUBECONFIG", self.cluster.folder().join("config/admin.conf"));
        command.env("HOME", self.cluster.folder()).output().unwrap().into()
    }

    /// A step that must succeed and say this.
    #[track_caller]
    fn step(&self, args: &[&str], says: &str) {
        let began = Instant::now();
        let said = self.call(args).expect_ok();
        assert!(said.contains(says), "{args:?}: {said}");
        self.took(args, began);
    }

    fn took(&self, args: &[&str], began: Instant) {
        print(&format!("helm       ok {:5.1}s  {}", began.elapsed().as_secs_f64(), args.join(" ")));
    }

    #[track_caller]
    fn has(&self, what: &[&str], expected: &str) {
        let found = self.cluster.stock_kubectl(&[&["get"], what].concat()).expect_ok();
        assert_eq!(found, expected, "{what:?}");
    }

    #[track_caller]
    fn serves(&self, replicas: &str, greeting: &str) {
        let state = "jsonpath={.spec.replicas} {.status.readyReplicas}";
        self.has(&["deploy", "tour", "-o", state], &format!("{replicas} {replicas}"));
        self.has(&["greeting", "tour", "-o", "jsonpath={.spec}"], greeting);
    }
}

#[tokio::test]
#[ignore = "fetches Go modules: scripts/test.sh --clients"]
async fn helm_has_a_release_of_a_chart_with_hooks_and_definitions() {
    let program = build("helm", "helm.sh/helm/v4/cmd/helm");
    let helm = Helm { program, cluster: Cluster::start(Backing::Embedded).await };
    let (hello, moin) = (r#"{"text":"hello","times":1}"#, r#"{"text":"moin","times":1}"#);
    let wait = ["--wait", "--timeout", "2m"];
    let with_wait = |args: &[&'static str]| [args, &wait].concat();

    helm.step(&with_wait(&["install", "tour", "chart"]), "STATUS: deployed");
    helm.serves("1", hello);
    helm.step(&["test", "tour", "--timeout", "2m"], "Phase:          Succeeded");
    let upgrade = ["upgrade", "tour", "chart", "--set", "replicas=2,greeting=moin"];
    helm.step(&with_wait(&upgrade), "REVISION: 2");
    helm.serves("2", moin);
    goes_back(&helm);
    helm.serves("2", moin);
    helm.step(&with_wait(&["rollback", "tour", "1"]), "Rollback was a success");
    helm.serves("1", hello);
    helm.step(&["history", "tour", "--max", "1"], "Rollback to 1");
    helm.step(&["get", "manifest", "tour"], "kind: Greeting");
    let uninstall = ["uninstall", "tour", "--cascade", "foreground"];
    helm.step(&with_wait(&uninstall), "release \"tour\" uninstalled");
    // Hooks are nobody's, and so are definitions.
    let hooks = [
        "post-install",
        "post-upgrade",
        "pre-delete",
        "pre-install",
        "pre-rollback",
        "pre-upgrade",
    ];
    let hooks = hooks.map(|at| format!("job.batch/tour-{at}\n")).concat();
    helm.has(&["jobs", "-o", "name"], &hooks);
    helm.has(&["deploy,pods", "-l", "!job-name", "-o", "name"], "");
    helm.has(&["greetings", "-o", "name"], "");
}

/// An upgrade whose pods never get ready is undone.
fn goes_back(helm: &Helm) {
    let began = Instant::now();
    let upgrade = ["upgrade", "tour", "chart", "--set", "image=minik8s/none:0"];
    let upgrade = [&upgrade[..], &["--rollback-on-failure", "--timeout", "15s"]].concat();
    let failed = helm.call(&upgrade);
    assert!(!failed.ok && failed.stderr.contains("has been rolled back"), "{failed:?}");
    helm.took(&upgrade, began);
}

#[tokio::test]
#[ignore = "fetches packages of Python: scripts/test.sh --clients"]
async fn requests_made_of_our_openapi_are_never_the_servers_fault() {
    let server = Apiserver::spawn(programs().join("apiserver"), None).await;
    let environment = tempfile::tempdir().unwrap();
    let place = |name: &str| environment.path().join(name).to_string_lossy().into_owned();
    run("python3", &["-m", "venv", &place("")]).expect_ok();
    let pip = ["install", "--quiet", "--disable-pip-version-check", SCHEMATHESIS];
    run(place("bin/pip"), &pip).expect_ok();
    let (script, kubeconfig) = (folder().join("openapi.py"), server.kubeconfig());
    let args = [script, kubeconfig].map(|path| path.to_string_lossy().into_owned());
    let done = run(place("bin/python"), &[&args[0], &args[1], SECONDS]);
    done.stdout.lines().for_each(|line| print(&format!("schemathesis  {line}")));
    done.expect_ok();
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
