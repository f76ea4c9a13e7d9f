//! The faults of probes and lifecycle hooks.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::core::v1::{
        Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
    },
};

use crate::rules;

/// The faults of a container's probes and hooks.
pub(super) fn validate_all(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        hook(lifecycle.post_start.as_ref(), &path.child("postStart"), errors);
        hook(lifecycle.pre_stop.as_ref(), &path.child("preStop"), errors);
    }
    if let Some(liveness) = &container.liveness_probe {
        let path = path.child("livenessProbe");
        probe(liveness, &path, errors);
        succeeds_at_once(liveness, &path, errors);
    }
    if let Some(readiness) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        probe(readiness, &path, errors);
        if readiness.termination_grace_period_seconds.is_some() {
            let why = "must not be set for readinessProbes";
            errors.invalid(
                &path.child("terminationGracePeriodSeconds"),
                readiness.termination_grace_period_seconds.unwrap_or(0),
                why,
            );
        }
    }
    if let Some(startup) = &container.startup_probe {
        let path = path.child("startupProbe");
        probe(startup, &path, errors);
        succeeds_at_once(startup, &path, errors);
    }
}

fn probe(probe: &Probe, path: &FieldPath, errors: &mut FieldErrors) {
    let actions = Actions {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        other: probe.grpc.is_some(),
    };
    actions.validate(path, errors);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        rules::not_negative(value, &path.child(field), errors);
    }
}

/// A container that failed this probe is restarted, so there is nothing to succeed repeatedly.
fn succeeds_at_once(probe: &Probe, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(threshold) = probe.success_threshold.filter(|t| *t != 1) {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

fn hook(handler: Option<&LifecycleHandler>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(handler) = handler else { return };
    let actions = Actions {
        exec: handler.exec.as_ref(),
        http_get: handler.http_get.as_ref(),
        tcp_socket: handler.tcp_socket.as_ref(),
        other: handler.sleep.is_some(),
    };
    actions.validate(path, errors);
}

/// What a probe or hook does; exactly one of it.
struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    other: bool,
}

impl Actions<'_> {
    fn validate(&self, path: &FieldPath, errors: &mut FieldErrors) {
        if let Some(exec) = self.exec
            && exec.command.as_ref().is_none_or(Vec::is_empty)
        {
            errors.required(&path.child("exec").child("command"), "");
        }
        if let Some(action) = self.http_get {
            http_get(action, &path.child("httpGet"), errors);
        }
        if let Some(action) = self.tcp_socket {
            port(&action.port, &path.child("tcpSocket").child("port"), errors);
        }
        self.exactly_one(path, errors);
    }

    fn exactly_one(&self, path: &FieldPath, errors: &mut FieldErrors) {
        let given = [
            ("exec", self.exec.is_some()),
            ("httpGet", self.http_get.is_some()),
            ("tcpSocket", self.tcp_socket.is_some()),
        ];
        let mut given = given.iter().filter(|(_, is_set)| *is_set);
        let first = given.next();
        if first.is_none() && !self.other {
            errors.required(path, "must specify a handler type");
        }
        for (field, _) in given {
            errors.forbidden(&path.child(field), "may not specify more than 1 handler type");
        }
    }
}

fn http_get(action: &HTTPGetAction, path: &FieldPath, errors: &mut FieldErrors) {
    port(&action.port, &path.child("port"), errors);
    rules::one_of(action.scheme.as_ref(), &["HTTP", "HTTPS"], &path.child("scheme"), errors);
}

fn port(port: &IntOrString, path: &FieldPath, errors: &mut FieldErrors) {
    match port {
        IntOrString::Int(number) => rules::port(*number, path, errors),
        IntOrString::String(name) => rules::follows(name, names::port_name, path, errors),
    }
}
