//! A part of a Service's addresses.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy, addresses::warn_of_ip, cells, resource, rules, warnings::tell,
};

/// Who made it. These controllers give addresses the form that they should have.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const UNSET: &str = "<unset>";

pub(crate) fn definition() -> ResourceDef {
    resource::<EndpointSlice, _>(EndpointSliceStrategy)
        .generation(is_another)
        .column("AddressType", "string", 0, |slice, _| json!(slice.address_type))
        .column("Ports", "string", 0, |slice, _| json!(ports(slice)))
        .column("Endpoints", "string", 0, |slice, _| json!(endpoints(slice)))
        .build()
}

/// All but metadata, and labels.
fn is_another(new: &EndpointSlice, old: &EndpointSlice) -> bool {
    new.address_type != old.address_type
        || new.endpoints != old.endpoints
        || new.ports != old.ports
        || new.metadata.labels != old.metadata.labels
}

fn ports(slice: &EndpointSlice) -> String {
    let number = |p: &EndpointPort| p.port.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let all: Vec<String> = slice.ports.iter().flatten().map(number).collect();
    if all.is_empty() { UNSET.to_owned() } else { cells::first_three(&all) }
}

fn endpoints(slice: &EndpointSlice) -> String {
    let all: Vec<String> =
        slice.endpoints.iter().flatten().flat_map(|e| e.addresses.clone()).collect();
    if all.is_empty() { UNSET.to_owned() } else { cells::first_three(&all) }
}

struct EndpointSliceStrategy;

impl Strategy<EndpointSlice> for EndpointSliceStrategy {
    fn default(&self, slice: &mut EndpointSlice) {
        for port in slice.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(&self, slice: &EndpointSlice, errors: &mut FieldErrors) {
        let path = FieldPath::new("addressType");
        if slice.address_type.is_empty() {
            errors.required(&path, "");
        }
        rules::one_of(Some(&slice.address_type), &["FQDN", "IPv4", "IPv6"], &path, errors);
        let path = FieldPath::new("endpoints");
        let all = slice.endpoints.as_deref().unwrap_or_default();
        if all.len() > MAX_ENDPOINTS {
            errors.too_many(&path, all.len(), MAX_ENDPOINTS);
        }
        for (i, endpoint) in all.iter().enumerate() {
            validate_endpoint(endpoint, &slice.address_type, &path.index(i), errors);
        }
        for (i, port) in slice.ports.iter().flatten().enumerate() {
            let path = FieldPath::new("ports").index(i).child("protocol");
            rules::one_of(port.protocol.as_ref(), &["SCTP", "TCP", "UDP"], &path, errors);
        }
    }

    fn validate_update(&self, new: &EndpointSlice, old: &EndpointSlice, errors: &mut FieldErrors) {
        let path = FieldPath::new("addressType");
        rules::immutable(&new.address_type, &old.address_type, &new.address_type, &path, errors);
    }

    fn warnings(
        &self,
        new: &EndpointSlice,
        old: Option<&EndpointSlice>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && new.address_type == "FQDN" {
            // So Kubernetes calls it.
            let path = FieldPath::new("spec").child("addressType");
            tell(&path, "FQDN endpoints are deprecated", &mut warnings);
        }
        let by = new.metadata.labels.as_ref().and_then(|all| all.get(MANAGED_BY));
        if by.is_none_or(|by| !CONTROLLERS.contains(&by.as_str())) {
            warn_of_addresses(new.endpoints.as_deref().unwrap_or_default(), &mut warnings);
        }
        warnings
    }
}

fn warn_of_addresses(endpoints: &[Endpoint], warnings: &mut Vec<String>) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = FieldPath::new("endpoints").index(index).child("addresses");
        for (index, address) in endpoint.addresses.iter().enumerate() {
            warn_of_ip(address, &path.index(index), warnings);
        }
    }
}

fn validate_endpoint(endpoint: &Endpoint, type_: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("addresses");
    if endpoint.addresses.is_empty() {
        errors.required(&path, "must contain at least 1 address");
    }
    if endpoint.addresses.len() > MAX_ADDRESSES {
        errors.too_many(&path, endpoint.addresses.len(), MAX_ADDRESSES);
    }
    for (i, address) in endpoint.addresses.iter().enumerate() {
        let path = path.index(i);
        match type_ {
            "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
                errors.invalid(&path, address, "must be a valid IPv4 address");
            }
            "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
                errors.invalid(&path, address, "must be a valid IPv6 address");
            }
            "IPv4" | "IPv6" => rules::endpoint_ip_of_cluster(address, &path, errors),
            _ => {}
        }
    }
}
