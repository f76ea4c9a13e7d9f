//! Has requests go by the FlowSchemas and PriorityLevelConfigurations that there are, tells in the schemas' statuses whether
//! their levels are there, and lends seats from time to time (Kubernetes: `util/flowcontrol/apf_controller.go`).

use std::{future::pending, sync::Arc, time::Duration};

use api_machinery::ApiError;
use api_types::{
    api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition},
    jiff::Timestamp,
    meta::Time,
};
use futures::{StreamExt, stream};
use http::Method;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    changes::Changes,
    flow_control::{Limits, Reference},
    internal, objects,
    service::InProcess,
    state::State,
};

const SCHEMAS: &str = "/registry/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";
const PATH: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";

/// How often it is decided who lends seats to whom (Kubernetes: `borrowingAdjustmentPeriod`).
const PERIOD: Duration = Duration::from_secs(10);
/// How many statuses are written at once.
const STATUSES: usize = 16;
const DANGLING: &str = "Dangling";

/// Takes in what the cache has, and tells what there is to tell: a server that has started writes nothing by itself.
pub(crate) async fn begin(state: &State, api: &InProcess) {
    tell(state, api, &configure(state)).await;
}

fn configure(state: &State) -> Vec<Reference> {
    let Limits::Fair(control) = &state.limits else { return Vec::new() };
    let storage = &state.storage;
    control.configure(objects::read_all(storage, LEVELS), objects::read_all(storage, SCHEMAS))
}

/// Goes on with it.
pub(crate) async fn follow(state: Arc<State>, api: InProcess) {
    let Limits::Fair(control) = &state.limits else { return pending().await };
    let mut schemas = Changes::of(&state.storage, SCHEMAS).await;
    let mut levels = Changes::of(&state.storage, LEVELS).await;
    let mut periods = interval_at(Instant::now() + PERIOD, PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_told = tell(&state, &api, &configure(&state)).await;
        loop {
            tokio::select! {
                () = schemas.next(!is_told) => break,
                () = levels.next(false) => break,
                _ = periods.tick() => control.lend(),
            }
        }
    }
}

/// Whether all has been told that there was to tell.
async fn tell(state: &State, api: &InProcess, references: &[Reference]) -> bool {
    let there: Vec<FlowSchema> = objects::read_all(&state.storage, SCHEMAS);
    let changed: Vec<_> = there.into_iter().filter_map(|schema| told(schema, references)).collect();
    let write = |schema| async move {
        let written = write_status(api, &schema).await;
        let written = written.inspect_err(|error| {
            tracing::warn!(%error, "the status of a FlowSchema can't be written yet");
        });
        written.is_ok()
    };
    let written = stream::iter(changed).map(write).buffer_unordered(STATUSES);
    written.fold(true, async |all, is_told| all && is_told).await
}

/// The schema with what is to be told of it; `None` if it has been.
fn told(mut schema: FlowSchema, references: &[Reference]) -> Option<FlowSchema> {
    let name = schema.metadata.name.as_deref().unwrap_or_default();
    let reference = references.iter().find(|it| it.schema == name)?;
    let wanted = condition(reference);
    let conditions = schema.status.get_or_insert_default().conditions.get_or_insert_default();
    let is_it = |it: &&mut FlowSchemaCondition| it.type_.as_deref() == Some(DANGLING);
    match conditions.iter_mut().find(is_it) {
        Some(there) => {
            let same = FlowSchemaCondition {
                last_transition_time: there.last_transition_time.clone(),
                ..wanted.clone()
            };
            if *there == same {
                return None;
            }
            *there = wanted;
        }
        None => conditions.push(wanted),
    }
    Some(schema)
}

fn condition(Reference { level, is_found, .. }: &Reference) -> FlowSchemaCondition {
    let what =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = match is_found {
        true => ("False", "Found", format!("{what} and it exists")),
        false => ("True", "NotFound", format!("{what} but there is no such object")),
    };
    FlowSchemaCondition {
        type_: Some(DANGLING.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(Timestamp::now())),
    }
}

/// Who was faster is heard of.
async fn write_status(api: &InProcess, schema: &FlowSchema) -> Result<(), ApiError> {
    let name = schema.metadata.name.as_deref().unwrap_or_default();
    let path = format!("{PATH}/{name}/status");
    match internal::request(api, Method::PUT, &path, &json!(schema)).await {
        Err(error) if !matches!(error.code(), 404 | 409) => Err(error),
        _ => Ok(()),
    }
}
