//! Amounts of resources, as the scheduler counts them: CPU in thousandths of a core, everything else
//! in whole units (bytes, pods, devices).

use std::collections::BTreeMap;

use api_types::Quantity;
use api_types::api::core::v1::{Container, PodSpec};

/// An amount of each resource by name. A resource that is not named is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i64>);

/// The resource that counts pods rather than what they ask for.
pub const PODS: &str = "pods";

impl Resources {
    /// Reads a Kubernetes resource list. An amount that cannot be read counts as nothing: the API
    /// server refuses such objects, so only a foreign one could hold it.
    pub fn read(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let amount = |(name, quantity): (&String, &Quantity)| {
            amount(name, quantity).map(|amount| (name.clone(), amount))
        };
        Self(list.into_iter().flatten().filter_map(amount).collect())
    }

    /// What a pod asks for: the containers together, or the largest init container if that is more,
    /// plus the overhead. Sidecars (init containers that restart) run beside both.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>
    pub fn requested_by(spec: &PodSpec) -> Self {
        let mut total = Self::default();
        spec.containers.iter().for_each(|container| total.add(&requests(container)));
        let (mut sidecars, mut starting) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let mut now = sidecars.clone();
            now.add(&requests(container));
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = now.clone();
            }
            starting.raise_to(&now);
        }
        total.add(&sidecars);
        total.raise_to(&starting);
        total.add(&Self::read(spec.overhead.as_ref()));
        total
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Each resource with its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Adds another amount to this one.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    /// Takes another amount away from this one.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

fn requests(container: &Container) -> Resources {
    Resources::read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn amount(name: &str, quantity: &Quantity) -> Option<i64> {
    let quantity = api_machinery::Quantity::try_from(quantity).ok()?;
    Some(if name == "cpu" { quantity.milli_value() } else { quantity.value() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, expected: &[(&str, i64)]) {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let expected = expected.iter().map(|(name, amount)| ((*name).to_owned(), *amount));
        assert_eq!(Resources::requested_by(&spec), Resources(expected.collect()));
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_asks_for_the_sum_of_its_containers() {
        check(json!({"containers": [{"name": "c"}]}), &[]);
        check(
            json!({"containers": [container("250m", "64Mi"), container("1", "1Gi")]}),
            &[("cpu", 1250), ("memory", (64 << 20) + (1 << 30))],
        );
    }

    #[test]
    fn the_largest_init_container_counts_if_it_is_more() {
        check(
            json!({"initContainers": [container("2", "1"), container("1", "1")],
                   "containers": [container("1", "5")]}),
            &[("cpu", 2000), ("memory", 5)],
        );
    }

    #[test]
    fn sidecars_run_beside_the_containers_and_later_init_containers() {
        let mut sidecar = container("1", "1");
        sidecar["restartPolicy"] = json!("Always");
        check(
            json!({"initContainers": [sidecar, container("3", "1")],
                   "containers": [container("2", "2")], "overhead": {"cpu": "500m"}}),
            &[("cpu", 4500), ("memory", 3)],
        );
    }
}
