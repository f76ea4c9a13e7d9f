//! A pod's quality of service class (Kubernetes: `pkg/apis/core/helper/qos`).

use api_machinery::Quantity;
use api_types::api::core::v1::{Container, PodSpec, ResourceRequirements};

/// `Guaranteed` if every container's CPU and memory are limited to what is requested, `BestEffort` if
/// none asks for anything, else `Burstable`.
pub(super) fn class(spec: &PodSpec) -> &'static str {
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    if containers().all(asks_for_nothing) {
        "BestEffort"
    } else if containers().all(is_guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn asks_for_nothing(container: &Container) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        amount(container, name, false).is_none() && amount(container, name, true).is_none()
    })
}

fn is_guaranteed(container: &Container) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(container, name, true);
        limit.is_some()
            && amount(container, name, false).or(limit).map(|q| q.milli_value())
                == limit.map(|q| q.milli_value())
    })
}

/// The amount asked for, unless it is zero.
fn amount(container: &Container, name: &str, limit: bool) -> Option<Quantity> {
    let ResourceRequirements { limits, requests, .. } = container.resources.as_ref()?;
    let amounts = if limit { limits } else { requests };
    let quantity = Quantity::try_from(amounts.as_ref()?.get(name)?).ok()?;
    (!quantity.is_zero()).then_some(quantity)
}
