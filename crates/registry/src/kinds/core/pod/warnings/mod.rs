//! What is told of pods that are taken, and of templates of pods (Kubernetes: `pkg/api/pod/warnings.go`).

mod containers;
mod paths;
mod ports;
mod profiles;

use std::collections::BTreeSet;

use api_machinery::FieldPath;
use api_types::{
    api::core::v1::{
        Affinity, NodeAffinity, Pod, PodAffinityTerm, PodSpec, PodStatus, PodTemplateSpec, Volume,
        WeightedPodAffinityTerm,
    },
    meta::LabelSelector,
};

use self::{containers::BYTES, profiles::Subject};
use super::volume::sources;
use crate::{
    addresses::warn_of_ip,
    kinds::{
        core::{persistent_volume_claim as claim, volume_plugins},
        node_labels,
    },
    warnings::{annotations, fraction, host_name, tell},
};

const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// What is told of a new pod. Changes of pods are nothing that people do, and often done.
pub(super) fn of_new(pod: &Pod) -> Vec<String> {
    let mut warnings = Vec::new();
    host_name(&pod.metadata, "the Pod's hostname", &mut warnings);
    if let Some(spec) = &pod.spec {
        let annotations = pod.metadata.annotations.as_ref();
        Subject { spec, annotations, path: FieldPath::default() }.all(&mut warnings);
    }
    warnings
}

/// Adds what is told of a template.
pub(crate) fn template(template: &PodTemplateSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    if let Some(spec) = &template.spec {
        let annotations = template.metadata.as_ref().and_then(|it| it.annotations.as_ref());
        Subject { spec, annotations, path: path.clone() }.all(warnings);
    }
}

/// What is told of the addresses in a pod's status.
pub(super) fn of_status(status: &PodStatus) -> Vec<String> {
    let (mut warnings, path) = (Vec::new(), FieldPath::new("status"));
    let pod_ips = status.pod_ips.iter().flatten().map(|it| ("podIPs", &it.ip));
    let host_ips = status.host_ips.iter().flatten().map(|it| ("hostIPs", &it.ip));
    for (index, (field, ip)) in pod_ips.enumerate().chain(host_ips.enumerate()) {
        warn_of_ip(ip, &path.child(field).index(index).child("ip"), &mut warnings);
    }
    warnings
}

impl Subject<'_> {
    /// In the order of Kubernetes.
    fn all(&self, warnings: &mut Vec<String>) {
        let (spec, path) = (self.spec, self.path.child("spec"));
        nodes(spec, &path, warnings);
        annotations(self.annotations, &OLD_ANNOTATIONS, &self.path, warnings);
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        for (index, volume) in volumes.iter().enumerate() {
            self::volume(volume, &path.child("volumes").index(index), warnings);
        }
        volumes.iter().for_each(|volume| paths::overlaps(volume, warnings));
        lists(spec, &path, warnings);
        for name in BYTES {
            fraction(spec.overhead.as_ref(), name, &path.child("overhead"), warnings);
        }
        self.seccomp(warnings);
        for (path, container) in containers::all(spec, &path) {
            self.profiles(container, warnings);
            containers::own(container, &path, warnings);
        }
        ports::of_all(spec, &path, warnings);
        if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            let what = "must be >= 0; negative values are invalid and will be treated as 1";
            tell(&path.child("terminationGracePeriodSeconds"), what, warnings);
        }
        if let Some(affinity) = &spec.affinity {
            pod_affinity(affinity, &path.child("affinity"), warnings);
        }
        addresses(spec, &path, warnings);
    }
}

fn nodes(spec: &PodSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    for (key, _) in spec.node_selector.iter().flatten() {
        if let Some(why) = node_labels::deprecation(key) {
            tell(&path.child("nodeSelector").key(key), why, warnings);
        }
    }
    if let Some(affinity) = spec.affinity.as_ref().and_then(|it| it.node_affinity.as_ref()) {
        node_affinity(affinity, &path.child("affinity.nodeAffinity"), warnings);
    }
    for (index, spread) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.child("topologySpreadConstraints").index(index);
        node_labels::key(&spread.topology_key, &path.child("topologyKey"), warnings);
        selects(spread.label_selector.as_ref(), &path, warnings);
    }
}

fn node_affinity(affinity: &NodeAffinity, path: &FieldPath, warnings: &mut Vec<String>) {
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref();
    let at = path.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    for (index, term) in required.iter().flat_map(|it| &it.node_selector_terms).enumerate() {
        node_labels::term(term, &at.index(index), warnings);
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.as_ref();
    let at = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in preferred.into_iter().flatten().enumerate() {
        let path = at.index(index).child("preference");
        node_labels::preference(&term.preference, &path, warnings);
    }
}

fn selects(selector: Option<&LabelSelector>, path: &FieldPath, warnings: &mut Vec<String>) {
    if selector.is_none() {
        let what = "a null labelSelector results in matching no pod";
        tell(&path.child("labelSelector"), what, warnings);
    }
}

fn pod_affinity(affinity: &Affinity, path: &FieldPath, warnings: &mut Vec<String>) {
    if let Some(near) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        required(&near.required_during_scheduling_ignored_during_execution, &path, warnings);
        preferred(&near.preferred_during_scheduling_ignored_during_execution, &path, warnings);
    }
    if let Some(far) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        required(&far.required_during_scheduling_ignored_during_execution, &path, warnings);
        preferred(&far.preferred_during_scheduling_ignored_during_execution, &path, warnings);
    }
}

fn required(terms: &Option<Vec<PodAffinityTerm>>, path: &FieldPath, warnings: &mut Vec<String>) {
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in terms.iter().flatten().enumerate() {
        selects(term.label_selector.as_ref(), &path.index(index), warnings);
    }
}

fn preferred(
    terms: &Option<Vec<WeightedPodAffinityTerm>>,
    path: &FieldPath,
    warnings: &mut Vec<String>,
) {
    let path = path.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in terms.iter().flatten().enumerate() {
        let path = path.index(index).child("podAffinityTerm");
        selects(term.pod_affinity_term.label_selector.as_ref(), &path, warnings);
    }
}

fn volume(volume: &Volume, path: &FieldPath, warnings: &mut Vec<String>) {
    for source in sources(volume) {
        volume_plugins::source(&source, path, warnings);
    }
    let template = volume.ephemeral.as_ref().and_then(|it| it.volume_claim_template.as_ref());
    if let Some(template) = template {
        let path = path.child("ephemeral.volumeClaimTemplate.spec");
        claim::fractions(&template.spec, &path, warnings);
    }
}

/// Entries that are in their list twice, which an apply would make one of, and secrets without a name.
fn lists(spec: &PodSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let aliases = spec.host_aliases.iter().flatten().map(|alias| alias.ip.as_str());
    duplicates(aliases, "ip", &path.child("hostAliases"), warnings);
    let (path, secrets) = (path.child("imagePullSecrets"), spec.image_pull_secrets.iter());
    let names = || secrets.clone().flatten().map(|secret| secret.name.as_str());
    duplicates(names(), "name", &path, warnings);
    for (index, name) in names().enumerate().filter(|(_, name)| name.is_empty()) {
        let what = format!("invalid empty name {name:?}");
        tell(&path.index(index).child("name"), what, warnings);
    }
}

fn duplicates<'a>(
    values: impl Iterator<Item = &'a str>,
    field: &str,
    path: &FieldPath,
    warnings: &mut Vec<String>,
) {
    let mut seen = BTreeSet::new();
    for (index, value) in values.enumerate() {
        if !seen.insert(value) {
            let what = format!("duplicate {field} {value:?}");
            tell(&path.index(index).child(field), what, warnings);
        }
    }
}

fn addresses(spec: &PodSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten());
    for (index, server) in servers.enumerate() {
        warn_of_ip(server, &path.child("dnsConfig.nameservers").index(index), warnings);
    }
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(index).child("ip");
        warn_of_ip(&alias.ip, &path, warnings);
    }
}
