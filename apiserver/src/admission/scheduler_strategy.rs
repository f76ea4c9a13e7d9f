//! The ConfigMap that tells the schedulers how to choose names a strategy that there is. They would keep theirs otherwise,
//! and whoever wrote it would have to look for their event.

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{
    Resource,
    api::core::v1::ConfigMap,
    minik8s::{
        SCHEDULER_CONFIG_NAME, SCHEDULER_CONFIG_NAMESPACE, SCHEDULING_STRATEGIES, STRATEGY_KEY,
    },
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Plugin};

/// See the module.
#[derive(Debug)]
pub(super) struct SchedulerStrategy;

#[async_trait]
impl Plugin for SchedulerStrategy {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let at = attributes.at;
        let is_it = attributes.is_core("configmaps")
            && (at.namespace, at.name) == (Some(SCHEDULER_CONFIG_NAMESPACE), SCHEDULER_CONFIG_NAME);
        let Some(strategy) = object.filter(|_| is_it).and_then(strategy) else { return Ok(()) };
        if SCHEDULING_STRATEGIES.contains(&strategy.trim()) {
            return Ok(());
        }
        let mut errors = FieldErrors::default();
        let field = FieldPath::new("data").key(STRATEGY_KEY);
        errors.not_supported(&field, strategy, &SCHEDULING_STRATEGIES);
        Err(ApiError::invalid(ConfigMap::GROUP, ConfigMap::KIND, at.name, &errors))
    }
}

fn strategy(object: &AnyObject) -> Option<&str> {
    object.get::<ConfigMap>()?.data.as_ref()?.get(STRATEGY_KEY).map(String::as_str)
}
