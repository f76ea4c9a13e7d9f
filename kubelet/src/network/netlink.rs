//! Links, addresses and routes of the kernel. Each call is idempotent: what exists already is fine.

use std::{collections::BTreeSet, fs::File, net::Ipv4Addr, os::fd::AsRawFd};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, setns};
use rtnetlink::{
    Error, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoVeth, LinkAttribute},
        route::RouteType,
    },
};

use super::{NetworkError, ipam};

/// The pod's end of the pair.
const POD_LINK: &str = "eth0";
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

/// The links of one network namespace.
#[derive(Clone, Debug)]
pub(super) struct Links {
    handle: Handle,
}

impl Links {
    /// The namespace of the calling thread. Needs a tokio runtime.
    pub(super) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| NetworkError::Io { step: "open a netlink socket", source })?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The link's index, if it exists.
    pub(super) async fn index(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        let mut found = self.handle.link().get().match_name(name).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) if code(&error) == Some(ENODEV) => Ok(None),
            Err(source) => Err(NetworkError::Netlink { step: "find a link", source }),
        }
    }

    async fn existing(&self, name: &str) -> Result<u32, NetworkError> {
        self.index(name).await?.ok_or_else(|| NetworkError::NoLink(name.to_owned()))
    }

    /// A bridge that is up and has the address.
    pub(super) async fn bridge(
        &self,
        name: &str,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetworkError> {
        let made = self.handle.link().add(LinkBridge::new(name).build()).execute().await;
        existing_is_fine(made, "make the bridge")?;
        let index = self.existing(name).await?;
        let added = self.handle.address().add(index, address.into(), prefix).execute().await;
        existing_is_fine(added, "give the bridge its address")?;
        self.up(index, None).await
    }

    /// Brings a link up, as a port of `bridge` if given.
    async fn up(&self, index: u32, bridge: Option<u32>) -> Result<(), NetworkError> {
        let mut message = LinkMessageBuilder::<LinkUnspec>::new().index(index).up();
        if let Some(bridge) = bridge {
            message = message.controller(bridge);
        }
        let set = self.handle.link().set(message.build()).execute().await;
        set.map_err(|source| NetworkError::Netlink { step: "bring a link up", source })
    }

    /// A pair of links: `name` as a port of the bridge here, `eth0` in the other namespace.
    pub(super) async fn veth(
        &self,
        name: &str,
        bridge: &str,
        namespace: &File,
    ) -> Result<(), NetworkError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(POD_LINK)
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let pair = LinkVeth::new(name, POD_LINK)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let made = self.handle.link().add(pair).execute().await;
        made.map_err(|source| NetworkError::Netlink { step: "make the pod's link", source })?;
        self.join(name, bridge).await
    }

    /// Makes a link a port of the bridge.
    pub(super) async fn join(&self, name: &str, bridge: &str) -> Result<(), NetworkError> {
        let bridge = self.existing(bridge).await?;
        self.up(self.existing(name).await?, Some(bridge)).await
    }

    /// Makes those of the links that exist ports of the bridge.
    pub(super) async fn join_all(
        &self,
        names: &BTreeSet<String>,
        bridge: &str,
    ) -> Result<(), NetworkError> {
        let controller = LinkAttribute::Controller(self.existing(bridge).await?);
        let mut links = self.handle.link().get().execute();
        let failed = |source| NetworkError::Netlink { step: "list the links", source };
        while let Some(link) = links.try_next().await.map_err(failed)? {
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            });
            if let Some(name) = name.filter(|name| names.contains(*name))
                && !link.attributes.contains(&controller)
            {
                self.join(name, bridge).await?;
            }
        }
        Ok(())
    }

    /// Removes a link; one that does not exist is fine.
    pub(super) async fn delete(&self, name: &str) -> Result<(), NetworkError> {
        let Some(index) = self.index(name).await? else { return Ok(()) };
        match self.handle.link().del(index).execute().await {
            Err(error) if code(&error) != Some(ENODEV) => {
                Err(NetworkError::Netlink { step: "remove a link", source: error })
            }
            _ => Ok(()),
        }
    }

    /// Packets for the network that no other route takes end here instead of leaving the host.
    pub(super) async fn blackhole(&self, network: Ipv4Net) -> Result<(), NetworkError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network.network(), network.prefix_len())
            .kind(RouteType::BlackHole)
            .build();
        let added = self.handle.route().add(route).execute().await;
        existing_is_fine(added, "add the blackhole route")
    }

    async fn pod_side(&self, address: Ipv4Addr, network: Ipv4Net) -> Result<(), NetworkError> {
        if let Some(loopback) = self.index("lo").await? {
            self.up(loopback, None).await?;
        }
        let link = self.existing(POD_LINK).await?;
        let added =
            self.handle.address().add(link, address.into(), network.prefix_len()).execute().await;
        existing_is_fine(added, "give the pod its address")?;
        self.up(link, None).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(ipam::gateway(network)).build();
        existing_is_fine(self.handle.route().add(route).execute().await, "route the pod")
    }
}

/// Configures the pod's end, from inside its namespace. A thread of its own: a namespace belongs to a
/// thread, and this one ends with it.
pub(super) async fn configure_pod(
    namespace: File,
    address: Ipv4Addr,
    network: Ipv4Net,
) -> Result<(), NetworkError> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let outcome = inside(&namespace, address, network);
        // The receiver is gone only if the caller was dropped.
        let _ = done.send(outcome);
    });
    let lost = |_| std::io::Error::other("the thread in the pod's namespace died");
    let lost =
        |error| NetworkError::Io { step: "configure the pod's network", source: lost(error) };
    result.await.map_err(lost)?
}

fn inside(namespace: &File, address: Ipv4Addr, network: Ipv4Net) -> Result<(), NetworkError> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| NetworkError::Io {
        step: "enter the pod's network namespace",
        source: errno.into(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NetworkError::Io { step: "start a runtime", source })?;
    runtime.block_on(async { Links::open()?.pod_side(address, network).await })
}

fn code(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

fn existing_is_fine(result: Result<(), Error>, step: &'static str) -> Result<(), NetworkError> {
    match result {
        Err(error) if code(&error) != Some(EEXIST) => {
            Err(NetworkError::Netlink { step, source: error })
        }
        _ => Ok(()),
    }
}
