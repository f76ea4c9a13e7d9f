//! [`Containers`] through Docker's command line tool.

use std::{io, process::Stdio, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time,
};
use tracing::debug;

use crate::{
    configs::Directory,
    containers::{
        ContainerError, Containers, FORMAT, FORMAT_LABEL, Found, IP_LABEL, NODE_LABEL,
        SERVICE_LABEL, UID_LABEL,
    },
    plan::ServicePlan,
    status::{self, InForce},
    wake::Wake,
    workers,
};

/// Where a container finds its configuration, and where it keeps its socket.
const CONFIG_DIR: &str = "/etc/minik8s";
const RUN_DIR: &str = "/run/minik8s";
/// A daemon under load takes seconds; one that takes this long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS_RETRY: Duration = Duration::from_secs(2);

/// One daemon, seen from one node.
#[derive(Clone, Debug)]
pub struct Docker {
    host: String,
    image: String,
    node: String,
}

impl Docker {
    /// `host`: the daemon's address (`unix:///var/run/docker.sock`); `image`: the nginx to run,
    /// which has to be on the node.
    pub fn new(host: &str, image: &str, node: &str) -> Self {
        Docker { host: host.to_owned(), image: image.to_owned(), node: node.to_owned() }
    }

    /// Calls `wake` whenever a container of this node has ended, and when the daemon came back, as
    /// then any may have. Never returns.
    pub async fn follow_deaths(&self, wake: &Wake) {
        loop {
            match self.events() {
                Ok(mut events) => wake_per_line(&mut events, wake).await,
                Err(error) => debug!(%error, "cannot follow Docker's events"),
            }
            time::sleep(EVENTS_RETRY).await;
            wake.containers_changed();
        }
    }

    fn events(&self) -> io::Result<Child> {
        self.command(&["events", "--filter", "type=container", "--filter", "event=die"])
            .args(["--filter", &self.node_filter(), "--filter", &format!("label={SERVICE_LABEL}")])
            .args(["--format", "{{.ID}}"])
            .stderr(Stdio::null())
            .spawn()
    }

    fn node_filter(&self) -> String {
        format!("label={NODE_LABEL}={}", self.node)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.host]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, verb: &str, args: &[&str]) -> Result<String, ContainerError> {
        let output = self.command(&[&[verb], args].concat()).stderr(Stdio::piped()).output();
        let output = time::timeout(PATIENCE, output)
            .await
            .map_err(|_| ContainerError::Timeout {
                command: verb.to_owned(),
                seconds: PATIENCE.as_secs(),
            })?
            .map_err(ContainerError::Run)?;
        if output.status.success() {
            // nginx writes its log to stderr, and so does `docker logs`.
            return Ok(text(&output.stdout) + &text(&output.stderr));
        }
        let message = text(&output.stderr).trim().to_owned();
        Err(ContainerError::Refused { command: verb.to_owned(), message })
    }

    fn labels(&self, plan: &ServicePlan) -> [String; 5] {
        [
            format!("{FORMAT_LABEL}={FORMAT}"),
            format!("{SERVICE_LABEL}={plan}"),
            format!("{UID_LABEL}={}", plan.uid),
            format!("{IP_LABEL}={}", plan.ip),
            format!("{NODE_LABEL}={}", self.node),
        ]
    }

    fn name(&self, plan: &ServicePlan) -> String {
        let ServicePlan { namespace, name, uid, .. } = plan;
        format!("service_{name}_{namespace}_{uid}_{}", self.node)
    }
}

#[async_trait]
impl Containers for Docker {
    async fn list(&self) -> Result<Vec<Found>, ContainerError> {
        let format = format!(
            "{{{{.ID}}}}\t{{{{.State}}}}\t{{{{.Label {SERVICE_LABEL:?}}}}}\t\
             {{{{.Label {UID_LABEL:?}}}}}\t{{{{.Label {IP_LABEL:?}}}}}\t\
             {{{{.Label {FORMAT_LABEL:?}}}}}"
        );
        let ours = format!("label={UID_LABEL}");
        let node = self.node_filter();
        let args = ["--all", "--no-trunc", "--filter", &ours, "--filter", &node];
        let listing = self.run("ps", &[&args[..], &["--format", &format]].concat()).await?;
        Ok(listing.lines().filter_map(parse).collect())
    }

    /// `--pull never`: the image's name belongs to nobody in any registry. No restart policy: the
    /// daemon would start it before its address is there, and only kube-proxy decides what runs.
    async fn create(
        &self,
        plan: &ServicePlan,
        directory: &Directory,
    ) -> Result<String, ContainerError> {
        let (config, run) = (directory.config().display(), directory.run());
        let mounts = [
            format!("type=bind,source={config},target={CONFIG_DIR},readonly"),
            format!("type=bind,source={},target={RUN_DIR}", run.display()),
        ];
        let (name, labels) = (self.name(plan), self.labels(plan));
        let mut args = vec!["--detach", "--pull", "never", "--name", &name, "--network", "host"];
        args.extend(labels.iter().flat_map(|label| ["--label", label]));
        args.extend(mounts.iter().flat_map(|mount| ["--mount", mount]));
        args.extend(["--stop-signal", "SIGQUIT"]);
        args.extend(["--log-driver", "json-file", "--log-opt", "max-size=1m"]);
        let file = format!("{CONFIG_DIR}/nginx.conf");
        args.extend([self.image.as_str(), "nginx", "-c", &file]);
        // Warnings may follow.
        let said = self.run("run", &args).await?;
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    async fn start(&self, id: &str) -> Result<(), ContainerError> {
        self.run("start", &[id]).await.map(drop)
    }

    async fn reload(&self, id: &str) -> Result<(), ContainerError> {
        self.run("kill", &["--signal", "HUP", id]).await.map(drop)
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.run("rm", &["--force", "--volumes", id]).await.map(drop)
    }

    async fn last_words(&self, id: &str) -> Result<String, ContainerError> {
        self.run("logs", &["--tail", "3", id]).await
    }

    async fn in_force(&self, directory: &Directory) -> Option<InForce> {
        status::ask(&directory.status_socket()).await
    }

    async fn end_surplus_workers(&self, nginx: &InForce, limit: usize) -> io::Result<usize> {
        let Some(master) = nginx.master else { return Ok(0) };
        let ending = tokio::task::spawn_blocking(move || workers::end_surplus(master, limit));
        ending.await.map_err(io::Error::other)?
    }
}

async fn wake_per_line(events: &mut Child, wake: &Wake) {
    let Some(stdout) = events.stdout.take() else { return };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        wake.containers_changed();
    }
}

fn parse(line: &str) -> Option<Found> {
    let [id, state, service, uid, ip, format] =
        line.split('\t').collect::<Vec<_>>().try_into().ok()?;
    Some(Found {
        id: id.to_owned(),
        service: service.to_owned(),
        uid: uid.to_owned(),
        ip: ip.parse().ok(),
        running: state == "running",
        current: format == FORMAT,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_tells_running_containers_from_others() {
        let found = parse("abc\trunning\tdefault/web\tu1\t10.96.0.10\t2").unwrap();
        assert_eq!((found.id.as_str(), found.service.as_str()), ("abc", "default/web"));
        assert_eq!((found.running, found.ip), (true, Some([10, 96, 0, 10].into())));
        for state in ["created", "exited", "dead", "paused", "restarting"] {
            assert!(!parse(&format!("abc\t{state}\tdefault/web\tu1\t\t2")).unwrap().running);
        }
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_container_of_an_older_version_is_told_apart() {
        let of = |format: &str| parse(&format!("abc\trunning\ts\tu1\t\t{format}")).unwrap().current;
        assert!(of("2") && !of(""));
    }
}
