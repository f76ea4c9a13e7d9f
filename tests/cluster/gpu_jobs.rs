//! GPU jobs from a manifest to results: real pods, which find a real Slurm cluster behind a real sshd.

use std::{fs, path::Path, time::Duration};

use api_types::{api::core::v1::Pod, minik8s::GpuJob};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use testkit::Slurm;

use crate::harness::{Backing, Cluster, NODE, run, until_within};

/// The node's bridge has it from the node's first pod on: `10.245.0.1` of the cluster's `10.245.0.0/16`.
const ADDRESS: &str = "10.245.0.1";
/// A job passes a scheduler, a kubelet, an sshd, a compiler, Slurm and its accounting.
const ONE_AFTER_THE_OTHER: Duration = Duration::from_secs(180);
const SOURCE: &str = r#"#include <stdio.h>
int main(void) { for (int i = 0; i < 3; i++) printf("%d\n", i + i); return 0; }
"#;

async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    until_within(ONE_AFTER_THE_OTHER, what, probe).await
}

/// A cluster that knows where Slurm is, and who logs in.
struct Jobs {
    cluster: Cluster,
    slurm: Slurm,
}

impl Jobs {
    async fn start(backing: Backing, flags: &[&str]) -> Self {
        let cluster = Cluster::start(backing).await;
        let up = cluster.up(&[&["--no-examples"], flags].concat());
        assert!(up.ok, "{}", up.stderr);
        cluster.kubectl(&["run", "first", "--image=minik8s/busybox:0.1", "--", "sleep", "1000000"]);
        until("the bridge", async || {
            let addresses = run("ip", &["-o", "-4", "address"]).stdout;
            if addresses.contains(ADDRESS) { Ok(()) } else { Err(addresses) }
        })
        .await;
        let jobs = Self { cluster, slurm: Slurm::with(&["--address", ADDRESS]) };
        let (port, key) = (jobs.slurm.port(), jobs.slurm.host_key());
        jobs.create(
            "configmap",
            "gpu-cluster",
            "kube-system",
            &[("host", ADDRESS), ("port", &port.to_string()), ("hostKey", &key)],
        );
        jobs.prepare("default");
        jobs
    }

    /// Has a namespace have the sources and the login.
    fn prepare(&self, namespace: &str) {
        self.create("configmap", "add", namespace, &[("add.c", SOURCE)]);
        let (user, password) = (self.slurm.user(), self.slurm.password());
        let login = [("username", user.as_str()), ("password", password.as_str())];
        self.create("secret", "slurm", namespace, &login);
    }

    fn create(&self, kind: &str, name: &str, namespace: &str, data: &[(&str, &str)]) {
        let kind = if kind == "secret" { "Secret" } else { "ConfigMap" };
        let field = if kind == "Secret" { "stringData" } else { "data" };
        let data: serde_json::Map<_, _> =
            data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.apply(&json!({"apiVersion": "v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, field: data}));
    }

    fn apply(&self, object: &Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, object.to_string()).unwrap();
        self.cluster.kubectl(&["apply", "-f", file.path().to_str().unwrap()]).expect_ok();
    }

    fn submit(&self, name: &str, script: &str) {
        self.submit_in("default", name, script);
    }

    fn submit_in(&self, namespace: &str, name: &str, script: &str) {
        let metadata = json!({"name": name, "namespace": namespace});
        self.apply(&json!({"apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": metadata, "spec": {
            "sources": {"configMap": {"name": "add"}}, "compileScripts": ["gcc -o add add.c"],
            "runScripts": [script], "results": ["*.csv"], "credentials": {"secretRef": {"name": "slurm"}}}}));
    }

    fn api(&self) -> Api<GpuJob> {
        Api::default_namespaced(self.cluster.client())
    }

    /// The job as it is when its state is this.
    async fn until_state(&self, name: &str, state: &str) -> GpuJob {
        self.until_state_in("default", name, state).await
    }

    async fn until_state_in(&self, namespace: &str, name: &str, state: &str) -> GpuJob {
        let api = Api::<GpuJob>::namespaced(self.cluster.client(), namespace);
        until(&format!("job {name} is {state}"), async || {
            let job = api.get(name).await.map_err(|error| error.to_string())?;
            let is_it = job.status.as_ref().is_some_and(|s| s.state.as_deref() == Some(state));
            if is_it { Ok(job) } else { Err(format!("{:?}", job.status)) }
        })
        .await
    }

    async fn until_complete(&self, name: &str) -> GpuJob {
        until(&format!("job {name} is complete"), async || {
            let job = self.api().get(name).await.map_err(|error| error.to_string())?;
            let ended = job.ended().map(|condition| condition.type_.clone());
            if ended.as_deref() == Some(GpuJob::COMPLETE) {
                Ok(job)
            } else {
                Err(format!("{:?}", job.status))
            }
        })
        .await
    }

    /// The pods of a job that are not on their way out.
    async fn pods(&self, name: &str) -> Vec<Pod> {
        let pods = Api::<Pod>::default_namespaced(self.cluster.client());
        let label = format!("{}={name}", GpuJob::LABEL);
        let mut pods = pods.list(&ListParams::default().labels(&label)).await.unwrap().items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// A result, as the file server of the job's pod has it.
    async fn result(&self, name: &str, file: &str) -> String {
        until(&format!("{file} of {name}"), async || {
            let pods = self.pods(name).await;
            let address = pods.first().and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
            let address = address.ok_or("no pod with an address")?;
            let url = format!("http://{address}{}{file}", GpuJob::FILES_PATH);
            let done = run("curl", &["-fsS", "--noproxy", "*", &url]);
            if done.ok { Ok(done.stdout) } else { Err(done.stderr) }
        })
        .await
    }

    /// The numbers of all jobs that Slurm ever had, as soon as its accounting, which lags behind, knows of any.
    async fn in_slurm(&self) -> Vec<String> {
        until("accounting knows a job", async || {
            let all = self.slurm.command("sacct", &["-a", "-n", "-X", "-P", "-o", "JobID"]);
            if all.is_empty() { Err(all) } else { Ok(all.lines().map(str::to_owned).collect()) }
        })
        .await
    }

    fn remote(&self, job: &GpuJob) -> std::path::PathBuf {
        self.slurm.home().join(".minik8s").join(job.metadata.uid.as_deref().unwrap())
    }
}

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_run_by_slurm_and_its_results_come_back_and_deleting_it_leaves_nothing() {
    let jobs = Jobs::start(Backing::Embedded, &[]).await;
    jobs.submit("add", "./add; echo a,b >table.csv");
    let add = jobs.until_complete("add").await;
    let status = add.status.as_ref().unwrap();
    assert_eq!((status.state.as_deref(), status.exit_code), (Some("COMPLETED"), Some(0)));
    assert_eq!(jobs.result("add", "add.out").await, "0\n2\n4\n");
    assert_eq!(jobs.result("add", "table.csv").await, "a,b\n");
    let pods = jobs.pods("add").await;
    let pod = pods[0].metadata.name.as_deref().unwrap();
    let log = jobs.cluster.kubectl(&["logs", pod]).expect_ok();
    assert!(log.contains("0\n2\n4\n"), "{log}");
    let table = jobs.cluster.kubectl(&["get", "gpu", "add"]).expect_ok();
    assert!(table.contains("COMPLETED"), "{table}");
    assert_eq!(jobs.in_slurm().await.len(), 1);

    jobs.submit("long", "./add; sleep 1000");
    let long = jobs.until_state("long", "RUNNING").await;
    assert!(jobs.remote(&long).exists());
    jobs.cluster.kubectl(&["delete", "gpujob", "add", "long"]).expect_ok();
    assert_eq!(jobs.slurm.command("squeue", &["-h", "-t", "RUNNING,PENDING"]), "");
    for job in [&add, &long] {
        assert!(!jobs.remote(job).exists(), "{:?}", entries(&jobs.remote(job)));
    }
    until("what was made for the jobs is gone", async || {
        let kinds = "pods,serviceaccounts,roles,rolebindings";
        let left = jobs.cluster.kubectl(&["get", kinds, "-o", "name"]).stdout;
        if left.contains("add") || left.contains("long") { Err(left) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_leaves_nothing_of_its_jobs_in_slurm() {
    let jobs = Jobs::start(Backing::Embedded, &[]).await;
    jobs.cluster.kubectl(&["create", "namespace", "team"]).expect_ok();
    jobs.prepare("team");
    jobs.submit_in("team", "long", "./add; sleep 1000");
    let long = jobs.until_state_in("team", "long", "RUNNING").await;
    assert!(jobs.remote(&long).exists());
    jobs.cluster.kubectl(&["delete", "namespace", "team", "--timeout=180s"]).expect_ok();
    assert_eq!(jobs.slurm.command("squeue", &["-h", "-t", "RUNNING,PENDING"]), "");
    assert!(!jobs.remote(&long).exists(), "{:?}", entries(&jobs.remote(&long)));
    let events = jobs.cluster.kubectl(&["get", "events", "-A"]).expect_ok();
    assert!(!events.contains("GpuJobAbandoned"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_node_is_lost_goes_on_with_one_job_in_slurm() {
    let other = format!("{NODE}-2");
    let jobs = Jobs::start(Backing::Services, &["--nodes", "2"]).await;
    jobs.cluster.stock_kubectl(&["cordon", NODE]).expect_ok();
    jobs.submit("add", "sleep 20; ./add");
    jobs.until_state("add", "RUNNING").await;
    let pods = jobs.pods("add").await;
    assert_eq!(pods.iter().filter_map(node_of).collect::<Vec<_>>(), std::slice::from_ref(&other));
    jobs.cluster.stock_kubectl(&["uncordon", NODE]).expect_ok();
    jobs.cluster.kill(&[&format!("kubelet-{other}")]);
    // What an operator does who knows that the host is gone.
    jobs.cluster.kubectl(&["delete", "node", &other]).expect_ok();
    jobs.until_complete("add").await;
    assert_eq!(jobs.result("add", "add.out").await, "0\n2\n4\n");
    let pods = jobs.pods("add").await;
    assert_eq!(pods.iter().filter_map(node_of).collect::<Vec<_>>(), [NODE]);
    assert_eq!(jobs.in_slurm().await.len(), 1);
}
