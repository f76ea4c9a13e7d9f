//! Signals that end a container (Kubernetes: `validateStopSignal`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::PodSpec;

use crate::rules;

/// In the order in which Kubernetes tells them.
#[rustfmt::skip]
const OF_LINUX: [&str; 65] = [
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
    "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT",
    "SIGRTMAX", "SIGRTMAX-1", "SIGRTMAX-10", "SIGRTMAX-11", "SIGRTMAX-12", "SIGRTMAX-13", "SIGRTMAX-14", "SIGRTMAX-2",
    "SIGRTMAX-3", "SIGRTMAX-4", "SIGRTMAX-5", "SIGRTMAX-6", "SIGRTMAX-7", "SIGRTMAX-8", "SIGRTMAX-9",
    "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15",
    "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4", "SIGRTMIN+5", "SIGRTMIN+6", "SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9",
    "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG",
    "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ",
];
const OF_WINDOWS: [&str; 2] = ["SIGKILL", "SIGTERM"];

pub(super) fn validate(
    signal: Option<&String>,
    spec: &PodSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    match spec.os.as_ref().map(|os| os.name.as_str()) {
        _ if signal.is_none() => {}
        None => {
            errors.forbidden(path, "may not be set for containers with empty `spec.os.name`");
        }
        Some("linux") => rules::supported(signal, &OF_LINUX, path, errors),
        Some("windows") => rules::supported(signal, &OF_WINDOWS, path, errors),
        Some(_) => {}
    }
}
