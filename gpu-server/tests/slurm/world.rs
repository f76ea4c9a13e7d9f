//! A job, its server, and what a test sees of them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use api_types::{
    api::core::v1::Event,
    minik8s::{GpuJob, GpuJobStatus},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{ControlPlane, Proxy, Slurm};
use tokio::sync::Mutex;

/// Slurm counts its shortest time limit in minutes.
const DEADLINE: Duration = Duration::from_secs(180);

/// The cluster of all tests that run at a time. The last one takes it down.
async fn slurm() -> Arc<Slurm> {
    static CLUSTER: Mutex<Weak<Slurm>> = Mutex::const_new(Weak::new());
    let mut cluster = CLUSTER.lock().await;
    if let Some(slurm) = cluster.upgrade() {
        return slurm;
    }
    let slurm = Arc::new(tokio::task::spawn_blocking(Slurm::start).await.unwrap());
    *cluster = Arc::downgrade(&slurm);
    slurm
}

pub(crate) struct World {
    pub(crate) slurm: Arc<Slurm>,
    pub(crate) login: Proxy,
    pub(crate) api: Api<GpuJob>,
    pub(crate) plane: ControlPlane,
    folder: TempDir,
    results: PathBuf,
    host_key: String,
    server: Option<Child>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let slurm = slurm().await;
        let plane = ControlPlane::builder().listen().start().await;
        let folder = tempfile::tempdir().unwrap();
        for directory in ["sources", "results", "credentials"] {
            fs::create_dir(folder.path().join(directory)).unwrap();
        }
        let login = format!("{}:{}", slurm.host(), slurm.port()).parse().unwrap();
        let world = Self {
            login: Proxy::before(login).await,
            api: Api::namespaced(plane.client(), "default"),
            plane,
            results: folder.path().join("results"),
            host_key: slurm.host_key(),
            slurm,
            folder,
            server: None,
        };
        world.credential("username", &world.slurm.user());
        world.credential("password", &world.slurm.password());
        world
    }

    pub(crate) fn host_key(mut self, key: &str) -> Self {
        key.clone_into(&mut self.host_key);
        self
    }

    /// Where results go instead.
    pub(crate) fn results(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.results);
        self
    }

    pub(crate) fn credential(&self, name: &str, value: &str) {
        fs::write(self.folder.path().join("credentials").join(name), value).unwrap();
    }

    pub(crate) fn source(&self, name: &str, content: &str) {
        let path = self.folder.path().join("sources").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Among the sources.
    pub(crate) fn link(&self, to: &str, name: &str) {
        let path = self.folder.path().join("sources").join(name);
        std::os::unix::fs::symlink(to, path).unwrap();
    }

    /// Creates the job; what the test says nothing of is small.
    pub(crate) async fn create(&self, spec: Value) {
        let mut all = json!({
            "numGpus": 0,
            "memory": "100M",
            "credentials": { "secretRef": { "name": "login" } },
            "volume": "/unused",
        });
        for (name, value) in spec.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut job: GpuJob = serde_json::from_value(json!({
            "apiVersion": "minik8s.io/v1",
            "kind": "GpuJob",
            "metadata": { "name": "j" },
            "spec": all,
        }))
        .unwrap();
        job.metadata.finalizers = Some(vec![GpuJob::FINALIZER.to_owned()]);
        self.api.create(&PostParams::default(), &job).await.unwrap();
    }

    /// Starts the server of the job, once more.
    pub(crate) async fn serve(&mut self) {
        let job = self.api.get("j").await.unwrap();
        let log = |name| {
            File::options().create(true).append(true).open(self.folder.path().join(name)).unwrap()
        };
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let kubeconfig = self.plane.kubeconfig("test", &["system:masters"], &[]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-server"));
        command
            .args(["--job=default/j", "--address=127.0.0.1:0"])
            .arg(format!("--uid={}", job.metadata.uid.unwrap()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--ssh-host={}", self.login.address().ip()))
            .arg(format!("--ssh-port={}", self.login.address().port()))
            .arg(format!("--ssh-host-key={}", self.host_key))
            .arg(format!("--credentials={}", path("credentials")))
            .arg(format!("--sources={}", path("sources")))
            .arg(format!("--results={}", self.results.display()));
        command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        self.server = Some(command.spawn().unwrap());
    }

    /// With `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// With the signal that a pod gets that is to end.
    pub(crate) fn terminate(&self) {
        let id = self.server.as_ref().and_then(|server| server.id().try_into().ok());
        kill(Pid::from_raw(id.unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn has_ended(&mut self) {
        let mut server = self.server.take().unwrap();
        let ended = async || server.try_wait().unwrap();
        let status = self.until("the server has ended", ended).await;
        assert!(status.success(), "{status}");
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.folder.path().join("stdout")).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    pub(crate) fn result(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.results.join(name)).ok()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.results.join(name)
    }

    /// Whether something of a result is here, but not all of it.
    pub(crate) fn is_fetching(&self) -> bool {
        let mut entries = fs::read_dir(&self.results).unwrap().flatten();
        let partial = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("big") && name.ends_with(".partial")
        };
        entries.any(partial)
    }

    pub(crate) async fn status(&self) -> GpuJobStatus {
        self.api.get("j").await.unwrap().status.unwrap_or_default()
    }

    /// Waits until something is so. Slurm tells nobody when something happens, so it is looked.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            if Instant::now() > deadline {
                let job = self.api.get_opt("j").await;
                panic!("waited in vain until {what}: {job:#?}\n{}", self.stderr());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_status(
        &self,
        what: &str,
        holds: impl Fn(&GpuJobStatus) -> bool,
    ) -> GpuJobStatus {
        let found = self.until(what, async || Some(self.status().await).filter(&holds));
        found.await
    }

    pub(crate) async fn until_state(&self, state: &str) -> GpuJobStatus {
        self.until_status(state, |status| status.state.as_deref() == Some(state)).await
    }

    /// Waits for the end, which has to be this one, with all files here.
    pub(crate) async fn ends(&self, type_: &str, reason: &str) -> GpuJobStatus {
        let ended = |status: &GpuJobStatus| {
            [GpuJob::COMPLETE, GpuJob::FAILED]
                .into_iter()
                .any(|type_| says(status, type_).is_some())
        };
        let status = self.until_status("it has ended", ended).await;
        let condition = says(&status, type_);
        assert_eq!(condition, Some(reason.to_owned()), "{status:#?}\n{}", self.stderr());
        assert_eq!(status.active, 0);
        status
    }

    /// The reasons of the Events so far, until one of them is `last`.
    pub(crate) async fn events(&self, last: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.plane.client(), "default");
        self.until(last, async || {
            let events = events.list(&Default::default()).await.unwrap();
            let reasons: Vec<_> =
                events.items.into_iter().filter_map(|event| event.reason).collect();
            reasons.iter().any(|reason| reason == last).then_some(reasons)
        })
        .await
    }

    /// The states of the job's jobs in Slurm, one for each that there ever was.
    pub(crate) async fn in_slurm(&self) -> Vec<String> {
        let uid = self.uid().await;
        let format = ["-h", "-t", "all", "-o", "%j %T"];
        let jobs = self.slurm.command("squeue", &format);
        let jobs = jobs.lines().filter_map(|line| line.split_once(' '));
        jobs.filter(|(name, _)| name.ends_with(&uid)).map(|(_, state)| state.to_owned()).collect()
    }

    pub(crate) async fn uid(&self) -> String {
        self.api.get("j").await.unwrap().metadata.uid.unwrap()
    }

    /// Where the job's directory is.
    pub(crate) fn remote(&self, uid: &str) -> PathBuf {
        self.slurm.home().join(".minik8s").join(uid)
    }

    pub(crate) async fn patch(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.api.patch("j", &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete(&self) {
        self.api.delete("j", &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn is_gone(&self) {
        let gone = async || self.api.get_opt("j").await.unwrap().is_none().then_some(());
        self.until("it is gone", gone).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The reason of a condition that holds.
pub(crate) fn says(status: &GpuJobStatus, type_: &str) -> Option<String> {
    let holds = |c: &&api_types::meta::Condition| c.type_ == type_ && c.status == "True";
    status.conditions.iter().find(holds).map(|condition| condition.reason.clone())
}

/// The reason and the message of a condition that does not.
pub(crate) fn denies(status: &GpuJobStatus, type_: &str) -> Option<(String, String)> {
    let fails = |c: &&api_types::meta::Condition| c.type_ == type_ && c.status == "False";
    let condition = status.conditions.iter().find(fails)?;
    Some((condition.reason.clone(), condition.message.clone()))
}
