//! Who answers for a load balancer's addresses of both families on a segment of three hosts, each with a kube-proxy whose rules
//! of nftables lead to a pod of its own. A client that is none of the cluster's calls. Needs root, nft and conntrack.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;
mod machines;

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use api_machinery::load_balancer::POOL_ANNOTATION;
use api_types::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use component::{Health, Tasks, events::Recorder};
use fake::Fake;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use kube_proxy::{
    Metrics, Wake,
    addresses::Loopback,
    announced::Announced,
    announcer::Announcer,
    backend::Nftables,
    configs::Configs,
    sync,
    world::{Here, World, follow},
};
use listwatch::ListWatch;
use machines::{Machine, Space, UPLINK, create, inside};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The Service's.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 64)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64)),
];
const SERVICES: &str = "10.96.0.0/16,fd00:10:96::/112";
const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";

/// Of a host, or of the client, on the segment.
fn second(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)
}

/// Those of the pod of a host.
fn pod(machine: &Machine) -> [IpAddr; 2] {
    let second = Ipv6Addr::new(0xfd00, 0x10, 0x244, machine.number.into(), 0, 0, 0, 1);
    [machine.pod().into(), second.into()]
}

/// Of each family.
const SLICES: [&str; 2] = ["web-1", "web-2"];

/// How a kube-proxy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
}

struct Proxy {
    stop: CancellationToken,
    kill: CancellationToken,
    thread: JoinHandle<()>,
}

impl Proxy {
    fn start(machine: &Machine, plane: &ControlPlane) -> Self {
        let namespace = machine.namespace.try_clone().unwrap();
        let (name, listwatch) = (machine.name(), plane.listwatch());
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let (stopped, killed) = (stop.clone(), kill.clone());
        let thread = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(work(&name, &listwatch, &stopped, &killed));
        });
        Self { stop, kill, thread }
    }

    fn end(self, how: End) {
        match how {
            End::InOrder => self.stop.cancel(),
            End::Killed => self.kill.cancel(),
        }
        self.thread.join().unwrap();
    }
}

/// As the program does, but for what is not about Services.
async fn work(
    node: &str,
    listwatch: &ListWatch,
    stopped: &CancellationToken,
    killed: &CancellationToken,
) {
    let here = Here {
        node: node.to_owned(),
        service_cidr: SERVICES.parse().unwrap(),
        cluster_dns: None,
        node_addresses: Vec::new(),
        leads_by_rules: true,
    };
    let (health, tasks) = (Health::default(), Tasks::default());
    let recorder = Recorder::new(&tasks, listwatch.client().clone(), "kube-proxy", node);
    let (wake, own_wake) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let (nodes, nodes_watch) = follow::<Node>(listwatch, vec![wake.clone(), own_wake.clone()]);
    let (world, watches) = World::watch(listwatch, nodes.clone(), &wake, None);
    let announced = Arc::<Announced>::default();
    let world = world.with_announced(announced.clone());
    let check = health.check("load balancers");
    let mut announcer = Announcer::new(here.clone(), announced, recorder.clone(), check).unwrap();
    let state = tempfile::tempdir().unwrap();
    let (range, pods) = (SERVICES.parse().unwrap(), PODS.parse().unwrap());
    let (loopback, configs) =
        (Loopback::open(range, pods).await.unwrap(), Configs::open(state.path()).unwrap());
    let mut backend = Nftables::new(range, pods, Fake::default(), loopback, configs);
    let metrics = Metrics::register(&component::Metrics::default());
    let outlets = sync::Outlets { check: health.check("services"), metrics, recorder };
    tokio::select! {
        () = nodes_watch => unreachable!(),
        () = watches => unreachable!(),
        () = sync::run(&world, &here, &mut backend, &wake, &outlets) => unreachable!(),
        () = announcer.run(&world, &nodes, &own_wake, &wake) => unreachable!(),
        () = stopped.cancelled() => {}
        () = killed.cancelled() => return,
    }
    announcer.leave().await;
}

/// Three hosts with a Service, and who calls it at one of its addresses.
struct Rig {
    address: IpAddr,
    plane: ControlPlane,
    machines: Arc<[Machine; 3]>,
    client: Space,
    switch: Space,
}

impl Rig {
    async fn new(address: IpAddr) -> Self {
        let ranges = SERVICES.parse().unwrap();
        let plane = ControlPlane::builder().config(|config| config.service_cidr = ranges);
        let plane = plane.start().await;
        let (machines, client, switch) = Machine::segment().await;
        client.address(UPLINK, second(9), 64).await;
        let nodes = Api::<Node>::all(plane.client());
        for machine in &machines {
            let second = second(machine.number.into());
            machine.address(UPLINK, second, 64).await;
            machine.address("pods", pod(machine)[1], 64).await;
            let mut node = machine.node();
            let addresses = [machine.ip().into(), IpAddr::V6(second)];
            let addresses = addresses.map(|it| json!({"type": "InternalIP", "address": it}));
            let ready = json!([{"type": "Ready", "status": "True"}]);
            let status = json!({"addresses": addresses, "conditions": ready});
            node.status = serde_json::from_value(status).unwrap();
            create(&nodes, &node).await;
            serve_pod(machine).await;
        }
        let rig = Rig { address, plane, machines: Arc::new(machines), client, switch };
        rig.make_service().await;
        rig
    }

    async fn make_service(&self) {
        let services = Api::<Service>::namespaced(self.plane.client(), "default");
        let service = json!({
            "metadata": {"name": "web", "annotations": {POOL_ANNOTATION: "198.51.100.64/28"}},
            "spec": {
                "type": "LoadBalancer", "externalTrafficPolicy": "Local",
                "ipFamilyPolicy": "RequireDualStack",
                "ports": [{"port": 80, "targetPort": 8080}],
            },
        });
        let service = serde_json::from_value(service).unwrap();
        services.create(&PostParams::default(), &service).await.unwrap();
        let status =
            json!({"status": {"loadBalancer": {"ingress": ADDRESSES.map(|ip| json!({"ip": ip}))}}});
        let params = PatchParams::default();
        services.patch_status("web", &params, &Patch::Merge(status)).await.unwrap();
        for (family, name) in SLICES.into_iter().enumerate() {
            let kind = ["IPv4", "IPv6"][family];
            let slice: EndpointSlice = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": kind,
                "endpoints": self.endpoints(family, &[1, 2, 3]),
                "ports": [{"port": 8080, "protocol": "TCP"}],
            }))
            .unwrap();
            self.slices().create(&PostParams::default(), &slice).await.unwrap();
        }
    }

    fn slices(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.plane.client(), "default")
    }

    /// There are endpoints on these hosts.
    async fn run_on(&self, of: &[u8]) {
        for (family, name) in SLICES.into_iter().enumerate() {
            let patch = Patch::Merge(json!({"endpoints": self.endpoints(family, of)}));
            self.slices().patch(name, &PatchParams::default(), &patch).await.unwrap();
        }
    }

    fn endpoints(&self, family: usize, of: &[u8]) -> Value {
        let here = self.machines.iter().filter(|machine| of.contains(&machine.number));
        let endpoint = |machine: &Machine| {
            json!({
                "addresses": [pod(machine)[family]], "nodeName": machine.name(),
                "conditions": {"ready": true},
            })
        };
        here.map(endpoint).collect()
    }

    /// Which hosts have the address.
    async fn holders(machines: &[Machine; 3], address: IpAddr) -> Vec<u8> {
        let mut holders = Vec::new();
        for machine in machines {
            let seen = machine.kernel.look().await.unwrap();
            holders.extend(seen.local().contains(&address).then_some(machine.number));
        }
        holders
    }

    /// By which host the client is served.
    fn call(&self) -> io::Result<u8> {
        inside(&self.client.namespace, || {
            let address = SocketAddr::from((self.address, 80));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            let mut by = [0];
            stream.read_exact(&mut by)?;
            Ok(by[0])
        })
    }

    /// Until the one host that has the address, of these, serves the client; gives which, and how long that took.
    async fn until_served(&self, of: &[u8]) -> (u8, Duration) {
        let begin = Instant::now();
        let look = async || {
            let holders = Self::holders(&self.machines, self.address).await;
            let ours: Vec<_> = holders.iter().filter(|it| of.contains(it)).copied().collect();
            match (self.call(), &*ours) {
                (Ok(by), [one]) if by == *one => Ok(by),
                (answer, _) => Err((answer, holders)),
            }
        };
        let by = wait::until("the client is served", look).await;
        (by, begin.elapsed())
    }

    fn others(&self, of: u8) -> Vec<u8> {
        (1..=3).filter(|number| *number != of).collect()
    }
}

/// A pod, whose answer is which host's it is.
async fn serve_pod(machine: &Machine) {
    for address in pod(machine) {
        let bind = || TcpListener::bind((address, 8080));
        // One of IPv6 takes the kernel a moment.
        let bound = async || inside(&machine.namespace, bind);
        let listener = wait::until("the pod has its address", bound).await;
        let number = machine.number;
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever has gone does not care.
                let _ = stream.and_then(|mut stream| stream.write_all(&[number]));
            }
        });
    }
}

/// For how long two hosts have had the address at once, at most, in milliseconds.
fn watch_doubles(
    machines: Arc<[Machine; 3]>,
    address: IpAddr,
) -> (Arc<AtomicU64>, AbortOnDropHandle<()>) {
    let longest = Arc::<AtomicU64>::default();
    let told = longest.clone();
    let task = tokio::spawn(async move {
        let mut since = None;
        loop {
            let is_double = Rig::holders(&machines, address).await.len() > 1;
            since = is_double.then(|| since.unwrap_or_else(Instant::now));
            let lasted = since.map_or(0, |since| since.elapsed().as_millis());
            told.fetch_max(lasted.try_into().unwrap(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    (longest, AbortOnDropHandle::new(task))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_serves_at_the_address_and_another_when_it_can_not() {
    one_host_serves_at(ADDRESSES[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_serves_at_the_address_of_ipv6_and_another_when_it_can_not() {
    one_host_serves_at(ADDRESSES[1]).await;
}

#[allow(clippy::print_stdout, reason = "who looks for why it fails reads how long it took")]
async fn one_host_serves_at(address: IpAddr) {
    let rig = Rig::new(address).await;
    let mut proxies: Vec<_> =
        rig.machines.iter().map(|machine| Some(Proxy::start(machine, &rig.plane))).collect();
    let (first, took) = rig.until_served(&[1, 2, 3]).await;
    println!("served by n{first} after {took:?}");
    let (longest, watching) = watch_doubles(rig.machines.clone(), address);

    // Its endpoint goes.
    rig.run_on(&rig.others(first)).await;
    let (second, took) = rig.until_served(&rig.others(first)).await;
    println!("without an endpoint: n{second} after {took:?}");
    rig.run_on(&[1, 2, 3]).await;
    let (back, took) = rig.until_served(&[first]).await;
    println!("with its endpoint: n{back} after {took:?}");

    // Its program is killed: its kernel does not go on for long.
    let of = usize::from(first) - 1;
    proxies[of].take().unwrap().end(End::Killed);
    let (third, took) = rig.until_served(&rig.others(first)).await;
    println!("killed: n{third} after {took:?}");
    assert_eq!(third, second, "the same hosts have the same order");
    proxies[of] = Some(Proxy::start(&rig.machines[of], &rig.plane));
    rig.until_served(&[first]).await;
    assert_eq!(Rig::holders(&rig.machines, address).await, [first]);
    let doubles = longest.load(Ordering::Relaxed);
    println!("two had it at once for {doubles} ms at most");
    assert!(doubles < 3000, "two had it at once for {doubles} ms");
    drop(watching);

    // It is cut off.
    rig.switch.down(&format!("to{first}")).await;
    let (fourth, took) = rig.until_served(&rig.others(first)).await;
    println!("cut off: n{fourth} after {took:?}");
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    rig.switch.up(&format!("to{first}")).await;
    let only_first = async || match &*Rig::holders(&rig.machines, address).await {
        [one] if *one == first => Ok(()),
        others => Err(others.to_vec()),
    };
    wait::until("the others have let go", only_first).await;
    rig.until_served(&[first]).await;

    // All end in order, and leave nothing.
    for proxy in proxies.into_iter().flatten() {
        proxy.end(End::InOrder);
    }
    for address in ADDRESSES {
        assert_eq!(Rig::holders(&rig.machines, address).await, [] as [u8; 0]);
    }
}
