//! What an event must be like (Kubernetes: `pkg/apis/core/validation/events.go`), in this group's words: `events.k8s.io`, too,
//! is told of faults in them.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{Event, EventSeries, ObjectReference};

use crate::rules::{immutable, named, text};

const ELSEWHERE: &str = "does not match event.namespace";

/// The faults of an event of either group. Those that tell when they were are held to more. `reporter`: the name of the
/// field that says who tells it.
pub(crate) fn event(event: &Event, reporter: &str, errors: &mut FieldErrors) {
    let involved = text(event.involved_object.namespace.as_ref());
    let own = text(event.metadata.namespace.as_ref());
    let is_new = event.event_time.is_some();
    let of_cluster = own == "default" || (is_new && own == "kube-system");
    let fits = if involved.is_empty() { of_cluster } else { is_new || involved == own };
    if !fits {
        let path = FieldPath::new("involvedObject").child("namespace");
        errors.invalid(&path, involved, ELSEWHERE);
    }
    if is_new {
        told(event, reporter, errors);
    }
}

fn told(event: &Event, reporter: &str, errors: &mut FieldErrors) {
    let component = text(event.reporting_component.as_ref());
    named(component, names::qualified_name, &FieldPath::new(reporter), errors);
    for (field, value, most) in [
        ("reportingInstance", &event.reporting_instance, 128),
        ("action", &event.action, 128),
        ("reason", &event.reason, 128),
    ] {
        let (path, value) = (FieldPath::new(field), text(value.as_ref()));
        if value.is_empty() {
            errors.required(&path, "");
        }
        not_longer(value, most, &path, errors);
    }
    not_longer(text(event.message.as_ref()), 1024, &FieldPath::new("message"), errors);
}

fn not_longer(value: &str, most: usize, path: &FieldPath, errors: &mut FieldErrors) {
    if value.len() > most {
        errors.invalid(path, "", &format!("can have at most {most} characters"));
    }
}

/// What a new event of `events.k8s.io` must say and must not say.
pub(crate) fn strict(event: &Event, errors: &mut FieldErrors) {
    series(event.series.as_ref(), errors);
    if event.event_time.is_none() {
        errors.required(&FieldPath::new("eventTime"), "");
    }
    let type_ = text(event.type_.as_ref());
    if !["Normal", "Warning"].contains(&type_) {
        let why = format!("has invalid value: {type_}");
        errors.invalid(&FieldPath::new("type"), "", &why);
    }
    let source = event.source.as_ref();
    let has_source =
        source.is_some_and(|source| source.component.is_some() || source.host.is_some());
    for (field, is_set) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.is_some_and(|count| count != 0)),
        ("source", has_source),
    ] {
        if is_set {
            errors.invalid(&FieldPath::new(field), "", "needs to be unset");
        }
    }
}

/// What may change of an event of `events.k8s.io`: its series alone.
pub(crate) fn strict_update(new: &Event, old: &Event, errors: &mut FieldErrors) {
    if new.series != old.series {
        series(new.series.as_ref(), errors);
    }
    let mut keep = |field: &str, is_same: bool, shown: &dyn std::fmt::Debug| {
        immutable(&is_same, &true, shown, &FieldPath::new(field), errors);
    };
    let texts = [
        ("reason", &new.reason, &old.reason),
        ("message", &new.message, &old.message),
        ("type", &new.type_, &old.type_),
        ("action", &new.action, &old.action),
        ("reportingController", &new.reporting_component, &old.reporting_component),
        ("reportingInstance", &new.reporting_instance, &old.reporting_instance),
    ];
    for (field, new, old) in texts {
        keep(field, text(new.as_ref()) == text(old.as_ref()), &text(new.as_ref()));
    }
    let times = [
        ("firstTimestamp", &new.first_timestamp, &old.first_timestamp),
        ("lastTimestamp", &new.last_timestamp, &old.last_timestamp),
    ];
    for (field, new, old) in times {
        keep(field, new == old, &new.as_ref().map(|time| time.0.to_string()).unwrap_or_default());
    }
    let micros = |event: &Event| event.event_time.as_ref().map(|time| time.0.as_microsecond());
    let shown = new.event_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    keep("eventTime", micros(new) == micros(old), &shown);
    keep("count", new.count == old.count, &new.count.unwrap_or_default());
    let component = |event: &Event| event.source.as_ref().and_then(|it| it.component.clone());
    keep("source", new.source == old.source, &component(new).unwrap_or_default());
    let shown = |object: Option<&ObjectReference>| {
        let part = |part: fn(&ObjectReference) -> Option<&String>| text(object.and_then(part));
        format!("{}/{}", part(|it| it.kind.as_ref()), part(|it| it.name.as_ref()))
    };
    let (object, before) = (&new.involved_object, &old.involved_object);
    keep("involvedObject", object == before, &shown(Some(object)));
    keep("related", new.related == old.related, &shown(new.related.as_ref()));
}

fn series(series: Option<&EventSeries>, errors: &mut FieldErrors) {
    let Some(series) = series else { return };
    if series.count.unwrap_or_default() < 2 {
        errors.invalid(&FieldPath::new("series.count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&FieldPath::new("series.lastObservedTime"), "");
    }
}
