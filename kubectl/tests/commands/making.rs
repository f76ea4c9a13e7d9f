//! Objects made of flags beside `create`: `run` and `expose`; and the original's spellings of flags.

use std::process::Stdio;

use api_types::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio::process::Command;

use crate::harness::Kubectl;

async fn get(kubectl: &Kubectl, what: &str) -> Value {
    serde_json::from_str(&kubectl.ok(&format!("get {what} -o json")).await).unwrap()
}

#[tokio::test]
async fn a_pod_is_made_of_an_image() {
    let kubectl = Kubectl::new().await;
    let made = kubectl.ok("run web --image=nginx:1 --port=80 --env=A=b=c --env=D=e -- -q x").await;
    assert_eq!(made, "pod/web created\n");
    let pod = get(&kubectl, "pod web").await;
    assert_eq!(pod["metadata"]["labels"], json!({"run": "web"}));
    assert_eq!(pod["spec"]["restartPolicy"], "Always");
    let container = &pod["spec"]["containers"][0];
    assert_eq!((&container["name"], &container["image"]), (&json!("web"), &json!("nginx:1")));
    assert_eq!(container["ports"][0]["containerPort"], 80);
    assert_eq!(
        container["env"],
        json!([{"name": "A", "value": "b=c"}, {"name": "D", "value": "e"}])
    );
    assert_eq!((&container["args"], &container["command"]), (&json!(["-q", "x"]), &Value::Null));

    let line = "run once --image=busybox:1 --restart=OnFailure --command -l a=b,c=d -- sleep 1";
    kubectl.ok(line).await;
    let pod = get(&kubectl, "pod once").await;
    assert_eq!(pod["metadata"]["labels"], json!({"a": "b", "c": "d"}));
    assert_eq!(pod["spec"]["restartPolicy"], "OnFailure");
    assert_eq!(pod["spec"]["containers"][0]["command"], json!(["sleep", "1"]));
    let dry = kubectl.ok("run dry --image=a:1 --dry-run=client -o name").await;
    assert_eq!(dry, "pod/dry\n");
    assert!(kubectl.fails("get pod dry", "").await.contains("not found"));
    let refused = kubectl.fails("run Web --image=a:1", "").await;
    assert!(refused.contains("metadata.name: Invalid value: \"Web\""), "{refused}");
}

#[tokio::test]
async fn a_pod_that_is_attached_to_has_an_input_and_is_removed_whatever_becomes_of_it() {
    let kubectl = Kubectl::new().await;
    for (line, why) in [
        ("run a --image=a:1 --rm", "error: --rm should only be used for attached containers"),
        (
            "run a --image=a:1 -i --attach=false --rm",
            "error: --rm should only be used for attached containers",
        ),
        ("run a --image=a:1 -t", "error: -i/--stdin is required for containers with -t/--tty=true"),
        (
            "run a --image=a:1 -i --dry-run=server",
            "error: --dry-run=[server|client] can't be used with attached",
        ),
    ] {
        let said = kubectl.fails(line, "").await;
        assert!(said.starts_with(why), "{said}");
    }
    assert_eq!(kubectl.ok("get pods -o name").await, "");
    kubectl.ok("run open --image=a:1 -it --attach=false --leave-stdin-open").await;
    let container = get(&kubectl, "pod open").await["spec"]["containers"][0].take();
    let of = |field: &str| container[field].clone();
    assert_eq!((of("stdin"), of("stdinOnce"), of("tty")), (json!(true), json!(false), json!(true)));

    let line = "run sh --image=a:1 --restart=Never -i --pod-running-timeout=50ms";
    let timed_out = kubectl.run_with(line, "").await;
    assert!(
        timed_out.err.starts_with("error: timed out waiting for the condition"),
        "{}",
        timed_out.err
    );
    let container = get(&kubectl, "pod sh").await["spec"]["containers"][0].take();
    assert_eq!((&container["stdin"], &container["stdinOnce"]), (&json!(true), &json!(true)));
    kubectl.ok("delete pod sh").await;
    let removed = kubectl.run_with(&format!("{line} --rm"), "").await;
    assert_eq!((removed.ok, removed.out.as_str()), (false, "pod \"sh\" deleted\n"));
    assert!(removed.err.starts_with("error: timed out waiting"), "{}", removed.err);
    assert!(kubectl.fails("get pod sh", "").await.contains("not found"));
}

#[tokio::test]
async fn a_pod_that_is_run_goes_with_who_ends_its_kubectl() {
    let plane = ControlPlane::builder().listen().start().await;
    let config = plane.kubeconfig("admin", &["system:masters"], &[]);
    let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
    for (name, signal) in [("interrupted", "INT"), ("terminated", "TERM")] {
        let mut kubectl = Command::new(env!("CARGO_BIN_EXE_kubectl"));
        kubectl.args(["run", name, "--image=a:1", "-i", "--rm", "--restart=Never"]);
        kubectl.env("KUBECONFIG", &config).stdin(Stdio::null());
        let mut running = kubectl.kill_on_drop(true).spawn().unwrap();
        wait::until_is(&pods, name, "made", |_| true).await;
        let process = running.id().unwrap().to_string();
        let told = Command::new("kill").args(["-s", signal, &process]).status().await;
        assert!(told.unwrap().success());
        let status = wait::within("kubectl ends", running.wait()).await.unwrap();
        assert_eq!(status.code(), Some(1), "{signal}");
        wait::until_gone(&pods, name).await;
    }
}

const DNS: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "dns", "labels": {"app": "dns"}},
    "spec": {"containers": [{"name": "c", "image": "c:1", "ports": [
        {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}]}]}}"#;

#[tokio::test]
async fn a_service_is_made_of_what_it_is_to_stand_before() {
    let kubectl = Kubectl::new().await;
    kubectl.ok("create deployment web --image=nginx:1 --port=8080").await;
    kubectl.ok("run db --image=db:1 --port=5432").await;
    assert_eq!(
        kubectl.ok("expose deployment web --port=80 --target-port=http").await,
        "service/web exposed\n"
    );
    let service = get(&kubectl, "service web").await;
    assert_eq!(service["spec"]["selector"], json!({"app": "web"}));
    assert_eq!(service["metadata"]["labels"], json!({"app": "web"}));
    let port = json!({"port": 80, "protocol": "TCP", "targetPort": "http"});
    assert_eq!(service["spec"]["ports"], json!([port]));

    kubectl.ok("expose deploy/web --name=same").await;
    let port = json!({"port": 8080, "protocol": "TCP", "targetPort": 8080});
    assert_eq!(get(&kubectl, "service same").await["spec"]["ports"], json!([port]));

    let line = "expose pod db --name=database --cluster-ip=None --protocol=udp --port=53 -l x=y";
    kubectl.ok(line).await;
    let service = get(&kubectl, "service database").await;
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["selector"]),
        (&json!("None"), &json!({"run": "db"}))
    );
    assert_eq!(
        (&service["spec"]["ports"][0]["protocol"], &service["metadata"]["labels"]),
        (&json!("UDP"), &json!({"x": "y"}))
    );

    kubectl.ok_with("create -f -", DNS).await;
    kubectl.ok("expose pod dns --port=53").await;
    assert_eq!(get(&kubectl, "service dns").await["spec"]["ports"][0]["protocol"], "UDP");
    kubectl.ok("expose pod dns --name=all --protocol=SCTP").await;
    let ports = get(&kubectl, "service all").await["spec"]["ports"].take();
    let port =
        |name, port| json!({"name": name, "port": port, "protocol": "SCTP", "targetPort": port});
    assert_eq!(ports, json!([port("port-1", 53), port("port-2", 80)]));

    kubectl.ok("create namespace team").await;
    kubectl.ok_with("create -n team -f -", DNS).await;
    let pod = DNS.replace(r#""name": "dns","#, r#""name": "dns", "namespace": "team","#);
    kubectl.ok_with("expose -f - --port=53", &pod).await;
    let service = get(&kubectl, "service dns -n team").await;
    assert_eq!(service["spec"]["ports"][0]["protocol"], "UDP");

    kubectl.ok("expose service web --name=again --selector=tier=front").await;
    assert_eq!(get(&kubectl, "service again").await["spec"]["selector"], json!({"tier": "front"}));
    let exists = kubectl.fails("expose deployment web --port=80", "").await;
    assert!(exists.contains("services \"web\" already exists"), "{exists}");
}

#[tokio::test]
async fn what_can_not_be_exposed_says_why() {
    let kubectl = Kubectl::new().await;
    kubectl.ok("create deployment web --image=nginx:1").await;
    kubectl.ok("create configmap settings").await;
    for (line, why) in [
        ("expose deployment web", "error: couldn't find port via --port flag or introspection"),
        ("run web --image=a:1 --env=A-", "error: \"A-\" is no KEY=VALUE"),
        ("expose configmap settings --port=80", "error: cannot expose a ConfigMap"),
        (
            "expose deployment --port=80",
            "error: resource(s) were provided, but no name was specified",
        ),
        ("expose deployment web --port=80 --selector=a", "error: \"a\" is no KEY=VALUE"),
    ] {
        assert_eq!(kubectl.fails(line, "").await, why);
    }
    assert_eq!(kubectl.ok("get services -o name").await, "service/kubernetes\n");
}

#[tokio::test]
async fn the_originals_flags_are_understood() {
    let kubectl = Kubectl::new().await;
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(
        file.path(),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {k: old}}\n",
    )
    .unwrap();
    let line = format!("apply --filePath={}", file.path().display());
    assert_eq!(kubectl.ok(&line).await, "configmap/a created\n");
    assert!(!kubectl.run_with("label configmap a k=new", "").await.ok);
    assert_eq!(kubectl.ok("label configmap a k=new -o").await, "configmap/a labeled\n");
    assert_eq!(get(&kubectl, "configmap a").await["metadata"]["labels"], json!({"k": "new"}));
    assert_eq!(kubectl.ok("label configmap a j=new -o name").await, "configmap/a\n");
}

#[tokio::test]
async fn an_autoscaler_is_made_in_both_forms() {
    let kubectl = Kubectl::new().await;
    kubectl.ok("create deployment web --image=nginx:1").await;
    let made = kubectl.ok("autoscale deployment/web --min=2 --max=5 --cpu-percent=60").await;
    assert_eq!(made, "horizontalpodautoscaler.autoscaling/web autoscaled\n");
    let autoscaler = get(&kubectl, "hpa web").await;
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    assert_eq!(autoscaler["spec"]["scaleTargetRef"], target);
    assert_eq!(autoscaler["spec"]["minReplicas"], 2);
    let utilization = json!({"type": "Utilization", "averageUtilization": 60});
    assert_eq!(autoscaler["spec"]["metrics"][0]["resource"]["target"], utilization);
    kubectl.ok("autoscale hpa --target=rs --min=1 --max=4 -c 25 -m 30 -i 10").await;
    let autoscaler = get(&kubectl, "hpas hpa").await;
    let target = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs"});
    assert_eq!(autoscaler["spec"]["scaleTargetRef"], target);
    let resource = |i: usize| autoscaler["spec"]["metrics"][i]["resource"].clone();
    let value = json!({"name": "cpu", "target": {"type": "AverageValue", "averageValue": "250m"}});
    assert_eq!(resource(0), value);
    assert_eq!(resource(1)["target"]["averageUtilization"], 30);
    let policy = json!([{"type": "Pods", "value": 1, "periodSeconds": 10}]);
    assert_eq!(autoscaler["spec"]["behavior"]["scaleUp"]["policies"], policy);
    assert_eq!(autoscaler["spec"]["behavior"]["scaleDown"]["policies"], policy);
    for (line, why) in [
        ("autoscale a --target=rs", "--cpu or --mem must be given, and above 0"),
        (
            "autoscale a --target=rs -c 25 --min=3 --max=2",
            "must be greater than or equal to `minReplicas`",
        ),
        ("autoscale deployment web", "--max=MAXPODS is required and must be at least 1, max: -1"),
        ("autoscale configmap kube-root-ca.crt --max=3", "kube-root-ca.crt"),
    ] {
        let said = kubectl.fails(line, "").await;
        assert!(said.contains(why), "{line}: {said}");
    }
    let seed = r#"{"apiVersion": "v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "none"}, "spec": {
        "minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": {"metadata": {"name": "rs"}}, "metrics": {}}}"#;
    let other = r#""metrics": {"CPUUtilizationPercentage": 25, "GPUUtilizationPercentage": 5}"#;
    let said = kubectl.fails("apply -f -", &seed.replace(r#""metrics": {}"#, other)).await;
    assert!(said.contains(r#"unknown field "spec.metrics.GPUUtilizationPercentage""#), "{said}");
    let said = kubectl.fails("apply -f -", seed).await;
    assert!(
        said.contains("CPUUtilizationPercentage or MemUtilizationPercentage must be above 0"),
        "{said}"
    );
}
