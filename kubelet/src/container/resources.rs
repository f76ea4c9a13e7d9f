//! Requests and limits as the runtime wants them. Pure.

use std::collections::BTreeMap;

use api_machinery::quantity::Quantity;
use api_types::{
    Quantity as Text,
    api::core::v1::{Container, ResourceFieldSelector},
};

use crate::runtime::Resources;

const SHARES_PER_CPU: i64 = 1024;
const MIN_SHARES: i64 = 2;
/// Microseconds of CFS quota per thousandth of a CPU, at a period of 100 ms.
const QUOTA_PER_MILLI: i64 = 100;
const MIN_QUOTA: i64 = 1000;

/// CPU shares from the request, CFS quota and memory limit from the limits.
pub fn resources(container: &Container) -> Resources {
    let limit = |name| limit(container, name);
    let request = request(container, "cpu").or(limit("cpu"));
    let milli = request.map(Quantity::milli_value).unwrap_or_default();
    Resources {
        cpu_shares: Some((milli * SHARES_PER_CPU / 1000).max(MIN_SHARES)),
        cpu_quota: limit("cpu").map(|cpu| (cpu.milli_value() * QUOTA_PER_MILLI).max(MIN_QUOTA)),
        memory: limit("memory").map(Quantity::value),
    }
}

/// The memory that it asks for, in bytes.
pub(super) fn memory_request(container: &Container) -> i64 {
    let asked = request(container, "memory").or(limit(container, "memory"));
    asked.map(Quantity::value).unwrap_or_default()
}

/// `resourceFieldRef`: the amount divided by the divisor, rounded up. A container without a limit may have all that the
/// node has for pods, as in upstream's `MergeContainerResourceLimits`.
pub fn field(
    container: &Container,
    wanted: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, Text>,
) -> Option<String> {
    let (group, name) = wanted.resource.split_once('.')?;
    let is_known = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    let is_huge = name.starts_with("hugepages-");
    let none = (is_known || is_huge).then_some(Quantity::from_units(0));
    let limit = limit(container, name);
    let amount = match group {
        "limits" if is_known => limit.or_else(|| parse(Some(allocatable), name)),
        "limits" => limit.or(none),
        "requests" => request(container, name).or(limit).or(none),
        _ => None,
    }?;
    let divisor: Option<Quantity> = wanted.divisor.as_ref().and_then(|text| text.0.parse().ok());
    let divisor = divisor.filter(|divisor| !divisor.is_zero());
    let value = if name == "cpu" {
        let unit = divisor.map_or(1000, Quantity::milli_value);
        divide(amount.milli_value(), unit)
    } else {
        divide(amount.value(), divisor.map_or(1, Quantity::value))
    };
    Some(value.to_string())
}

fn divide(amount: i64, unit: i64) -> i64 {
    let unit = unit.max(1);
    (amount + unit - 1) / unit
}

/// A limit of zero is none.
fn limit(container: &Container, name: &str) -> Option<Quantity> {
    let limit = parse(container.resources.as_ref()?.limits.as_ref(), name);
    limit.filter(|limit| !limit.is_zero())
}

fn request(container: &Container, name: &str) -> Option<Quantity> {
    parse(container.resources.as_ref()?.requests.as_ref(), name)
}

fn parse(list: Option<&BTreeMap<String, Text>>, name: &str) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(resources: &Value) -> Container {
        serde_json::from_value(json!({"name": "c", "resources": resources})).unwrap()
    }

    fn check(given: &Value, shares: i64, quota: Option<i64>, memory: Option<i64>) {
        let expected = Resources { cpu_shares: Some(shares), cpu_quota: quota, memory };
        assert_eq!(resources(&container(given)), expected);
    }

    #[test]
    fn requests_weigh_and_limits_bound() {
        check(&json!({}), 2, None, None);
        check(&json!({"requests": {"cpu": "250m"}}), 256, None, None);
        let limits = json!({"limits": {"cpu": "1.5", "memory": "64Mi"}});
        check(&limits, 1536, Some(150_000), Some(64 << 20));
    }

    fn check_field(given: &Value, resource: &str, divisor: &str, expected: Option<&str>) {
        let allocatable = json!({"cpu": "4", "memory": "1Gi", "ephemeral-storage": "10Gi"});
        let wanted = json!({"resource": resource, "divisor": divisor});
        let found = field(
            &container(given),
            &serde_json::from_value(wanted).unwrap(),
            &serde_json::from_value(allocatable).unwrap(),
        );
        assert_eq!(found.as_deref(), expected, "{resource} of {given}");
    }

    #[test]
    fn resource_fields_are_divided_and_rounded_up() {
        let limits = json!({"limits": {"cpu": "1500m", "memory": "64Mi"}});
        check_field(&limits, "limits.cpu", "0", Some("2"));
        check_field(&limits, "requests.cpu", "1m", Some("1500"));
        check_field(&limits, "limits.memory", "1Mi", Some("64"));
        check_field(&limits, "limits.disk", "0", None);
    }

    #[test]
    fn a_container_without_limits_may_have_what_the_node_has() {
        let none = json!({});
        check_field(&none, "limits.cpu", "0", Some("4"));
        check_field(&none, "limits.memory", "1Mi", Some("1024"));
        check_field(&none, "limits.ephemeral-storage", "1Gi", Some("10"));
        check_field(&none, "requests.cpu", "1m", Some("0"));
        check_field(&none, "requests.memory", "0", Some("0"));
        check_field(&none, "requests.hugepages-2Mi", "0", Some("0"));
        check_field(&none, "limits.hugepages-2Mi", "1Mi", Some("0"));
        check_field(&none, "limits.disk", "0", None);
        let zero = json!({"limits": {"cpu": "0", "memory": "0"}});
        check_field(&zero, "limits.cpu", "0", Some("4"));
        check_field(&zero, "limits.memory", "1Mi", Some("1024"));
        check(&zero, 2, None, None);
    }
}
