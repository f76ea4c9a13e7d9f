//! A Docker and a kernel that only remember what they were told.

#![allow(unreachable_pub, reason = "each test that uses it is a crate of its own")]
#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{IpAddr, Ipv4Addr},
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
    workers::OldWorkers,
};

/// A node: what runs on it and everything that was done to it, in order.
#[derive(Default)]
pub struct Node {
    pub containers: BTreeMap<String, Found>,
    pub held: BTreeSet<IpAddr>,
    pub log: Vec<String>,
    /// Objects whose containers cannot be created.
    pub broken: BTreeSet<String>,
    /// Whether Docker does not answer.
    pub away: bool,
    /// Containers that can't be started.
    pub unstartable: BTreeSet<String>,
    /// Containers that can't be signalled.
    pub deaf: BTreeSet<String>,
    /// Uids of objects whose nginx can't use a configuration, or does not answer.
    pub stubborn: BTreeSet<String>,
    pub silent: BTreeSet<String>,
    /// Addresses that can't be released.
    pub stuck: BTreeSet<IpAddr>,
    /// Whether somebody takes addresses away, so that nginx may not find its own.
    pub loses_addresses: bool,
    /// Whether rules of the firewall are refused.
    pub without_firewall: bool,
    /// By uid, what its nginx goes by.
    in_force: BTreeMap<String, Answer>,
    /// After so many changes of the node kube-proxy is killed: it does nothing more.
    pub steps_left: Option<usize>,
    /// Connections that nginxes have had.
    pub connections: u64,
    /// Workers of earlier configurations that each nginx has.
    pub old_workers: usize,
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

    /// Before each change of the node. Does not return once there are to be no more.
    async fn step(&self) {
        let is_killed = self.with(|node| match &mut node.steps_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        });
        if is_killed {
            std::future::pending::<()>().await;
        }
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
        self.step().await;
        let id = id_of(&spec.uid);
        self.with(|node| {
            let is_there = spec.addresses.is_subset(&node.held);
            assert!(is_there || node.loses_addresses, "created before its addresses");
            if node.broken.contains(&spec.owner) {
                return Node::refuse("making");
            }
            node.log.push(format!("create {}", spec.owner));
            let found = Found {
                id: id.clone(),
                kind: spec.kind.clone(),
                owner: spec.owner.clone(),
                uid: spec.uid.clone(),
                addresses: spec.addresses.clone(),
                running: false,
                current: true,
            };
            node.containers.insert(id.clone(), found);
            Ok(())
        })?;
        // It is made, then started.
        self.step().await;
        self.with(|node| {
            node.load(directory);
            // An nginx that can't listen ends.
            let is_there = spec.addresses.is_subset(&node.held);
            node.containers.get_mut(&id).expect("it was just made").running = is_there;
        });
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), ContainerError> {
        self.step().await;
        self.with(|node| {
            let can_start = !node.unstartable.contains(id);
            let Some(container) = node.containers.get_mut(id).filter(|_| can_start) else {
                return Node::refuse("starting");
            };
            container.running = true;
            node.log.push(format!("start {id}"));
            node.in_force.remove(id.trim_start_matches("id-"));
            Ok(())
        })
    }

    async fn reload(&self, id: &str) -> Result<(), ContainerError> {
        self.step().await;
        self.with(|node| {
            let runs = node.containers.get(id).is_some_and(|container| container.running);
            if !runs || node.deaf.contains(id) {
                return Node::refuse("signalling");
            }
            node.log.push(format!("reload {id}"));
            // It reads its configuration when it is asked next.
            node.in_force.remove(id.trim_start_matches("id-"));
            Ok(())
        })
    }

    async fn remove(&self, id: &str) -> Result<(), ContainerError> {
        self.step().await;
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

    async fn end_surplus_workers(&self, _nginx: &InForce, limit: usize) -> io::Result<OldWorkers> {
        let all = self.with(|node| node.old_workers);
        let ended = all.saturating_sub(limit);
        Ok(OldWorkers { left: all - ended, ended })
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
            Listed {
                held: node.held.clone(),
                all: [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))].into(),
            }
        }))
    }

    async fn take(&self, address: IpAddr) -> Result<(), AddressError> {
        self.step().await;
        self.with(|node| {
            node.looks += 1;
            if node.held.insert(address) {
                node.log.push(format!("take {address}"));
            }
        });
        Ok(())
    }

    async fn release(&self, address: IpAddr) -> Result<(), AddressError> {
        self.step().await;
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
