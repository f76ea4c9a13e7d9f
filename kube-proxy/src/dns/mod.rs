//! The cluster's DNS: the names of Services, endpoints and pods, and the hosts of DNS objects, by what the API server says,
//! all others by asking on.
//!
//! [`records`], [`zone`] and [`reply`] decide what is answered, as functions and a value; [`handler`] puts it on the wire,
//! [`upstream`] asks on. The zone hears of each change at once ([`crate::world::Follower`]), whatever the loop over the
//! Services is busy with. Before the first complete lists, what is not known is a failure and not "no such name";
//! which names may be hosts of DNS objects is known from last time.
//!
//! The server is bound to the address of the Service `kube-dns`, an address of `lo` like those of other Services, so that
//! pods and the host itself reach it without a proxy. It is there as long as this program is.

mod connections;
pub mod handler;
mod last_hosts;
pub mod metrics;
pub mod records;
pub mod reply;
mod servers;
mod stub;
pub mod upstream;
pub mod zone;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use api_types::api::core::v1::{Namespace, Service};
use component::Check;
use futures::StreamExt;
use hickory_server::Server;
use ipnet::IpNet;
use kube::runtime::{
    WatchStreamExt,
    reflector::{self, ObjectRef},
    watcher::Event,
};
use listwatch::{ListWatch, Scope};
use parking_lot::RwLock;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use tokio::{
    net::{TcpListener, UdpSocket},
    time,
};
use tracing::{info, warn};

pub use stub::Stub;
pub(crate) use stub::server;

use self::{
    connections::LIMITS, handler::Handler, last_hosts::LastHosts, metrics::Metrics,
    records::records, stub::PORT, upstream::Upstream, zone::Zone,
};
use crate::{
    addresses::{AddressError, Addresses},
    world::{self, Changed, Follower, World},
};

/// Until an address that can't be bound is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Of datagrams that wait to be read, in bytes, with what the kernel needs for each: some thousand.
const WAITING: usize = 4 << 20;
/// How often the address is looked after.
const UPKEEP: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is reached: the address of the Service `kube-dns`.
    pub address: IpAddr,
    /// The cluster's domain.
    pub domain: String,
    /// The ranges of Services and pods: of addresses in them nobody else knows names.
    pub ranges: Vec<IpNet>,
    /// Whom to ask for other names; nobody: those that the host asks.
    pub upstream: Vec<SocketAddr>,
    /// The host's `resolv.conf`.
    pub host_file: PathBuf,
    /// Domains that others know.
    pub stubs: Vec<Stub>,
    /// Where the names of hosts of DNS objects are kept from one start to the next.
    pub last_hosts: PathBuf,
}

/// The cluster's DNS on this node.
#[derive(Clone, Debug)]
pub struct Dns {
    address: IpAddr,
    zone: Arc<RwLock<Zone>>,
    upstream: Arc<Upstream>,
    last_hosts: Arc<LastHosts>,
    metrics: Metrics,
}

/// Why it is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("holding the address")]
    Address(#[from] AddressError),
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("the server has ended")]
    Ended,
}

impl Dns {
    /// Serves nothing yet.
    ///
    /// # Errors
    ///
    /// The domain is none, or the upstream can't be used.
    pub fn new(settings: Settings, metrics: Metrics) -> anyhow::Result<Self> {
        let Settings { address, domain, ranges, upstream, host_file, stubs, last_hosts } = settings;
        let mut zone = Zone::new(&domain, address, ranges).context("--cluster-domain")?;
        let last_hosts = LastHosts::new(last_hosts);
        if let Some(names) = last_hosts.read() {
            zone = zone.with_earlier_hosts(names);
        }
        let upstream = Upstream::new(upstream, host_file, &stubs, address)
            .context("cannot ask for other names")?;
        Ok(Dns {
            address,
            zone: Arc::new(RwLock::new(zone)),
            upstream: Arc::new(upstream),
            last_hosts: Arc::new(last_hosts),
            metrics,
        })
    }

    /// Answers on these sockets, as long as both give questions.
    pub async fn serve(&self, udp: UdpSocket, tcp: TcpListener) {
        make_room(&udp);
        let Dns { zone, upstream, metrics, .. } = self.clone();
        let handler = Handler { zone, upstream, metrics };
        let mut datagrams = Server::new(handler.clone());
        datagrams.register_socket(udp);
        tokio::select! {
            ended = datagrams.block_until_done() => info!(?ended, "no more datagrams come"),
            error = connections::serve(tcp, Arc::new(handler), LIMITS) => warn!(%error, "no more connections come"),
        }
    }

    /// Holds the address and answers on it, until dropped.
    pub async fn run(&self, addresses: &impl Addresses, listwatch: &ListWatch, check: &Check) {
        let serving = async {
            loop {
                let error = anyhow::Error::from(self.hold(addresses, check).await);
                check.failed(format!("cluster DNS: {error:#}"));
                warn!("the cluster's DNS is not served: {error:#}");
                time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = self.upstream.follow() => {}
            () = self.follow_namespaces(listwatch) => {}
            () = self.keep_hosts() => {}
        }
    }

    /// Writes the hosts of DNS objects down for the next start, until dropped.
    pub async fn keep_hosts(&self) {
        self.last_hosts.keep().await;
    }

    /// Gives why it can't go on.
    async fn hold(&self, addresses: &impl Addresses, check: &Check) -> ServeError {
        let served = async {
            self.take(addresses).await?;
            let at = SocketAddr::new(self.address, PORT);
            let udp = UdpSocket::bind(at).await.map_err(|error| ServeError::Listen(at, error))?;
            let tcp = TcpListener::bind(at).await.map_err(|error| ServeError::Listen(at, error))?;
            info!(%at, "serving the cluster's DNS");
            check.ready();
            tokio::select! {
                () = self.serve(udp, tcp) => Err(ServeError::Ended),
                lost = self.keep(addresses) => lost,
            }
        };
        served.await.err().unwrap_or(ServeError::Ended)
    }

    /// The address may be taken away from `lo` by others.
    async fn keep(&self, addresses: &impl Addresses) -> Result<(), ServeError> {
        loop {
            time::sleep(UPKEEP).await;
            self.take(addresses).await?;
        }
    }

    /// A packet for an address of the range never leaves the host, whoever is first.
    async fn take(&self, addresses: &impl Addresses) -> Result<(), ServeError> {
        addresses.fence().await?;
        Ok(addresses.take(self.address).await?)
    }

    async fn follow_namespaces(&self, listwatch: &ListWatch) {
        let (store, writer) = reflector::store::<Namespace>();
        let mut events = pin!(listwatch.watch(Scope::All).reflect(writer));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init | Event::InitApply(_)) => {}
                Ok(_) => {
                    let namespaces = store.state();
                    let names = namespaces.iter().filter_map(|it| it.metadata.name.clone());
                    self.zone.write().replace_namespaces(names.collect());
                }
                Err(error) => warn!(%error, "watching namespaces"),
            }
        }
    }
}

/// Lets questions wait that come together. By itself the kernel keeps some hundred; who asks one of those beyond waits seconds
/// until he asks again.
pub fn make_room(socket: &UdpSocket) {
    let made = set_socket_recv_buffer_size_force(socket, WAITING)
        // Who may not have as much as he likes has what the host lets everybody have.
        .or_else(|_| set_socket_recv_buffer_size(socket, WAITING));
    if let Err(error) = made {
        warn!(%error, "few questions can wait for their answers");
    }
}

impl Follower for Dns {
    fn changed(&self, world: &World, changed: &Changed) {
        match changed {
            Changed::All if !world.is_listed() => {}
            Changed::All => {
                let all = world.services().into_iter().filter_map(|(service, slices)| {
                    let records = records(&service, slices.iter().map(AsRef::as_ref))?;
                    let name = ObjectRef::from_obj(&*service);
                    Some(((name.namespace.unwrap_or_default(), name.name), records))
                });
                let all: Vec<_> = all.collect();
                self.zone.write().replace(all);
            }
            Changed::Only(names) => names.iter().for_each(|name| self.change(world, name)),
        }
        if changed.concerns(&world::router()) {
            self.hosts_changed(world);
        }
    }

    fn hosts_changed(&self, world: &World) {
        if let Some(hosts) = world.hosts() {
            self.last_hosts.note(&hosts.names);
            self.zone.write().replace_hosts(hosts);
        }
    }
}

impl Dns {
    fn change(&self, world: &World, name: &ObjectRef<Service>) {
        let records = world
            .service(name)
            .and_then(|(service, slices)| records(&service, slices.iter().map(AsRef::as_ref)));
        let namespace = name.namespace.as_deref().unwrap_or_default();
        self.zone.write().put(namespace, &name.name, records);
    }
}
