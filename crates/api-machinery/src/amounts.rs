//! Amounts of resources by name, exactly: what containers request and may use, and a pod as a whole.

use std::collections::BTreeMap;

use api_types::api::core::v1::{Container, PodSpec, ResourceRequirements};

use crate::Quantity;

/// So much of each.
pub type Amounts = BTreeMap<String, Quantity>;

/// As objects have them.
type Given = BTreeMap<String, api_types::Quantity>;

/// Which of a container's amounts are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it is sure to get.
    Requests,
    /// What it may use.
    Limits,
}

impl Side {
    /// The amounts of this side.
    #[must_use]
    pub fn of(self, resources: Option<&ResourceRequirements>) -> Amounts {
        read(resources.and_then(|resources| match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        }))
    }

    /// Those of a pod, without its overhead: what its containers take, or what is said for the pod itself if that is
    /// more. Kubernetes goes by the latter alone, to which it holds the containers; here nobody does.
    #[must_use]
    pub fn of_pod(self, spec: &PodSpec) -> Amounts {
        let mut total = self.of_containers(spec);
        let mut whole = self.of(spec.resources.as_ref());
        whole.retain(|name, _| is_of_pods(name));
        raise_to(&mut total, &whole);
        total
    }

    /// Those of a pod's containers: all together, or the largest init container if that is more. Sidecars (init
    /// containers that restart) run beside both.
    #[must_use]
    pub fn of_containers(self, spec: &PodSpec) -> Amounts {
        let one = |container: &Container| self.of(container.resources.as_ref());
        let mut total = Amounts::new();
        spec.containers.iter().for_each(|container| add(&mut total, &one(container)));
        let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
        for container in spec.init_containers.iter().flatten() {
            let mut now = sidecars.clone();
            add(&mut now, &one(container));
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars.clone_from(&now);
            }
            raise_to(&mut starting, &now);
        }
        add(&mut total, &sidecars);
        raise_to(&mut total, &starting);
        total
    }
}

/// Whether a pod may say as a whole how much it takes of a resource.
#[must_use]
pub fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Those of an object. What is no quantity is none.
#[must_use]
pub fn read(given: Option<&Given>) -> Amounts {
    let each = given.into_iter().flatten();
    each.filter_map(|(name, amount)| Some((name.clone(), Quantity::try_from(amount).ok()?)))
        .collect()
}

/// As objects have them.
#[must_use]
pub fn write(amounts: &Amounts) -> Given {
    let each = amounts.iter();
    each.map(|(name, amount)| (name.clone(), api_types::Quantity(amount.to_string()))).collect()
}

/// Whether they are equal, however they are written.
#[must_use]
pub fn are_equal(one: &Amounts, other: &Amounts) -> bool {
    let same = |((a, x), (b, y)): ((&String, &Quantity), (&String, &Quantity))| {
        a == b && x.compare(*y).is_eq()
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Adds to each what there is more of it.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.get(name).copied();
        sum.insert(name.clone(), known.map_or(*amount, |known| known + *amount));
    }
}

/// Makes each at least this.
fn raise_to(amounts: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        match amounts.get(name) {
            Some(known) if known.compare(*amount).is_ge() => {}
            _ => drop(amounts.insert(name.clone(), *amount)),
        }
    }
}

/// As texts: `cpu=1,memory=1Gi`.
#[must_use]
pub fn shown(amounts: &Amounts) -> String {
    let each: Vec<_> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    each.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: &Value, expected: &str) {
        let spec: PodSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(shown(&Side::Requests.of_pod(&spec)), expected, "{spec:?}");
    }

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "9"}}})
    }

    #[test]
    fn a_pod_takes_what_its_containers_take_together_or_the_largest_that_starts() {
        let sidecar = |cpu| {
            let mut sidecar = container(cpu);
            sidecar["restartPolicy"] = "Always".into();
            sidecar
        };
        check(&json!({"containers": [{"name": "c"}]}), "");
        check(&json!({"containers": [container("500m"), container("1")]}), "cpu=1500m");
        let two = json!([container("500m"), container("1")]);
        check(&json!({"containers": two, "initContainers": [container("2")]}), "cpu=2");
        check(&json!({"containers": two, "initContainers": [container("1")]}), "cpu=1500m");
        check(&json!({"containers": two, "initContainers": [sidecar("2")]}), "cpu=3500m");
        let starting = json!([sidecar("2"), container("3")]);
        check(&json!({"containers": two, "initContainers": starting}), "cpu=5");
        let whole = |cpu| json!({"requests": {"cpu": cpu, "example.com/gpu": "1"}});
        check(&json!({"containers": two, "resources": whole("4")}), "cpu=4");
        check(&json!({"containers": two, "resources": whole("1")}), "cpu=1500m");
    }

    #[test]
    fn amounts_are_compared_by_what_they_are_worth() {
        let read = |text: Value| read(serde_json::from_value(text).ok().as_ref());
        assert!(are_equal(&read(json!({"cpu": "1000m"})), &read(json!({"cpu": "1"}))));
        assert!(!are_equal(&read(json!({"cpu": "1"})), &read(json!({"memory": "1"}))));
        assert!(!are_equal(&read(json!({"cpu": "1"})), &read(json!({}))));
    }
}
