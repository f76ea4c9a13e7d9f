//! A virtual address for a set of pods. The addresses themselves are given by the server's admission, which knows which are
//! free, and which families the cluster has ([`complete_families`]).

mod cluster_ips;
mod columns;
mod exposure;
mod families;
mod session_affinity;
mod transition;
mod types;
mod validation;
mod warnings;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::core::v1::{Service, ServicePort, ServiceStatus},
};
use serde_json::json;

use self::{
    columns::spec_text,
    types::{is_balanced, is_reached_from_outside},
};
use crate::{Exists, NameRule, ResourceDef, Strategy, Subresource, cells, resource, rules::text};

pub use self::{
    families::{ClusterFamilies, complete as complete_families},
    transition::{create, update},
    types::{allocates_node_ports, has_health_check, has_node_ports},
};

pub(crate) fn definition() -> ResourceDef {
    resource::<Service, _>(ServiceStrategy)
        .created_by_put()
        .short_names(&["svc"])
        .categories(&["all"])
        .shown_when_deleted()
        .status(|service, from| service.status.clone_from(&from.status))
        .subresource(Subresource::Proxy)
        .column("Type", "string", 0, |service, _| json!(spec_text(service, |s| s.type_.as_ref())))
        .column("Cluster-IP", "string", 0, |service, _| json!(columns::cluster_ip(service)))
        .column("External-IP", "string", 0, |service, _| json!(columns::external_ip(service)))
        .column("Port(s)", "string", 0, |service, _| json!(columns::ports(service)))
        .age()
        .column("Selector", "string", 1, |service, _| {
            json!(cells::labels(service.spec.as_ref().and_then(|s| s.selector.as_ref())))
        })
        .build()
}

struct ServiceStrategy;

impl Strategy<Service> for ServiceStrategy {
    fn name_rule(&self) -> NameRule {
        names::dns1123_label
    }

    fn default(&self, service: &mut Service) {
        let spec = service.spec.get_or_insert_default();
        set(&mut spec.type_, "ClusterIP");
        set(&mut spec.session_affinity, "None");
        session_affinity::default(spec);
        spec.ports.iter_mut().flatten().for_each(default_port);
        let type_ = text(spec.type_.as_ref()).to_owned();
        if type_ != "ExternalName" {
            set(&mut spec.internal_traffic_policy, "Cluster");
        }
        if is_reached_from_outside(spec) {
            set(&mut spec.external_traffic_policy, "Cluster");
        }
        if is_balanced(spec) {
            spec.allocate_load_balancer_node_ports.get_or_insert(true);
        }
    }

    fn prepare_create(&self, service: &mut Service) {
        service.status = Some(ServiceStatus::default());
        if let Some(spec) = &mut service.spec {
            transition::create(spec);
        }
    }

    fn prepare_update(&self, new: &mut Service, old: &Service) {
        let (Some(spec), Some(old)) = (&mut new.spec, &old.spec) else { return };
        transition::update(spec, old);
        // Whoever takes the load balancer away may need a while; nobody is to be led there any more.
        if !is_balanced(spec) {
            new.status.iter_mut().for_each(|status| status.load_balancer = None);
        }
    }

    fn validate(&self, service: &Service, errors: &mut FieldErrors) {
        if let Some(spec) = &service.spec {
            let path = FieldPath::new("spec");
            validation::spec(spec, &path, errors);
            exposure::spec(service, spec, &path, errors);
        }
    }

    fn validate_update(&self, new: &Service, old: &Service, errors: &mut FieldErrors) {
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            cluster_ips::update(new, old, &FieldPath::new("spec"), errors);
            exposure::update(new, old, &FieldPath::new("spec"), errors);
        }
    }

    fn lasting(&self, _: &Service, old: &Service) -> FieldErrors {
        self.faults(old)
    }

    fn prepare_status_update(&self, new: &mut Service, _: &Service) {
        if new.spec.as_ref().is_some_and(is_balanced) {
            new.status.iter_mut().for_each(default_ip_modes);
        }
    }

    fn validate_status(&self, new: &Service, _: &Service, errors: &mut FieldErrors) {
        exposure::status(new, errors);
    }

    fn warnings(&self, new: &Service, _: Option<&Service>, _: &Exists<'_>) -> Vec<String> {
        warnings::of(new)
    }

    fn status_warnings(&self, service: &Service) -> Vec<String> {
        service.status.as_ref().map(warnings::of_status).unwrap_or_default()
    }

    fn fields(&self, service: &Service) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", spec_text(service, |s| s.cluster_ip.as_ref()).to_owned()),
            ("spec.type", spec_text(service, |s| s.type_.as_ref()).to_owned()),
        ]
    }
}

fn set(field: &mut Option<String>, default: &str) {
    if text(field.as_ref()).is_empty() {
        *field = Some(default.to_owned());
    }
}

/// Absent means that packets come as they are.
fn default_ip_modes(status: &mut ServiceStatus) {
    let balancer = status.load_balancer.as_mut().and_then(|it| it.ingress.as_mut());
    for ingress in balancer.into_iter().flatten().filter(|it| !text(it.ip.as_ref()).is_empty()) {
        set(&mut ingress.ip_mode, "VIP");
    }
}

fn default_port(port: &mut ServicePort) {
    set(&mut port.protocol, "TCP");
    let is_set = match &port.target_port {
        None | Some(IntOrString::Int(0)) => false,
        Some(IntOrString::String(name)) => !name.is_empty(),
        Some(IntOrString::Int(_)) => true,
    };
    if !is_set {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}
