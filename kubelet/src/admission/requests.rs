//! What a pod asks for: CPU in thousandths of a core, everything else in whole units. Pure.

use std::collections::BTreeMap;

use api_types::{
    Quantity,
    api::core::v1::{Container, Pod},
};

use crate::spec;

/// An amount of each resource by name.
pub(super) type Amounts = BTreeMap<String, i64>;

/// Reads a resource list. An amount that cannot be read counts as nothing: the API server refuses it.
pub(super) fn read(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let amount = |(name, quantity): (&String, &Quantity)| {
        let quantity = api_machinery::Quantity::try_from(quantity).ok()?;
        let amount = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
        Some((name.clone(), amount))
    };
    list.into_iter().flatten().filter_map(amount).collect()
}

/// Adds `other` to `total`.
pub(super) fn add(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let sum = total.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn raise(total: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let mine = total.entry(name.clone()).or_default();
        *mine = (*mine).max(*amount);
    }
}

/// The containers together, or the largest init container if that is more, plus the overhead. Sidecars
/// run beside both.
/// <https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers>
pub(super) fn of_pod(pod: &Pod) -> Amounts {
    let mut total = Amounts::new();
    spec::containers(pod).for_each(|container| add(&mut total, &of_container(container)));
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec::init_containers(pod) {
        let mut now = sidecars.clone();
        add(&mut now, &of_container(container));
        if spec::is_sidecar(container) {
            sidecars.clone_from(&now);
        }
        raise(&mut starting, &now);
    }
    add(&mut total, &sidecars);
    raise(&mut total, &starting);
    let overhead = spec::spec(pod).and_then(|spec| spec.overhead.as_ref());
    add(&mut total, &read(overhead));
    total
}

fn of_container(container: &Container) -> Amounts {
    read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(cpu: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    fn check(spec: &Value, milli: i64) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        assert_eq!(of_pod(&pod).get("cpu").copied().unwrap_or_default(), milli, "{spec}");
    }

    #[test]
    fn containers_add_up_init_containers_do_not_and_sidecars_run_beside_both() {
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = json!("Always");
        check(&json!({"containers": [{"name": "c"}]}), 0);
        check(&json!({"containers": [container("250m"), container("1")]}), 1250);
        let larger = [container("2"), container("1")];
        check(&json!({"initContainers": larger, "containers": [container("1")]}), 2000);
        let most = container(&i64::MAX.to_string());
        check(&json!({"containers": [most, most]}), i64::MAX);
        let beside = [sidecar, container("3")];
        check(
            &json!({"initContainers": beside, "containers": [container("2")],
                   "overhead": {"cpu": "500m"}}),
            4500,
        );
    }
}
