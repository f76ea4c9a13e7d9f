//! Several hosts on one machine: network namespaces joined by a switch in one more, a master and its
//! nodes. Nothing has a way out of them. The nodes share the machine's Docker, whose containers they tell
//! apart by their names; Services are not played here.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::fcntl::Flock;
use serde_json::Value;

use super::network::Network;
use crate::harness::{Done, alone, programs, refused, run, until};

const HOSTS: &str = "172.31.99.0/24";
const MASTER: &str = "172.31.99.1";
const SERVER: &str = "https://172.31.99.1:6443";
const REDIS: &str = "redis://172.31.99.1:6379";
const SERVICES: &str = "10.98.0.0/16";
const PODS: &str = "10.246.0.0/16";

/// A cluster over several hosts; dropping it removes everything of it.
pub(crate) struct Rig {
    network: Network,
    folder: tempfile::TempDir,
    hosts: Vec<Host>,
    /// Those that belong to no node.
    masters: Vec<Child>,
    /// Given up last.
    _alone: Flock<File>,
}

struct Host {
    name: String,
    address: String,
    kubelet: Option<Child>,
    proxy: Child,
}

/// A call that goes on.
pub(crate) struct Call(Child);

impl Call {
    /// What it came to.
    pub(crate) async fn end(mut self) -> Done {
        until("a call to end", async || match self.0.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err("it hangs".to_owned()),
        })
        .await;
        self.0.wait_with_output().unwrap().into()
    }
}

impl Rig {
    /// So many nodes beside the master, all ready.
    pub(crate) async fn start(nodes: usize) -> Self {
        let alone = alone();
        let (network, folder) = (Network::new("m8h"), tempfile::tempdir().unwrap());
        let mut rig =
            Self { network, folder, hosts: Vec::new(), masters: Vec::new(), _alone: alone };
        rig.network.segment("near", &[]);
        rig.network.connect("master", "near", &[format!("{MASTER}/24")]);
        rig.start_master().await;
        for index in 0..nodes {
            let host = rig.start_node(index);
            rig.hosts.push(host);
        }
        rig.until(&format!("{nodes} nodes are ready"), |rig| {
            let ready = rig
                .list("nodes", "")
                .iter()
                .filter(|node| condition(node, "Ready") == "True")
                .count();
            if ready == nodes { Ok(()) } else { Err(ready.to_string()) }
        })
        .await;
        rig
    }

    /// The name of a node.
    pub(crate) fn node(&self, index: usize) -> &str {
        &self.hosts[index].name
    }

    /// Pulls a host's cable, at the switch's end; or plugs it in again.
    pub(crate) fn plug(&self, node: usize, plugged: bool) {
        self.network.plug(short(&self.hosts[node].name), plugged);
    }

    /// Drops what a host sends to Redis; or no longer.
    pub(crate) fn cut_redis(&self, node: usize, cut: bool) {
        let change = if cut { "-A" } else { "-D" };
        let rule = format!("iptables {change} OUTPUT -p tcp --dport 6379 -j DROP");
        run("nsenter", &words(&self.network.enter(short(&self.hosts[node].name)), &rule))
            .expect_ok();
    }

    /// SIGKILL.
    pub(crate) fn kill_kubelet(&mut self, node: usize) {
        if let Some(kubelet) = self.hosts[node].kubelet.take() {
            end(kubelet);
        }
    }

    pub(crate) fn start_kubelet(&mut self, node: usize) {
        let (name, address) = (self.hosts[node].name.clone(), self.hosts[node].address.clone());
        self.hosts[node].kubelet = Some(self.kubelet(&name, &address));
    }

    /// kubectl, on the master.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Done {
        let kubeconfig = self.path("config/admin.conf");
        let program = programs().join("kubectl");
        let enter = self.network.enter("master");
        let mut all = vec![enter.as_str(), program.to_str().unwrap(), "--kubeconfig", &kubeconfig];
        all.extend(args);
        run("nsenter", &all)
    }

    /// A gateway of functions on a node, which answers the hosts.
    pub(crate) fn start_gateway(&mut self, node: usize) {
        let arguments = format!(
            "--kubeconfig {}/serverless-gateway.conf --redis {REDIS} --bind-address {} --cluster-cidr {PODS} --allow-cidr {HOSTS}",
            self.path("config"),
            self.hosts[node].address,
        );
        let name = short(&self.hosts[node].name);
        let gateway = self.spawn(name, &programs().join("serverless-gateway"), &arguments);
        self.masters.push(gateway);
    }

    /// A call through the gateway on a node, beside the test.
    pub(crate) fn call(&self, node: usize, function: &str, data: &str) -> Call {
        let (url, kubeconfig) = (self.gateway(node), self.path("config/admin.conf"));
        let mut command = Command::new("nsenter");
        command
            .arg(self.network.enter("master"))
            .arg(programs().join("kubectl"))
            .args(["trigger", function]);
        command.args(["--kubeconfig", &kubeconfig, "--gateway", &url, "--data", data]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Call(command.spawn().unwrap())
    }

    /// What the gateway on a node has counted.
    pub(crate) fn counted(&self, node: usize) -> String {
        let (enter, url) =
            (self.network.enter("master"), format!("{}/metrics", self.gateway(node)));
        run("nsenter", &[&enter, "curl", "-sS", &url]).stdout
    }

    fn gateway(&self, node: usize) -> String {
        format!("http://{}:8081", self.hosts[node].address)
    }

    /// The objects of a resource that have the labels.
    pub(crate) fn list(&self, resource: &str, labels: &str) -> Vec<Value> {
        let done = self.kubectl(&["get", resource, "-l", labels, "-o", "json"]);
        let list: Value = serde_json::from_str(&done.stdout).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn apply(&self, manifest: &Value) {
        let path = self.path("manifest.json");
        fs::write(&path, manifest.to_string()).unwrap();
        self.kubectl(&["apply", "-f", &path]).expect_ok();
    }

    pub(crate) async fn until<T>(
        &self,
        what: &str,
        probe: impl Fn(&Self) -> Result<T, String>,
    ) -> T {
        until(what, async || probe(self)).await
    }

    // --- Programs ---

    async fn start_master(&mut self) {
        let (data, config) = (self.path("apiserver"), self.path("config"));
        let redis =
            format!("--bind {MASTER} --protected-mode no --appendonly no --dir {}", self.path(""));
        self.spawn_master(Path::new("redis-server"), &redis);
        let apiserver = format!(
            "--advertise-address {MASTER} --data-dir {data} --kubeconfig-dir {config} --service-cidr {SERVICES} --redis {REDIS}"
        );
        self.spawn_master(&programs().join("apiserver"), &apiserver);
        self.until("the API server answers", |rig| {
            let done = rig.kubectl(&["get", "namespaces"]);
            if done.ok { Ok(()) } else { Err(done.stderr) }
        })
        .await;
        for program in ["scheduler", "controller-manager"] {
            let cidr = if program == "scheduler" { "" } else { "--cluster-cidr 10.246.0.0/16" };
            let arguments = format!("--kubeconfig {config}/{program}.conf --redis {REDIS} {cidr}");
            self.spawn_master(&programs().join(program), &arguments);
        }
    }

    fn spawn_master(&mut self, program: &Path, arguments: &str) {
        let child = self.spawn("master", program, arguments);
        self.masters.push(child);
    }

    fn start_node(&self, index: usize) -> Host {
        let short = format!("h{index}");
        let (name, address) = (self.network.name(&short), format!("172.31.99.{}", 11 + index));
        self.network.connect(&short, "near", &[format!("{address}/24")]);
        let output = self.path(&format!("{name}.conf"));
        let kubeconfig = format!(
            "kubeconfig --data-dir {} --server {SERVER} --user system:node:{name} --group system:nodes --san {name} --san {address} --output {output}",
            self.path("apiserver")
        );
        run(programs().join("apiserver"), &words("", &kubeconfig)).expect_ok();
        let kubelet = Some(self.kubelet(&name, &address));
        let arguments = format!(
            "--kubeconfig {}/kube-proxy.conf --node-name {name} --redis {REDIS} --state-dir {} --docker-host unix:///nowhere --service-cidr {SERVICES} --cluster-cidr {PODS}",
            self.path("config"),
            self.path(&format!("{name}-proxy")),
        );
        let proxy = self.spawn(&short, &programs().join("kube-proxy"), &arguments);
        Host { name, address, kubelet, proxy }
    }

    fn kubelet(&self, name: &str, address: &str) -> Child {
        let (kubeconfig, root) =
            (self.path(&format!("{name}.conf")), self.path(&format!("{name}-kubelet")));
        let arguments = format!(
            "--kubeconfig {kubeconfig} --node-name {name} --node-ip {address} --root-dir {root} --redis {REDIS} --cluster-cidr {PODS} --service-cidr {SERVICES}"
        );
        self.spawn(short(name), &programs().join("kubelet"), &arguments)
    }

    fn spawn(&self, namespace: &str, program: &Path, arguments: &str) -> Child {
        let name = program.file_name().unwrap().to_string_lossy();
        let path = self.path(&format!("{namespace}-{name}.log"));
        let log = File::options().create(true).append(true).open(path).unwrap();
        let arguments = words(program.to_str().unwrap(), arguments);
        let mut command = Command::new("nsenter");
        command.arg(self.network.enter(namespace)).args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn logs(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.kubectl(&["get", "nodes,pods,events", "-A", "-o", "wide"]).stdout);
            for log in self.logs() {
                // kube-proxy has no Docker here, and says so again and again.
                if log.to_string_lossy().contains("kube-proxy") {
                    continue;
                }
                eprintln!(
                    "{}:\n{}",
                    log.display(),
                    run("tail", &["-n", "15", log.to_str().unwrap()]).stdout
                );
            }
        }
        let refused = refused(self.folder.path());
        self.masters.drain(..).for_each(end);
        for host in self.hosts.drain(..) {
            host.kubelet.into_iter().chain([host.proxy]).for_each(end);
            let filter = format!("label=io.minik8s.node={}", host.name);
            let found = run("docker", &["ps", "-aq", "--filter", &filter]).stdout;
            let remove: Vec<_> = ["rm", "-f"].into_iter().chain(found.lines()).collect();
            run("docker", &remove);
        }
        assert!(refused.is_empty() || std::thread::panicking(), "{}", refused.join("\n"));
    }
}

/// The status of a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice);
    let mut found = conditions.unwrap_or_default().iter().filter(|c| c["type"] == kind);
    found.next().and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

/// The last part of a name.
fn short(name: &str) -> &str {
    name.rsplit('-').next().unwrap_or(name)
}

fn words<'a>(first: &'a str, rest: &'a str) -> Vec<&'a str> {
    first.split_whitespace().chain(rest.split_whitespace()).collect()
}

fn end(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
