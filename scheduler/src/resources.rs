//! Amounts of resources, as the scheduler counts them: CPU in thousandths of a core, everything else
//! in whole units (bytes, pods, devices).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api_types::Quantity;
use api_types::api::core::v1::{Container, PodSpec};

/// The resources that nearly every pod and node names: they are compared for each pod with each node.
const USUAL: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pods"];
/// The one that counts pods rather than what they ask for.
const PODS: usize = 3;

/// What a container is expected to take that asks for nothing: a tenth of a core and 200 MiB, as Kubernetes has it.
const EXPECTED: [(&str, i64); 2] = [("cpu", 100), ("memory", 200 << 20)];

/// More than any node has of anything. A pod that asks for more counts as asking for this, so that what all pods that
/// name a node ask for can be summed up, whatever they ask for.
const MOST: i64 = 1 << 48;

/// An amount of each resource. A resource that is not named is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// As in [`USUAL`].
    usual: [i64; USUAL.len()],
    /// By name; never zero.
    others: Vec<(Arc<str>, i64)>,
}

/// The name of a resource. Cloning one allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceName {
    /// Such as `cpu`.
    Usual(&'static str),
    /// Such as `example.com/gpu`.
    Other(Arc<str>),
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usual(name) => name,
            Self::Other(name) => name,
        })
    }
}

impl Resources {
    /// Reads a Kubernetes resource list. An amount that cannot be read counts as nothing: the API
    /// server refuses such objects, so only a foreign one could hold it.
    pub fn read(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            if let Some(amount) = amount(name, quantity) {
                resources.change(name, |_| amount);
            }
        }
        resources
    }

    /// What a pod asks for: the containers together, or the largest init container if that is more,
    /// plus the overhead. Sidecars (init containers that restart) run beside both.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>
    pub fn requested_by(spec: &PodSpec) -> Self {
        Self::taken_by(spec, requests)
    }

    /// What a pod may be expected to take: of CPU and memory something, even if it asks for nothing (Kubernetes:
    /// `GetNonzeroRequests`). A choice that counted such pods for nothing would put all of them on one node.
    pub fn expected_of(spec: &PodSpec) -> Self {
        Self::taken_by(spec, expectations)
    }

    fn taken_by(spec: &PodSpec, one: impl Fn(&Container) -> Self) -> Self {
        let mut total = Self::default();
        spec.containers.iter().for_each(|container| total.join(&one(container)));
        let (mut sidecars, mut starting) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let mut now = sidecars.clone();
            now.join(&one(container));
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = now.clone();
            }
            starting.raise_to(&now);
        }
        total.join(&sidecars);
        total.raise_to(&starting);
        total.join(&Self::read(spec.overhead.as_ref()));
        total.combine(&total.clone(), |amount, _| amount.min(MOST));
        total
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        match usual(name) {
            Some(index) => self.usual[index],
            None => self.place(name).map_or(0, |index| self.others[index].1),
        }
    }

    /// How many pods this is.
    pub fn pods(&self) -> i64 {
        self.usual[PODS]
    }

    /// The resources of which there is not as much left as is asked for here. Whoever asks for none of a
    /// resource gets it even where too much is given away already.
    pub fn short_of<'a>(
        &'a self,
        allocatable: &'a Self,
        requested: &'a Self,
    ) -> impl Iterator<Item = ResourceName> {
        let short = |wanted: i64, total: i64, taken: i64| {
            wanted > 0 && wanted > total.saturating_sub(taken)
        };
        let usual = (0..PODS).filter(move |&index| {
            short(self.usual[index], allocatable.usual[index], requested.usual[index])
        });
        let others = self.others.iter().filter(move |(name, wanted)| {
            short(*wanted, allocatable.get(name), requested.get(name))
        });
        let others = others.map(|(name, _)| ResourceName::Other(Arc::clone(name)));
        usual.map(|index| ResourceName::Usual(USUAL[index])).chain(others)
    }

    /// Whether there is more here of any resource.
    pub fn exceeds(&self, other: &Self) -> bool {
        let usual = self.usual.iter().zip(&other.usual).any(|(mine, others)| mine > others);
        usual || self.others.iter().any(|(name, mine)| *mine > other.get(name))
    }

    /// Adds what a pod asks for. [`Resources::subtract`] takes it away again.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, |sum, amount| sum + amount);
    }

    /// Takes another amount away from this one.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |sum, amount| sum - amount);
    }

    /// What is beyond all numbers fits nowhere.
    fn join(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        for (mine, amount) in self.usual.iter_mut().zip(other.usual) {
            *mine = with(*mine, amount);
        }
        for (name, amount) in &other.others {
            self.change_other(name, |mine| with(mine, *amount));
        }
    }

    fn change(&mut self, name: &str, change: impl Fn(i64) -> i64) {
        match usual(name) {
            Some(index) => self.usual[index] = change(self.usual[index]),
            None => self.change_other(&name.into(), change),
        }
    }

    fn change_other(&mut self, name: &Arc<str>, change: impl Fn(i64) -> i64) {
        let place = self.place(name);
        let amount = change(place.map_or(0, |index| self.others[index].1));
        match place {
            Ok(index) if amount == 0 => drop(self.others.remove(index)),
            Ok(index) => self.others[index].1 = amount,
            Err(_) if amount == 0 => {}
            Err(index) => self.others.insert(index, (Arc::clone(name), amount)),
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.others.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

fn usual(name: &str) -> Option<usize> {
    USUAL.iter().position(|usual| *usual == name)
}

fn requests(container: &Container) -> Resources {
    Resources::read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn expectations(container: &Container) -> Resources {
    let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut expected = Resources::read(asked);
    for (name, usual) in EXPECTED {
        if asked.is_none_or(|asked| !asked.contains_key(name)) {
            expected.change(name, |_| usual);
        }
    }
    expected
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
        expected.iter().for_each(|(name, amount)| resources.change(name, |_| *amount));
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
        check(spec.clone(), &[("cpu", 2000), ("memory", MOST)]);
        let much = Resources::requested_by(&serde_json::from_value(spec).unwrap());
        let mut taken = Resources::default();
        taken.add(&much);
        taken.add(&much);
        let mut little = Resources::default();
        little.change("memory", |_| 1);
        assert!(little.short_of(&Resources::default(), &taken).next().is_some());
        taken.subtract(&much);
        taken.subtract(&much);
        assert_eq!(taken, Resources::default());
    }

    #[test]
    fn who_asks_for_nothing_is_expected_to_take_something() {
        let silent = json!({"name": "c"});
        let modest =
            json!({"name": "d", "resources": {"requests": {"cpu": "0", "example.com/gpu": "1"}}});
        let spec = serde_json::from_value(json!({"containers": [silent, modest]})).unwrap();
        let expected = Resources::expected_of(&spec);
        let amounts = ["cpu", "memory", "example.com/gpu"].map(|name| expected.get(name));
        assert_eq!(amounts, [100, 400 << 20, 1]);
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
