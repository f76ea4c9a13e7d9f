//! A Docker and a kernel that only remember what they were told.

#![allow(unreachable_pub, reason = "each test that uses it is a crate of its own")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use kube_proxy::{
    addresses::{AddressError, Addresses},
    containers::{ContainerError, Containers, Found},
    plan::ServicePlan,
};

/// A node: what runs on it and everything that was done to it, in order.
#[derive(Default)]
pub struct Node {
    pub containers: BTreeMap<String, Found>,
    pub held: BTreeSet<Ipv4Addr>,
    pub log: Vec<String>,
    /// Services that cannot be created.
    pub broken: BTreeSet<String>,
}

/// Docker and the kernel of a [`Node`].
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<Node>>);

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

#[async_trait]
impl Containers for Fake {
    async fn list(&self) -> Result<Vec<Found>, ContainerError> {
        Ok(self.with(|node| node.containers.values().cloned().collect()))
    }

    async fn create(&self, plan: &ServicePlan, config: &Path) -> Result<(), ContainerError> {
        assert!(config.join("nginx.conf").exists(), "created before its configuration");
        self.with(|node| {
            assert!(node.held.contains(&plan.ip), "created before its address");
            if node.broken.contains(&plan.name) {
                let message = "no such image".to_owned();
                return Err(ContainerError::Refused { command: "run".into(), message });
            }
            node.log.push(format!("create {plan}"));
            let id = format!("id-{}", plan.uid);
            let found = Found {
                id: id.clone(),
                service: plan.to_string(),
                uid: plan.uid.clone(),
                ip: Some(plan.ip),
                running: true,
            };
            node.containers.insert(id, found);
            Ok(())
        })
    }

    async fn start(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|node| {
            node.log.push(format!("start {id}"));
            node.containers.get_mut(id).expect("started a container that is not there").running =
                true;
        });
        Ok(())
    }

    async fn reload(&self, id: &str) -> Result<(), ContainerError> {
        self.with(|node| node.log.push(format!("reload {id}")));
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
}

#[async_trait]
impl Addresses for Fake {
    async fn fence(&self) -> Result<(), AddressError> {
        Ok(())
    }

    async fn held(&self) -> Result<BTreeSet<Ipv4Addr>, AddressError> {
        Ok(self.with(|node| node.held.clone()))
    }

    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        self.with(|node| {
            if node.held.insert(address) {
                node.log.push(format!("take {address}"));
            }
        });
        Ok(())
    }

    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        self.with(|node| {
            node.held.remove(&address);
            node.log.push(format!("release {address}"));
        });
        Ok(())
    }
}
