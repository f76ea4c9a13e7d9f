//! What is told of the ports of all containers together.

use std::collections::BTreeMap;

use api_machinery::FieldPath;
use api_types::api::core::v1::{ContainerPort, PodSpec};

use super::containers;
use crate::{
    rules::text,
    warnings::{MOST, tell},
};

/// Adds what is told of them.
pub(super) fn of_all(spec: &PodSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let mut ports: Vec<(FieldPath, &ContainerPort)> = Vec::new();
    for (path, container) in containers::all(spec, path) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            ports.push((path.child("ports").index(index), port));
        }
    }
    for (index, (path, port)) in ports.iter().enumerate() {
        if !host_ip(port).is_empty() && host_port(port) == 0 {
            tell(path, format_args!("hostIP set without hostPort: {}", shown(port)), warnings);
        }
        for (other_path, other) in &ports[..index] {
            if warnings.len() < MOST
                && let Some(how) = clash(port, other)
            {
                tell(path, format_args!("{how} port definition with {other_path}"), warnings);
            }
        }
    }
    names(&ports, warnings);
}

fn names(ports: &[(FieldPath, &ContainerPort)], warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, &FieldPath> = BTreeMap::new();
    for (path, port) in ports {
        let name = text(port.name.as_ref());
        if name.is_empty() {
            continue;
        }
        let first = *seen.entry(name).or_insert(path);
        if first != path {
            let what = format!(
                "duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}"
            );
            tell(path, what, warnings);
        }
    }
}

/// How a port gets into the way of another one.
fn clash(port: &ContainerPort, other: &ContainerPort) -> Option<&'static str> {
    if (port.container_port, &port.protocol) != (other.container_port, &other.protocol) {
        return None;
    }
    let is_same_host_port = host_port(port) == host_port(other);
    if is_same_host_port && host_ip(port) == host_ip(other) {
        Some("duplicate")
    } else if host_port(port) == 0 || host_port(other) == 0 {
        Some("overlapping")
    } else if is_same_host_port && host_ip(port).is_empty() != host_ip(other).is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

fn host_ip(port: &ContainerPort) -> &str {
    text(port.host_ip.as_ref())
}

fn host_port(port: &ContainerPort) -> i32 {
    port.host_port.unwrap_or(0)
}

/// As Go shows it.
fn shown(port: &ContainerPort) -> String {
    format!(
        "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
        text(port.name.as_ref()),
        host_port(port),
        port.container_port,
        text(port.protocol.as_ref()),
        host_ip(port)
    )
}
