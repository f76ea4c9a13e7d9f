//! `/containerLogs/{namespace}/{pod}/{container}`: the output of a container, now or as it comes.

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;

use super::{refusal::Refusal, shared::Shared};
use crate::{
    runtime::{Container, LogOptions, RuntimeError, observed::Observed},
    spec,
};

/// The query, with the names and meanings of Kubernetes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LogQuery {
    follow: Option<bool>,
    previous: Option<bool>,
    timestamps: Option<bool>,
    tail_lines: Option<u64>,
    limit_bytes: Option<usize>,
    since_seconds: Option<i64>,
    since_time: Option<String>,
}

impl LogQuery {
    fn options(&self, now: Timestamp) -> Result<LogOptions, Refusal> {
        let since_time = match &self.since_time {
            Some(text) => Some(text.parse().map_err(|_| {
                Refusal(StatusCode::BAD_REQUEST, format!("sinceTime: invalid value {text:?}"))
            })?),
            None => None,
        };
        let before = |seconds: i64| {
            let second = now.as_second().checked_sub(seconds)?;
            Timestamp::from_second(second).ok()
        };
        Ok(LogOptions {
            follow: self.follow.unwrap_or_default(),
            tail: self.tail_lines,
            since: since_time.or(self.since_seconds.and_then(before)),
            timestamps: self.timestamps.unwrap_or_default(),
        })
    }
}

pub(super) async fn serve(
    State(shared): State<Shared>,
    Path((namespace, name, container)): Path<(String, String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refusal> {
    let not_found = || Refusal(StatusCode::NOT_FOUND, format!("pod {name:?} not found"));
    let pod = shared.pods.find(&namespace, &name).ok_or_else(not_found)?;
    let options = query.options(Timestamp::now())?;
    let observed = shared.observed(&pod).await?;
    let chosen = choose(&pod, &observed, &container, query.previous.unwrap_or_default())?;
    let output = shared.runtime.logs(&chosen.id, &options);
    let body = Body::from_stream(limited(output, query.limit_bytes));
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

/// The container whose log is meant.
fn choose<'a>(
    pod: &Pod,
    observed: &'a Observed,
    name: &str,
    previous: bool,
) -> Result<&'a Container, Refusal> {
    let pod_name = spec::identity(pod).name;
    let refuse = |message| Refusal(StatusCode::BAD_REQUEST, message);
    if spec::container(pod, name).is_none() {
        return Err(refuse(format!("container {name} is not valid for pod {pod_name}")));
    }
    let latest = observed.latest(name);
    if previous {
        // A container that waits for its restart is itself the previous one.
        let waits = latest.is_some_and(|latest| latest.exit().is_some()) && restarts(pod, name);
        let chosen = if waits { latest } else { observed.previous(name) };
        return chosen.ok_or_else(|| {
            refuse(format!("previous terminated container {name:?} in pod {pod_name:?} not found"))
        });
    }
    latest.ok_or_else(|| {
        let reason = waiting_reason(pod, name);
        refuse(format!("container {name:?} in pod {pod_name:?} is waiting to start: {reason}"))
    })
}

/// Whether the status says that the container waits to be started again.
fn restarts(pod: &Pod, name: &str) -> bool {
    !waiting_reason(pod, name).is_empty()
}

fn waiting_reason(pod: &Pod, name: &str) -> String {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let status = statuses.unwrap_or_default().iter().find(|status| status.name == name);
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
    waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_default()
}

/// Cuts the stream off after so many bytes.
fn limited(
    output: BoxStream<'static, Result<Bytes, RuntimeError>>,
    limit: Option<usize>,
) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
    let Some(limit) = limit else { return output };
    let cut = output.scan(limit, |left, part| {
        let part = (*left > 0).then(|| part.map(|bytes| bytes.slice(..bytes.len().min(*left))));
        *left -= part.as_ref().map_or(0, |part| part.as_ref().map_or(0, Bytes::len));
        futures::future::ready(part)
    });
    cut.boxed()
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn limit_bytes_cuts_in_the_middle() {
        let parts = [Ok(Bytes::from("hello ")), Ok(Bytes::from("world")), Ok(Bytes::from("!"))];
        let cut = limited(stream::iter(parts).boxed(), Some(8));
        let parts: Vec<Bytes> = cut.try_collect().await.unwrap();
        assert_eq!(parts.concat(), b"hello wo");
    }

    #[test]
    fn a_time_beyond_all_times_is_none() {
        let since_seconds = Some(i64::MIN);
        let query = LogQuery { since_seconds, ..LogQuery::default() };
        assert_eq!(query.options(Timestamp::now()).unwrap().since, None);
    }

    #[test]
    fn a_wrong_time_is_refused() {
        let query = LogQuery { since_time: Some("yesterday".into()), ..LogQuery::default() };
        assert!(query.options(Timestamp::UNIX_EPOCH).is_err());
    }
}
