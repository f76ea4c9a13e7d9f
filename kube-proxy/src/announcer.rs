//! Has the addresses that the cluster gives to load balancers answered for on this host's network segment: each by one of
//! the hosts that can serve it (as MetalLB's layer 2 mode does it). Who that is, the hosts settle among themselves
//! ([`election`], pure), by ARP or, of IPv6, by the discovery of neighbours; the host has the address on its link to the
//! segment, and its kernel answers.
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
    net::IpAddr,
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
    family::Family,
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
    given: BTreeMap<IpAddr, Given>,
    parts: Parts,
    looked: Option<Instant>,
}

/// By the family of the addresses.
type Parts = BTreeMap<Family, Part>;

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
    #[error("listening to {link}")]
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
        let (given, parts, looked) = (BTreeMap::new(), Parts::new(), None);
        Ok(Self { here, netlink, announced, recorder, check, given, parts, looked })
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
        for family in Family::BOTH {
            self.leave_segment(family).await;
        }
    }

    async fn leave_segment(&mut self, of: Family) {
        if let Some(mut part) = self.parts.remove(&of) {
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
        self.find_parts(&nodes, &addresses).await?;
        let can_serve = may_serve(&place.nodes, nodes.iter().map(AsRef::as_ref));
        let served = self.given.iter().filter(|(_, given)| can_serve && given.served);
        let wanted: BTreeSet<_> = served.map(|(address, _)| *address).collect();
        for (family, part) in &mut self.parts {
            let wanted = family.among(&wanted, |address| *address);
            let actions = part.election.want(&wanted, Instant::now());
            part.act(&self.netlink, actions).await;
        }
        Ok(())
    }

    /// Without addresses of a family, or without a segment, there is none.
    async fn find_parts(
        &mut self,
        nodes: &[Arc<Node>],
        addresses: &[Address],
    ) -> Result<(), AnnouncerError> {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        let needed: BTreeSet<_> = self.given.keys().map(|address| Family::of(*address)).collect();
        if !is_due && self.parts.keys().eq(&needed) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let own = nodes.iter().find(|node| node.metadata.name.as_ref() == Some(&self.here.node));
        let links = self.netlink.links().await?;
        for family in Family::BOTH {
            let own = own.filter(|_| needed.contains(&family));
            let found = own.and_then(|node| segment(family, node, addresses, &links));
            self.be_on(family, found).await?;
        }
        Ok(())
    }

    async fn be_on(
        &mut self,
        family: Family,
        found: Option<(Link, Mac)>,
    ) -> Result<(), AnnouncerError> {
        let is_as_before = match (self.parts.get(&family), &found) {
            (Some(part), Some((link, mac))) => part.is_on(link, *mac),
            (None, None) => true,
            _ => false,
        };
        if is_as_before {
            return Ok(());
        }
        self.leave_segment(family).await;
        if let Some((link, mac)) = found {
            self.parts.insert(family, Part::begin(family, link, mac)?);
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
                () = due(&self.parts) => self.tick().await,
                () = &mut look => return,
                (family, heard) = hear(&self.parts) => self.take_in(family, heard).await,
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
    async fn take_in(&mut self, of: Family, heard: io::Result<Heard>) -> bool {
        let Heard { said, address, from } = match heard {
            Ok(heard) => heard,
            Err(error) => {
                warn!(%error, "cannot hear who announces load balancers' addresses");
                self.leave_segment(of).await;
                return true;
            }
        };
        let Some(part) = self.parts.get_mut(&of) else { return false };
        let action = part.election.hear(said, address, from, Instant::now());
        if let Some(Action::Release(address)) = action {
            info!(%address, to = %from, "another host announces a load balancer's address");
        }
        part.act(&self.netlink, action).await;
        action.is_some()
    }

    /// Whether there was anything to be done.
    async fn tick(&mut self) -> bool {
        let mut has_acted = false;
        for part in self.parts.values_mut() {
            let actions = part.election.tick(Instant::now());
            has_acted |= !actions.is_empty();
            part.act(&self.netlink, actions).await;
        }
        has_acted
    }

    /// Tells who serves, and the Services' people.
    fn publish(&self, services: &Wake) {
        let held: BTreeSet<_> = self.parts.values().flat_map(|it| it.election.held()).collect();
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
    fn begin(family: Family, link: Link, mac: Mac) -> Result<Self, AnnouncerError> {
        let wire = Wire::open(family, &link, mac);
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
                    let released = netlink.remove_host_address(self.link.index, address).await;
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

/// Of either family as soon as of the other, whoever says how much.
async fn hear(parts: &Parts) -> (Family, io::Result<Heard>) {
    let of = async |family| match parts.get(&family) {
        Some(part) => (family, part.wire.hear().await),
        None => pending().await,
    };
    tokio::select! {
        heard = of(Family::Ipv4) => heard,
        heard = of(Family::Ipv6) => heard,
    }
}

async fn due(parts: &Parts) {
    match parts.values().filter_map(|part| part.election.next()).min() {
        Some(next) => sleep_until(next).await,
        None => pending().await,
    }
}
