//! What is told of an autoscaler.

use api_types::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus, MetricStatus,
};
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use super::decision::Told;

/// Sets conditions one after another; the time is that of a change of the status.
pub(super) fn tell(status: &mut HorizontalPodAutoscalerStatus, told: &[Told], now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    for told in told {
        let known = conditions.iter().position(|known| known.type_ == told.type_);
        let at = known.unwrap_or_else(|| {
            conditions.push(HorizontalPodAutoscalerCondition::default());
            conditions.len() - 1
        });
        let is_so = if told.is_so { "True" } else { "False" };
        let changed = conditions[at].status != is_so;
        let since = conditions[at].last_transition_time.take().filter(|_| !changed);
        conditions[at] = HorizontalPodAutoscalerCondition {
            last_transition_time: Some(since.unwrap_or(Time(now))),
            message: Some(told.message.clone()),
            reason: Some(told.reason.clone()),
            status: is_so.to_owned(),
            type_: told.type_.to_owned(),
        };
    }
}

/// What was found and what is wanted now.
pub(super) fn count(
    status: &mut HorizontalPodAutoscalerStatus,
    current: i32,
    metrics: Vec<MetricStatus>,
    desired: Option<i32>,
) {
    status.current_replicas = Some(current);
    status.current_metrics = Some(metrics).filter(|metrics| !metrics.is_empty());
    status.desired_replicas = desired.unwrap_or(status.desired_replicas);
}
