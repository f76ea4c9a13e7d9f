//! What an object adds to what a quota says is used, and whether there is room for it. Pure.

use std::collections::BTreeSet;

use api_machinery::{
    amounts::{self, Amounts},
    quota::Item,
};
use api_types::{
    api::core::v1::{ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus},
    jiff::Timestamp,
};

/// An object that is going to be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge<'a> {
    pub(super) item: Item<'a>,
    /// What is there before.
    pub(super) old: Option<Item<'a>>,
    pub(super) now: Timestamp,
}

impl Charge<'_> {
    /// What is used with it, if that is more than before.
    ///
    /// # Errors
    /// Why the quota does not allow it.
    pub(super) fn used(&self, quota: &ResourceQuota) -> Result<Option<Amounts>, String> {
        let (no_spec, no_status) = (ResourceQuotaSpec::default(), ResourceQuotaStatus::default());
        let spec = quota.spec.as_ref().unwrap_or(&no_spec);
        let status = quota.status.as_ref().unwrap_or(&no_status);
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        // What was counted last is enforced, and not what is wished since.
        let hard = amounts::read(status.hard.as_ref());
        let limited: BTreeSet<&str> =
            hard.keys().map(String::as_str).filter(|name| self.item.uses(name)).collect();
        if limited.is_empty() || !self.item.is_in(spec) {
            return Ok(None);
        }
        if let Some(why) = self.item.unsaid(limited.iter().copied()) {
            return Err(format!("failed quota: {name}: {why}"));
        }
        let used = amounts::read(status.used.as_ref());
        if limited.iter().any(|name| !used.contains_key(*name)) {
            let resources = limited.into_iter().collect::<Vec<_>>().join(",");
            return Err(format!("status unknown for quota: {name}, resources: {resources}"));
        }
        if let Some(negative) = self.negative() {
            return Err(format!("quota usage is negative for resource(s): {negative}"));
        }
        let mut requested = self.more(spec);
        requested.retain(|name, amount| hard.contains_key(name) && !amount.is_zero());
        if requested.is_empty() {
            return Ok(None);
        }
        let mut sum = used.clone();
        amounts::add(&mut sum, &requested);
        let is_exceeded = |name: &String| sum[name].compare(hard[name]).is_gt();
        let exceeded: BTreeSet<&String> = requested.keys().filter(|n| is_exceeded(n)).collect();
        if exceeded.is_empty() {
            return Ok(Some(sum));
        }
        let [requested, used, hard] = [&requested, &used, &hard].map(|all| {
            let of_those = all.iter().filter(|(name, _)| exceeded.contains(name));
            amounts::shown(&of_those.map(|(name, amount)| (name.clone(), *amount)).collect())
        });
        Err(format!(
            "exceeded quota: {name}, requested: {requested}, used: {used}, limited: {hard}"
        ))
    }

    /// Of what it claims to give more than it takes: it would make room for others.
    fn negative(&self) -> Option<String> {
        let usage = self.item.usage(self.now);
        let names = usage.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name);
        let names: Vec<_> = names.map(String::as_str).collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// What it uses beyond what was used for it, if that was charged to the same quota. Nothing is given back here.
    fn more(&self, spec: &ResourceQuotaSpec) -> Amounts {
        let mut usage = self.item.usage(self.now);
        let Some(old) = self.old.filter(|old| old.is_in(spec)) else { return usage };
        let before = old.usage(self.now);
        usage.retain(|name, amount| {
            if let Some(before) = before.get(name) {
                *amount = *amount - *before;
            }
            !amount.is_negative()
        });
        usage
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::{Pod, Service};
    use serde_json::{Value, json};

    use super::*;

    fn quota(scopes: &Value, hard: &Value, used: &Value) -> ResourceQuota {
        let quota = json!({
            "metadata": {"name": "q"},
            "spec": {"hard": hard, "scopes": scopes}, "status": {"hard": hard, "used": used},
        });
        serde_json::from_value(quota).unwrap()
    }

    fn check(item: Item<'_>, old: Option<Item<'_>>, quota: &ResourceQuota, expected: &str) {
        let used = Charge { item, old, now: Timestamp::UNIX_EPOCH }.used(quota);
        let shown = match used {
            Ok(used) => used.map_or("as before".to_owned(), |used| amounts::shown(&used)),
            Err(why) => why,
        };
        assert_eq!(shown, expected);
    }

    fn pod(cpu: &str, deadline: &Value) -> Pod {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        let spec = json!({"containers": [container], "activeDeadlineSeconds": deadline});
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    #[test]
    fn a_pod_is_charged_as_long_as_there_is_room() {
        let hard = json!({"pods": "2", "requests.cpu": "1", "secrets": "1"});
        let quota = |used: Value| quota(&Value::Null, &hard, &used);
        let one = pod("600m", &Value::Null);
        let expected = "pods=1,requests.cpu=600m,secrets=5";
        let none = json!({"pods": "0", "requests.cpu": "0", "secrets": "5"});
        check(Item::Pod(&one), None, &quota(none), expected);
        let some = quota(json!({"pods": "1", "requests.cpu": "600m", "secrets": "0"}));
        let expected = "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1";
        check(Item::Pod(&one), None, &some, expected);
        check(
            Item::Pod(&pod("400m", &Value::Null)),
            None,
            &some,
            "pods=2,requests.cpu=1,secrets=0",
        );
        let full = quota(json!({"pods": "2", "requests.cpu": "600m"}));
        let expected = "exceeded quota: q, requested: pods=1,requests.cpu=600m, used: pods=2,requests.cpu=600m, limited: pods=2,requests.cpu=1";
        check(Item::Pod(&one), None, &full, expected);
        let expected = "quota usage is negative for resource(s): cpu,requests.cpu";
        check(Item::Pod(&pod("-1", &Value::Null)), None, &some, expected);
        let silent: Pod =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        let expected = "failed quota: q: must specify requests.cpu for: c";
        check(Item::Pod(&silent), None, &some, expected);
    }

    #[test]
    fn what_was_not_counted_yet_is_refused_and_what_is_not_limited_passes() {
        let new = quota(&Value::Null, &json!({"secrets": "1", "count/secrets": "1"}), &Value::Null);
        let expected = "status unknown for quota: q, resources: count/secrets,secrets";
        check(Item::Other(("", "secrets")), None, &new, expected);
        check(Item::Other(("", "configmaps")), None, &new, "as before");
        let sets = quota(
            &Value::Null,
            &json!({"count/replicasets.apps": "1"}),
            &json!({"count/replicasets.apps": "1"}),
        );
        let expected = "exceeded quota: q, requested: count/replicasets.apps=1, used: count/replicasets.apps=1, limited: count/replicasets.apps=1";
        check(Item::Other(("apps", "replicasets")), None, &sets, expected);
    }

    #[test]
    fn a_change_is_charged_for_what_is_more() {
        let service = |type_: &str, ports: usize| -> Service {
            let ports: Vec<_> = (0..ports).map(|port| json!({"port": port})).collect();
            serde_json::from_value(json!({"spec": {"type": type_, "ports": ports}})).unwrap()
        };
        let hard = json!({"services": "1", "services.nodeports": "2"});
        let used = quota(&Value::Null, &hard, &json!({"services": "1", "services.nodeports": "1"}));
        let (one, two, three) =
            (service("NodePort", 1), service("NodePort", 2), service("NodePort", 3));
        let (item, old) = (Item::Service(&two), Some(Item::Service(&one)));
        check(item, old, &used, "services=1,services.nodeports=2");
        let expected = "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2";
        check(Item::Service(&three), old, &used, expected);
        let inner = service("ClusterIP", 3);
        check(Item::Service(&inner), old, &used, "as before");
    }

    #[test]
    fn a_pod_that_comes_into_a_scope_is_charged_to_it_as_a_whole() {
        let terminating = json!(["Terminating"]);
        let quota = quota(&terminating, &json!({"pods": "1"}), &json!({"pods": "0"}));
        let (endless, ending) = (pod("1", &Value::Null), pod("1", &json!(5)));
        check(Item::Pod(&ending), Some(Item::Pod(&endless)), &quota, "pods=1");
        check(Item::Pod(&endless), Some(Item::Pod(&ending)), &quota, "as before");
        check(Item::Pod(&ending), Some(Item::Pod(&ending)), &quota, "as before");
    }
}
