//! What happened to an object. Events are kept in this group; `events.k8s.io` shows the same ones in its own words.

pub(crate) mod validation;

use std::borrow::Cow;

use api_machinery::{FieldErrors, table::age};
use api_types::{
    api::core::v1::{Event, ObjectReference},
    jiff::Timestamp,
};
use serde_json::json;

use crate::{Builder, KnownScope, Object, ResourceDef, Strategy, resource, rules::text};

pub(crate) fn definition() -> ResourceDef {
    with_columns(resource::<Event, _>(EventStrategy).created_by_put(), as_it_is).build()
}

fn as_it_is(event: &Event) -> Cow<'_, Event> {
    Cow::Borrowed(event)
}

/// What every group shows of an event; `of` gives the event as this one has it.
pub(crate) fn with_columns<K, S>(
    builder: Builder<K, S>,
    of: for<'a> fn(&'a K) -> Cow<'a, Event>,
) -> Builder<K, S>
where
    K: Object,
    K::Scope: KnownScope,
    S: Strategy<K>,
{
    builder
        .short_names(&["ev"])
        .only_own_columns()
        .column("Last Seen", "string", 0, move |it, now| json!(age(last_seen(&of(it)), now)))
        .column("Type", "string", 0, move |it, _| json!(text(of(it).type_.as_ref())))
        .column("Reason", "string", 0, move |it, _| json!(text(of(it).reason.as_ref())))
        .column("Object", "string", 0, move |it, _| json!(object(&of(it).involved_object)))
        .column("Subobject", "string", 1, move |it, _| {
            json!(text(of(it).involved_object.field_path.as_ref()))
        })
        .column("Source", "string", 1, move |it, _| json!(source(&of(it))))
        .column("Message", "string", 0, move |it, _| json!(text(of(it).message.as_ref()).trim()))
        .column("First Seen", "string", 1, move |it, now| json!(age(first_seen(&of(it)), now)))
        .column("Count", "integer", 1, move |it, _| json!(count(&of(it))))
        .column("Name", "string", 1, |it, _| json!(it.metadata().name))
}

fn first_seen(event: &Event) -> Option<Timestamp> {
    let first = event.first_timestamp.as_ref().map(|t| t.0);
    first.or_else(|| event.event_time.as_ref().map(|t| t.0))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref()).map(|t| t.0);
    let last = event.last_timestamp.as_ref().map(|t| t.0);
    series.or(last).or_else(|| first_seen(event))
}

fn count(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|s| s.count);
    series.or(event.count).unwrap_or(0).max(1)
}

/// `pod/web-1`.
fn object(reference: &ObjectReference) -> String {
    let (kind, name) =
        (text(reference.kind.as_ref()).to_lowercase(), text(reference.name.as_ref()));
    if name.is_empty() { kind } else { format!("{kind}/{name}") }
}

/// `kubelet, node-1`.
fn source(event: &Event) -> String {
    let source = event.source.as_ref();
    let old = [source.and_then(|s| s.component.as_ref()), source.and_then(|s| s.host.as_ref())];
    let new = [event.reporting_component.as_ref(), event.reporting_instance.as_ref()];
    let parts = if text(old[0]).is_empty() { new } else { old };
    let parts: Vec<_> = parts.into_iter().map(text).filter(|t| !t.is_empty()).collect();
    parts.join(", ")
}

struct EventStrategy;

impl Strategy<Event> for EventStrategy {
    fn validate(&self, event: &Event, errors: &mut FieldErrors) {
        validation::event(event, "reportingComponent", errors);
    }

    fn fields(&self, event: &Event) -> Vec<(&'static str, String)> {
        let object = &event.involved_object;
        let source = event.source.as_ref().and_then(|s| s.component.as_ref());
        let given = |value: Option<&String>| text(value).to_owned();
        vec![
            ("involvedObject.kind", given(object.kind.as_ref())),
            ("involvedObject.namespace", given(object.namespace.as_ref())),
            ("involvedObject.name", given(object.name.as_ref())),
            ("involvedObject.uid", given(object.uid.as_ref())),
            ("involvedObject.apiVersion", given(object.api_version.as_ref())),
            ("involvedObject.resourceVersion", given(object.resource_version.as_ref())),
            ("involvedObject.fieldPath", given(object.field_path.as_ref())),
            ("reason", given(event.reason.as_ref())),
            ("reportingComponent", given(event.reporting_component.as_ref())),
            ("source", given(source.or(event.reporting_component.as_ref()))),
            ("type", given(event.type_.as_ref())),
        ]
    }
}
