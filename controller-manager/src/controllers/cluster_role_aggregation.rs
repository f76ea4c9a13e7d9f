//! Gives a ClusterRole with an `aggregationRule` the rules of those that it selects
//! (Kubernetes: `pkg/controller/clusterroleaggregation`).

use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};

pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Registered {
    let (queue, roles) = (Arc::new(WorkQueue::default()), Arc::new(Informer::default()));
    let (wanted, known) = (queue.clone(), Arc::downgrade(&roles));
    // A role may be selected by any other, also by the labels that it had.
    roles.on_change(move |_: &Change<ClusterRole>| {
        let Some(known) = known.upgrade() else { return };
        let aggregated = known.list().into_iter().filter(|role| role.aggregation_rule.is_some());
        aggregated.for_each(|role| wanted.add(ObjectKey::of(&role.metadata)));
    });
    let (client, followed) = (context.client(), roles.clone());
    tasks.spawn(async move {
        let all = watcher(Api::<ClusterRole>::all(client), watcher::Config::default());
        followed.follow(all.default_backoff()).await;
    });
    let controller = Aggregation { client: context.client(), roles: roles.clone() };
    Registered::new(controller, queue).reads(&*roles)
}

struct Aggregation {
    client: Client,
    roles: Arc<Informer<ClusterRole>>,
}

#[async_trait::async_trait]
impl Controller for Aggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(role) = self.roles.get(key) else { return Ok(Next::Change) };
        let Some(rules) = aggregated(&role, &self.roles.list()) else { return Ok(Next::Change) };
        if role.rules.as_deref().unwrap_or_default() != rules {
            let wanted = ClusterRole { rules: Some(rules), ..(*role).clone() };
            let api = Api::<ClusterRole>::all(self.client.clone());
            let replaced = api.replace(&key.name, &PostParams::default(), &wanted).await;
            replaced.unless_gone("aggregating a cluster role")?;
        }
        Ok(Next::Change)
    }
}

/// The rules of the roles that this one selects, by their names, each once; `None` if it selects none.
fn aggregated(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref();
    let selectors: Vec<_> =
        selectors.unwrap_or_default().iter().map(LabelSelector::try_from).collect();
    let is_selected = |other: &ClusterRole| {
        let labels = other.metadata.labels.clone().unwrap_or_default();
        let matches = |selector: &LabelSelector| selector.matches(&labels);
        other.metadata.name != role.metadata.name && selectors.iter().flatten().any(matches)
    };
    let mut selected: Vec<_> = all.iter().filter(|other| is_selected(other)).collect();
    selected.sort_by_key(|other| other.metadata.name.clone());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for rule in selected.into_iter().flat_map(|other| other.rules.iter().flatten()) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Arc<ClusterRole> {
        let rule = |verb: &&str| json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
        let rules: Vec<Value> = verbs.iter().map(rule).collect();
        let metadata = json!({"name": name, "labels": {"to": label}});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "rules": rules})).unwrap())
    }

    #[test]
    fn a_role_has_each_rule_of_those_that_it_selects_once() {
        let selector = json!({"clusterRoleSelectors": [{"matchLabels": {"to": "a"}}, {"matchLabels": {"to": "b"}}]});
        let object = json!({"metadata": {"name": "sum", "labels": {"to": "a"}}, "aggregationRule": selector});
        let sum: ClusterRole = serde_json::from_value(object).unwrap();
        let all = [
            role("y", "a", &["list", "get"]),
            role("x", "b", &["get"]),
            role("z", "c", &["delete"]),
            Arc::new(sum.clone()),
        ];
        let rules = aggregated(&sum, &all).unwrap();
        let verbs: Vec<_> = rules.iter().map(|rule| rule.verbs[0].as_str()).collect();
        assert_eq!(verbs, ["get", "list"]);
        assert_eq!(aggregated(&all[0], &all), None);
    }
}
