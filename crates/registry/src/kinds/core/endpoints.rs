//! A Service's addresses, in the old form.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints};
use serde_json::json;

use crate::{Exists, ResourceDef, Strategy, addresses::warn_of_ip, cells, resource, rules};

/// Who made them, if that is a controller, which gives addresses the form that they should have.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

pub(crate) fn definition() -> ResourceDef {
    resource::<Endpoints, _>(EndpointsStrategy)
        .created_by_put()
        .short_names(&["ep"])
        .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        .column("Endpoints", "string", 0, |endpoints, _| json!(shown(endpoints)))
        .build()
}

fn shown(endpoints: &Endpoints) -> String {
    match endpoints.subsets.as_deref() {
        None | Some([]) => cells::NONE.to_owned(),
        Some(subsets) => {
            cells::first_three(&subsets.iter().flat_map(subset_addresses).collect::<Vec<_>>())
        }
    }
}

/// Each address with each port; the address alone where there are no ports.
fn subset_addresses(subset: &EndpointSubset) -> Vec<String> {
    let ips = || subset.addresses.iter().flatten().map(|a| a.ip.as_str());
    match subset.ports.as_deref() {
        None | Some([]) => ips().map(str::to_owned).collect(),
        Some(ports) => {
            ports.iter().flat_map(|p| ips().map(move |ip| host_port(ip, p.port))).collect()
        }
    }
}

fn host_port(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

struct EndpointsStrategy;

impl Strategy<Endpoints> for EndpointsStrategy {
    fn default(&self, endpoints: &mut Endpoints) {
        for subset in endpoints.subsets.iter_mut().flatten() {
            for port in subset.ports.iter_mut().flatten() {
                port.protocol.get_or_insert_with(|| "TCP".to_owned());
            }
        }
    }

    fn validate(&self, endpoints: &Endpoints, errors: &mut FieldErrors) {
        for (i, subset) in endpoints.subsets.iter().flatten().enumerate() {
            validate_subset(subset, &FieldPath::new("subsets").index(i), errors);
        }
    }

    fn warnings(&self, new: &Endpoints, _: Option<&Endpoints>, _: &Exists<'_>) -> Vec<String> {
        let (mut warnings, labels) = (Vec::new(), new.metadata.labels.as_ref());
        if labels.and_then(|all| all.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1) {
            return warnings;
        }
        for (index, subset) in new.subsets.iter().flatten().enumerate() {
            let path = FieldPath::new("subsets").index(index);
            for (field, list) in addresses(subset) {
                for (index, address) in list.iter().flatten().enumerate() {
                    let path = path.child(field).index(index).child("ip");
                    warn_of_ip(&address.ip, &path, &mut warnings);
                }
            }
        }
        warnings
    }
}

fn addresses(subset: &EndpointSubset) -> [(&'static str, &Option<Vec<EndpointAddress>>); 2] {
    [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
}

fn validate_subset(subset: &EndpointSubset, path: &FieldPath, errors: &mut FieldErrors) {
    let lists = addresses(subset);
    if lists.iter().all(|(_, list)| list.as_ref().is_none_or(Vec::is_empty)) {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for (field, list) in lists {
        for (i, address) in list.iter().flatten().enumerate() {
            let path = path.child(field).index(i).child("ip");
            rules::ip(&address.ip, &path, errors);
            rules::endpoint_ip_of_cluster(&address.ip, &path, errors);
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (i, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(i);
        if ports.len() > 1 && rules::text(port.name.as_ref()).is_empty() {
            errors.required(&path.child("name"), "");
        }
        rules::port(port.port, &path.child("port"), errors);
        rules::one_of(
            port.protocol.as_ref(),
            &["SCTP", "TCP", "UDP"],
            &path.child("protocol"),
            errors,
        );
    }
}
