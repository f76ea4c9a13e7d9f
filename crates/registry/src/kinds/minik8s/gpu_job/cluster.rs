//! Where the Slurm cluster is said to be.

use api_machinery::{FieldErrors, FieldPath, login_node, names};
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
        let path = path.child("host");
        match login_node::host(host) {
            _ if host.is_empty() => errors.required(&path, ""),
            Some(why) => errors.invalid(&path, host, why),
            None => {}
        }
    }
    if let Some(port) = *port {
        rules::port(port, &path.child("port"), errors);
    }
    for (field, text, fault) in [
        ("hostKey", host_key, login_node::host_key as fn(&str) -> Option<&'static str>),
        ("knownHosts", known_hosts, login_node::known_hosts),
    ] {
        let Some(text) = text else { continue };
        if let Some(why) = fault(text) {
            errors.invalid(&path.child(field), text, why);
        }
    }
    if let Some(directory) = directory {
        paths::absolute(directory, &path.child("directory"), errors);
    }
}
