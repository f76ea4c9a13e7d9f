//! A Docker and a kernel that only remember what they were told.

#![allow(unreachable_pub, reason = "each test that uses it is a crate of its own")]
#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use kube_proxy::{
    addresses::{AddressError, Addresses, Listed},
    configs::Directory,
    containers::{ContainerError, Containers, Found, failed},
    instance::InstanceSpec,
    nginx::Answer,
    status::InForce,
};

/// A node: what runs on it and everything that was done to it, in order.
#[derive(Default)]
pub struct Node {
    pub containers: BTreeMap<String, Found>,
    pub held: BTreeSet<Ipv4Addr>,
    pub log: Vec<String>,
    /// Objects whose containers cannot be created.
    pub broken: BTreeSet<String>,
    /// Whether Docker does not answer.
    pub away: bool,
    /// Containers that can't be started.
    pub unstartable: BTreeSet<String>,
    /// Uids of objects whose nginx can't use a configuration, or does not answer.
    pub stubborn: BTreeSet<String>,
    pub silent: BTreeSet<String>,
    /// Addresses that can't be released.
    pub stuck: BTreeSet<Ipv4Addr>,
    /// Whether rules of the firewall are refused.
    pub without_firewall: bool,
    /// By uid, what its nginx goes by.
    in_force: BTreeMap<String, Answer>,
    /// Connections that nginxes have had.
    pub connections: u64,
    /// How often containers and addresses were listed, and nginxes asked.
    pub looks: usize,
}

/// Docker and the kernel of a [`Node`].
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Node>>);

impl Node {
    /// The nginx of a Service reads its configuration.
    fn load(&mut self, directory: &Directory) {
        let text = fs::read_to_string(directory.config().join("nginx.conf")).unwrap();
        let answer = text.split("return \"").nth(1).unwrap().split('"').next().unwrap();
        let uid = uid(directory);
        if !self.stubborn.contains(&uid) {
            let answer = answer.replace("$connection", "0");
            self.in_force.insert(uid, Answer::read(&answer).unwrap());
        }
    }

    fn refuse<T>(step: &'static str) -> Result<T, ContainerError> {
        Err(docker::Error::NotFound("no such image".to_owned())).map_err(failed(step))
    }
}

impl Fake {
    /// Looks at the node, or changes it behind kube-proxy's back.
    pub fn with<T>(&self, act: impl FnOnce(&mut Node) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// What was done since the last time this was asked.
    pub fn log(&self) -> Vec<String> {
        self.with(|node| std::mem::take(&mut node.log))
    }
}

fn uid(directory: &Directory) -> String {
    directory.config().file_name().unwrap().to_str().unwrap().to_owned()
}

/// The directory of the Service whose container this is: the tests name it after that.
fn id_of(uid: &str) -> String {
    format!("id-{uid}")
}

#[async_trait]
impl Containers for Fake {
    async fn list(&self) -> Result<Vec<Found>, ContainerError> {
        self.with(|node| {
            node.looks += 1;
            if node.away {
                return Node::refuse("listing");
            }
            Ok(node.containers.values().cloned().collect())
        })
    }

    async fn create(
        &self,
        spec: &InstanceSpec,
        directory: &Directory,
    ) -> Result<String, ContainerError> {
        self.with(|node| {
            assert!(spec.addresses.is_subset(&node.held), "created before its addresses");
            if node.broken.contains(&spec.owner) {
                return Node::refuse("making");
            }
            node.log.push(format!("create {}", spec.owner));
            node.load(directory);
            let id = id_of(&spec.uid);
            let found = Found {
                id: id.clone(),
                kind: spec.kind.clone(),
                owner: spec.owner.clone(),
                uid: spec.uid.clone(),
                addresses: spec.addresses.clone(),
                running: true,
                current: true,
            };
            node.containers.insert(id.clone(), found);
            Ok(id)
        })
    }

    async fn start(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|node| {
            if node.unstartable.contains(id) {
                return Node::refuse("starting");
            }
            node.log.push(format!("start {id}"));
            node.in_force.remove(id.trim_start_matches("id-"));
            node.containers.get_mut(id).expect("started a container that is not there").running =
                true;
            Ok(())
        })
    }

    async fn reload(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|node| {
            node.log.push(format!("reload {id}"));
            // It reads its configuration when it is asked next.
            node.in_force.remove(id.trim_start_matches("id-"));
        });
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|node| {
            node.log.push(format!("remove {id}"));
            node.containers.remove(id);
        });
        Ok(())
    }

    async fn last_words(&self, _id: &str) -> Result<String, ContainerError> {
        Ok("bind() failed".into())
    }

    async fn in_force(&self, directory: &Directory) -> Option<InForce> {
        self.with(|node| {
            node.looks += 1;
            let uid = uid(directory);
            if node.silent.contains(&uid) || !node.containers.get(&id_of(&uid))?.running {
                return None;
            }
            if !node.in_force.contains_key(&uid) {
                node.load(directory);
            }
            let old = || Answer::read("old 1 0 0").unwrap();
            node.connections += 1;
            let answer = node.in_force.get(&uid).cloned().unwrap_or_else(old);
            Some(InForce {
                answer: Answer { connection: node.connections, ..answer },
                master: None,
            })
        })
    }

    async fn end_surplus_workers(&self, _nginx: &InForce, _limit: usize) -> io::Result<usize> {
        Ok(0)
    }
}

#[async_trait]
impl Addresses for Fake {
    async fn fence(&self) -> Result<(), AddressError> {
        Ok(())
    }

    async fn guard(&self) -> Result<(), AddressError> {
        if self.with(|node| node.without_firewall) {
            let (command, message) = ("iptables".to_owned(), "no such match".to_owned());
            return Err(packet_filter::Error::Refused { command, message }.into());
        }
        Ok(())
    }

    async fn list(&self) -> Result<Listed, AddressError> {
        Ok(self.with(|node| {
            node.looks += 1;
            Listed { held: node.held.clone(), all: [Ipv4Addr::new(198, 51, 100, 1)].into() }
        }))
    }

    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        self.with(|node| {
            node.looks += 1;
            if node.held.insert(address) {
                node.log.push(format!("take {address}"));
            }
        });
        Ok(())
    }

    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        self.with(|node| {
            if node.stuck.contains(&address) {
                return Err(AddressError::NoLoopback);
            }
            node.held.remove(&address);
            node.log.push(format!("release {address}"));
            Ok(())
        })
    }
}
