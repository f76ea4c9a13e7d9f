//! The faults of probes and lifecycle hooks (Kubernetes: `validateProbe`, `validateLifecycle`, `validateHandler`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::core::v1::{
        Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, PodSpec, Probe,
        SleepAction, TCPSocketAction,
    },
};

use super::signals;
use crate::rules;

/// The faults of a container's probes and hooks.
pub(super) fn validate_all(
    container: &Container,
    spec: &PodSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        let grace = spec.termination_grace_period_seconds;
        for (field, handler) in
            [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)]
        {
            if let Some(handler) = handler {
                Actions::of_hook(handler).validate(grace, &path.child(field), errors);
            }
        }
        let signal = lifecycle.stop_signal.as_ref();
        signals::validate(signal, spec, &path.child("stopSignal"), errors);
    }
    if let Some(liveness) = &container.liveness_probe {
        succeeding_at_once(liveness, &path.child("livenessProbe"), errors);
    }
    if let Some(readiness) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        probe(readiness, &path, errors);
        if let Some(seconds) = readiness.termination_grace_period_seconds {
            let why = "must not be set for readinessProbes";
            errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, why);
        }
    }
    if let Some(startup) = &container.startup_probe {
        succeeding_at_once(startup, &path.child("startupProbe"), errors);
    }
}

fn probe(probe: &Probe, path: &FieldPath, errors: &mut FieldErrors) {
    Actions::of_probe(probe).validate(None, path, errors);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        rules::not_negative(value, &path.child(field), errors);
    }
    let grace = probe.termination_grace_period_seconds;
    rules::positive(grace, &path.child("terminationGracePeriodSeconds"), errors);
}

/// A container that failed this probe is restarted, so there is nothing to succeed repeatedly.
fn succeeding_at_once(given: &Probe, path: &FieldPath, errors: &mut FieldErrors) {
    probe(given, path, errors);
    if let Some(threshold) = given.success_threshold.filter(|t| *t != 1) {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

/// What a probe or hook does; exactly one of it.
#[derive(Default)]
struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Actions<'a> {
    fn of_probe(probe: &'a Probe) -> Self {
        Self {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            ..Self::default()
        }
    }

    fn of_hook(handler: &'a LifecycleHandler) -> Self {
        Self {
            exec: handler.exec.as_ref(),
            http_get: handler.http_get.as_ref(),
            tcp_socket: handler.tcp_socket.as_ref(),
            sleep: handler.sleep.as_ref(),
            ..Self::default()
        }
    }

    /// The faults of the first, and that there are more or none.
    fn validate(&self, grace: Option<i64>, path: &FieldPath, errors: &mut FieldErrors) {
        let given = [
            ("exec", self.exec.is_some()),
            ("httpGet", self.http_get.is_some()),
            ("tcpSocket", self.tcp_socket.is_some()),
            ("grpc", self.grpc.is_some()),
            ("sleep", self.sleep.is_some()),
        ];
        let mut given = given.iter().filter(|(_, is_set)| *is_set);
        match given.next() {
            None => errors.required(path, "must specify a handler type"),
            Some((field, _)) => self.first(grace, &path.child(field), errors),
        }
        for (field, _) in given {
            errors.forbidden(&path.child(field), "may not specify more than 1 handler type");
        }
    }

    fn first(&self, grace: Option<i64>, path: &FieldPath, errors: &mut FieldErrors) {
        if let Some(exec) = self.exec {
            if exec.command.as_ref().is_none_or(Vec::is_empty) {
                errors.required(&path.child("command"), "");
            }
        } else if let Some(action) = self.http_get {
            http_get(action, path, errors);
        } else if let Some(action) = self.tcp_socket {
            port(&action.port, &path.child("port"), errors);
        } else if let Some(action) = self.grpc {
            rules::port(action.port, &path.child("port"), errors);
        } else if let (Some(action), Some(grace)) = (self.sleep, grace)
            && !(0..=grace).contains(&action.seconds)
        {
            let why = format!(
                "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            );
            errors.invalid(path, action.seconds, &why);
        }
    }
}

fn http_get(action: &HTTPGetAction, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(rules::text(action.path.as_ref()), &path.child("path"), errors);
    port(&action.port, &path.child("port"), errors);
    let scheme = action.scheme.as_ref();
    rules::supported(scheme, &["HTTP", "HTTPS"], &path.child("scheme"), errors);
    for header in action.http_headers.iter().flatten() {
        let path = path.child("httpHeaders");
        rules::follows(&header.name, names::http_header_name, &path, errors);
    }
}

fn port(port: &IntOrString, path: &FieldPath, errors: &mut FieldErrors) {
    match port {
        IntOrString::Int(number) => rules::port(*number, path, errors),
        IntOrString::String(name) => rules::follows(name, names::port_name, path, errors),
    }
}
