//! What containers use, measured on a real host.

use std::{fs, path::Path, sync::Arc, time::Instant};

use kubelet::{
    runtime::{PodIdentity, Resources, observed::Observed},
    usage::{
        disks::Disks,
        figures::Figures,
        host::Host,
        running::{Entry, RunningPods},
        sample::{PodSample, Sample},
        sampler::Sampler,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Container, ContainerSpec, Duration, Node, Runtime, container, wait};

const MIB: u64 = 1 << 20;

/// A pod that is measured.
struct Subject {
    node: Node,
    pod: PodIdentity,
    sandbox: String,
    address: String,
    place: Entry,
    sampler: Sampler,
}

impl Subject {
    async fn start(cidr: &str, name: &str) -> Self {
        let node = Node::start(cidr).await;
        let pod = node.pod(name);
        let (sandbox, address) = node.sandbox(&pod).await;
        let running = RunningPods::default();
        let place = running.enter(&pod.uid);
        let sampler = Sampler::new(Host::new(Path::new("/")), running, Disks::default());
        Self { node, pod, sandbox, address, place, sampler }
    }

    fn container(&self, script: &str, resources: Resources) -> ContainerSpec {
        ContainerSpec { resources, ..container(&self.pod, &self.sandbox, script) }
    }

    async fn run(&self, spec: &ContainerSpec) -> Container {
        let id = self.node.runtime.create(spec).await.unwrap();
        self.node.runtime.start(&id).await.unwrap();
        self.node.find(&self.pod, &id).await
    }

    /// Takes a sample of the pod as it is.
    async fn sample(&self) -> Arc<Sample> {
        let mut pod = testkit::pod(&self.pod.name).build();
        pod.metadata.uid = Some(self.pod.uid.clone());
        let found = self.node.runtime.list(Some(&self.pod.uid)).await.unwrap();
        self.place.note(&pod, &Observed::new(found));
        self.sampler.sample(Duration::ZERO).await.unwrap()
    }

    /// Takes samples until one shows that.
    async fn until(&self, what: &str, holds: impl Fn(&Figures) -> bool) -> Arc<Sample> {
        let holds = &holds;
        wait::until(what, async || {
            let sample = self.sample().await;
            let figures =
                only(&sample).containers.first().map(|found| found.measured.figures.clone());
            if figures.as_ref().is_some_and(holds) { Ok(sample) } else { Err(figures) }
        })
        .await
    }
}

fn only(sample: &Sample) -> &PodSample {
    let [pod] = &sample.pods[..] else { panic!("{:?}", sample.pods) };
    pod
}

/// The processor time that a process has used, as the kernel counts it for the process.
fn seconds_of(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

#[tokio::test]
async fn a_known_load_measures_within_a_twentieth() {
    let subject = Subject::start("10.219.29.0/24", "load").await;
    let half = Resources { cpu_quota: Some(50_000), ..Resources::default() };
    let spec = subject.container("exec dd if=/dev/zero of=/dev/null bs=20M", half);
    let pid = subject.run(&spec).await.pid.unwrap();
    let has_begun = |figures: &Figures| figures.memory_rss > Some(20 * MIB);
    subject.until("the memory is allocated", has_begun).await;
    let (begun, before) = (Instant::now(), seconds_of(pid));
    subject.sample().await;
    let worked = async || match seconds_of(pid) - before {
        done if done > 1.5 => Ok(()),
        done => Err(done),
    };
    wait::until("some work is done", worked).await;
    let sample = subject.sample().await;
    let known = (seconds_of(pid) - before) / begun.elapsed().as_secs_f64();
    let found = &only(&sample).containers[0];
    let rate = found.measured.rate.unwrap();
    let cores = Duration::from_nanos(rate.nano_cores).as_secs_f64();
    println!("{known} cores of work measured as {cores} over {:?}", rate.window);
    assert!((cores - known).abs() <= known / 20.0, "{known} measured as {cores}");
    assert!(cores <= 0.525, "{cores} are more than half a processor");
    let figures = &found.measured.figures;
    let (rss, working_set) = (figures.memory_rss.unwrap(), figures.memory_working_set.unwrap());
    assert!((20 * MIB..21 * MIB).contains(&rss), "{rss}");
    assert!((rss..rss + 3 * MIB).contains(&working_set), "{working_set}");
    assert_eq!((figures.processes, figures.pids), (Some(1), Some(1)));
    assert!(figures.page_faults.unwrap() >= 20 * MIB / 4096 / 512, "{figures:?}");
    let pod = &only(&sample).measured;
    assert_eq!((pod.figures.processes, pod.rate.is_some()), (Some(2), true));
}

#[tokio::test]
async fn a_container_that_ran_out_of_memory_counts_anew() {
    let subject = Subject::start("10.219.30.0/24", "oom").await;
    let limited = Resources { memory: Some(16 << 20), ..Resources::default() };
    let script =
        "trap 'exec dd if=/dev/zero of=/dev/null bs=64M count=1' TERM; while :; do :; done";
    let spec = subject.container(script, limited);
    let first = subject.run(&spec).await;
    let used = |figures: &Figures| figures.cpu_nanos > Some(300_000_000);
    subject.until("it works", used).await;
    subject.node.runtime.signal(&first.id, "SIGTERM").await.unwrap();
    assert_eq!(subject.node.outcome(&subject.pod, &first.id).await.0, 137);
    let exit = subject.node.find(&subject.pod, &first.id).await.exit().cloned().unwrap();
    assert!(exit.oom_killed, "{exit:?}");
    let again = ContainerSpec { attempt: 1, ..subject.container("exec sleep 1000", limited) };
    subject.run(&again).await;
    // The last sample was of the first container.
    let sample = subject.sample().await;
    let pod = only(&sample);
    let measured = &pod.containers[0].measured;
    assert!(measured.figures.cpu_nanos < Some(300_000_000), "{measured:?}");
    assert_eq!((measured.rate, pod.measured.rate), (None, None));
    let sample = subject.sample().await;
    assert!(only(&sample).measured.rate.is_some());
}

#[tokio::test]
async fn what_a_pod_serves_counts_as_sent() {
    let subject = Subject::start("10.219.31.0/24", "server").await;
    let script = "mkdir /w; dd if=/dev/zero of=/w/big bs=1M count=4; httpd -f -h /w";
    subject.run(&subject.container(script, Resources::default())).await;
    let target = format!("{}:80", subject.address);
    let connect = async || TcpStream::connect(&target).await;
    let mut stream = wait::until("the pod answers", connect).await;
    let sent = |sample: &Sample| {
        let interfaces = only(sample).interfaces.as_ref().unwrap();
        assert_eq!(interfaces.len(), 1, "{interfaces:?}");
        (interfaces[0].transmitted.bytes, interfaces[0].received.bytes)
    };
    let before = sent(&*subject.sample().await);
    stream.write_all(b"GET /big HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() as u64 > 4 * MIB, "{}", answer.len());
    let after = sent(&*subject.sample().await);
    let grown = after.0 - before.0;
    assert!((4 * MIB..5 * MIB).contains(&grown), "{grown} bytes are sent");
    assert!((20..MIB).contains(&(after.1 - before.1)), "{before:?} {after:?}");
}
