//! Generated histories of a node whose Services come and go. Somebody takes away its containers, addresses and files; kube-proxy
//! is killed after any step and goes on, in the same form or in the other. Afterwards all is as it should be.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use fake::{Fake, Node};
use kube_proxy::{
    backend::{Backend, Nginx, SharedNginx, service, shared::Sockets},
    check::nginxes,
    configs::Configs,
    containers::Found,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
    reconciler::Reconciler,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::{advance, timeout};

/// Of so many names.
const SERVICES: u8 = 8;
/// Looks at everything are a minute apart, and what ends again and again is started every 10 s.
const LOOK: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Form {
    PerService,
    Shared,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A Service has so many endpoints now; it comes if there is none of this number.
    Put {
        number: u8,
        endpoints: u8,
        is_sticky: bool,
    },
    Delete(u8),
    Pass,
    /// Within a pass, after so many changes of the node, if it comes to so many.
    Kill {
        after: usize,
        then: Form,
    },
    /// Of the containers, one is removed by hand.
    Remove(usize),
    End(usize),
    /// kube-proxy is another version, and one of its containers was made by the one before.
    Upgrade(usize),
    /// Somebody takes a Service's address away from the node.
    LoseAddress(u8),
    /// What a disk that is full leaves of a Service's files, and an older version.
    LeaveFiles(u8),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let number = || 0..SERVICES;
    let put = (number(), 0..4_u8, prop::bool::weighted(0.2))
        .prop_map(|(number, endpoints, is_sticky)| Event::Put { number, endpoints, is_sticky });
    let form = prop_oneof![Just(Form::PerService), Just(Form::Shared)];
    let kill = (0..12_usize, form).prop_map(|(after, then)| Event::Kill { after, then });
    prop_oneof![
        8 => put,
        4 => number().prop_map(Event::Delete),
        8 => Just(Event::Pass),
        3 => kill,
        1 => any::<usize>().prop_map(Event::Remove),
        1 => any::<usize>().prop_map(Event::End),
        1 => any::<usize>().prop_map(Event::Upgrade),
        1 => number().prop_map(Event::LoseAddress),
        1 => number().prop_map(Event::LeaveFiles),
        3 => (0..20_000_u64).prop_map(Event::Wait),
    ]
}

/// All sockets are free.
struct Free;

impl Sockets for Free {
    fn try_bind(&self, _: Protocol, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    node: Fake,
    state: TempDir,
    form: Form,
    proxy: Box<dyn Backend>,
    /// By number.
    plans: BTreeMap<u8, ServicePlan>,
    /// How many Services there have been: each is another one, whatever its name.
    made: usize,
}

impl Rig {
    fn new(form: Form) -> Self {
        let (node, state) = (Fake::default(), tempfile::tempdir().unwrap());
        let mut proxy = proxy(form, &node, state.path());
        proxy.want_all(Vec::new());
        Rig { node, state, form, proxy, plans: BTreeMap::new(), made: 0 }
    }

    async fn befall(&mut self, event: Event) {
        match event {
            Event::Put { number, endpoints, is_sticky } => self.put(number, endpoints, is_sticky),
            Event::Delete(number) => {
                if let Some(gone) = self.plans.remove(&number) {
                    self.proxy.forget(&gone.uid);
                }
            }
            Event::Pass => drop(self.proxy.pass().await.unwrap()),
            Event::Kill { after, then } => {
                self.node.with(|node| node.steps_left = Some(after));
                drop(timeout(Duration::from_millis(1), self.proxy.pass()).await);
                self.node.with(|node| node.steps_left = None);
                self.begin_anew(then).await;
            }
            Event::Remove(which) => {
                self.node.with(|node| {
                    let id = nth(node, which).map(|found| found.id.clone());
                    id.and_then(|id| node.containers.remove(&id))
                });
                self.proxy.distrust_containers();
            }
            Event::End(which) => {
                let end = |found: &mut Found| found.running = false;
                self.node.with(|node| nth(node, which).map(end));
                self.proxy.distrust_containers();
            }
            Event::Upgrade(which) => {
                let outdate = |found: &mut Found| found.current = false;
                self.node.with(|node| nth(node, which).map(outdate));
                self.begin_anew(self.form).await;
            }
            Event::LoseAddress(number) => {
                self.node.with(|node| {
                    node.loses_addresses = true;
                    node.held.remove(&ip(number));
                });
            }
            Event::LeaveFiles(number) => self.leave_files(number),
            Event::Wait(milliseconds) => advance(Duration::from_millis(milliseconds)).await,
        }
    }

    fn put(&mut self, number: u8, endpoints: u8, is_sticky: bool) {
        let uid = self.plans.get(&number).map(|plan| plan.uid.clone());
        let uid = uid.unwrap_or_else(|| {
            self.made += 1;
            format!("u-{}", self.made)
        });
        let plan = plan(number, uid, endpoints, is_sticky);
        self.plans.insert(number, plan.clone());
        self.proxy.want(plan);
    }

    async fn begin_anew(&mut self, form: Form) {
        self.form = form;
        self.proxy = proxy(form, &self.node, self.state.path());
        self.proxy.resume().await.unwrap();
        self.proxy.want_all(self.plans.values().cloned().collect());
    }

    fn leave_files(&self, number: u8) {
        let Some(plan) = self.plans.get(&number) else { return };
        let folder = self.state.path().join(&plan.uid);
        if folder.is_dir() {
            for file in ["nginx.new", "loaded.conf"] {
                fs::write(folder.join(file), "").unwrap();
            }
        }
    }

    async fn comes_to_rights(&mut self) {
        for _ in 0..2 {
            self.settle().await;
            advance(LOOK).await;
        }
        self.settle().await;
        let (plans, configs): (Vec<_>, _) =
            (self.plans.values().cloned().collect(), Configs::open(self.state.path()).unwrap());
        let (specs, mut found) = match self.form {
            Form::PerService => (plans.iter().flat_map(service::specs).collect(), Vec::new()),
            Form::Shared => nginxes::shared(&configs, &plans),
        };
        found.extend(nginxes::differences(&self.node, &configs, &specs).await.unwrap());
        let found: Vec<_> = found.into_iter().map(|found| found.message).collect();
        assert_eq!(found, [""; 0]);
        let held: BTreeSet<_> = plans.iter().flat_map(|plan| plan.ips.clone()).collect();
        assert_eq!(self.node.with(|node| node.held.clone()), held);
        let folders = fs::read_dir(self.state.path()).unwrap();
        let folders = folders.map(|it| it.unwrap().file_name().into_string().unwrap());
        let uids = specs.into_iter().map(|spec| spec.uid);
        assert_eq!(folders.collect::<BTreeSet<_>>(), uids.collect());
    }

    async fn settle(&mut self) {
        for _ in 0..1_000 {
            let summary = self.proxy.pass().await.unwrap();
            if summary.pending == 0 && summary.failed.is_empty() {
                return;
            }
            advance(Duration::from_millis(100)).await;
        }
        panic!("{:?}", self.proxy.pass().await.unwrap());
    }
}

fn nth(node: &mut Node, which: usize) -> Option<&mut Found> {
    let count = node.containers.len();
    node.containers.values_mut().nth(which.checked_rem(count)?)
}

fn proxy(form: Form, node: &Fake, state: &Path) -> Box<dyn Backend> {
    let (configs, range) = (Configs::open(state).unwrap(), "10.96.0.0/16".parse().unwrap());
    let (containers, addresses) = (node.clone(), node.clone());
    match form {
        Form::PerService => Box::new(Nginx(Reconciler::new(containers, addresses, configs))),
        Form::Shared => {
            Box::new(SharedNginx::new(range, containers, addresses, configs, Box::new(Free)))
        }
    }
}

fn ip(number: u8) -> IpAddr {
    [10, 96, 0, 10 + number].into()
}

fn plan(number: u8, uid: String, endpoints: u8, is_sticky: bool) -> ServicePlan {
    let endpoint = |last| SocketAddr::from(([10, 244, number, 2 + last], 8080));
    let port = PortPlan {
        port: 80,
        protocol: Protocol::Tcp,
        endpoints: (0..endpoints).map(endpoint).collect(),
        node_port: None,
        outside_endpoints: [].into(),
    };
    ServicePlan {
        namespace: "default".into(),
        name: format!("s{number}"),
        uid,
        ips: [ip(number)].into(),
        affinity: is_sticky.then_some(Duration::from_secs(10_800)),
        balancing: Balancing::default(),
        kept: [].into(),
        outside: Outside::default(),
        ports: vec![port],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_befalls_it_a_node_comes_to_rights(
        form in prop_oneof![Just(Form::PerService), Just(Form::Shared)],
        history in prop::collection::vec(event(), 1..80),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut rig = Rig::new(form);
            for event in history {
                rig.befall(event).await;
            }
            rig.comes_to_rights().await;
        });
    }
}
