//! Starting one container: volumes, image, environment, create, start. Each step that fails has its
//! own reason in the pod's status, Kubernetes' word, and its own event. All but the start itself may come
//! before the sandbox runs.

use std::{collections::BTreeMap, future::Future, path::Path, sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Container as Wanted, Pod},
    jiff::Timestamp,
};
use component::events::EventType;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    back_off::BackOff,
    container_status::not_started,
    hooks::Hooked,
    pace::PAUSE,
    place::Place,
    plan::Failure,
    status_input::{PulledImage, Waiting},
    termination,
};
use crate::{
    addresses::Ips,
    container::{
        dns, env, files,
        image::{self, PullPolicy},
        oom_score::oom_score_adj,
        resources::resources,
        security::{self, security},
        sources,
    },
    context::Context,
    describe::describe,
    images::{self, Logins},
    machine::Memory,
    runtime::{ContainerSpec, Mount, Propagation, Resources, Security},
    spec,
    volumes::{self, Volumes},
};

/// Until a container whose objects or volumes are missing is tried again.
const MISSING: Duration = Duration::from_secs(5);
/// For how long `ErrImagePull` or `RunContainerError` is shown before the back-off's own reason.
const SHOWN: Duration = Duration::from_secs(3);
/// Until a refused creation is tried again.
const REFUSED: Duration = Duration::from_secs(10);

/// What the starts of one pod have in common.
#[derive(Debug, Default)]
pub struct Shared {
    /// Delays of pulls, by image.
    pulls: Mutex<BackOff>,
    /// Held while files of the pod are made, or removed.
    pub(super) files: tokio::sync::Mutex<()>,
    /// The images that were pulled, by container. Told at once: it may be long before the container runs.
    pulled: watch::Sender<BTreeMap<String, PulledImage>>,
}

impl Shared {
    /// The ids of the images that were pulled, by container.
    pub(super) fn pulled(&self) -> watch::Receiver<BTreeMap<String, PulledImage>> {
        self.pulled.subscribe()
    }
}

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// What it may take.
    pub resources: Resources,
    /// How its postStart hook went, if it has one.
    pub hooked: Result<(), String>,
}

/// The pod a container is started in.
#[derive(Debug)]
pub struct Starter {
    /// The rims.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The pod's sandbox.
    pub(super) place: watch::Receiver<Place>,
    /// With the pod's other starts.
    pub shared: Arc<Shared>,
}

impl Starter {
    /// Makes the container when all is there, and starts it when its sandbox is connected and `turn` has
    /// ended, unless it is cancelled before. What the runtime was asked is waited for: it does that anyway.
    pub async fn start(
        &self,
        wanted: &Wanted,
        attempt: u32,
        turn: impl Future<Output = ()>,
        cancelled: &CancellationToken,
    ) -> Result<Started, Failure> {
        let given_up = || failure(not_started(&self.pod), String::new(), Duration::ZERO);
        let prepared = cancelled.run_until_cancelled(self.prepare(wanted, attempt));
        let spec = prepared.await.ok_or_else(given_up)??;
        let id = self.create(wanted, &spec).await?;
        let due = async {
            self.place(|place| place.connected.then_some(())).await?;
            turn.await;
            Ok(())
        };
        cancelled.run_until_cancelled(due).await.ok_or_else(given_up)??;
        self.run(wanted, &id).await?;
        let hooked = cancelled.run_until_cancelled(self.post_start(wanted, &id)).await;
        Ok(Started { id, resources: spec.resources, hooked: hooked.unwrap_or(Ok(())) })
    }

    /// What is wanted of the sandbox, once it has come so far.
    async fn place<T>(&self, wanted: impl Fn(&Place) -> Option<T>) -> Result<T, Failure> {
        let mut place = self.place.clone();
        let known = place.wait_for(|place| wanted(place).is_some()).await.ok();
        // Without one, the sandbox could not be made, which is told elsewhere.
        let lost = || failure(not_started(&self.pod), String::new(), Duration::ZERO);
        known.and_then(|place| wanted(&place)).ok_or_else(lost)
    }

    async fn prepare(&self, wanted: &Wanted, attempt: u32) -> Result<ContainerSpec, Failure> {
        let ips = self.place(|place| place.ips.clone()).await?;
        let volumes = self.volumes(&ips.first).await?;
        let was_pulled = self.image(wanted).await?;
        let tell = async {
            if was_pulled {
                self.tell_pulled(wanted).await;
            }
        };
        let spec = self.container_spec(wanted, attempt, &volumes, &ips);
        let (spec, ()) = tokio::join!(spec, tell);
        let spec = spec?;
        let sandbox_id = self.place(|place| place.id.clone()).await?;
        Ok(ContainerSpec { sandbox_id, ..spec })
    }

    async fn volumes(&self, pod_ip: &str) -> Result<Volumes, Failure> {
        let _turn = self.shared.files.lock().await;
        let pod_dir = self.context.pod_dir(&spec::identity(&self.pod).uid);
        let allocatable = self.context.ledger.allocatable();
        let context = self.context.of_pod(&self.pod, pod_ip, &pod_dir, &allocatable);
        volumes::set_up(context).await.map_err(|error| {
            let message = describe(&error);
            self.context.pod_event(&self.pod, EventType::Warning, "FailedMount", message);
            failure(not_started(&self.pod), String::new(), MISSING)
        })
    }

    // --- Image ---

    /// Sees to it that the image is there. Whether it had to be pulled.
    async fn image(&self, wanted: &Wanted) -> Result<bool, Failure> {
        let reference = wanted.image.clone().unwrap_or_default();
        if let Some(fault) = image::fault(&reference) {
            let message = format!("Failed to apply default image tag {reference:?}: {fault}");
            self.warn(wanted, "InspectFailed", &message);
            return Err(self.failed(wanted, "InvalidImageName", message, REFUSED));
        }
        let policy = image::pull_policy(wanted);
        let present = self.context.runtime.image(&reference).await;
        let present = present.map_err(|error| {
            self.failed(wanted, "ImageInspectError", error.to_string(), REFUSED)
        })?;
        match (policy, present.is_some()) {
            (PullPolicy::Never, false) => {
                let message = format!(
                    "Container image {reference:?} is not present with pull policy of Never"
                );
                self.warn(wanted, "ErrImageNeverPull", &message);
                Err(self.failed(wanted, "ErrImageNeverPull", message, REFUSED))
            }
            (PullPolicy::Never | PullPolicy::IfNotPresent, true) => {
                let message = format!("Container image {reference:?} already present on machine");
                self.note(wanted, "Pulled", message);
                Ok(false)
            }
            (PullPolicy::Always, _) | (PullPolicy::IfNotPresent, false) => {
                self.pull(wanted, &reference).await.map(|()| true)
            }
        }
    }

    async fn pull(&self, wanted: &Wanted, reference: &str) -> Result<(), Failure> {
        let held_back = self.shared.pulls.lock().until_since_try(reference, Timestamp::now());
        if let Some(until) = held_back {
            let message = format!("Back-off pulling image {reference:?}");
            self.note(wanted, "BackOff", message.clone());
            self.warn(wanted, "Failed", "Error: ImagePullBackOff");
            let waiting = Waiting { reason: "ImagePullBackOff".to_owned(), message };
            return Err(Failure { waiting, retry_at: until });
        }
        self.note(wanted, "Pulling", format!("Pulling image {reference:?}"));
        let begun = std::time::Instant::now();
        match images::pull(&self.context, reference, &self.logins(reference).await).await {
            Ok(()) => {
                let seconds = begun.elapsed().as_secs_f64();
                let message = format!("Successfully pulled image {reference:?} in {seconds:.3}s");
                self.note(wanted, "Pulled", message);
                Ok(())
            }
            Err(error) => {
                self.shared.pulls.lock().next(reference, Timestamp::now());
                let message = format!("Failed to pull image {reference:?}: {error}");
                self.warn(wanted, "Failed", &message);
                self.warn(wanted, "Failed", "Error: ErrImagePull");
                Err(failure("ErrImagePull", error.to_string(), SHOWN))
            }
        }
    }

    async fn tell_pulled(&self, wanted: &Wanted) {
        let reference = wanted.image.clone().unwrap_or_default();
        // What is wrong with it the creation tells.
        if let Ok(Some(image)) = self.context.runtime.image(&reference).await {
            let (name, pulled) = (wanted.name.clone(), PulledImage { reference, id: image.id });
            self.shared.pulled.send_modify(|all| drop(all.insert(name, pulled)));
        }
    }

    async fn logins(&self, reference: &str) -> Logins {
        let secrets = spec::spec(&self.pod).and_then(|spec| spec.image_pull_secrets.as_deref());
        let identity = spec::identity(&self.pod);
        let secrets = secrets.unwrap_or_default();
        let logins = Logins::read(&self.context, &identity, secrets, reference).await;
        if !logins.missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                logins.missing.join(", ")
            );
            let reason = "FailedToRetrieveImagePullSecret";
            self.context.pod_event(&self.pod, EventType::Warning, reason, message);
        }
        logins
    }

    // --- Specification ---

    async fn container_spec(
        &self,
        wanted: &Wanted,
        attempt: u32,
        volumes: &Volumes,
        ips: &Ips,
    ) -> Result<ContainerSpec, Failure> {
        let config_error =
            |message| self.failed(wanted, "CreateContainerConfigError", message, MISSING);
        let rights = self.security(wanted).await.map_err(config_error)?;
        let variables = self.variables(wanted, ips).await.map_err(config_error)?;
        let _turn = self.shared.files.lock().await;
        let pod_dir = self.context.pod_dir(&spec::identity(&self.pod).uid);
        let mut mounts = volumes::mounts(wanted, volumes, &variables, &pod_dir)
            .map_err(|error| config_error(describe(&error)))?;
        let own_files = self.own_files(&mounts, ips);
        mounts.extend(own_files.map_err(|error| config_error(error.to_string()))?);
        let last_words = termination::mount(&pod_dir, wanted, attempt)
            .map_err(|error| config_error(error.to_string()))?;
        if mounts.iter().all(|mount| mount.target != last_words.target) {
            mounts.push(last_words);
        }
        let spec = self.assemble(wanted, attempt, &variables, mounts);
        Ok(ContainerSpec { security: rights, pids_of: self.target(wanted)?, ..spec })
    }

    /// The id of the container whose processes this one is to see.
    fn target(&self, wanted: &Wanted) -> Result<Option<String>, Failure> {
        let Some(target) = spec::target(&self.pod, &wanted.name) else { return Ok(None) };
        let reported = spec::reported(&self.pod, target);
        let running = reported.filter(|it| it.state.as_ref().is_some_and(|s| s.running.is_some()));
        let id = running.and_then(|it| it.container_id.as_deref().and_then(spec::bare_id));
        match id {
            Some(id) => Ok(Some(id.to_owned())),
            None => {
                let message = format!("unable to find target container {target:?}");
                Err(self.failed(wanted, "CreateContainerError", message, MISSING))
            }
        }
    }

    async fn variables(&self, wanted: &Wanted, ips: &Ips) -> Result<Vec<(String, String)>, String> {
        let identity = spec::identity(&self.pod);
        let links = spec::spec(&self.pod).and_then(|spec| spec.enable_service_links);
        let services =
            self.context.services.variables(&identity.namespace, links.unwrap_or(true)).await;
        let services = services.map_err(|error| error.to_string())?;
        let sources = sources::fetch(&self.context.objects, &identity, wanted).await;
        let sources = sources.map_err(|error| error.to_string())?;
        let facts = env::Facts {
            pod: &self.pod,
            pod_ip: &ips.first,
            second_pod_ip: ips.second.as_deref(),
            host_ip: &self.context.host_ip,
            second_host_ip: self.context.second_host_ip.as_deref(),
            allocatable: &self.context.ledger.allocatable(),
        };
        let variables = env::environment(wanted, &facts, &sources, services);
        variables.map_err(|error| error.to_string())
    }

    async fn security(&self, wanted: &Wanted) -> Result<Security, String> {
        let image = if security::needs_image_user(&self.pod, wanted) {
            let reference = wanted.image.as_deref().unwrap_or_default();
            self.context.runtime.image(reference).await.map_err(|error| error.to_string())?
        } else {
            None
        };
        let user = image.map(|image| image.user).unwrap_or_default();
        let profiles = self.context.seccomp_dir();
        let profile = |path: &Path| std::fs::read_to_string(profiles.join(path));
        security(&self.pod, wanted, &user, profile).map_err(|error| error.to_string())
    }

    fn assemble(
        &self,
        wanted: &Wanted,
        attempt: u32,
        variables: &[(String, String)],
        mounts: Vec<Mount>,
    ) -> ContainerSpec {
        let expand = |words: &Option<Vec<String>>| {
            let words = words.as_ref().filter(|words| !words.is_empty())?;
            Some(words.iter().map(|word| env::expand(word, variables)).collect())
        };
        let pod_spec = spec::spec(&self.pod);
        let flag = |value: Option<bool>| value.unwrap_or_default();
        ContainerSpec {
            pod: spec::identity(&self.pod),
            name: wanted.name.clone(),
            attempt,
            hash: spec::hash(wanted),
            sandbox_id: String::new(),
            pids_of: None,
            share_pids: flag(pod_spec.and_then(|spec| spec.share_process_namespace)),
            host_pid: flag(pod_spec.and_then(|spec| spec.host_pid)),
            image: wanted.image.clone().unwrap_or_default(),
            command: expand(&wanted.command),
            args: expand(&wanted.args),
            env: variables.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_dir: wanted.working_dir.clone().filter(|dir| !dir.is_empty()),
            tty: flag(wanted.tty),
            stdin: flag(wanted.stdin),
            stdin_once: flag(wanted.stdin_once),
            mounts,
            resources: resources(wanted),
            oom_score_adj: oom_score_adj(&self.pod, wanted, Memory::read().total),
            security: Security::default(),
        }
    }

    /// `/etc/hosts` and `/etc/resolv.conf`, unless the container mounts its own.
    fn own_files(&self, mounts: &[Mount], ips: &Ips) -> std::io::Result<Vec<Mount>> {
        let directory = self.context.pod_dir(&spec::identity(&self.pod).uid);
        volumes::private_directory(&directory)?;
        let mut wanted = vec![("/etc/resolv.conf", "resolv.conf", self.resolv_conf())];
        if !spec::host_network(&self.pod) {
            let ips: Vec<_> =
                [ips.first.as_str()].into_iter().chain(ips.second.as_deref()).collect();
            let hosts = files::hosts(&self.pod, &ips, &self.context.dns.domain);
            wanted.push(("/etc/hosts", "etc-hosts", hosts));
        }
        wanted.retain(|(target, ..)| mounts.iter().all(|mount| mount.target != *target));
        let mut made = Vec::new();
        for (target, name, content) in wanted {
            let path = directory.join(name);
            if std::fs::read_to_string(&path).ok().as_deref() != Some(&content) {
                std::fs::write(&path, content)?;
            }
            made.push(Mount {
                source: path.to_string_lossy().into_owned(),
                target: target.to_owned(),
                read_only: false,
                propagation: Propagation::None,
            });
        }
        Ok(made)
    }

    fn resolv_conf(&self) -> String {
        let cluster = &self.context.dns;
        let node = std::fs::read_to_string(&cluster.node_file).unwrap_or_default();
        let made = dns::resolv_conf(&self.pod, cluster, &node);
        for warning in made.warnings {
            let kind = EventType::Warning;
            self.context.pod_event(&self.pod, kind, "DNSConfigForming", warning);
        }
        made.text
    }

    // --- Run ---

    async fn create(&self, wanted: &Wanted, spec: &ContainerSpec) -> Result<String, Failure> {
        let id = self.context.runtime.create(spec).await.map_err(|error| {
            self.failed(wanted, "CreateContainerError", error.to_string(), REFUSED)
        })?;
        self.note(wanted, "Created", format!("Created container: {}", wanted.name));
        Ok(id)
    }

    async fn run(&self, wanted: &Wanted, id: &str) -> Result<(), Failure> {
        self.context.runtime.start(id).await.map_err(|error| {
            let message = format!("failed to start container {:?}: {error}", wanted.name);
            self.failed(wanted, "RunContainerError", message, SHOWN)
        })?;
        self.note(wanted, "Started", format!("Started container {}", wanted.name));
        Ok(())
    }

    async fn post_start(&self, wanted: &Wanted, id: &str) -> Result<(), String> {
        let pod_ip = self.place.borrow().ips.clone().unwrap_or_default().first;
        let (context, pod) = (self.context.clone(), self.pod.clone());
        Hooked { context, pod, pod_ip, wanted: wanted.clone(), id: id.to_owned() }
            .post_start()
            .await
    }

    // --- Events ---

    fn note(&self, wanted: &Wanted, reason: &str, message: String) {
        let name = &wanted.name;
        self.context.container_event(&self.pod, name, EventType::Normal, reason, message);
    }

    fn warn(&self, wanted: &Wanted, reason: &str, message: &str) {
        let name = &wanted.name;
        self.context.container_event(&self.pod, name, EventType::Warning, reason, message);
    }

    fn failed(&self, wanted: &Wanted, reason: &str, message: String, wait: Duration) -> Failure {
        let said = if reason == "ErrImageNeverPull" || reason == "InvalidImageName" {
            format!("Error: {reason}")
        } else {
            format!("Error: {message}")
        };
        self.warn(wanted, "Failed", &said);
        failure(reason, message, wait)
    }
}

impl Failure {
    /// The start ended without a word.
    pub(super) fn lost(error: &tokio::task::JoinError) -> Self {
        tracing::error!(%error, "the start of a container was lost");
        failure("RunContainerError", error.to_string(), PAUSE)
    }

    /// The container was started, and is stopped because its hook failed.
    pub(super) fn of_post_start(message: String) -> Self {
        failure("PostStartHookError", message, Duration::ZERO)
    }
}

fn failure(reason: &str, message: String, wait: Duration) -> Failure {
    let waiting = Waiting { reason: reason.to_owned(), message };
    Failure { waiting, retry_at: Timestamp::now() + wait }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
