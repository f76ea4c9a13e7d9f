//! A cluster of three hosts as users make one: `scripts/up.sh` on the first, and on the others the command that it has them
//! type. Each host is a network namespace with a Docker of its own; beside them is a machine that is none of the cluster's. The third
//! host is behind a router. All have addresses of both families, and so have pods and Services.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use nix::{
    fcntl::Flock,
    sched::{CloneFlags, setns},
};
use serde_json::Value;

use super::network::Network;
use crate::harness::{Done, alone, programs, refused, root, run, target, until};

/// The three hosts.
pub(crate) const HOSTS: [usize; 3] = [0, 1, 2];
/// The number of a segment in its machines' addresses.
const NEAR: usize = 98;
const FAR: usize = 97;
/// The router's number on each of them. From there, packets for anybody else go nowhere.
const ROUTER: usize = 254;
const PODS: &str = "10.246.0.0/16,fd00:10:246::/56";
const SERVICES: &str = "10.98.0.0/16,fd00:10:98::/112";

/// From where something is tried.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A host of the cluster.
    Host(usize),
    /// The machine beside it.
    Beside,
    /// A pod.
    Pod(String),
}

/// Dropping it removes everything of it.
pub(crate) struct Joined {
    network: Network,
    folder: tempfile::TempDir,
    dockers: Vec<Option<Child>>,
    /// Given up last.
    _alone: Flock<File>,
}

impl Joined {
    /// Three nodes, all ready; what is said goes to `scripts/up.sh`.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let alone = alone();
        let (network, folder) = (Network::new("m8j"), tempfile::tempdir().unwrap());
        let mut cluster = Self { network, folder, dockers: Vec::new(), _alone: alone };
        for segment in [NEAR, FAR] {
            cluster.network.segment(&format!("net{segment}"), &networks(segment, ROUTER));
        }
        cluster.connect("beside", NEAR, 99);
        for host in HOSTS {
            cluster.connect(&name(host), segment(host), 11 + host);
            fs::create_dir(cluster.path(host, "")).unwrap();
            cluster.dockers.push(None);
            cluster.start_docker(host).await;
        }
        cluster.load_images();
        cluster.up(flags);
        cluster.join();
        cluster
    }

    /// kubectl, on the first host.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Done {
        let (program, kubeconfig) = (programs().join("kubectl"), self.path(0, "etc/admin.conf"));
        let mut all = vec![program.to_str().unwrap(), "--kubeconfig", &kubeconfig];
        all.extend(args);
        self.run(0, &all)
    }

    /// A field of an object, by its JSONPath.
    pub(crate) fn field(&self, object: &[&str], path: &str) -> String {
        let output = format!("jsonpath={path}");
        self.kubectl(&[&["get"], object, &["-o", &output]].concat()).expect_ok()
    }

    /// The objects of a resource.
    pub(crate) fn list(&self, resource: &str) -> Vec<Value> {
        let list = self.kubectl(&["get", resource, "-o", "json"]).expect_ok();
        let list: Value = serde_json::from_str(&list).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    pub(crate) fn apply(&self, manifest: &Value) {
        let path = self.path(0, "manifest.json");
        fs::write(&path, manifest.to_string()).unwrap();
        self.kubectl(&["apply", "-f", &path]).expect_ok();
    }

    /// A command on a host.
    pub(crate) fn run(&self, host: usize, command: &[&str]) -> Done {
        let enter = self.network.enter(&name(host));
        let docker = format!("DOCKER_HOST={}", self.docker_url(host));
        run("nsenter", &[&[enter.as_str(), "env", &docker], command].concat())
    }

    /// A shell's command somewhere. `$GET URL` gets a page by a connection of its own, unless it takes seconds.
    pub(crate) fn shell(&self, place: &Place, command: &str) -> Done {
        let from_host = format!("GET='curl -sS --max-time 2'; {command}");
        match place {
            Place::Host(host) => self.run(*host, &["sh", "-c", &from_host]),
            Place::Beside => {
                run("nsenter", &[&self.network.enter("beside"), "sh", "-c", &from_host])
            }
            Place::Pod(pod) => {
                let command = format!("GET='timeout 2 wget -q -O -'; {command}");
                self.kubectl(&["exec", pod, "--", "sh", "-c", &command])
            }
        }
    }

    /// A command on a host, beside the test.
    pub(crate) fn spawn(&self, host: usize, command: &[&str]) -> Child {
        let mut beside = Command::new("nsenter");
        beside.arg(self.network.enter(&name(host))).args(command);
        beside.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Does something on a thread that is on a host's network.
    pub(crate) fn inside<T: Send>(&self, host: usize, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.network.file(&name(host))).unwrap();
        let enter_and_act = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(enter_and_act).join()).unwrap()
    }

    /// The virtual IPs of a Service, one of each family that it has.
    pub(crate) fn virtual_ips(&self, service: &[&str]) -> Vec<String> {
        let all = self.field(&[&["service"], service].concat(), "{.spec.clusterIPs[*]}");
        all.split_whitespace().map(str::to_owned).collect()
    }

    /// Where a Service has its port 8080 for the cluster.
    pub(crate) fn urls(&self, service: &str) -> Vec<String> {
        urls(&self.virtual_ips(&[service]), 8080)
    }

    /// Where a pod of both families has its port 80.
    pub(crate) fn pod_urls(&self, pod: &str) -> Vec<String> {
        let all = self.field(&["pod", pod], "{.status.podIPs[*].ip}");
        let all: Vec<_> = all.split_whitespace().map(str::to_owned).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        urls(&all, 80)
    }

    /// Begins to send patches for one object, so many a second, over one connection.
    pub(crate) fn patch_at_rate(
        &self,
        path: &str,
        patches: impl Iterator<Item = Value>,
        a_second: u32,
    ) -> Child {
        let folder = self.path(0, "");
        let key = |name: &str| {
            format!(
                "sed -n 's/.*client-{name}-data[\": ]*\\([A-Za-z0-9+/=]*\\).*/\\1/p' {folder}etc/admin.conf | base64 -d >{folder}{name}.pem"
            )
        };
        let keys = format!("umask 077; {}; {}", key("certificate"), key("key"));
        self.run(0, &["sh", "-c", &keys]).expect_ok();
        let patch = |patch: Value| {
            let data = patch.to_string().replace('"', "\\\"");
            format!(
                "url = https://172.31.98.11:6443/{path}\nrequest = PATCH\nheader = \"Content-Type: application/merge-patch+json\"\ndata = \"{data}\"\nfail\noutput = /dev/null\ncacert = {folder}lib/apiserver/pki/ca.crt\ncert = {folder}certificate.pem\nkey = {folder}key.pem\n"
            )
        };
        let all: Vec<_> = patches.map(patch).collect();
        let file = self.path(0, "patches");
        fs::write(&file, all.join("next\n")).unwrap();
        self.spawn(0, &["curl", "-s", "--rate", &format!("{a_second}/s"), "--config", &file])
    }

    pub(crate) fn plug(&self, host: usize, plugged: bool) {
        self.network.plug(&name(host), plugged);
    }

    /// SIGKILL for a program of these hosts.
    pub(crate) fn kill(&self, hosts: &[usize], program: &str) {
        let processes: Vec<_> = hosts.iter().map(|host| self.pid(*host, program)).collect();
        let kill = ["-9"].into_iter().chain(processes.iter().map(String::as_str));
        run("kill", &kill.collect::<Vec<_>>()).expect_ok();
    }

    /// The scripts start what does not run.
    pub(crate) fn restart(&self, hosts: &[usize]) {
        self.beside_each_other(hosts, |host| {
            let script = if host == 0 { "up.sh --no-examples" } else { "join.sh" };
            format!("scripts/{script} {}", self.own_flags(host))
        });
    }

    /// By its id: it tidies up, and its containers run on.
    pub(crate) fn stop_docker(&mut self, host: usize) {
        if let Some(mut docker) = self.dockers[host].take() {
            run("kill", &[&docker.id().to_string()]);
            let _ = docker.wait();
        }
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        probe: impl Fn(&Self) -> Result<T, String>,
    ) -> T {
        until(what, async || probe(self)).await
    }

    /// Waits until `kube-proxy check` and `kubelet check` find nothing on any host that differs from what the API server says.
    pub(crate) async fn until_checked(&self) {
        for (host, program) in
            HOSTS.into_iter().flat_map(|host| [(host, "kube-proxy"), (host, "kubelet")])
        {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", self.pid(host, program)));
            let line = line.unwrap();
            let mut words: Vec<_> = line.split_terminator('\0').collect();
            words.insert(1, "check");
            self.until(
                &format!("{program} to find host {host} as the API server says"),
                |cluster| {
                    let done = cluster.run(host, &words);
                    if done.ok { Ok(()) } else { Err(done.stdout + &done.stderr) }
                },
            )
            .await;
        }
    }

    /// The process of a program on a host.
    fn pid(&self, host: usize, program: &str) -> String {
        let text = fs::read_to_string(self.path(host, &format!("run/{program}.pid"))).unwrap();
        text.split(' ').next().unwrap().to_owned()
    }

    fn connect(&self, host: &str, segment: usize, machine: usize) {
        self.network.connect(host, &format!("net{segment}"), &networks(segment, machine));
        for router in addresses(segment, ROUTER) {
            self.network.ip(host, &format!("route add default via {router}"));
        }
    }

    pub(crate) async fn start_docker(&mut self, host: usize) {
        let here = |name: &str| self.path(host, name);
        let (data, run_files, pid) = (here("docker"), here("docker-run"), here("docker.pid"));
        let (url, bridge) = (self.docker_url(host), format!("172.30.{host}.1/24"));
        let log = File::options().create(true).append(true).open(here("docker.log")).unwrap();
        let mut command = Command::new("nsenter");
        command.args([&self.network.enter(&name(host)), "dockerd", "--live-restore"]);
        command.args(["--data-root", &data, "--exec-root", &run_files, "--pidfile", &pid]);
        command.args(["--host", &url, "--bip", &bridge]).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.dockers[host] = Some(command.spawn().unwrap());
        self.until("Docker to answer", |cluster| {
            let done = cluster.run(host, &["docker", "version"]);
            if done.ok { Ok(()) } else { Err(done.stderr) }
        })
        .await;
    }

    /// What scripts/images.sh has built, from the machine's own Docker.
    fn load_images(&self) {
        let archive = self.path(0, "images.tar");
        let built = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "minik8s/*"];
        let built = run("docker", &built).expect_ok();
        let save = ["save", "-o", &archive].into_iter().chain(built.lines()).collect::<Vec<_>>();
        run("docker", &save).expect_ok();
        self.beside_each_other(&HOSTS, |_| format!("docker load -q -i {archive}"));
        fs::remove_file(archive).unwrap();
    }

    /// Tells `scripts/up.sh` something else, and has the hosts that have joined hear of it.
    pub(crate) fn change(&self, flags: &[&str]) {
        self.up(flags);
        self.join();
    }

    fn up(&self, flags: &[&str]) {
        let flags = flags.join(" ");
        self.beside_each_other(&[0], |_| {
            format!(
                "scripts/up.sh --no-examples --dns-upstream 127.0.0.1:9 --cluster-cidr {PODS} --service-cidr {SERVICES} {flags} {}",
                self.own_flags(0)
            )
        });
    }

    fn join(&self) {
        let join = self.kubectl(&["token", "create", "--print-join-command"]).expect_ok();
        self.beside_each_other(&HOSTS[1..], |host| {
            format!("{} {}", join.trim(), self.own_flags(host))
        });
    }

    fn own_flags(&self, host: usize) -> String {
        format!("--debug --no-build --node-name {} {}", name(host), self.folders(host))
    }

    fn folders(&self, host: usize) -> String {
        let flag = |(flag, folder)| format!("--{flag}-dir {}", self.path(host, folder));
        [("config", "etc"), ("state", "lib"), ("log", "log"), ("run", "run")].map(flag).join(" ")
    }

    /// Runs something on several hosts, all at once. What it starts may outlive it: its output goes through a file.
    fn beside_each_other(&self, hosts: &[usize], command: impl Fn(usize) -> String) {
        let start = |host: &usize| {
            let (enter, output) = (self.network.enter(&name(*host)), self.path(*host, "output"));
            let file = File::create(&output).unwrap();
            let mut shell = Command::new("nsenter");
            shell.args([&enter, "bash", "-c", &command(*host)]).current_dir(root());
            shell.env("DOCKER_HOST", self.docker_url(*host)).env("CARGO_TARGET_DIR", target());
            shell.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
            (output, shell.spawn().unwrap())
        };
        let started: Vec<_> = hosts.iter().map(start).collect();
        for (output, mut child) in started {
            let status = child.wait().unwrap();
            assert!(status.success(), "{}", fs::read_to_string(output).unwrap());
        }
    }

    fn docker_url(&self, host: usize) -> String {
        format!("unix://{}", self.path(host, "docker.sock"))
    }

    /// Where something of a host is.
    fn path(&self, host: usize, file: &str) -> String {
        self.folder.path().join(name(host)).join(file).to_string_lossy().into_owned()
    }

    fn tell(&self) {
        let get = ["get", "pods,nodes,services,endpointslices,events", "-A", "-o", "wide"];
        eprintln!("{}", self.kubectl(&get).stdout);
        let tails = format!("tail -n 15 {}/*/log/*.log", self.folder.path().display());
        eprintln!("{}", run("sh", &["-c", &tails]).stdout);
    }

    /// What a Docker that was ended leaves mounted.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let below = points.filter(|point| point.starts_with(self.folder.path().to_str().unwrap()));
        below.for_each(|point| drop(run("umount", &["-l", point])));
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let refused = refused(Path::new(&self.path(0, "log")));
        for host in 0..self.dockers.len() {
            let down = format!("scripts/down.sh --purge {}", self.folders(host));
            let done =
                self.run(host, &["env", "-C", root().to_str().unwrap(), "bash", "-c", &down]);
            assert!(done.ok || std::thread::panicking(), "down.sh failed: {}", done.stderr);
            self.stop_docker(host);
        }
        self.unmount();
        assert!(refused.is_empty() || std::thread::panicking(), "{}", refused.join("\n"));
    }
}

fn name(host: usize) -> String {
    format!("h{host}")
}

fn segment(host: usize) -> usize {
    if host == 2 { FAR } else { NEAR }
}

/// Of both families.
fn addresses(segment: usize, machine: usize) -> [String; 2] {
    [format!("172.31.{segment}.{machine}"), format!("2001:db8:{segment}::{machine}")]
}

/// The same with their networks' lengths.
fn networks(segment: usize, machine: usize) -> [String; 2] {
    let [v4, v6] = addresses(segment, machine);
    [format!("{v4}/24"), format!("{v6}/64")]
}

/// Where a host has a port.
pub(crate) fn host_urls(host: usize, port: u16) -> Vec<String> {
    urls(&addresses(segment(host), 11 + host), port)
}

fn urls(addresses: &[String], port: u16) -> Vec<String> {
    addresses.iter().map(|address| format!("http://{}:{port}/", bracketed(address))).collect()
}

/// As it is before a port.
pub(crate) fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
