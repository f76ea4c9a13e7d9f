//! Pods get what the LimitRanges of their namespace say for containers that say nothing, and are refused if they ask for
//! less or more than those allow (Kubernetes: `plugin/pkg/admission/limitranger`).

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_machinery::{
    ApiError, Quantity,
    amounts::{self, Amounts, Side},
};
use api_types::api::core::v1::{
    Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec,
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};
use crate::{catalogue::InForce, encoded::readable, storage::Storage};

const CLAIM: &str = "PersistentVolumeClaim";
const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "storage";
/// Tells what was set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Given = BTreeMap<String, api_types::Quantity>;

/// See the module.
#[derive(Debug)]
pub(super) struct LimitRanger {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for LimitRanger {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let object = object.filter(|_| is_new_pod(attributes));
        if let Some(pod) = object.and_then(AnyObject::get_mut::<Pod>) {
            for range in self.ranges(attributes)? {
                complete(pod, &range);
            }
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let is_sized = is_new_pod(attributes) || attributes.resizes();
        let pod = object.filter(|_| is_sized).and_then(AnyObject::get::<Pod>);
        let claim = object.filter(|_| attributes.is_core(CLAIMS));
        let claim = claim.and_then(AnyObject::get::<PersistentVolumeClaim>);
        let (plural, faults): (_, Box<dyn Fn(&LimitRange) -> Vec<String> + Send>) =
            match (pod.and_then(|pod| pod.spec.as_ref()), claim) {
                (Some(spec), _) => ("pods", Box::new(|range| faults(spec, range))),
                (_, Some(claim)) => (CLAIMS, Box::new(|range| claim_faults(claim, range))),
                _ => return Ok(()),
            };
        for range in self.ranges(attributes)? {
            let mut seen = BTreeSet::new();
            let mut faults = faults(&range);
            faults.retain(|fault| seen.insert(fault.clone()));
            let why = match faults.as_slice() {
                [] => continue,
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            return Err(ApiError::forbidden("", plural, attributes.at.name, &why));
        }
        Ok(())
    }
}

impl LimitRanger {
    /// Those of the namespace.
    fn ranges(&self, attributes: &Attributes<'_>) -> Result<Vec<LimitRange>, ApiError> {
        let catalogue = self.catalogue.load();
        let Some(def) = catalogue.find("", "v1", "limitranges") else {
            return Ok(Vec::new());
        };
        let found = self.storage.cache().list(&def.prefix(attributes.at.namespace));
        let range =
            |item| serde_json::from_slice(&readable(item)?.json()).map_err(ApiError::internal);
        found.items.iter().map(range).collect()
    }
}

/// Containers come with their pod, and how much they ask for is changed by a subresource alone.
fn is_new_pod(attributes: &Attributes<'_>) -> bool {
    attributes.operation == Operation::Create && attributes.is_core("pods")
}

/// What a claim asks for that it may not.
fn claim_faults(claim: &PersistentVolumeClaim, range: &LimitRange) -> Vec<String> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = amounts::read(resources.and_then(|resources| resources.requests.as_ref()));
    let mut faults = Vec::new();
    for limit in limits(range).filter(|limit| limit.type_ == CLAIM) {
        for (bounds, bound, is_beyond) in
            [(&limit.min, "minimum", Ordering::Less), (&limit.max, "maximum", Ordering::Greater)]
        {
            let Some(most) = amounts::read(bounds.as_ref()).remove(STORAGE) else { continue };
            let rule = format!("{bound} {STORAGE} usage per {CLAIM} is {most}");
            faults.extend(match asked.get(STORAGE) {
                None => Some(format!("{rule}.  No request is specified")),
                Some(asked) => {
                    let is_fault = asked.compare(most) == is_beyond;
                    is_fault.then(|| format!("{rule}, but request is {asked}"))
                }
            });
        }
    }
    faults
}

fn limits(range: &LimitRange) -> impl Iterator<Item = &LimitRangeItem> {
    range.spec.iter().flat_map(|spec| &spec.limits)
}

/// Gives each container what it doesn't say, and the pod an annotation that says so.
fn complete(pod: &mut Pod, range: &LimitRange) {
    let of_containers = || limits(range).filter(|limit| limit.type_ == "Container");
    let all = |of: fn(&LimitRangeItem) -> &Option<Given>| -> Given {
        of_containers().flat_map(|limit| of(limit).clone().unwrap_or_default()).collect()
    };
    let (usual_limits, usual_requests) = (all(|it| &it.default), all(|it| &it.default_request));
    let Some(spec) = &mut pod.spec else { return };
    let mut told = Vec::new();
    let mut give = |container: &mut Container, what: &str| {
        let resources = container.resources.get_or_insert_default();
        for (amounts, usual, side) in [
            (&mut resources.requests, &usual_requests, "request"),
            (&mut resources.limits, &usual_limits, "limit"),
        ] {
            let set = fill(amounts, usual);
            if !set.is_empty() {
                let names = set.join(", ");
                told.push(format!("{names} {side} for {what} {}", container.name));
            }
        }
    };
    if usual_limits.is_empty() && usual_requests.is_empty() {
        return;
    }
    spec.containers.iter_mut().for_each(|container| give(container, "container"));
    let starting = spec.init_containers.iter_mut().flatten();
    starting.for_each(|container| give(container, "init container"));
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.to_owned(), text);
    }
}

/// The names of what was missing.
fn fill(amounts: &mut Option<Given>, usual: &Given) -> Vec<String> {
    let missing = |name: &String| amounts.as_ref().is_none_or(|given| !given.contains_key(name));
    let set: Given = usual
        .iter()
        .filter(|(name, _)| missing(name))
        .map(|(n, a)| (n.clone(), a.clone()))
        .collect();
    let names = set.keys().cloned().collect();
    if !set.is_empty() {
        amounts.get_or_insert_default().extend(set);
    }
    names
}

/// What a pod asks for that it may not.
fn faults(spec: &PodSpec, range: &LimitRange) -> Vec<String> {
    let mut faults = Vec::new();
    for limit in limits(range) {
        match limit.type_.as_str() {
            "Container" => {
                let containers =
                    spec.containers.iter().chain(spec.init_containers.iter().flatten());
                for container in containers {
                    let resources = container.resources.as_ref();
                    let asked = [Side::Requests, Side::Limits].map(|side| side.of(resources));
                    Asked(asked).check(limit, &mut faults);
                }
            }
            "Pod" => {
                let asked = [Side::Requests, Side::Limits].map(|side| side.of_pod(spec));
                Asked(asked).check(limit, &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// Requests and limits.
struct Asked([Amounts; 2]);

impl Asked {
    fn check(&self, limit: &LimitRangeItem, faults: &mut Vec<String>) {
        for (bounds, check) in [
            (&limit.min, Self::less as fn(&Self, &str, &str, Quantity) -> Option<String>),
            (&limit.max, Self::more),
            (&limit.max_limit_request_ratio, Self::apart),
        ] {
            for (name, bound) in amounts::read(bounds.as_ref()) {
                faults.extend(check(self, &limit.type_, &name, bound));
            }
        }
    }

    fn of(&self, name: &str) -> [Option<Quantity>; 2] {
        self.0.each_ref().map(|amounts| amounts.get(name).copied())
    }

    fn less(&self, type_: &str, name: &str, min: Quantity) -> Option<String> {
        let rule = format!("minimum {name} usage per {type_} is {min}");
        match self.of(name) {
            [None, _] => Some(format!("{rule}.  No request is specified")),
            [Some(request), _] if request.compare(min).is_lt() => {
                Some(format!("{rule}, but request is {request}"))
            }
            [_, Some(limit)] if limit.compare(min).is_lt() => {
                Some(format!("{rule}, but limit is {limit}"))
            }
            _ => None,
        }
    }

    fn more(&self, type_: &str, name: &str, max: Quantity) -> Option<String> {
        let rule = format!("maximum {name} usage per {type_} is {max}");
        match self.of(name) {
            [_, None] => Some(format!("{rule}.  No limit is specified")),
            [_, Some(limit)] if limit.compare(max).is_gt() => {
                Some(format!("{rule}, but limit is {limit}"))
            }
            [Some(request), _] if request.compare(max).is_gt() => {
                Some(format!("{rule}, but request is {request}"))
            }
            _ => None,
        }
    }

    fn apart(&self, type_: &str, name: &str, most: Quantity) -> Option<String> {
        let rule = format!("{name} max limit to request ratio per {type_} is {most}");
        let [request, limit] = self.of(name).map(|it| it.filter(|amount| !amount.is_zero()));
        let Some(request) = request else {
            return Some(format!("{rule}, but no request is specified or request is 0"));
        };
        let Some(limit) = limit else {
            return Some(format!("{rule}, but no limit is specified or limit is 0"));
        };
        let ratio = limit.to_f64() / request.to_f64();
        let is_more = limit.compare_product(most, request).is_gt();
        is_more.then(|| format!("{rule}, but provided ratio is {ratio:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn range(limit: &Value) -> LimitRange {
        serde_json::from_value(json!({"spec": {"limits": [limit]}})).unwrap()
    }

    fn pod(containers: &Value) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap()
    }

    fn container(requests: &Value, limits: &Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn containers_get_what_they_do_not_say() {
        let range = range(&json!({"type": "Container",
            "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}}));
        let said = container(&json!({"cpu": "2"}), &json!({"cpu": "3", "memory": "2Gi"}));
        let mut pod = pod(&json!([{"name": "a"}, said]));
        pod.spec.as_mut().unwrap().init_containers =
            serde_json::from_value(json!([{"name": "i"}])).unwrap();
        complete(&mut pod, &range);
        let given = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        let (object, text) = (json!(pod), &pod.metadata.annotations.as_ref().unwrap()[ANNOTATION]);
        assert_eq!(object["spec"]["containers"][0]["resources"], given);
        assert_eq!(object["spec"]["containers"][1], said);
        assert_eq!(object["spec"]["initContainers"][0]["resources"], given);
        let expected = "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; \
                        cpu request for init container i; cpu, memory limit for init container i";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_range_without_defaults_leaves_pods_as_they_are() {
        let mut given = pod(&json!([{"name": "a"}]));
        complete(&mut given, &range(&json!({"type": "Pod", "max": {"cpu": "1"}})));
        assert_eq!(given, pod(&json!([{"name": "a"}])));
    }

    fn check(limit: &Value, containers: &Value, expected: &[&str]) {
        let spec = pod(containers).spec.unwrap();
        assert_eq!(faults(&spec, &range(limit)), expected, "{limit} {containers}");
    }

    #[test]
    fn containers_stay_within_their_bounds() {
        let min = json!({"type": "Container", "min": {"cpu": "1"}});
        let one = |request: Value, limit: Value| json!([container(&request, &limit)]);
        let cpu = |amount: &str| json!({"cpu": amount});
        check(&min, &one(cpu("1"), Value::Null), &[]);
        let rule = "minimum cpu usage per Container is 1";
        check(&min, &one(Value::Null, cpu("2")), &[&format!("{rule}.  No request is specified")]);
        check(&min, &one(cpu("500m"), cpu("2")), &[&format!("{rule}, but request is 500m")]);
        check(&min, &one(cpu("1"), cpu("900m")), &[&format!("{rule}, but limit is 900m")]);
        let max = json!({"type": "Container", "max": {"cpu": "1"}});
        let rule = "maximum cpu usage per Container is 1";
        check(&max, &one(Value::Null, cpu("1")), &[]);
        check(&max, &one(cpu("1"), Value::Null), &[&format!("{rule}.  No limit is specified")]);
        check(&max, &one(Value::Null, cpu("2")), &[&format!("{rule}, but limit is 2")]);
        check(&max, &one(cpu("2"), cpu("1")), &[&format!("{rule}, but request is 2")]);
    }

    #[test]
    fn limits_are_not_too_far_above_requests() {
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        let one = |request: &str, limit: &str| {
            json!([container(&json!({"cpu": request}), &json!({"cpu": limit}))])
        };
        let rule = "cpu max limit to request ratio per Container is 2";
        check(&ratio, &one("1", "2"), &[]);
        let third = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "3"}});
        check(&third, &one("700m", "2100m"), &[]);
        check(&ratio, &one("1", "2500m"), &[&format!("{rule}, but provided ratio is 2.500000")]);
        check(
            &ratio,
            &one("0", "2"),
            &[&format!("{rule}, but no request is specified or request is 0")],
        );
    }

    #[test]
    fn a_pod_is_bounded_by_what_its_containers_take_together() {
        let max = json!({"type": "Pod", "max": {"cpu": "1"}});
        let one = || container(&json!({}), &json!({"cpu": "600m"}));
        check(&max, &json!([one()]), &[]);
        let expected = "maximum cpu usage per Pod is 1, but limit is 1200m";
        check(&max, &json!([one(), one()]), &[expected]);
    }
}
