//! A virtual address for a set of pods. The address itself is given by the server's admission, which
//! knows which are free.

mod columns;
mod session_affinity;
mod transition;
mod validation;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    IntOrString,
    api::core::v1::{Service, ServicePort, ServiceStatus},
};
use serde_json::json;

use self::columns::spec_text;
use crate::{NameRule, ResourceDef, Strategy, Subresource, cells, resource, rules::text};

pub(crate) fn definition() -> ResourceDef {
    resource::<Service, _>(ServiceStrategy)
        .short_names(&["svc"])
        .categories(&["all"])
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
        names::dns1035_label
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
            set(&mut spec.ip_family_policy, "SingleStack");
            spec.ip_families.get_or_insert_with(|| vec!["IPv4".to_owned()]);
        }
        if matches!(type_.as_str(), "NodePort" | "LoadBalancer") {
            set(&mut spec.external_traffic_policy, "Cluster");
        }
    }

    fn prepare_create(&self, service: &mut Service) {
        service.status = Some(ServiceStatus::default());
        if let Some(spec) = &mut service.spec {
            transition::complete(spec);
        }
    }

    fn prepare_update(&self, new: &mut Service, old: &Service) {
        if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
            transition::update(new, old);
        }
    }

    fn validate(&self, service: &Service, errors: &mut FieldErrors) {
        if let Some(spec) = &service.spec {
            validation::spec(spec, &FieldPath::new("spec"), errors);
        }
    }

    fn validate_update(&self, new: &Service, old: &Service, errors: &mut FieldErrors) {
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            validation::update(new, old, &FieldPath::new("spec"), errors);
        }
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
