//! What nodes and pods used when they were last heard of. Figures that are missing or stale are absent: zero would be
//! a figure.

use std::{collections::HashMap, time::Duration};

use api_types::jiff::Timestamp;
use listwatch::{PodUsage, PodsUsage, Usage};
use tokio::time::Instant;

/// The usual time between two samples.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// No sample is good for longer than this many times the time that it was measured for.
const PERIODS: u32 = 3;
/// A window that is longer is that of a kubelet that could not measure, and says nothing of when the next one comes.
const LONGEST_WINDOW: Duration = Duration::from_secs(60);

/// How often kubelets announce is known but roughly; one that has not for this long is asked.
const SILENCE: Duration = Duration::from_secs(15);

/// How something came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The kubelet told, and will tell again.
    Announced,
    Asked,
}

/// CPU and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) cpu_nano_cores: u64,
    pub(crate) memory_bytes: u64,
}

impl Figures {
    fn of(usage: &Usage) -> Option<Self> {
        let (cpu, memory) = (usage.cpu_nano_cores?, usage.memory_working_set_bytes?);
        Some(Self { cpu_nano_cores: cpu, memory_bytes: memory })
    }
}

/// What was measured, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample<T> {
    /// The sender's time, to be shown.
    pub(crate) timestamp: Timestamp,
    pub(crate) window: Duration,
    pub(crate) figures: T,
}

impl<T> Sample<T> {
    fn of(usage: &Usage, figures: T) -> Option<Self> {
        let window = Duration::try_from_secs_f64(usage.window_seconds?).ok()?;
        Some(Self { timestamp: usage.timestamp, window, figures })
    }

    fn is_fresh(&self, age: Duration) -> bool {
        age < self.window.clamp(PERIOD, LONGEST_WINDOW) * PERIODS
    }
}

/// Containers by name.
pub(crate) type Containers = Vec<(String, Figures)>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples {
    nodes: HashMap<String, Heard<Sample<Figures>>>,
    /// By node.
    pods: HashMap<String, Heard<Pods>>,
}

/// Those of a node, by uid.
#[derive(Debug)]
struct Pods {
    source: Source,
    samples: HashMap<String, Sample<Containers>>,
}

/// Something that came at a time.
#[derive(Debug)]
struct Heard<T> {
    at: Instant,
    what: T,
}

impl Samples {
    /// A node's sample replaces the one before; one without rates leaves none.
    pub(super) fn hear_node(&mut self, node: &str, usage: &Usage, now: Instant) {
        self.forget(now);
        match Figures::of(usage).and_then(|figures| Sample::of(usage, figures)) {
            Some(what) => drop(self.nodes.insert(node.to_owned(), Heard { at: now, what })),
            None => drop(self.nodes.remove(node)),
        }
    }

    /// All pods of a node replace those before.
    pub(super) fn hear_pods(&mut self, heard: &PodsUsage, source: Source, now: Instant) {
        self.forget(now);
        let samples = heard.pods.iter().filter_map(|pod| Some((pod.uid.clone(), sample(pod)?)));
        let what = Pods { source, samples: samples.collect() };
        self.pods.insert(heard.node.clone(), Heard { at: now, what });
    }

    /// Whether a node tells by itself what its pods use.
    pub(super) fn is_announced(&self, node: &str, now: Instant) -> bool {
        self.pods
            .get(node)
            .is_some_and(|heard| heard.what.source == Source::Announced && now - heard.at < SILENCE)
    }

    /// What a node uses.
    pub(super) fn node(&self, name: &str, now: Instant) -> Option<&Sample<Figures>> {
        let heard = self.nodes.get(name)?;
        Some(&heard.what).filter(|sample| sample.is_fresh(now - heard.at))
    }

    /// What a pod uses that is bound to a node.
    pub(super) fn pod(&self, node: &str, uid: &str, now: Instant) -> Option<&Sample<Containers>> {
        let heard = self.pods.get(node)?;
        heard.what.samples.get(uid).filter(|sample| sample.is_fresh(now - heard.at))
    }

    /// What can be fresh no more: nodes that are gone say nothing.
    fn forget(&mut self, now: Instant) {
        const LONGEST: Duration = LONGEST_WINDOW.saturating_mul(PERIODS);
        self.nodes.retain(|_, heard| now - heard.at < LONGEST);
        self.pods.retain(|_, heard| now - heard.at < LONGEST);
    }
}

/// None if it lacks figures of one container: the pod would seem to use less than it does.
fn sample(pod: &PodUsage) -> Option<Sample<Containers>> {
    let figures = pod.containers.iter().map(|c| Some((c.name.clone(), Figures::of(&c.usage)?)));
    let figures = figures.collect::<Option<Containers>>().filter(|all| !all.is_empty())?;
    // A container that was started in the meantime is measured for a shorter time than its pod.
    let shortest = pod.containers.iter().map(|container| &container.usage);
    let shortest = shortest.min_by(|a, b| {
        a.window_seconds.partial_cmp(&b.window_seconds).unwrap_or(std::cmp::Ordering::Equal)
    });
    Sample::of(shortest?, figures)
}

#[cfg(test)]
mod tests {
    use listwatch::ContainerUsage;

    use super::*;

    fn usage(cpu: u64) -> Usage {
        Usage {
            window_seconds: Some(10.0),
            cpu_nano_cores: Some(cpu),
            memory_working_set_bytes: Some(0),
            ..Usage::default()
        }
    }

    /// The pods of n1, each with the CPU of its containers.
    fn pods(pods: &[(&str, &[Option<u64>])]) -> PodsUsage {
        let container = |cpu: &Option<u64>| ContainerUsage {
            name: "app".to_owned(),
            usage: Usage { cpu_nano_cores: *cpu, ..usage(0) },
        };
        let pod = |(uid, containers): &(&str, &[Option<u64>])| PodUsage {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: (*uid).to_owned(),
            usage: Usage::default(),
            containers: containers.iter().map(container).collect(),
        };
        PodsUsage { node: "n1".to_owned(), pods: pods.iter().map(pod).collect() }
    }

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn figures_are_absent_after_three_periods() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        let slow = Usage { window_seconds: Some(20.0), ..usage(7) };
        let paused = Usage { window_seconds: Some(3600.0), ..usage(7) };
        let fast = Usage { window_seconds: Some(1.0), ..usage(7) };
        for (node, usage) in
            [("usual", usage(7)), ("slow", slow), ("paused", paused), ("fast", fast)]
        {
            samples.hear_node(node, &usage, now);
        }
        samples.hear_pods(&pods(&[("u", &[Some(1)])]), Source::Announced, now);
        let known = |at: u64| {
            let nodes = ["usual", "slow", "paused", "fast"];
            nodes.map(|node| samples.node(node, now + after(at)).is_some())
        };
        assert_eq!(known(29), [true; 4]);
        assert_eq!(known(30), [false, true, true, false]);
        assert_eq!(known(60), [false, false, true, false]);
        assert_eq!(known(180), [false; 4]);
        assert!(samples.pod("n1", "u", now + after(29)).is_some());
        assert_eq!(samples.pod("n1", "u", now + after(30)), None);
    }

    #[test]
    fn zero_is_a_figure_and_what_is_missing_is_none() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        samples.hear_node("idle", &usage(0), now);
        assert_eq!(samples.node("idle", now).unwrap().figures.cpu_nano_cores, 0);
        // A kubelet that has started anew has counters, and no rates yet.
        samples.hear_node("idle", &Usage { cpu_nano_cores: None, ..usage(0) }, now);
        assert_eq!(samples.node("idle", now), None);
        let heard =
            pods(&[("whole", &[Some(1), Some(0)]), ("part", &[Some(1), None]), ("none", &[])]);
        samples.hear_pods(&heard, Source::Announced, now);
        let known = ["whole", "part", "none"].map(|uid| samples.pod("n1", uid, now).is_some());
        assert_eq!(known, [true, false, false]);
        assert_eq!(samples.pod("n2", "whole", now), None);
    }

    #[test]
    fn what_a_node_says_replaces_what_it_said() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        samples.hear_pods(&pods(&[("a", &[Some(1)]), ("b", &[Some(1)])]), Source::Announced, now);
        samples.hear_pods(&pods(&[("b", &[Some(2)])]), Source::Announced, now);
        assert_eq!(samples.pod("n1", "a", now), None);
        assert_eq!(samples.pod("n1", "b", now).unwrap().figures[0].1.cpu_nano_cores, 2);
    }

    #[test]
    fn who_has_announced_is_asked_when_that_stops() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        assert!(!samples.is_announced("n1", now));
        samples.hear_pods(&pods(&[]), Source::Announced, now);
        assert!(samples.is_announced("n1", now + after(14)));
        assert!(!samples.is_announced("n1", now + after(15)));
        samples.hear_pods(&pods(&[]), Source::Asked, now);
        assert!(!samples.is_announced("n1", now));
    }

    #[test]
    fn nodes_that_are_gone_are_forgotten() {
        let (mut samples, now) = (Samples::default(), Instant::now());
        samples.hear_pods(&pods(&[("a", &[Some(1)])]), Source::Announced, now);
        for node in 0..100 {
            samples.hear_node(&node.to_string(), &usage(1), now + after(node * 10));
        }
        assert_eq!((samples.nodes.len(), samples.pods.len()), (18, 0));
    }
}
