//! Where the Slurm cluster is said to be.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::minik8s::GpuJobCluster;

use super::paths;
use crate::rules;

pub(super) fn validate(cluster: &GpuJobCluster, path: &FieldPath, errors: &mut FieldErrors) {
    let GpuJobCluster { config_map_ref, host, port, host_key, known_hosts, directory } = cluster;
    if let Some(map) = config_map_ref {
        let path = path.child("configMapRef").child("name");
        rules::named(&map.name, names::dns1123_subdomain, &path, errors);
    }
    if let Some(host) = host {
        validate_host(host, &path.child("host"), errors);
    }
    if let Some(port) = *port {
        rules::port(port, &path.child("port"), errors);
    }
    for (field, text, rule, why) in [
        ("hostKey", host_key, is_host_key as fn(&str) -> bool, HOST_KEY),
        ("knownHosts", known_hosts, is_known_hosts, KNOWN_HOSTS),
    ] {
        if let Some(text) = text.as_deref().filter(|text| !rule(text)) {
            errors.invalid(&path.child(field), text, why);
        }
    }
    if let Some(directory) = directory {
        paths::absolute(directory, &path.child("directory"), errors);
    }
}

const HOST: &str = "must be a DNS name or a valid IP address";
const HOST_KEY: &str = "must be a fingerprint or a public key, (e.g. 'SHA256:…' as `ssh-keygen -l` prints it, or 'ssh-ed25519 AAAA…' as \
                        `ssh-keyscan` does)";
const KNOWN_HOSTS: &str =
    "must be lines of OpenSSH's known_hosts, (e.g. 'login.example.org ssh-ed25519 AAAA…')";

/// DNS' names are the same whatever their case.
fn validate_host(host: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if host.is_empty() {
        errors.required(path, "");
    } else if host.parse::<std::net::IpAddr>().is_err()
        && !names::dns1123_subdomain(&host.to_ascii_lowercase()).is_empty()
    {
        errors.invalid(path, host, HOST);
    }
}

/// 32 bytes in base64, of which OpenSSH writes no padding.
fn is_host_key(text: &str) -> bool {
    match text.trim_end().strip_prefix("SHA256:") {
        Some(digest) => digest.trim_end_matches('=').len() == 43 && is_base64(digest),
        None => is_public_key(text.trim_end()),
    }
}

/// A type, the key, and maybe a comment.
fn is_public_key(text: &str) -> bool {
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    let (Some(kind), Some(key)) = (words.next(), words.next()) else { return false };
    let is_kind = |c: char| c.is_ascii_alphanumeric() || "-.@".contains(c);
    !text.contains(char::is_control)
        && kind.chars().all(is_kind)
        && kind.contains('-')
        && key.starts_with("AAAA")
        && is_base64(key)
}

fn is_known_hosts(text: &str) -> bool {
    let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let is_entry = |line: &str| {
        let line = line.replace('\t', " ");
        let entry = match line.strip_prefix('@') {
            Some(marked) => marked.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
            None => &line,
        };
        entry.split_once(' ').is_some_and(|(_, key)| is_public_key(key.trim()))
    };
    lines().next().is_some() && lines().all(is_entry)
}

fn is_base64(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
}
