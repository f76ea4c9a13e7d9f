//! `kubectl top pods`.

use std::time::Duration;

use api_machinery::duration;
use api_types::jiff::Timestamp;
use clap::Args;
use serde_json::Value;

use super::{
    amounts::{Amounts, layout},
    order::Order,
    source::metrics,
};
use crate::{Failure, api::Call, commands::choice, object, session::Session};

const COLUMNS: [&str; 3] = ["NAME", "CPU(cores)", "MEMORY(bytes)"];
/// How old a pod is, in seconds, of which figures are missed.
const DELAY: u64 = 120;

#[derive(Args, Debug)]
pub(super) struct Pods {
    /// The pod [default: all of the namespace]
    name: Option<String>,
    /// Only pods with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Only pods with these fields
    #[arg(long, default_value = "")]
    field_selector: String,
    #[command(flatten)]
    order: Order,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// A line for each container
    #[arg(long)]
    containers: bool,
    /// Without the header line
    #[arg(long)]
    no_headers: bool,
    /// A last line with the sum
    #[arg(long)]
    sum: bool,
}

impl Pods {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.order.check()?;
        let selects = !self.selector.is_empty() || !self.field_selector.is_empty();
        if self.name.is_some() && selects {
            return Err(Failure::message("only one of NAME or selector can be provided"));
        }
        choice::label_selector(&self.selector)?;
        let namespace = session.namespace().await?;
        let within = if self.all_namespaces { "" } else { &*format!("/namespaces/{namespace}") };
        let call = match &self.name {
            Some(name) => Call::get(format!("/apis/metrics.k8s.io/v1beta1{within}/pods/{name}")),
            None => self.selected(format!("/apis/metrics.k8s.io/v1beta1{within}/pods")),
        };
        let mut used = metrics(session, call).await?;
        if used.is_empty() {
            return self.explain(session, &namespace).await;
        }
        self.sort(&mut used);
        Ok(session.io.raw(layout(&self.lines(&used)).as_bytes())?)
    }

    fn selected(&self, collection: String) -> Call {
        Call::get(collection)
            .query("labelSelector", &self.selector)
            .query("fieldSelector", &self.field_selector)
    }

    /// There are no pods, or no figures of those there are.
    async fn explain(&self, session: &Session, namespace: &str) -> Result<(), Failure> {
        let call = self.selected(format!("/api/v1/namespaces/{namespace}/pods"));
        let pods = object::items(session.api().await?.call(call).await?);
        if let Some(missed) = pods.iter().find_map(missed) {
            return Err(Failure::message(missed));
        }
        if !pods.is_empty() {
            return Err(Failure::message("metrics not available yet"));
        }
        if self.all_namespaces {
            session.io.note("No resources found");
        } else {
            session.io.note(format_args!("No resources found in {namespace} namespace."));
        }
        Ok(())
    }

    fn sort(&self, pods: &mut [Value]) {
        let name = |pod: &Value| {
            let namespace = object::namespace(pod).unwrap_or_default();
            format!("{namespace}/{}", object::name(pod))
        };
        self.order.sort(pods, name, Amounts::of_metrics);
        for pod in pods {
            if let Some(containers) = pod["containers"].as_array_mut() {
                let name = |container: &Value| object::text(container, "/name").to_owned();
                self.order.sort(containers, name, |container| Amounts::of(&container["usage"]));
            }
        }
    }

    fn lines(&self, pods: &[Value]) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let (namespace, pod) = (self.all_namespaces, self.containers);
        if !self.no_headers {
            let first = [namespace.then_some("NAMESPACE"), pod.then_some("POD")];
            lines.push(first.into_iter().flatten().chain(COLUMNS).map(str::to_owned).collect());
        }
        for pod in pods {
            if self.containers {
                let containers = object::list(pod, "/containers").iter();
                lines.extend(containers.map(|container| self.container(pod, container)));
            } else {
                lines.push(self.line(pod, &[object::name(pod)], Amounts::of_metrics(pod)));
            }
        }
        if self.sum {
            let sum = pods.iter().map(Amounts::of_metrics).fold(Amounts::default(), |a, b| a + b);
            // As in stock, the columns that have no header are not counted.
            let width = lines.first().filter(|_| !self.no_headers).map_or(COLUMNS.len(), Vec::len);
            let mut rule = vec![String::new(); width];
            rule[width - 2..].fill("________".to_owned());
            let mut last = vec![String::new(); width - 2];
            last.extend(sum.texts());
            lines.extend([rule, last]);
        }
        lines
    }

    fn container(&self, pod: &Value, container: &Value) -> Vec<String> {
        let names = [object::name(pod), object::text(container, "/name")];
        self.line(pod, &names, Amounts::of(&container["usage"]))
    }

    fn line(&self, pod: &Value, names: &[&str], used: Amounts) -> Vec<String> {
        let namespace = object::namespace(pod).filter(|_| self.all_namespaces);
        let words = namespace.into_iter().chain(names.iter().copied()).map(str::to_owned);
        words.chain(used.texts()).collect()
    }
}

/// That a pod is old enough to have figures.
fn missed(pod: &Value) -> Option<String> {
    let created: Timestamp = object::text(pod, "/metadata/creationTimestamp").parse().ok()?;
    let age = Duration::try_from(Timestamp::now().duration_since(created)).ok()?;
    let (namespace, name) = (object::namespace(pod).unwrap_or_default(), object::name(pod));
    let age = Some(age).filter(|age| age.as_secs() >= DELAY).map(duration::format)?;
    Some(format!("Metrics not available for pod {namespace}/{name}, age: {age}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::missed;

    #[test]
    fn figures_of_a_pod_that_was_made_just_now_are_not_missed() {
        let said = |created: &str| {
            missed(
                &json!({"metadata": {"name": "a", "namespace": "b", "creationTimestamp": created}}),
            )
        };
        let old = said("2020-01-01T00:00:00Z").unwrap();
        assert!(old.starts_with("Metrics not available for pod b/a, age: ") && old.ends_with('s'));
        assert_eq!(said("2999-01-01T00:00:00Z"), None);
    }
}
