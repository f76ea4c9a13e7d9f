//! What a container that runs may take, and what it is to take by now. Pure.

use api_machinery::amounts::Side;
use api_types::api::core::v1::{
    Container as ContainerSpec, ContainerStatus, Pod, ResourceRequirements,
};

use crate::{
    container::resources::resources,
    runtime::{Container, Resources, observed::Observed},
    spec,
};

const RESTART: &str = "RestartContainer";
const CPU: &str = "cpu";
const MEMORY: &str = "memory";

/// What it is to be given, unless it has it.
pub(super) fn due(wanted: &ContainerSpec, latest: &Container) -> Option<Resources> {
    let resources = resources(wanted);
    let changes = [CPU, MEMORY].iter().any(|name| changes(name, &resources, &latest.resources));
    changes.then_some(resources)
}

/// Whether it wants to begin anew for what it is to take. What it asked for before its status tells: a runtime knows no
/// requests of memory, and nothing of what its host does not bound.
pub(super) fn restarts(
    wanted: &ContainerSpec,
    latest: &Container,
    reported: Option<&ContainerStatus>,
) -> bool {
    let mut policies = wanted.resize_policy.iter().flatten();
    policies.any(|policy| {
        let name = policy.resource_name.as_str();
        let has_other = || changes(name, &resources(wanted), &latest.resources);
        policy.restart_policy == RESTART
            && asks_for_other(name, wanted, latest, reported).unwrap_or_else(has_other)
    })
}

/// Whether it runs with something else than it was given.
pub(super) fn is_behind(
    wanted: &ContainerSpec,
    latest: Option<&Container>,
    reported: Option<&ContainerStatus>,
) -> bool {
    let running = latest.filter(|latest| latest.is_running());
    running
        .is_some_and(|latest| due(wanted, latest).is_some() || restarts(wanted, latest, reported))
}

/// Whether a container of the pod does.
pub(super) fn is_in_progress(pod: &Pod, observed: &Observed) -> bool {
    spec::init_containers(pod).chain(spec::containers(pod)).any(|wanted| {
        is_behind(wanted, observed.latest(&wanted.name), spec::reported(pod, &wanted.name))
    })
}

/// What nobody bounds stays as it is.
fn changes(name: &str, wanted: &Resources, has: &Resources) -> bool {
    let differs = |wanted: Option<i64>, has: Option<i64>| wanted.is_some() && wanted != has;
    match name {
        CPU => {
            differs(wanted.cpu_shares, has.cpu_shares) || differs(wanted.cpu_quota, has.cpu_quota)
        }
        MEMORY => differs(wanted.memory, has.memory),
        _ => false,
    }
}

/// Nothing if the status tells nothing of this container.
fn asks_for_other(
    name: &str,
    wanted: &ContainerSpec,
    latest: &Container,
    reported: Option<&ContainerStatus>,
) -> Option<bool> {
    let id = spec::full_id(&latest.id);
    let reported = reported.filter(|reported| reported.container_id.as_ref() == Some(&id));
    let had = reported?.resources.as_ref()?;
    let amount = |side: Side, resources: Option<&ResourceRequirements>| {
        side.of(resources).get(name).copied()
    };
    let is_same = |side| match (amount(side, Some(had)), amount(side, wanted.resources.as_ref())) {
        (Some(had), Some(wanted)) => had.compare(wanted).is_eq(),
        (None, None) => true,
        _ => false,
    };
    Some(![Side::Requests, Side::Limits].into_iter().all(is_same))
}
