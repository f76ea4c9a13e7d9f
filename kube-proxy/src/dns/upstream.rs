//! What others know: asked of the servers that the host asks, or that flags name, and kept for a while.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use component::resolv_conf;
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::{lookup::Lookup, net::NetError};
use parking_lot::RwLock;
use tokio::{
    sync::{Semaphore, TryAcquireError},
    time::timeout,
};
use tracing::{info, warn};

use super::{
    servers::{Servers, UNDER_WAY},
    stub::{PORT, Stub},
};

/// A client asks again after 5 s: by then it should have heard that nobody answers.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often the host's file is read: a laptop changes its servers with its network.
const REREAD: Duration = Duration::from_secs(10);

/// Who is asked.
#[derive(Debug)]
pub struct Upstream {
    usual: RwLock<Usual>,
    /// The longest first.
    stubs: Vec<(Name, Arc<Servers>)>,
    /// The host's servers, unless flags name others.
    host_file: Option<PathBuf>,
    own: IpAddr,
    under_way: Semaphore,
}

#[derive(Debug, Default)]
struct Usual {
    addresses: Vec<SocketAddr>,
    servers: Option<Arc<Servers>>,
}

/// A question that nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is nobody to be asked.
    #[error("the host has no name server, and --dns-upstream names none")]
    Nobody,
    /// So many are asked for already that another would take what the rest of the program needs.
    #[error("{UNDER_WAY} questions are under way")]
    Busy(#[from] TryAcquireError),
    /// None has answered in time.
    #[error("the name servers do not answer")]
    Late(#[from] tokio::time::error::Elapsed),
    /// They say that there is nothing, or they can't be asked.
    #[error("asking the name servers")]
    Failed(#[from] Box<NetError>),
}

impl Upstream {
    /// `servers`: none, if those of the host's `host_file` are meant. `own` is never asked.
    ///
    /// # Errors
    ///
    /// The resolver can't be made.
    pub fn new(
        servers: Vec<SocketAddr>,
        host_file: PathBuf,
        stubs: &[Stub],
        own: IpAddr,
    ) -> Result<Self, NetError> {
        let stub = |stub: &Stub| {
            Ok((stub.domain.clone(), Arc::new(Servers::new(&stub.servers, PATIENCE)?)))
        };
        let mut stubs = stubs.iter().map(stub).collect::<Result<Vec<_>, NetError>>()?;
        stubs.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.num_labels()));
        let host_file = servers.is_empty().then_some(host_file);
        let under_way = Semaphore::new(UNDER_WAY);
        let upstream = Upstream { usual: RwLock::default(), stubs, host_file, own, under_way };
        upstream.ask(servers)?;
        upstream.reread();
        Ok(upstream)
    }

    /// Follows the host's file until dropped.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(REREAD);
        loop {
            ticks.tick().await;
            self.reread();
        }
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// There is no such name or no record of that type, or nobody says.
    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Lookup, LookupError> {
        let of_stub = self.stubs.iter().find(|(domain, _)| domain.zone_of(name));
        let usual = || self.usual.read().servers.clone().ok_or(LookupError::Nobody);
        let servers = of_stub.map_or_else(usual, |(_, servers)| Ok(servers.clone()))?;
        let _turn = self.under_way.try_acquire()?;
        let answer = timeout(PATIENCE, servers.lookup(name, kind)).await?;
        Ok(answer.map_err(Box::new)?)
    }

    fn reread(&self) {
        let Some(file) = &self.host_file else { return };
        // A file that is being written anew is read at the next turn.
        let Ok(text) = std::fs::read_to_string(file) else { return };
        let servers = host_servers(&text, self.own);
        if let Err(error) = self.ask(servers) {
            warn!(%error, file = %file.display(), "cannot use the host's name servers");
        }
    }

    fn ask(&self, addresses: Vec<SocketAddr>) -> Result<(), NetError> {
        if self.usual.read().addresses == addresses {
            return Ok(());
        }
        info!(servers = ?addresses, "other names are asked of these");
        let servers = match addresses.is_empty() {
            true => None,
            false => Some(Arc::new(Servers::new(&addresses, PATIENCE)?)),
        };
        *self.usual.write() = Usual { addresses, servers };
        Ok(())
    }
}

/// Those of a `resolv.conf`, but for this server itself, which some hosts ask first.
fn host_servers(text: &str, own: IpAddr) -> Vec<SocketAddr> {
    let servers = resolv_conf::Resolver::parse(text).servers;
    let addresses = servers.iter().filter_map(|server| server.parse::<IpAddr>().ok());
    addresses.filter(|address| *address != own).map(|ip| SocketAddr::new(ip, PORT)).collect()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// Names of a domain whose servers are silent.
    #[tokio::test]
    async fn what_nobody_answers_does_not_take_everything() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = "10.96.0.10".parse().unwrap();
        let servers = vec![silent.local_addr().unwrap()];
        let upstream = Upstream::new(servers, PathBuf::new(), &[], own).unwrap();
        let _all_but_one =
            upstream.under_way.try_acquire_many(u32::try_from(UNDER_WAY - 1).unwrap());
        let name = |n: u8| Name::from_ascii(format!("n{n}.example.")).unwrap();
        let asked = futures::stream::iter(0..4).map(|n| {
            let upstream = &upstream;
            async move { upstream.lookup(&name(n), RecordType::A).await.unwrap_err() }
        });
        let failed: Vec<_> = asked.buffer_unordered(4).collect().await;
        let busy = failed.iter().filter(|error| matches!(error, LookupError::Busy(_))).count();
        assert_eq!(busy, 3, "{failed:?}");
    }

    #[test]
    fn this_server_does_not_ask_itself() {
        let servers = host_servers(
            "nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n",
            "10.96.0.10".parse().unwrap(),
        );
        assert_eq!(servers, ["192.0.2.1:53".parse().unwrap()]);
    }
}
