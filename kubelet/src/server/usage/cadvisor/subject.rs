//! Who is measured: the host, pods as a whole, their sandboxes and containers.

use api_types::jiff::Timestamp;

use crate::{
    runtime::{PodIdentity, Resources, labels::container_name},
    server::usage::families::{Family, Labels},
    usage::{
        details::{Detailed, Details},
        disks::Disk,
        figures::Figures,
        proc::Interface,
        sample::{ContainerSample, PodSample, Sample},
    },
};

/// Something that is measured.
pub(super) struct Subject<'a> {
    pub(super) labels: Labels,
    pub(super) started_at: Option<Timestamp>,
    /// Whether its processes are there.
    pub(super) seen: bool,
    pub(super) figures: &'a Figures,
    pub(super) details: Option<&'a Details>,
    pub(super) interfaces: &'a [Interface],
    pub(super) disk: Option<Disk>,
    /// `None` of the host and of pods.
    pub(super) resources: Option<Resources>,
}

impl Subject<'_> {
    /// The labels with others.
    pub(super) fn labels_and<const N: usize>(&self, more: [(&'static str, &str); N]) -> Labels {
        let mut labels = self.labels.clone();
        labels.extend(more.map(|(name, value)| (name, value.to_owned())));
        labels.sort_unstable();
        labels
    }
}

/// All of them.
pub(super) fn subjects<'a>(sample: &'a Sample, detailed: &'a Detailed) -> Vec<Subject<'a>> {
    let host = Subject {
        labels: labels("", "/", "", "", &PodIdentity::default()),
        started_at: sample.node.started_at,
        seen: true,
        figures: &sample.node.measured.figures,
        details: Some(&detailed.node),
        interfaces: sample.node.interfaces.as_deref().unwrap_or_default(),
        disk: sample.node.fs.map(Disk::of),
        resources: None,
    };
    let pods = sample.pods.iter().flat_map(|pod| {
        let sandbox = pod.sandbox.as_ref().map(|found| Subject {
            interfaces: pod.interfaces.as_deref().unwrap_or_default(),
            ..container(pod, found, detailed)
        });
        let containers = pod.containers.iter().map(|found| container(pod, found, detailed));
        [whole(pod)].into_iter().chain(sandbox).chain(containers)
    });
    [host].into_iter().chain(pods).collect()
}

/// Under the group that the kubelets of others make for a pod. Its network is told of with the sandbox, once.
fn whole(pod: &PodSample) -> Subject<'_> {
    let id = format!("/kubepods/pod{}", pod.pod.uid);
    Subject {
        labels: labels("", &id, "", "", &pod.pod),
        started_at: pod.started_at(),
        seen: pod.containers.iter().chain(&pod.sandbox).any(|found| found.group.is_some()),
        figures: &pod.measured.figures,
        details: None,
        interfaces: &[],
        disk: None,
        resources: None,
    }
}

fn container<'a>(
    pod: &PodSample,
    found: &'a ContainerSample,
    detailed: &'a Detailed,
) -> Subject<'a> {
    let container = &found.container;
    let runtime_name = container_name(&pod.pod, &container.name, container.attempt);
    let id = found.group.clone().unwrap_or_else(|| format!("/docker/{}", container.id));
    Subject {
        labels: labels(&container.name, &id, &container.image, &runtime_name, &pod.pod),
        started_at: Some(container.started_at),
        seen: found.group.is_some(),
        figures: &found.measured.figures,
        details: detailed.containers.get(&container.id),
        interfaces: &[],
        disk: found.disk,
        resources: Some(container.resources),
    }
}

fn labels(container: &str, id: &str, image: &str, name: &str, pod: &PodIdentity) -> Labels {
    let labels = [
        ("container", container),
        ("id", id),
        ("image", image),
        ("name", name),
        ("namespace", &pod.namespace),
        ("pod", &pod.name),
    ];
    labels.map(|(name, value)| (name, value.to_owned())).to_vec()
}

/// A series for each of which the value is known.
pub(super) fn each(
    mut family: Family,
    subjects: &[Subject<'_>],
    value: impl Fn(&Subject<'_>) -> Option<f64>,
) -> Family {
    subjects.iter().for_each(|subject| family.add(subject.labels.clone(), value(subject)));
    family
}
