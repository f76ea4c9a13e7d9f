//! Three members of one etcd, of which one may be away.

use std::net::SocketAddr;

use super::{Etcd, Probe, Server, etcd};
use crate::{process::own_address, wait};

const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;

/// Three members of one etcd, each killed on drop.
#[derive(Debug)]
pub struct EtcdMembers([Etcd; 3]);

impl EtcdMembers {
    /// New ones, empty.
    pub async fn spawn() -> Self {
        let addresses = [(); 3].map(|()| own_address(CLIENTS));
        let peer = |address: SocketAddr| format!("http://{}:{PEERS}", address.ip());
        let cluster: Vec<_> =
            addresses.iter().map(|a| format!("{}={}", a.ip(), peer(*a))).collect();
        let member = |address: SocketAddr| {
            let (name, client) = (address.ip().to_string(), format!("http://{address}"));
            let process = etcd(&name, &client, &peer(address), &cluster.join(","), &[]);
            Etcd(Server { process, address, probe: Etcd::probe(None) })
        };
        let mut this = Self(addresses.map(member));
        // None of them is well before there are two.
        this.0.iter_mut().for_each(|member| member.0.process.start());
        for member in &mut this.0 {
            member.restart().await;
        }
        this
    }

    /// The client URLs of all.
    pub fn endpoints(&self) -> Vec<String> {
        self.0.iter().map(Etcd::endpoint).collect()
    }

    /// The member that leads, and those that follow it.
    pub async fn roles(&mut self) -> (&mut Etcd, Vec<&mut Etcd>) {
        let leader = wait::until("a member leads", async || self.leader().await).await;
        let mut followers: Vec<_> = self.0.iter_mut().collect();
        (followers.remove(leader), followers)
    }

    async fn leader(&self) -> Result<usize, String> {
        let question = "GET /metrics HTTP/1.0\r\n\r\n";
        let leads = Probe { question, answer: "\netcd_server_is_leader 1", connector: None };
        for (i, member) in self.0.iter().enumerate() {
            if leads.ask(member.address()).await.is_ok() {
                return Ok(i);
            }
        }
        Err("none".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_leads_when_the_leader_is_killed_and_it_comes_back() {
        let mut members = EtcdMembers::spawn().await;
        let first = {
            let (leader, _) = members.roles().await;
            leader.kill();
            leader.address()
        };
        let (second, followers) = members.roles().await;
        assert_ne!(second.address(), first);
        for follower in followers {
            follower.restart().await;
        }
        let store = store::etcd::Etcd::connect(&members.endpoints()).await.unwrap();
        let store: &dyn store::Store = &store;
        store.put("/a", "1".into(), None).await.unwrap();
    }
}
