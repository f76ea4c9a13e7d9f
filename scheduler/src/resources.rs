//! Amounts of resources, as the scheduler counts them: CPU in thousandths of a core, everything else
//! in whole units (bytes, pods, devices).

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::Quantity;
use api_types::api::core::v1::{Container, PodSpec};

/// An amount of each resource by name. A resource that is not named is zero. Those that nearly every pod
/// and node names have a field: they are compared for each pod with each node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    cpu: i64,
    memory: i64,
    pods: i64,
    others: BTreeMap<Arc<str>, i64>,
}

/// The resource that counts pods rather than what they ask for.
pub const PODS: &str = "pods";

impl Resources {
    /// Reads a Kubernetes resource list. An amount that cannot be read counts as nothing: the API
    /// server refuses such objects, so only a foreign one could hold it.
    pub fn read(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            if let Some(amount) = amount(name, quantity) {
                *resources.entry(name) = amount;
            }
        }
        resources
    }

    /// What a pod asks for: the containers together, or the largest init container if that is more,
    /// plus the overhead. Sidecars (init containers that restart) run beside both.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>
    pub fn requested_by(spec: &PodSpec) -> Self {
        let mut total = Self::default();
        spec.containers.iter().for_each(|container| total.join(&requests(container)));
        let (mut sidecars, mut starting) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let mut now = sidecars.clone();
            now.join(&requests(container));
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = now.clone();
            }
            starting.raise_to(&now);
        }
        total.join(&sidecars);
        total.raise_to(&starting);
        total.join(&Self::read(spec.overhead.as_ref()));
        total
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            PODS => self.pods,
            other => self.others.get(other).copied().unwrap_or_default(),
        }
    }

    /// How many pods this is.
    pub fn pods(&self) -> i64 {
        self.pods
    }

    /// The resources of which there is not as much left as is asked for here. Whoever asks for none of a
    /// resource gets it even where too much is given away already.
    pub fn short_of<'a>(
        &'a self,
        allocatable: &'a Self,
        requested: &'a Self,
    ) -> impl Iterator<Item = Shortage<'a>> {
        let short = |wanted: i64, total: i64, taken: i64| {
            wanted > 0 && wanted > total.saturating_sub(taken)
        };
        let cpu = short(self.cpu, allocatable.cpu, requested.cpu).then_some(Shortage::Cpu);
        let memory =
            short(self.memory, allocatable.memory, requested.memory).then_some(Shortage::Memory);
        let others = self.others.iter().filter(move |(name, wanted)| {
            short(**wanted, allocatable.get(name), requested.get(name))
        });
        cpu.into_iter().chain(memory).chain(others.map(|(name, _)| Shortage::Other(name)))
    }

    /// Adds another amount to this one. [`Resources::subtract`] takes it away again, even if the sum is beyond
    /// all numbers: whoever names a node may ask for anything.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::wrapping_add);
    }

    /// Takes another amount away from this one.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::wrapping_sub);
    }

    /// What is beyond all numbers fits nowhere.
    fn join(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.cpu = with(self.cpu, other.cpu);
        self.memory = with(self.memory, other.memory);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.others {
            let mine = self.others.entry(Arc::clone(name)).or_default();
            *mine = with(*mine, *amount);
        }
    }

    fn entry(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.cpu,
            "memory" => &mut self.memory,
            PODS => &mut self.pods,
            other => self.others.entry(other.into()).or_default(),
        }
    }
}

/// A resource of which there is too little.
#[derive(Clone, Copy, Debug)]
pub enum Shortage<'a> {
    /// CPU.
    Cpu,
    /// Memory.
    Memory,
    /// Any other, by name.
    Other(&'a Arc<str>),
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
        let mut resources = Resources::default();
        expected.iter().for_each(|(name, amount)| *resources.entry(name) = *amount);
        assert_eq!(Resources::requested_by(&spec), resources);
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
    fn what_is_beyond_all_numbers_fits_nowhere_and_leaves_nothing_behind() {
        let spec = json!({"containers": [container("1", "5Ei"), container("1", "5Ei")]});
        check(spec.clone(), &[("cpu", 2000), ("memory", i64::MAX)]);
        let much = Resources::requested_by(&serde_json::from_value(spec).unwrap());
        let mut taken = Resources::default();
        taken.add(&much);
        taken.add(&much);
        assert!(much.short_of(&Resources::default(), &taken).next().is_some());
        taken.subtract(&much);
        taken.subtract(&much);
        assert_eq!(taken, Resources::default());
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
