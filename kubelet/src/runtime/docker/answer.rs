//! What the Docker Engine says of containers. Pure.

use std::{collections::HashMap, path::Path};

use api_types::jiff::{SignedDuration, Timestamp};
use docker::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    EventMessage, HostConfig,
};

use crate::{
    addresses::PodAddresses,
    runtime::{Container, Exit, ImageStore, Resources, RuntimeEvent, State, Summary, labels},
};

/// Docker's own store: there is no such folder of layers if containerd keeps the images.
pub(super) fn image_store(root: Option<&str>, driver: Option<&str>) -> Option<ImageStore> {
    let (root, driver) = (Path::new(root?), driver?);
    let layers = root.join("image").join(driver).join("layerdb/sha256");
    Some(ImageStore { data: root.join(driver), layers })
}

pub(super) fn summary(summary: ContainerSummary) -> Option<Summary> {
    Some(Summary {
        pod: labels::pod_of(&summary.labels.unwrap_or_default())?.uid,
        id: summary.id?,
        state: summary.state.map(|state| state.to_string()).unwrap_or_default(),
    })
}

pub(super) fn container(answer: ContainerInspectResponse) -> Option<Container> {
    let config = answer.config?;
    let marks = config.labels.unwrap_or_default();
    let mark = |key: &str| marks.get(key).cloned().unwrap_or_default();
    let engine_state = answer.state.unwrap_or_default();
    let image = mark(labels::IMAGE);
    Some(Container {
        id: answer.id?,
        pod: labels::pod_of(&marks)?,
        name: mark(labels::CONTAINER_NAME),
        attempt: mark(labels::RESTART_COUNT).parse().unwrap_or_default(),
        hash: mark(labels::HASH),
        sandbox_id: mark(labels::SANDBOX_ID),
        addresses: addresses(&marks),
        image: if image.is_empty() { config.image.unwrap_or_default() } else { image },
        image_id: answer.image.unwrap_or_default(),
        pid: engine_state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0),
        state: state(&engine_state, moment(answer.created.as_deref())),
        stop_signal: config.stop_signal.filter(|s| !s.is_empty()).unwrap_or("SIGTERM".into()),
        resources: answer.host_config.as_ref().map(resources).unwrap_or_default(),
    })
}

/// Those that a sandbox was made for.
fn addresses(marks: &HashMap<String, String>) -> Option<PodAddresses> {
    let v4 = marks.get(labels::ADDRESS)?.parse().ok()?;
    let v6 = marks.get(labels::SECOND_ADDRESS).and_then(|address| address.parse().ok());
    Some(PodAddresses { v4, v6 })
}

/// The engine writes 0 for "none".
fn resources(host: &HostConfig) -> Resources {
    let bound = |amount: Option<i64>| amount.filter(|amount| *amount != 0);
    Resources {
        cpu_shares: bound(host.cpu_shares),
        cpu_quota: bound(host.cpu_quota),
        memory: bound(host.memory),
    }
}

fn state(engine: &ContainerState, created: Option<Timestamp>) -> State {
    use ContainerStateStatusEnum as Status;
    let error = engine.error.clone().unwrap_or_default();
    match engine.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING) => {
            State::Running { started_at: moment(engine.started_at.as_deref()).unwrap_or_default() }
        }
        Some(Status::CREATED) if error.is_empty() => State::Created,
        _ => State::Exited(exit(engine, error, created)),
    }
}

fn exit(engine: &ContainerState, error: String, created: Option<Timestamp>) -> Exit {
    let finished_at = moment(engine.finished_at.as_deref());
    Exit {
        code: i32::try_from(engine.exit_code.unwrap_or_default()).unwrap_or(-1),
        oom_killed: engine.oom_killed.unwrap_or_default(),
        started_at: moment(engine.started_at.as_deref()),
        // A container that could not be started has no end of its own.
        finished_at: finished_at.or(created).unwrap_or_default(),
        error,
    }
}

/// The engine writes year 1 for "never".
fn moment(text: Option<&str>) -> Option<Timestamp> {
    let parsed: Timestamp = text?.parse().ok()?;
    (parsed.duration_since(Timestamp::UNIX_EPOCH) > SignedDuration::ZERO).then_some(parsed)
}

pub(super) fn event(message: EventMessage) -> Option<RuntimeEvent> {
    let marks = message.actor?.attributes?;
    Some(RuntimeEvent { pod: marks.get(labels::POD_UID)?.clone(), action: message.action? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_has_the_addresses_that_it_was_made_for() {
        let check = |marks: &[(&str, &str)], expected: &[&str]| {
            let marks = marks.iter().map(|(name, value)| (*name, *value));
            let marks = marks.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let found = addresses(&marks);
            let found =
                found.iter().flat_map(PodAddresses::iter).map(|address| address.to_string());
            assert_eq!(found.collect::<Vec<_>>(), expected);
        };
        let (first, second) =
            ((labels::ADDRESS, "10.244.1.2"), (labels::SECOND_ADDRESS, "fd00::2"));
        check(&[], &[]);
        check(&[first], &["10.244.1.2"]);
        check(&[first, second], &["10.244.1.2", "fd00::2"]);
    }

    #[test]
    fn year_one_is_never() {
        assert_eq!(moment(Some("0001-01-01T00:00:00Z")), None);
        assert!(moment(Some("2026-01-02T03:04:05.678Z")).is_some());
    }
}
