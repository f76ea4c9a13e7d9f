//! Ours beside the kubectl that everybody has, on the same objects: what they print is the same to the letter, but for
//! the ages, which move on between the two.

#![allow(clippy::unwrap_used, reason = "a test shows a fault by panicking")]

mod figures;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use api_types::api::core::v1::{Node, ResourceQuota};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use kubectl::{Environment, Io};
use serde_json::json;
use testkit::{ControlPlane, Redis, without_ages};

const STOCK: &str = "/usr/bin/kubectl";

/// The version whose layout ours follows. Debian's packages of older ones print some pages differently.
const LIKE: u32 = 32;

const OBJECTS: &str = include_str!("stock.yaml");

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Both {
    plane: ControlPlane,
    kubeconfig: PathBuf,
}

/// Exit code 0 or not, standard output and error.
type Said = (bool, String, String);

impl Both {
    async fn start() -> Self {
        Self::over(ControlPlane::builder().listen().start().await).await
    }

    async fn over(plane: ControlPlane) -> Self {
        let kubeconfig = plane.kubeconfig("admin", &["system:masters"], &[]);
        let both = Self { plane, kubeconfig };
        let (ok, _, err) = both.ours(&["apply", "-f", "-"], OBJECTS).await;
        assert!(ok, "{err}");
        both
    }

    async fn ours(&self, args: &[&str], input: &str) -> Said {
        let (out, err) = (Buffer::default(), Buffer::default());
        let io = Io::new(io::Cursor::new(input.to_owned()), out.clone(), err.clone());
        let client = Some(self.plane.client());
        let words = std::iter::once("kubectl").chain(args.iter().copied()).map(Into::into);
        let environment = Environment { client, ..Environment::default() };
        let code = kubectl::run(words.collect::<Vec<_>>(), io, environment).await;
        (code == std::process::ExitCode::SUCCESS, out.text(), err.text())
    }

    async fn stock(&self, args: &[&str], input: &str) -> Said {
        let mut command = Command::new(STOCK);
        command.args(args).env("KUBECONFIG", &self.kubeconfig).env("HOME", "/nonexistent");
        command.env("TZ", "UTC");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap();
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    async fn check(&self, line: &str) {
        let args: Vec<_> = line.split_whitespace().collect();
        let (ours, stock) = (self.ours(&args, "").await, self.stock(&args, "").await);
        assert_eq!(ours.0, stock.0, "kubectl {line}: {}{}", ours.2, stock.2);
        let diff =
            |a: &str, b: &str| format!("kubectl {line}\n--- ours ---\n{a}\n--- stock ---\n{b}");
        assert!(without_ages(&ours.1) == without_ages(&stock.1), "{}", diff(&ours.1, &stock.1));
        assert!(ours.2 == stock.2, "{}", diff(&ours.2, &stock.2));
    }
}

/// Whether the stock kubectl is of those that ours is compared with: older ones say some things in other words.
fn is_comparable() -> bool {
    let comparable = stock_minor() >= LIKE;
    if !comparable {
        eprintln!("{STOCK} is older than 1.{LIKE}, with which ours is compared");
    }
    comparable
}

fn stock_minor() -> u32 {
    let output = Command::new(STOCK).args(["version", "--client", "-o", "json"]).output().unwrap();
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let minor = version["clientVersion"]["minor"].as_str().unwrap();
    minor.trim_end_matches('+').parse().unwrap()
}

#[tokio::test]
async fn tables_and_objects_are_printed_as_stock_does() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    for line in [
        "get pods",
        "get pods -o wide",
        "get pods --show-labels",
        "get pods -L app",
        "get pods -o name",
        "get pods,services,rs",
        "get pods -A",
        "get rs -o wide",
        "get nodes",
        "get services -o wide",
        "get hpa",
        "get hpa -o wide",
        "get networkpolicies",
        "get netpol -o wide",
        "get configmaps settings",
        "get secrets",
        "get namespaces",
        "get pod web -o yaml",
        "get pods -o json",
        "get pods -o jsonpath={.items[*].metadata.name}",
        "get pods --no-headers",
        "get pods --sort-by=.metadata.name",
        "get pods -l app=nobody",
        "get pod nobody",
    ] {
        both.check(line).await;
    }
}

#[tokio::test]
async fn pages_are_laid_out_as_stock_does() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    let quotas = Api::<ResourceQuota>::namespaced(both.plane.client(), "limited");
    let counted = json!({"hard": {"pods": "10", "requests.cpu": "2"}, "used": {"pods": "3", "requests.cpu": "1500m"}});
    let counted = Patch::Merge(json!({ "status": counted }));
    quotas.patch_status("idle", &PatchParams::default(), &counted).await.unwrap();
    for line in [
        "describe pod web",
        "describe rs web",
        "describe service web",
        "describe configmap settings",
        "describe configmap words",
        "describe secret password",
        "describe namespace team",
        "describe namespace limited",
        "describe node n1",
        "describe hpa web",
        "describe hpa by-percent",
        "describe networkpolicy closed",
        "describe netpol db",
    ] {
        both.check(line).await;
    }
}

#[tokio::test]
async fn changes_and_contradictions_are_told_as_stock_does() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    for line in [
        "label pod web app=web",
        "label pod web app=other",
        "annotate pod web note=x --overwrite",
        "delete pod web -l app=web",
        "delete pod/web --all",
        "get pods web -l app=web",
        "delete configmap nobody",
        "delete configmap nobody --ignore-not-found",
        "autoscale rs web --max=3 --cpu-percent=50 --dry-run=client -o jsonpath={.apiVersion}/{.spec.maxReplicas}/{.spec.targetCPUUtilizationPercentage}",
        "autoscale rs/web --min=2 --max=3 --name=other --dry-run=client -o jsonpath={.metadata.name}/{.spec.minReplicas}/{.spec.scaleTargetRef.kind}/{.spec.targetCPUUtilizationPercentage}",
        "autoscale rs web --max=3 --dry-run=server",
        "autoscale rs web --max=0",
        "autoscale rs web --min=4 --max=3",
        "autoscale rs web --max=3 --name=by-percent",
    ] {
        both.check(line).await;
    }
}

#[tokio::test]
async fn what_is_used_is_told_as_stock_does() {
    if !is_comparable() {
        return;
    }
    let redis = Redis::spawn().await;
    let both = Both::over(ControlPlane::builder().listen().redis(&redis).start().await).await;
    for line in ["top nodes", "top pods", "top pods -A", "top pods -l app=nobody", "top pod nobody"]
    {
        both.check(line).await;
    }
    let (ok, _, err) = both.ours(&["delete", "pods", "--all", "--now"], "").await;
    assert!(ok, "{err}");
    both.check("top pods").await;
    both.check("top pods -A").await;
    let nodes = Api::<Node>::all(both.plane.client());
    let sizes = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let status =
        json!({"status": {"capacity": sizes("4", "8Gi"), "allocatable": sizes("3500m", "7777Mi")}});
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let pods: [figures::Pod; 4] = [
        ("default", "a-pod-with-a-long-name", &[("app", 1, 9 << 20), ("b", 250, 0)]),
        ("default", "busy", &[("app", 1500, (5 << 20) - 1)]),
        ("team", "idle", &[("app", 0, 0)]),
        ("team", "large", &[("app", 20, 3 << 30)]),
    ];
    figures::announce(&both.plane, (1777, 4 << 30), &pods).await;
    for line in [
        "top nodes",
        "top no n1",
        "top node n1 --show-capacity --no-headers",
        "top nodes --sort-by=cpu -l kubernetes.io/hostname=n1",
        "top nodes -l kubernetes.io/hostname=n2",
        "top nodes nobody",
        "top nodes n1 -l a=b",
        "top nodes --sort-by=name",
        "top nodes --use-protocol-buffers=false",
        "top pods",
        "top po busy",
        "top pods --use-protocol-buffers",
        "top pod a-pod-with-a-long-name --containers",
        "top pods -A",
        "top pods -A --containers --sort-by=memory",
        "top pods --containers --sort-by=cpu",
        "top pods --sort-by=memory --no-headers",
        "top pods --sum",
        "top pods -A --sum",
        "top pods -A --sum --containers",
        "top pods -A --sum --no-headers",
        "top pods -n team",
        "top pods -l app=busy",
        "top pods --field-selector=metadata.name!=busy",
        "top pods -l app=busy,x=y",
        "top pods busy -l app=busy",
        "top pods busy --field-selector=metadata.name=busy",
        "top pods --sort-by=age",
        "top pods -l ===",
    ] {
        both.check(line).await;
    }
    let n2 = both.ours(
        &["apply", "-f", "-"],
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"a-second-node"}}"#,
    );
    assert!(n2.await.0);
    both.check("top nodes").await;
    let server = both.plane.server();
    let kinds = server.kinds().into_iter().filter(|kind| kind.names.group != "metrics.k8s.io");
    server.serve_kinds(kinds.collect()).unwrap();
    both.check("top nodes").await;
    both.check("top pods").await;
}

/// Ours leaves out what says nothing: `creationTimestamp: null`.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_config_maps_are_made_of_flags_as_by_the_stock_kubectl() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in
        [("t.txt", b"x\n".as_slice()), ("bin", &[0xff, 0xfe]), ("e.env", b"a=1\n# c\n  B= x y \n")]
    {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let key = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    std::fs::write(folder.path().join("c.pem"), key.cert.pem()).unwrap();
    std::fs::write(folder.path().join("k.pem"), key.signing_key.serialize_pem()).unwrap();
    for line in [
        "secret generic s --from-literal=a=\"b=c\" --from-file=DIR/t.txt --from-file=k=DIR/bin",
        "secret generic s",
        "secret generic s --from-file=DIR -n team",
        "secret generic s --from-env-file=DIR/e.env --type=x/y",
        "secret tls t --cert=DIR/c.pem --key=DIR/k.pem",
        "secret docker-registry r --docker-username=u --docker-password=p&<",
        "secret docker-registry r --docker-username=u --docker-password=p --docker-email=e@x --docker-server=reg:5000",
        "secret docker-registry r --from-file=DIR/t.txt",
        "configmap c --from-file=DIR/bin --from-literal=a=b",
        "configmap c --from-env-file=DIR/e.env",
        "secret generic s --from-env-file=DIR/e.env --from-literal=a=b",
        "secret generic s --from-literal=a",
        "secret docker-registry r --docker-username=u",
        "configmap c --from-file=k=DIR",
        "configmap c --from-file==b",
        "configmap c --from-file=a=",
        "configmap c --from-file=a=b=c",
        "configmap c --from-file=DIR/nope",
    ] {
        let line = format!("create {line} --dry-run=client -o yaml");
        let line = line.replace("DIR", folder.path().to_str().unwrap());
        let args: Vec<_> = line.split_whitespace().collect();
        let (ours, stock) = (both.ours(&args, "").await, both.stock(&args, "").await);
        let stock = (stock.0, stock.1.replace("  creationTimestamp: null\n", ""), stock.2);
        assert_eq!(ours, stock, "kubectl {line}");
    }
}

/// What ours applied, stock takes over and merges on the server, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_merges_for_the_stock_kubectl_as_for_ours() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    let server_side = ["apply", "--server-side", "-f", "-"];
    let (ok, said, err) = both.stock(&server_side, OBJECTS).await;
    assert!(ok, "{err}");
    assert!(said.lines().all(|line| line.ends_with(" serverside-applied")), "{said}");
    assert_eq!(both.ours(&server_side, OBJECTS).await, (true, said, String::new()));
    let map = |value: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"m"}},"data":{{"a":"{value}"}}}}"#
        )
    };
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    assert!(both.stock(&server_side, &map("1")).await.0);
    let (stock, ours) = (both.stock(&other, &map("2")).await, both.ours(&other, &map("2")).await);
    let first = |said: &Said| (said.0, said.2.lines().next().unwrap_or_default().to_owned());
    assert_eq!(first(&ours), first(&stock));
    assert!(
        first(&ours)
            .1
            .ends_with(r#"Apply failed with 1 conflict: conflict with "kubectl": .data.a"#)
    );
    let forced =
        ["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"];
    assert!(both.stock(&forced, &map("2")).await.0);
    both.check("get configmap m -o yaml --show-managed-fields").await;
}

/// A kind from data, from its definition to its end.
#[tokio::test(flavor = "multi_thread")]
async fn the_stock_kubectl_uses_kinds_that_come_from_data() {
    if !is_comparable() {
        return;
    }
    let both = Both::start().await;
    let said = |line: &'static str, input: String| {
        let both = &both;
        async move {
            let args: Vec<_> = line.split_whitespace().collect();
            let (ok, out, err) = both.stock(&args, &input).await;
            assert!(ok, "kubectl {line}: {err}");
            out
        }
    };
    let definition =
        include_str!("../../tests/catalogue/customresourcedefinitions.yaml").to_owned();
    let none = String::new;
    let name = "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com";
    assert_eq!(said("apply -f -", definition.clone()).await, format!("{name} created\n"));
    assert_eq!(said("apply -f -", definition).await, format!("{name} unchanged\n"));
    said("wait --for=condition=established crd/crontabs.stable.example.com", none()).await;
    let tab = |image: &str| {
        format!(
            r#"{{"apiVersion":"stable.example.com/v1","kind":"CronTab","metadata":{{"name":"mine"}},"spec":{{"cronSpec":"* * * * */5","image":"{image}"}}}}"#
        )
    };
    let created = said("apply -f -", tab("one")).await;
    assert_eq!(created, "crontab.stable.example.com/mine created\n");
    let table = said("get ct -o wide", none()).await;
    let words: Vec<_> = table.split_whitespace().collect();
    assert_eq!(words, ["NAME", "SPEC", "REPLICAS", "mine", "*", "*", "*", "*", "*/5", "1"]);
    let explained = said("explain ct.spec.cronSpec", none()).await;
    assert!(explained.contains("FIELD: cronSpec <string>"), "{explained}");
    let applied = said("apply --server-side --force-conflicts -f -", tab("two")).await;
    assert_eq!(applied, "crontab.stable.example.com/mine serverside-applied\n");
    said("scale ct mine --replicas=3", none()).await;
    let fields = "get ct mine -o jsonpath={.spec.image}/{.spec.replicas}";
    assert_eq!(said(fields, none()).await, "two/3");
    both.check("get ct").await;
    said("delete crd crontabs.stable.example.com", none()).await;
    let (ok, _, err) = both.stock(&["get", "ct"], "").await;
    // What it has found before it still asks for.
    let is_gone = ["could not find the requested resource", "doesn't have a resource type"];
    assert!(!ok && is_gone.iter().any(|why| err.contains(why)), "{err}");
}

/// Every manifest of the examples but those in the original minik8s' form, which ours alone knows.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders = fs::read_dir(&root).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "yaml"));
    files.retain(|file| !file.ends_with("gpu/seed.yaml"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_applied_by_stock_and_left_alone_by_ours() {
    let plane = ControlPlane::builder().listen().start().await;
    let kubeconfig = plane.kubeconfig("admin", &["system:masters"], &[]);
    let both = Both { plane, kubeconfig };
    let examples = examples();
    for of_kind in ["job/job.yaml", "statefulset/statefulset.yaml", "daemonset/daemonset.yaml"] {
        assert!(examples.iter().any(|file| file.ends_with(of_kind)), "{of_kind}");
    }
    // One of them is of kinds that are installed.
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/gateway-api");
    let definitions = format!("{deploy}/definitions.yaml");
    for words in [
        &["apply", "--server-side", "-f", &definitions][..],
        &["wait", "--for", "condition=established", "crd", "--all"],
        &["apply", "-f", &format!("{deploy}/class.yaml")],
    ] {
        let (ok, _, err) = both.stock(words, "").await;
        assert!(ok, "{words:?}: {err}");
    }
    for file in examples {
        let file = file.to_str().unwrap();
        let apply = ["apply", "-f", file];
        let (ok, said, err) = both.stock(&apply, "").await;
        assert!(ok && err.is_empty() && !said.is_empty(), "{file}: {said}{err}");
        // What has defaults in lists that are replaced is configured each time.
        let (_, expected, _) = both.stock(&apply, "").await;
        let (ok, again, err) = both.ours(&apply, "").await;
        assert!(ok && err.is_empty(), "{file}: {err}");
        assert_eq!(again, expected, "{file}");
    }
}
