//! Events in this group's words. They are those of the core group, where they are kept (Kubernetes:
//! `pkg/apis/events/v1/conversion.go`); what is written here is held to more.

use std::borrow::Cow;

use api_machinery::{ApiError, FieldErrors};
use api_types::api::{core, events::v1::Event};
use serde_json::Value;

use crate::{
    Conversion, ResourceDef, Strategy,
    kinds::core::event::{validation, with_columns},
    resource,
    rules::text,
};

/// What the fields are called that have another name in the core group.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

pub(crate) fn definition() -> ResourceDef {
    let builder = resource::<Event, _>(EventStrategy)
        .created_by_put()
        .converted(Renamed)
        .kept_at("core/events");
    with_columns(builder, |event| Cow::Owned(of_core(event))).build()
}

#[derive(Debug)]
struct Renamed;

impl Conversion for Renamed {
    fn to_served(&self, mut object: Value) -> Result<Value, ApiError> {
        NAMES.iter().for_each(|(here, there)| rename(&mut object, there, here));
        Ok(object)
    }

    fn to_stored(&self, mut object: Value) -> Result<Value, ApiError> {
        NAMES.iter().for_each(|(here, there)| rename(&mut object, here, there));
        Ok(object)
    }
}

fn rename(object: &mut Value, from: &str, to: &str) {
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// The event as the core group has it: field by field, as a table asks for it for each of its cells.
fn of_core(event: &Event) -> core::v1::Event {
    let event = event.clone();
    core::v1::Event {
        action: event.action,
        count: event.deprecated_count,
        event_time: event.event_time,
        first_timestamp: event.deprecated_first_timestamp,
        involved_object: event.regarding.unwrap_or_default(),
        last_timestamp: event.deprecated_last_timestamp,
        message: event.note,
        metadata: event.metadata,
        reason: event.reason,
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| core::v1::EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
        source: event.deprecated_source,
        type_: event.type_,
    }
}

struct EventStrategy;

impl Strategy<Event> for EventStrategy {
    fn validate(&self, event: &Event, errors: &mut FieldErrors) {
        validation::event(&of_core(event), "reportingController", errors);
    }

    fn validate_create(&self, event: &Event, errors: &mut FieldErrors) {
        validation::strict(&of_core(event), errors);
    }

    fn validate_update(&self, new: &Event, old: &Event, errors: &mut FieldErrors) {
        validation::strict_update(&of_core(new), &of_core(old), errors);
    }

    fn fields(&self, event: &Event) -> Vec<(&'static str, String)> {
        let object = event.regarding.clone().unwrap_or_default();
        let given = |value: Option<&String>| text(value).to_owned();
        vec![
            ("regarding.kind", given(object.kind.as_ref())),
            ("regarding.namespace", given(object.namespace.as_ref())),
            ("regarding.name", given(object.name.as_ref())),
            ("regarding.uid", given(object.uid.as_ref())),
            ("regarding.apiVersion", given(object.api_version.as_ref())),
            ("regarding.resourceVersion", given(object.resource_version.as_ref())),
            ("regarding.fieldPath", given(object.field_path.as_ref())),
            ("reason", given(event.reason.as_ref())),
            ("reportingController", given(event.reporting_controller.as_ref())),
            ("type", given(event.type_.as_ref())),
        ]
    }
}
