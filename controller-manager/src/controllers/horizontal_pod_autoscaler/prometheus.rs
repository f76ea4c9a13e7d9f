//! Metrics that Kubernetes knows nothing of, by queries to a Prometheus. They are kept by the metric's name in one
//! ConfigMap, `kube-system/horizontal-pod-autoscaler-queries`. In a query `$namespace` stands for the autoscaler's
//! namespace, `$object` for the name of the described object, and `$labels` for matchers as the metric's selector has them.
//! For a Pods metric it gives a series for each pod, with the label `pod`; for the others all series are summed up.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::api::autoscaling::v2::{MetricIdentifier, MetricSpec};
use api_types::api::core::v1::ConfigMap;
use api_types::jiff::Timestamp;
use api_types::meta::LabelSelector;
use kube::{Api, Client};
use serde::Deserialize;
use tokio::time::Instant;

use super::failures::Failures;
use super::figures::{Figures, Known, Sample};
use crate::frame::reason;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "horizontal-pod-autoscaler-queries";
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What has failed if no query can be asked.
const EVERYTHING: &str = "";
/// A query gives no window; Kubernetes takes this one for such metrics.
const WINDOW: Duration = Duration::from_secs(60);

pub(super) struct Prometheus {
    client: Client,
    http: reqwest::Client,
    url: Option<String>,
    failures: Failures,
}

/// The queries by the metrics' names, or why they are not known.
pub(super) type Queries = Result<BTreeMap<String, String>, String>;

#[derive(Deserialize)]
struct Answer {
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    String(serde::de::IgnoredAny),
    Matrix(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    pub(super) fn new(client: Client, url: Option<String>) -> Self {
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).build();
        Self { client, http: http.unwrap_or_default(), url, failures: Failures::default() }
    }

    pub(super) async fn queries(&self) -> Queries {
        if self.url.is_none() {
            return Err("the controller-manager has no --prometheus-url".to_owned());
        }
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), NAMESPACE);
        let queries = api.get_opt(NAME).await.map_err(|error| reason(&error))?;
        Ok(queries.and_then(|queries| queries.data).unwrap_or_default())
    }

    /// Of a metric that is not about resources.
    pub(super) async fn figures(
        &self,
        queries: &Queries,
        namespace: &str,
        spec: &MetricSpec,
    ) -> Figures {
        let (api, known) = match spec {
            MetricSpec { pods: Some(it), .. } => {
                let asked = self.ask(queries, namespace, "", &it.metric).await;
                ("custom", asked.and_then(|series| of_pods(&series)))
            }
            MetricSpec { object: Some(it), .. } => {
                let asked =
                    self.ask(queries, namespace, &it.described_object.name, &it.metric).await;
                ("custom", asked.and_then(|series| total(&series)))
            }
            MetricSpec { external: Some(it), .. } => {
                let asked = self.ask(queries, namespace, "", &it.metric).await;
                ("external", asked.and_then(|series| total(&series)))
            }
            other => return Err(format!("unknown metric source type {:?}", other.type_)),
        };
        known.map_err(|error| format!("unable to fetch metrics from {api} metrics API: {error}"))
    }

    async fn ask(
        &self,
        queries: &Queries,
        namespace: &str,
        object: &str,
        metric: &MetricIdentifier,
    ) -> Result<Vec<Series>, String> {
        let query = queries.as_ref().map_err(Clone::clone)?.get(&metric.name).ok_or_else(|| {
            format!("ConfigMap {NAMESPACE}/{NAME} has no query for {}", metric.name)
        })?;
        let labels = metric.selector.as_ref().map(matchers).unwrap_or_default();
        let query = query
            .replace("$namespace", &escaped(namespace))
            .replace("$object", &escaped(object))
            .replace("$labels", &labels);
        match self.answer(&query).await? {
            Answer { error: Some(error), .. } => Err(format!("Prometheus has answered: {error}")),
            Answer { data: Some(Data::Vector(series)), .. } => Ok(series),
            Answer { data: Some(Data::Scalar(value)), .. } => {
                Ok(vec![Series { metric: BTreeMap::new(), value }])
            }
            _ => Err(format!("the query of the metric {} gives no numbers", metric.name)),
        }
    }

    async fn answer(&self, query: &str) -> Result<Answer, String> {
        let recent = |what| self.failures.of(Instant::now(), what);
        if let Some(why) = recent(EVERYTHING).or_else(|| recent(query)) {
            return Err(why);
        }
        let url = self.url.as_deref().unwrap_or_default().trim_end_matches('/');
        let request = self.http.get(format!("{url}/api/v1/query")).query(&[("query", query)]);
        let failed = |error: reqwest::Error| {
            let what = if error.is_connect() { EVERYTHING } else { query };
            let why = chain(&error);
            if error.is_connect() || error.is_timeout() {
                self.failures.remember(Instant::now(), what, &why);
            }
            why
        };
        let answer = request.timeout(TIMEOUT).send().await.map_err(failed)?;
        let status = answer.status();
        let answer = answer.json().await.map_err(failed);
        answer.map_err(|why| format!("Prometheus has answered {status}: {why}"))
    }
}

/// The whole chain of what went wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A selector in Prometheus' words: `a="b",c=~"d|e"`.
fn matchers(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| format!("{}=\"{}\"", label(key), escaped(value)));
    let others = selector.match_expressions.iter().flatten().map(|it| {
        let values = it.values.iter().flatten().map(|value| literally(value));
        let values = escaped(&values.collect::<Vec<_>>().join("|"));
        let key = label(&it.key);
        match it.operator.as_str() {
            "In" => format!("{key}=~\"{values}\""),
            "NotIn" => format!("{key}!~\"{values}\""),
            "Exists" => format!("{key}!=\"\""),
            _ => format!("{key}=\"\""),
        }
    });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

/// As Prometheus calls it.
fn label(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// As a regular expression that matches nothing else.
fn literally(value: &str) -> String {
    let is_special = |c: char| r"\.+*?()|[]{}^$".contains(c);
    value.chars().flat_map(|c| is_special(c).then_some('\\').into_iter().chain([c])).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// In thousandths; what is no number is not known.
#[allow(clippy::cast_possible_truncation, reason = "what is too large is as large as can be")]
fn milli((_, text): &(f64, String)) -> Option<i64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    Some((value * 1000.0).round() as i64)
}

fn of_pods(series: &[Series]) -> Figures {
    let sample = |series: &Series| {
        let (pod, value) = (series.metric.get("pod")?.clone(), milli(&series.value)?);
        let time = Duration::try_from_secs_f64(series.value.0).ok()?;
        let timestamp = Timestamp::UNIX_EPOCH.checked_add(time).ok()?;
        Some((pod, Sample { value, timestamp, window: WINDOW }))
    };
    let samples: BTreeMap<_, _> = series.iter().filter_map(sample).collect();
    if samples.is_empty() {
        return Err("the query gives no series with a label pod".to_owned());
    }
    Ok(Known::Pods(samples))
}

/// A part that is not known leaves the total unknown: it would be too low.
fn total(series: &[Series]) -> Figures {
    if series.is_empty() {
        return Err("the query gives no value".to_owned());
    }
    let values: Option<Vec<_>> = series.iter().map(|series| milli(&series.value)).collect();
    let values = values.ok_or("the query gives a value that is no number")?;
    Ok(Known::Value(values.into_iter().fold(0, i64::saturating_add)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_becomes_matchers() {
        let selector = json!({"matchLabels": {"app.kubernetes.io/name": "a\"b"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["x", "v1.2|y"]}, {"key": "old", "operator": "DoesNotExist"}]});
        let selector = serde_json::from_value(selector).unwrap();
        let expected = r#"app_kubernetes_io_name="a\"b",tier=~"x|v1\\.2\\|y",old="""#;
        assert_eq!(matchers(&selector), expected);
    }

    #[test]
    fn what_is_no_number_is_not_known() {
        let series = |pod: &str, value: &str| Series {
            metric: [("pod".to_owned(), pod.to_owned())].into(),
            value: (1.0, value.to_owned()),
        };
        let all = [series("a", "0.5"), series("b", "NaN"), series("c", "2")];
        assert!(total(&all).is_err(), "it would be too low without the second one");
        assert!(total(&[series("a", "1"), series("b", "+Inf")]).is_err());
        assert_eq!(total(&[series("a", "0.5"), series("c", "2")]), Ok(Known::Value(2500)));
        let Ok(Known::Pods(pods)) = of_pods(&all) else { panic!("no pods") };
        let values: Vec<_> = pods.iter().map(|(pod, it)| (pod.as_str(), it.value)).collect();
        assert_eq!(values, [("a", 500), ("c", 2000)]);
        assert!(total(&[series("b", "NaN")]).is_err());
        assert!(of_pods(&[]).is_err());
    }
}
