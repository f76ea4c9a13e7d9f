//! What a container says at its end: the file it gets at `terminationMessagePath`, and what is read from
//! it, or else from the end of its log.
//! <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{Read, Seek, SeekFrom},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use api_types::api::core::v1::{Container as Wanted, Pod};
use futures::StreamExt;

use crate::{
    context::Context,
    runtime::{
        Container, LogOptions, Mount, Propagation, Runtime, RuntimeError, observed::Observed,
    },
    spec, volumes,
};

const USUAL_PATH: &str = "/dev/termination-log";
/// How much of the file's end is read.
const FILE_BYTES: u64 = 4096;
/// How much of the log's end stands in for the file.
const LOG_BYTES: usize = 2048;
const LOG_LINES: u64 = 80;

/// The messages of containers that ended, by id; empty if there is none.
#[derive(Debug, Default)]
pub(super) struct Messages(BTreeMap<String, String>);

impl Messages {
    /// What was read up to now.
    pub(super) fn by_id(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Reads the messages of containers that have ended since.
    pub(super) async fn read(&mut self, context: &Context, pod: &Pod, observed: &Observed) {
        let present: BTreeSet<&str> = observed.containers.iter().map(|c| c.id.as_str()).collect();
        self.0.retain(|id, _| present.contains(id.as_str()));
        let pod_dir = context.pod_dir(&spec::identity(pod).uid);
        for container in observed.containers.iter().filter(|c| c.exit().is_some()) {
            let Some(wanted) = spec::container(pod, &container.name) else { continue };
            if self.0.contains_key(&container.id) {
                continue;
            }
            // A log that cannot be read now is read when the pod is looked at again.
            if let Ok(message) = message(&*context.runtime, &pod_dir, &wanted, container).await {
                self.0.insert(container.id.clone(), message);
            }
        }
    }
}

/// Makes the file that the container may write to. Everybody may: the container's user is not known.
pub(super) fn mount(pod_dir: &Path, wanted: &Wanted, attempt: u32) -> std::io::Result<Mount> {
    let file = path(pod_dir, &wanted.name, attempt);
    if let Some(parent) = file.parent() {
        volumes::private_directory(parent)?;
    }
    std::fs::write(&file, "")?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))?;
    let target = wanted.termination_message_path.clone().filter(|path| !path.is_empty());
    Ok(Mount {
        source: file.to_string_lossy().into_owned(),
        target: target.unwrap_or_else(|| USUAL_PATH.to_owned()),
        read_only: false,
        propagation: Propagation::None,
    })
}

/// The container goes, and its file with it.
pub(super) fn forget(context: &Context, pod: &Pod, observed: &Observed, id: &str) {
    let Some(container) = observed.containers.iter().find(|c| c.id == id) else { return };
    let pod_dir = context.pod_dir(&spec::identity(pod).uid);
    // One that was never made, or that cannot be removed, goes with the pod's directory.
    let _ = std::fs::remove_file(path(&pod_dir, &container.name, container.attempt));
}

fn path(pod_dir: &Path, name: &str, attempt: u32) -> PathBuf {
    pod_dir.join("termination").join(name).join(attempt.to_string())
}

async fn message(
    runtime: &dyn Runtime,
    pod_dir: &Path,
    wanted: &Wanted,
    container: &Container,
) -> Result<String, RuntimeError> {
    let said = end_of_file(&path(pod_dir, &container.name, container.attempt));
    let failed = container.exit().is_some_and(|exit| exit.code != 0);
    let policy = wanted.termination_message_policy.as_deref();
    if !said.is_empty() || !failed || policy != Some("FallbackToLogsOnError") {
        return Ok(said);
    }
    end_of_log(runtime, &container.id).await
}

/// Empty if there is no file: a container made before there were such files.
fn end_of_file(path: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(FILE_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

async fn end_of_log(runtime: &dyn Runtime, id: &str) -> Result<String, RuntimeError> {
    let options = LogOptions { tail: Some(LOG_LINES), ..LogOptions::default() };
    let mut output = runtime.logs(id, &options);
    let mut end = VecDeque::new();
    while let Some(part) = output.next().await {
        end.extend(part?);
        end.drain(..end.len().saturating_sub(LOG_BYTES));
    }
    Ok(String::from_utf8_lossy(end.make_contiguous()).into_owned())
}
