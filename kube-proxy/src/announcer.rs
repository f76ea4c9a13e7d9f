//! Has the addresses that the cluster gives to load balancers answered for on this host's network segment: each by one of
//! the hosts that can serve it (as MetalLB's layer 2 mode does it). Who that is, the hosts settle among themselves
//! ([`election`], pure), by ARP; the host has the address on its link to the segment, and its kernel answers.
//!
//! Guarantees: the kernel has such an address for a few seconds only, unless it is renewed: nobody has to clean up after
//! a program that was killed. One that ends in order lets go of all, and says so.

mod check;
pub mod election;
mod frame;
mod wanted;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use api_machinery::load_balancer::pool_of;
use api_types::api::core::v1::Node;
use component::{
    Check,
    events::{EventType, Recorder},
};
use kube::runtime::reflector::Store;
use netlink::{Address, Link, Mac, Netlink};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use self::{
    election::{Action, Election, LIFETIME, Said},
    frame::Heard,
    wanted::{Given, given, may_serve, of_hosts, segment},
    wire::Wire,
};
use crate::{
    announced::Announced,
    wake::Wake,
    world::{Here, World},
};

pub(crate) use check::differences;

/// How often the kernel's links and addresses are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(100);
/// Who fills the segment does not keep others who work beside from it for longer.
const AT_ONCE: usize = 32;
/// The reason of the event about a Service whose address is announced from here (MetalLB's).
const ASSIGNED: &str = "nodeAssigned";

/// Announces from this host.
#[derive(Debug)]
pub struct Announcer {
    here: Here,
    netlink: Netlink,
    announced: Arc<Announced>,
    recorder: Recorder,
    check: Check,
    given: BTreeMap<Ipv4Addr, Given>,
    part: Option<Part>,
    looked: Option<Instant>,
}

/// The part that this host has on its segment.
#[derive(Debug)]
struct Part {
    link: Link,
    mac: Mac,
    wire: Wire,
    election: Election,
}

/// Why nothing is announced.
#[derive(Debug, thiserror::Error)]
enum AnnouncerError {
    #[error("looking at links and addresses")]
    Kernel(#[from] netlink::Error),
    #[error("listening to ARP on {link}")]
    Wire { link: String, source: io::Error },
}

impl Announcer {
    /// `announced` is kept up to date.
    ///
    /// # Errors
    /// No right to speak to the kernel.
    pub fn new(
        here: Here,
        announced: Arc<Announced>,
        recorder: Recorder,
        check: Check,
    ) -> Result<Self, netlink::Error> {
        let netlink = Netlink::open()?;
        let (given, part, looked) = (BTreeMap::new(), None, None);
        Ok(Self { here, netlink, announced, recorder, check, given, part, looked })
    }

    /// Announces until dropped. `wake` is called when the nodes change; `services` calls those who serve at the addresses.
    pub async fn run(
        &mut self,
        world: &World,
        nodes: &Store<Node>,
        wake: &Arc<Wake>,
        services: &Wake,
    ) {
        self.check.failed("waiting for the API server's lists");
        world.ready().await;
        world.also_wake(wake.clone());
        loop {
            match self.look(world, nodes).await {
                Ok(()) => self.check.ready(),
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::from(error));
                    warn!("load balancers' addresses are not announced: {why}");
                    self.check.failed(&why);
                }
            }
            self.publish(services);
            self.take_part(wake, services).await;
        }
    }

    /// Lets go of all addresses.
    pub async fn leave(&mut self) {
        if let Some(mut part) = self.part.take() {
            let actions = part.election.leave_all();
            part.act(&self.netlink, actions).await;
        }
    }

    /// What there is to announce, and where.
    async fn look(&mut self, world: &World, nodes: &Store<Node>) -> Result<(), AnnouncerError> {
        let nodes = nodes.state();
        let addresses = self.netlink.addresses().await?;
        let local = addresses.iter().map(|it| it.address).collect();
        let place = world.place(&self.here, &local);
        let hosts = of_hosts(nodes.iter().map(AsRef::as_ref), &addresses);
        self.given = given(&place, &world.services_where(|it| pool_of(it).is_some()), &hosts);
        self.find_part(&nodes, &addresses).await?;
        let can_serve = may_serve(&place.nodes, nodes.iter().map(AsRef::as_ref));
        let served = self.given.iter().filter(|(_, given)| can_serve && given.served);
        let wanted = served.map(|(address, _)| *address).collect();
        if let Some(part) = &mut self.part {
            let actions = part.election.want(&wanted, Instant::now());
            part.act(&self.netlink, actions).await;
        }
        Ok(())
    }

    /// Without addresses, or without a segment, there is none.
    async fn find_part(
        &mut self,
        nodes: &[Arc<Node>],
        addresses: &[Address],
    ) -> Result<(), AnnouncerError> {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if !is_due && self.part.is_some() != self.given.is_empty() {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let own = nodes.iter().find(|node| node.metadata.name.as_ref() == Some(&self.here.node));
        let own = own.filter(|_| !self.given.is_empty());
        let links = self.netlink.links().await?;
        let found = own.and_then(|node| segment(node, addresses, &links));
        let is_as_before = match (&self.part, &found) {
            (Some(part), Some((link, mac))) => part.is_on(link, *mac),
            (None, None) => true,
            _ => false,
        };
        if is_as_before {
            return Ok(());
        }
        self.leave().await;
        if let Some((link, mac)) = found {
            self.part = Some(Part::begin(link, mac)?);
        }
        Ok(())
    }

    /// Until it is time for another look.
    async fn take_part(&mut self, wake: &Wake, services: &Wake) {
        let look = async {
            wake.wait(LOOK).await;
            sleep(GATHER).await;
        };
        tokio::pin!(look);
        for turn in 1_usize.. {
            // Last comes what others may fill the segment with.
            let has_acted = tokio::select! {
                biased;
                () = due(self.part.as_ref()) => self.tick().await,
                () = &mut look => return,
                heard = hear(self.part.as_ref()) => self.take_in(heard).await,
            };
            if has_acted {
                self.publish(services);
            }
            if turn.is_multiple_of(AT_ONCE) {
                yield_now().await;
            }
        }
    }

    /// Whether there was anything to be done.
    async fn take_in(&mut self, heard: io::Result<Heard>) -> bool {
        let Heard { said, address, from } = match heard {
            Ok(heard) => heard,
            Err(error) => {
                warn!(%error, "cannot hear who announces load balancers' addresses");
                self.leave().await;
                return true;
            }
        };
        let Some(part) = &mut self.part else { return false };
        let action = part.election.hear(said, address, from, Instant::now());
        if let Some(Action::Release(address)) = action {
            info!(%address, to = %from, "another host announces a load balancer's address");
        }
        part.act(&self.netlink, action).await;
        action.is_some()
    }

    /// Whether there was anything to be done.
    async fn tick(&mut self) -> bool {
        let Some(part) = &mut self.part else { return false };
        let actions = part.election.tick(Instant::now());
        let has_acted = !actions.is_empty();
        part.act(&self.netlink, actions).await;
        has_acted
    }

    /// Tells who serves, and the Services' people.
    fn publish(&self, services: &Wake) {
        let held = self.part.as_ref().map(|part| part.election.held()).unwrap_or_default();
        let before = self.announced.set(self.given.keys().copied(), held.clone());
        if before == held {
            return;
        }
        services.changed();
        for address in held.difference(&before) {
            let Some(given) = self.given.get(address) else { continue };
            info!(%address, service = given.service, "announcing a load balancer's address");
            let message = format!("announcing {address} from node {:?}", self.here.node);
            self.recorder.record(&given.object, EventType::Normal, ASSIGNED, message);
        }
    }
}

impl Part {
    fn begin(link: Link, mac: Mac) -> Result<Self, AnnouncerError> {
        let wire = Wire::open(&link, mac);
        let wire =
            wire.map_err(|source| AnnouncerError::Wire { link: link.name.clone(), source })?;
        Ok(Self { link, mac, wire, election: Election::new(mac) })
    }

    fn is_on(&self, link: &Link, mac: Mac) -> bool {
        (self.link.index, self.mac) == (link.index, mac)
    }

    /// In order: an address is here before it is announced, and not here any more before that is said.
    async fn act(&mut self, netlink: &Netlink, actions: impl IntoIterator<Item = Action>) {
        let mut failed = BTreeSet::new();
        for action in actions {
            let done = match action {
                Action::Hold(address) => {
                    let held = netlink.lend_host_address(self.link.index, address, LIFETIME).await;
                    if held.is_err() {
                        failed.insert(address);
                        self.election.failed(address, Instant::now());
                    }
                    held.map_err(anyhow::Error::from)
                }
                Action::Release(address) => {
                    let released =
                        netlink.remove_host_address(self.link.index, address.into()).await;
                    released.map_err(anyhow::Error::from)
                }
                Action::Say(Said::Mine, address) if failed.contains(&address) => Ok(()),
                Action::Say(said, address) => {
                    self.wire.say(said, address).map_err(anyhow::Error::from)
                }
            };
            if let Err(error) = done {
                warn!("{action}: {error:#}");
            }
        }
    }
}

async fn hear(part: Option<&Part>) -> io::Result<Heard> {
    match part {
        Some(part) => part.wire.hear().await,
        None => pending().await,
    }
}

async fn due(part: Option<&Part>) {
    match part.and_then(|part| part.election.next()) {
        Some(next) => sleep_until(next).await,
        None => pending().await,
    }
}
