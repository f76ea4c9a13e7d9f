//! Hosts and paths that lead to Services.

mod validation;

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::networking::v1::{Ingress, IngressStatus};
use serde_json::json;

use crate::{
    Exists, ResourceDef, Strategy, addresses::warn_of_ip, cells::or_none, resource, rules,
};

/// What said, before there was a field for it, which class an Ingress is of.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// So many hosts are in a table.
const SHOWN: usize = 3;

pub(crate) fn definition() -> ResourceDef {
    resource::<Ingress, _>(IngressStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["ing"])
        .status(|ingress, from| ingress.status.clone_from(&from.status))
        .column("Class", "string", 0, |ingress, _| json!(or_none(class(ingress))))
        .column("Hosts", "string", 0, |ingress, _| json!(hosts(ingress)))
        .column("Address", "string", 0, |ingress, _| json!(addresses(ingress)))
        .column("Ports", "string", 0, |ingress, _| json!(ports(ingress)))
        .build()
}

fn class(ingress: &Ingress) -> &str {
    rules::text(ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref()))
}

/// As Kubernetes counts: a rule without a host is one of those that are not shown, too.
fn hosts(ingress: &Ingress) -> String {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let rules: Vec<_> = rules.map(|rule| rules::text(rule.host.as_ref())).collect();
    let named: Vec<_> =
        rules.iter().copied().enumerate().filter(|(_, it)| !it.is_empty()).collect();
    let shown: Vec<_> = named.iter().take(SHOWN).map(|(_, host)| *host).collect();
    let last = named.get(SHOWN - 1).map_or(rules.len(), |(i, _)| i + 1);
    match shown.is_empty() {
        true => "*".to_owned(),
        false if rules.len() > last => {
            format!("{} + {} more...", shown.join(","), rules.len() - SHOWN)
        }
        false => shown.join(","),
    }
}

fn addresses(ingress: &Ingress) -> String {
    let balancer = ingress.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let points = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let all: BTreeSet<_> =
        points.filter_map(|point| given(&point.ip).or_else(|| given(&point.hostname))).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn ports(ingress: &Ingress) -> &'static str {
    let has_tls = ingress.spec.iter().any(|spec| spec.tls.iter().flatten().next().is_some());
    if has_tls { "80, 443" } else { "80" }
}

struct IngressStrategy;

impl Strategy<Ingress> for IngressStrategy {
    fn prepare_create(&self, ingress: &mut Ingress) {
        ingress.status = Some(IngressStatus { load_balancer: Some(Default::default()) });
    }

    fn validate(&self, ingress: &Ingress, errors: &mut FieldErrors) {
        let spec = ingress.spec.clone().unwrap_or_default();
        validation::spec(&spec, &FieldPath::new("spec"), errors);
    }

    fn validate_create(&self, ingress: &Ingress, errors: &mut FieldErrors) {
        let annotations = ingress.metadata.annotations.as_ref();
        let annotated = annotations.and_then(|all| all.get(CLASS_ANNOTATION));
        let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if let (Some(annotated), Some(class)) = (annotated, class)
            && annotated != class
        {
            let path = FieldPath::new("annotations").child(CLASS_ANNOTATION);
            let why = "must match `ingressClassName` when both are specified";
            errors.invalid(&path, annotated, why);
        }
    }

    fn validate_status(&self, new: &Ingress, _: &Ingress, errors: &mut FieldErrors) {
        if let Some(balancer) = new.status.as_ref().and_then(|it| it.load_balancer.as_ref()) {
            let path = FieldPath::new("status").child("loadBalancer");
            validation::load_balancer(balancer, &path, errors);
        }
    }

    fn warnings(&self, new: &Ingress, old: Option<&Ingress>, _: &Exists<'_>) -> Vec<String> {
        let annotations = new.metadata.annotations.as_ref();
        let is_annotated = annotations.is_some_and(|all| all.contains_key(CLASS_ANNOTATION));
        let class = new.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if old.is_some() || !is_annotated || class.is_some() {
            return Vec::new();
        }
        vec![format!(
            "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
        )]
    }

    fn status_warnings(&self, ingress: &Ingress) -> Vec<String> {
        let path = FieldPath::new("status").child("loadBalancer").child("ingress");
        let balancer = ingress.status.iter().filter_map(|status| status.load_balancer.as_ref());
        let points = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
        let mut warnings = Vec::new();
        for (index, point) in points.enumerate() {
            point.ip.iter().for_each(|ip| warn_of_ip(ip, &path.index(index), &mut warnings));
        }
        warnings
    }
}
