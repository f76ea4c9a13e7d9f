//! Whether the nginxes of this node are those that should run, and go by what they should.

use std::collections::BTreeMap;

use component::check::Difference;

use crate::{
    backend::shared,
    configs::Configs,
    containers::{ContainerError, Containers, Found},
    instance::{Instance, InstanceSpec},
    nginx::listened,
    plan::ServicePlan,
};

/// Those that there should be where one serves all Services, and where that one does not listen though it should.
pub fn shared(configs: &Configs, services: &[ServicePlan]) -> (Vec<InstanceSpec>, Vec<Difference>) {
    let text = configs.directory(shared::UID).text().unwrap_or_default();
    let (specs, left_out) = shared::all_specs(services, &listened(&text));
    let message =
        |(service, sockets): (&String, &String)| format!("{service} is not served at {sockets}");
    let left_out = left_out.iter().map(message);
    (specs, left_out.map(|message| Difference::new("nginx", message)).collect())
}

/// What is not as it should be, if these are all that should run.
///
/// # Errors
///
/// The containers can't be listed.
pub async fn differences(
    containers: &impl Containers,
    configs: &Configs,
    specs: &[InstanceSpec],
) -> Result<Vec<Difference>, ContainerError> {
    let mut found: BTreeMap<String, Found> =
        containers.list().await?.into_iter().map(|found| (found.uid.clone(), found)).collect();
    let mut messages = Vec::new();
    for spec in specs {
        let message = match found.remove(&spec.uid) {
            None => Some("has no nginx"),
            Some(found) => fault(containers, configs, spec, &found).await,
        };
        messages.extend(message.map(|message| format!("{} {message}", spec.owner)));
    }
    let left = found.values().map(|found| format!("{} is gone and has an nginx", found.owner));
    messages.extend(left);
    Ok(messages.into_iter().map(|message| Difference::new("nginx", message)).collect())
}

async fn fault(
    containers: &impl Containers,
    configs: &Configs,
    spec: &InstanceSpec,
    found: &Found,
) -> Option<&'static str> {
    let mut instance = Instance::found(found);
    if !instance.is_current() {
        return Some("has an nginx that an older kube-proxy has made");
    }
    if !found.running {
        return Some("has an nginx that does not run");
    }
    let answer = containers.in_force(&configs.directory(&spec.uid)).await;
    let Some(answer) = answer else { return Some("has an nginx that does not answer") };
    instance.answered(Some(answer.answer));
    let wanted = spec.configuration.at(instance.epoch());
    (!instance.goes_by(&wanted.generation))
        .then_some("has an nginx that goes by another configuration")
}
