//! A real cluster per test: the programs as built, started by `scripts/up.sh` with folders, ports, address ranges and a
//! node name of its own, and removed without trace by `scripts/down.sh --purge`. One at a time, whatever runs the tests.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    net::IpAddr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::NamedTempFile;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) const NODE: &str = "minik8s-test";
const PORT_OFFSET: &str = "21000";

/// What the control plane stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// The embedded store, without Redis.
    Embedded,
    /// Real etcd and Redis.
    Services,
}

impl Backing {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Embedded => &[],
            Self::Services => &["--etcd", "--redis"],
        }
    }
}

pub(crate) const STOCK_KUBECTL: &str = "/usr/bin/kubectl";

/// Ours, and the one that everybody has.
pub(crate) fn kubectls() -> [PathBuf; 2] {
    [programs().join("kubectl"), STOCK_KUBECTL.into()]
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) ok: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> String {
        assert!(self.ok, "failed ({:?}):\n{}{}", self.code, self.stdout, self.stderr);
        self.stdout
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Where the programs are, as built.
pub(crate) fn programs() -> PathBuf {
    target().join("debug")
}

/// Runs a command to its end.
pub(crate) fn run(program: impl AsRef<Path>, args: &[&str]) -> Done {
    let program = program.as_ref();
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    output.unwrap_or_else(|e| panic!("{}: {e}", program.display())).into()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster")
}

/// Waits until no other test has a cluster, and keeps it so.
pub(crate) fn alone() -> Flock<File> {
    let lock = File::create(folder().with_extension("lock")).unwrap();
    Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e).unwrap()
}

/// A running cluster; dropping it removes everything of it.
pub(crate) struct Cluster {
    folder: PathBuf,
    client: Client,
    _alone: Flock<File>,
}

impl Cluster {
    pub(crate) async fn start(backing: Backing) -> Self {
        let (alone, folder) = (alone(), folder());
        // Nobody outside is asked for names.
        let usual = ["--node-name", NODE, "--no-examples", "--dns-upstream", "127.0.0.1:9"];
        let flags = [&usual, backing.flags()].concat();
        script(&folder, "down.sh", &["--purge"]).expect_ok();
        script(&folder, "up.sh", &up_flags(&flags)).expect_ok();
        let client = client(&folder).await;
        Self { folder, client, _alone: alone }
    }

    /// `scripts/up.sh` once more, with more flags. It knows what it was started with.
    pub(crate) fn up(&self, more: &[&str]) -> Done {
        script(&self.folder, "up.sh", &up_flags(more))
    }

    /// Another of the scripts.
    pub(crate) fn script(&self, name: &str, more: &[&str]) -> Done {
        script(&self.folder, name, more)
    }

    /// `scripts/down.sh`.
    pub(crate) fn down(&self, more: &[&str]) -> Done {
        script(&self.folder, "down.sh", more)
    }

    /// Where everything of it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Our kubectl.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Done {
        self.with_kubeconfig(&programs().join("kubectl"), args, Stdio::null())
    }

    /// The kubectl that everybody has.
    pub(crate) fn stock_kubectl(&self, args: &[&str]) -> Done {
        self.with_kubeconfig(Path::new(STOCK_KUBECTL), args, Stdio::null())
    }

    /// One of them, with a file to read.
    pub(crate) fn reading(&self, kubectl: &Path, file: &Path, args: &[&str]) -> Done {
        self.with_kubeconfig(kubectl, args, File::open(file).unwrap().into())
    }

    /// One of them, beside the test.
    pub(crate) fn beside(&self, kubectl: &Path, args: &[&str]) -> Beside {
        let printed = NamedTempFile::new().unwrap();
        let mut command = Command::new(kubectl);
        command.args(args).env("KUBECONFIG", self.folder.join("config/admin.conf"));
        command.env("HOME", &self.folder).stdin(Stdio::null());
        command.stdout(printed.reopen().unwrap()).stderr(printed.reopen().unwrap());
        Beside { printed, _process: Replica(command.spawn().unwrap()) }
    }

    /// One of them at a terminal of 31 lines and 97 columns; what it shows.
    pub(crate) fn at_terminal(&self, kubectl: &Path, args: &[&str]) -> Done {
        let (kubectl, args) = (kubectl.display(), args.join(" "));
        let line = format!("stty rows 31 cols 97; timeout --foreground 60 {kubectl} {args}");
        let script = ["--quiet", "--return", "--command", &line, "/dev/null"];
        self.with_kubeconfig(Path::new("script"), &script, Stdio::null())
    }

    fn with_kubeconfig(&self, program: &Path, args: &[&str], input: Stdio) -> Done {
        let kubeconfig = self.folder.join("config/admin.conf");
        let mut command = Command::new(program);
        command.args(args).env("KUBECONFIG", kubeconfig).env("HOME", &self.folder).stdin(input);
        command.output().unwrap_or_else(|e| panic!("{}: {e}", program.display())).into()
    }

    /// The process id of a program that `up.sh` started.
    pub(crate) fn pid(&self, program: &str) -> Pid {
        let file = self.folder.join(format!("run/{program}.pid"));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Pid::from_raw(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// A second one of a running program, with the same flags. It ends with the test.
    pub(crate) fn replica(&self, program: &str) -> Replica {
        self.another(program, &["--health-address", "127.0.0.1:0"])
    }

    /// The same with flags of its own, of which the first is there already with another value.
    pub(crate) fn another(&self, program: &str, flags: &[&str]) -> Replica {
        self.replica_of(program, self.words(program), flags)
    }

    /// The same once the running one is killed: what it listened on is free.
    pub(crate) async fn instead(&self, program: &str, flags: &[&str]) -> Replica {
        let (pid, words) = (self.pid(program), self.words(program));
        self.kill(&[program]);
        until("it to end", async || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => Err(stat),
            _ => Ok(()),
        })
        .await;
        self.replica_of(program, words, flags)
    }

    fn replica_of(&self, program: &str, mut words: Vec<OsString>, flags: &[&str]) -> Replica {
        if let Some(first) = words.iter().position(|word| word == flags[0]) {
            words.drain(first..first + 2);
        }
        words.extend(flags.iter().map(OsString::from));
        let log = File::create(self.folder.join(format!("log/{program}-replica.log"))).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Replica(command.spawn().unwrap())
    }

    /// The command line of a running program.
    fn words(&self, program: &str) -> Vec<OsString> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid(program))).unwrap();
        let words = line.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned());
        let mut words: Vec<_> = words.collect();
        // After the last one there is a zero, too.
        words.pop();
        words
    }

    /// Waits until `kube-proxy check` and `kubelet check` find nothing on the node that differs from what the API server says.
    pub(crate) async fn until_checked(&self) {
        for program in ["kube-proxy", "kubelet"] {
            let words = self.words(program);
            until(&format!("{program} to find the node as the API server says"), async || {
                let mut check = Command::new(&words[0]);
                let done: Done = check.arg("check").args(&words[1..]).output().unwrap().into();
                if done.ok { Ok(()) } else { Err(done.stdout + &done.stderr) }
            })
            .await;
        }
    }

    /// SIGKILL, without a chance to tidy up.
    pub(crate) fn kill(&self, programs: &[&str]) {
        for program in programs {
            kill(self.pid(program), Signal::SIGKILL).unwrap();
        }
    }
}

/// A process that ends with the test.
pub(crate) struct Replica(pub(crate) Child);

/// A command that goes on, and ends with the test.
pub(crate) struct Beside {
    printed: NamedTempFile,
    _process: Replica,
}

impl Beside {
    /// All that it has printed so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.printed).unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let refused = refused(&self.folder.join("log"));
        if std::thread::panicking() {
            let tails = format!("tail -n 15 {}/log/*.log", self.folder.display());
            let printed = run("sh", &["-c", &tails]);
            eprintln!(
                "{}\n{}",
                self.kubectl(&["get", "pods,nodes,events", "-A", "-o", "wide"]).stdout,
                printed.stdout
            );
        }
        let done = self.down(&["--purge"]);
        assert!(done.ok || std::thread::panicking(), "down.sh failed: {}", done.stderr);
        assert!(refused.is_empty() || std::thread::panicking(), "{}", refused.join("\n"));
    }
}

/// What API servers have refused the cluster's own programs, by their logs in a folder: each has the rights that it needs.
/// A kubelet that has not heard yet of the end of a pod may still ask for what that used.
pub(crate) fn refused(logs: &Path) -> Vec<String> {
    let files = fs::read_dir(logs).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
    let texts = files.filter_map(|file| fs::read_to_string(file).ok());
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let refused = lines.filter(|line| line.contains("a program of the cluster is refused"));
    refused.filter(|line| !line.contains("no relationship found")).collect()
}

fn up_flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--debug", "--no-build"], more].concat()
}

fn script(folder: &Path, name: &str, more: &[&str]) -> Done {
    let place = |kind: &str| folder.join(kind).to_string_lossy().into_owned();
    let mut command = Command::new(root().join("scripts").join(name));
    for kind in ["config", "state", "log", "run"] {
        command.arg(format!("--{kind}-dir")).arg(place(kind));
    }
    command.args(["--cluster-cidr", "10.245.0.0/16", "--service-cidr", "10.97.0.0/16"]);
    command.args(["--port-offset", PORT_OFFSET]).args(more);
    // The programs outlive the script: were its output a pipe, they would hold it open. It goes through a file.
    let output = folder.with_extension("out");
    let file = File::create(&output).unwrap();
    command.env("CARGO_TARGET_DIR", target()).stdin(Stdio::null());
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let status = command.status().unwrap();
    let printed = fs::read_to_string(&output).unwrap();
    Done { ok: status.success(), code: status.code(), stdout: printed.clone(), stderr: printed }
}

async fn client(folder: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(folder.join("config/admin.conf")).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// The body of `http://ADDRESS:PORT/`, as [`fetch_path`] gets it.
pub(crate) async fn fetch(address: &str, port: u16) -> Result<String, String> {
    fetch_path(address, port, "/").await
}

/// The body of a path, on a connection of its own. Panics if the address is not this machine's: test traffic
/// never leaves it.
pub(crate) async fn fetch_path(address: &str, port: u16, path: &str) -> Result<String, String> {
    assert_local(address);
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let url = format!("http://{address}:{port}{path}");
    let response = client.get(url).timeout(Duration::from_secs(5)).send().await;
    let response =
        response.map_err(|e| format!("{e:?}"))?.error_for_status().map_err(|e| e.to_string())?;
    response.text().await.map_err(|e| e.to_string())
}

/// Whether packets for an address stay on this machine: an address of its own, or one behind a bridge of a node.
pub(crate) fn assert_local(address: &str) {
    address.parse::<IpAddr>().unwrap_or_else(|e| panic!("{address:?}: {e}"));
    let route = run("ip", &["-o", "route", "get", address]).expect_ok();
    assert!(
        route.starts_with("local ") || route.contains(" dev mk8s"),
        "{address} is not local: {route}"
    );
}

/// Ids of the running containers with all these labels, sorted.
pub(crate) fn containers(labels: &[&str]) -> Vec<String> {
    let filters: Vec<String> = labels.iter().map(|l| format!("label={l}")).collect();
    let mut args = vec!["ps", "-q", "--no-trunc"];
    for filter in &filters {
        args.extend(["--filter", filter.as_str()]);
    }
    let mut ids: Vec<_> = run("docker", &args).expect_ok().lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Asks again and again until the answer is `Ok`; panics with the last `Err` after a minute.
pub(crate) async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    until_within(Duration::from_secs(60), what, probe).await
}

/// The same for what takes longer.
pub(crate) async fn until_within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    let mut ticks = interval(limit / 1200);
    // What is asked gets time for its own work between two looks, however long they take.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match probe().await {
            Ok(answer) => return answer,
            Err(last) => {
                assert!(Instant::now() < deadline, "timed out waiting for {what}; last: {last}");
            }
        }
    }
}
