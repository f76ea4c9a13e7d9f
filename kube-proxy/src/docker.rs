//! [`Containers`] in Docker.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use docker::{
    Docker as Engine, Error, LogOptions,
    models::{
        ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, HostConfig,
        HostConfigLogConfig, Mount, MountType,
    },
};
use futures::{StreamExt, TryStreamExt};
use tokio::time;
use tracing::debug;

use crate::{
    backend::{service, shared},
    configs::Directory,
    containers::{
        ContainerError, Containers, FORMAT, FORMAT_LABEL, Found, IP_LABEL, KIND_LABEL, NODE_LABEL,
        OWNER_LABEL, UID_LABEL, failed,
    },
    instance::InstanceSpec,
    nginx::CONFIG_DIR,
    status::{self, InForce},
    wake::Wake,
    workers::{self, OldWorkers},
};

/// Where a container keeps its socket.
const RUN_DIR: &str = "/run/minik8s";
const EVENTS_RETRY: Duration = Duration::from_secs(2);
const LAST_LINES: u64 = 3;

/// One daemon, seen from one node.
#[derive(Clone, Debug)]
pub struct Docker {
    engine: Engine,
    image: String,
    node: String,
}

impl Docker {
    /// `image`: the nginx to run, which has to be on the node.
    pub fn new(engine: Engine, image: &str, node: &str) -> Self {
        Docker { engine, image: image.to_owned(), node: node.to_owned() }
    }

    /// Calls `wake` whenever a container of this node has ended, and when the daemon came back, as
    /// then any may have. Never returns.
    pub async fn follow_deaths(&self, wake: &Wake) {
        loop {
            let mut deaths = self.engine.events(&self.labels(), &["die"]);
            while let Some(event) = deaths.next().await {
                match event {
                    Ok(_) => wake.containers_changed(),
                    Err(error) => {
                        debug!("cannot follow Docker's events: {:#}", anyhow::Error::from(error));
                        break;
                    }
                }
            }
            time::sleep(EVENTS_RETRY).await;
            wake.containers_changed();
        }
    }

    /// Of the containers that are meant.
    fn labels(&self) -> [String; 2] {
        [UID_LABEL.to_owned(), format!("{NODE_LABEL}={}", self.node)]
    }

    /// No restart policy: the daemon would start it before its address is there, and only kube-proxy
    /// decides what runs.
    fn body(&self, spec: &InstanceSpec, directory: &Directory) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(command(spec)),
            labels: Some(self.marks(spec)),
            stop_signal: Some("SIGQUIT".to_owned()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                mounts: Some(mounts(directory)),
                log_config: Some(HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: Some([("max-size".to_owned(), "1m".to_owned())].into()),
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn marks(&self, spec: &InstanceSpec) -> HashMap<String, String> {
        let addresses: Vec<_> = spec.addresses.iter().map(IpAddr::to_string).collect();
        let marks = [
            (FORMAT_LABEL, FORMAT.to_owned()),
            (KIND_LABEL, spec.kind.clone()),
            (OWNER_LABEL, spec.owner.clone()),
            (UID_LABEL, spec.uid.clone()),
            (IP_LABEL, addresses.join(",")),
            (NODE_LABEL, self.node.clone()),
        ];
        let marks = marks.map(|(key, value)| (key.to_owned(), value));
        spec.labels.clone().into_iter().chain(marks).collect()
    }
}

#[async_trait]
impl Containers for Docker {
    async fn list(&self) -> Result<Vec<Found>, ContainerError> {
        let listed = self.engine.containers(&self.labels()).await;
        Ok(listed.map_err(failed("listing"))?.into_iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        spec: &InstanceSpec,
        directory: &Directory,
    ) -> Result<String, ContainerError> {
        let name = format!("{}_{}", spec.name, self.node);
        let made = self.engine.create(&name, &self.body(spec, directory)).await;
        let id = made.map_err(failed("making"))?;
        self.start(&id).await?;
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), ContainerError> {
        self.engine.start(id).await.map_err(failed("starting"))
    }

    async fn reload(&self, id: &str) -> Result<(), ContainerError> {
        self.engine.kill(id, "HUP").await.map_err(failed("signalling"))
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        match self.engine.remove(id).await {
            Err(Error::NotFound(_)) => Ok(()),
            done => done.map_err(failed("removing")),
        }
    }

    async fn last_words(&self, id: &str) -> Result<String, ContainerError> {
        let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
        let words: Vec<_> = self
            .engine
            .logs(id, &options)
            .try_collect()
            .await
            .map_err(failed("reading the log of"))?;
        Ok(String::from_utf8_lossy(&words.concat()).into_owned())
    }

    async fn in_force(&self, directory: &Directory) -> Option<InForce> {
        status::ask(&directory.status_socket()).await
    }

    async fn end_surplus_workers(&self, nginx: &InForce, limit: usize) -> io::Result<OldWorkers> {
        let Some(master) = nginx.master else { return Ok(OldWorkers::default()) };
        let ending = tokio::task::spawn_blocking(move || workers::end_surplus(master, limit));
        ending.await.map_err(io::Error::other)?
    }
}

/// The master has a file for each socket: of all Services these may be more than a daemon gives a container's processes
/// to begin with.
fn command(spec: &InstanceSpec) -> Vec<String> {
    let command = format!("nginx -c {CONFIG_DIR}/nginx.conf");
    if spec.uid == shared::UID {
        let raise = "ulimit -n \"$(ulimit -Hn)\"; exec";
        return ["sh", "-c", &format!("{raise} {command}")].map(str::to_owned).to_vec();
    }
    command.split(' ').map(str::to_owned).collect()
}

fn mounts(directory: &Directory) -> Vec<Mount> {
    let mount = |source: String, target: &str, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let (config, run) = (directory.config().display(), directory.run());
    let run = run.display().to_string();
    vec![mount(config.to_string(), CONFIG_DIR, true), mount(run, RUN_DIR, false)]
}

fn found(summary: ContainerSummary) -> Option<Found> {
    let mut marks = summary.labels?;
    Some(Found {
        id: summary.id?,
        kind: marks.remove(KIND_LABEL).unwrap_or_else(|| service::KIND.to_owned()),
        owner: marks.remove(OWNER_LABEL).unwrap_or_default(),
        uid: marks.remove(UID_LABEL)?,
        addresses: addresses(marks.get(IP_LABEL)),
        running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
        current: marks.get(FORMAT_LABEL).is_some_and(|format| format == FORMAT),
    })
}

fn addresses(mark: Option<&String>) -> BTreeSet<IpAddr> {
    mark.into_iter().flat_map(|mark| mark.split(',')).filter_map(|ip| ip.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(state: ContainerSummaryStateEnum, marks: &[(&str, &str)]) -> Option<Found> {
        let marks = marks.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        found(ContainerSummary {
            id: Some("abc".to_owned()),
            state: Some(state),
            labels: Some(marks.collect()),
            ..ContainerSummary::default()
        })
    }

    #[test]
    fn a_listing_tells_running_containers_from_others() {
        use ContainerSummaryStateEnum as State;
        let marks =
            [(OWNER_LABEL, "default/web"), (UID_LABEL, "u1"), (IP_LABEL, "10.96.0.10,10.96.0.11")];
        let found = listed(State::RUNNING, &marks).unwrap();
        assert_eq!((found.id.as_str(), found.owner.as_str()), ("abc", "default/web"));
        assert_eq!(found.kind, "Service");
        let addresses = [[10, 96, 0, 10].into(), [10, 96, 0, 11].into()].into();
        assert_eq!((found.running, found.addresses), (true, addresses));
        for state in [State::CREATED, State::EXITED, State::DEAD, State::PAUSED, State::RESTARTING]
        {
            assert!(!listed(state, &marks).unwrap().running);
        }
        assert_eq!(listed(State::RUNNING, &[]), None);
    }

    #[test]
    fn a_container_of_an_older_version_is_told_apart() {
        let of = |marks: &[_]| listed(ContainerSummaryStateEnum::RUNNING, marks).unwrap().current;
        assert!(of(&[(UID_LABEL, "u1"), (FORMAT_LABEL, "2")]) && !of(&[(UID_LABEL, "u1")]));
    }
}
