//! Looking at the node: what it holds and runs, whoever did that.

use std::{collections::BTreeSet, mem, net::IpAddr, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tracing::info;

use super::{Failure, PARALLEL, ReconcileError, Reconciler};
use crate::{
    addresses::Addresses,
    containers::{Containers, Found},
    instance::{Instance, InstanceSpec},
    nginx::listened,
};

/// How many nginxes are asked at once what they go by.
const PARALLEL_QUESTIONS: usize = 64;
/// How often the kernel's addresses are looked at, and Docker's containers: of their ends there are events.
const LOOK_AT_ADDRESSES: Duration = Duration::from_secs(10);
const LOOK_AT_CONTAINERS: Duration = Duration::from_secs(60);
/// One that fails again and again does not make each change of another one cost a look at all.
const LOOK_AFTER_FAILURE: Duration = Duration::from_secs(1);

impl<C: Containers, A: Addresses> Reconciler<C, A> {
    /// Gets going what ran before, with its last configuration, without knowing what is wanted
    /// now: for a node that comes up while no API server answers. Gives what can't be got going, and may
    /// be called again.
    pub async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        self.addresses.fence().await?;
        let found = self.containers.list().await?;
        let ended = found.iter().filter(|found| !found.running && self.may_start(found));
        let this = &*self;
        let revivals: Vec<_> = ended.map(async |found| (found, this.revive(found).await)).collect();
        let revived: Vec<_> = stream::iter(revivals).buffer_unordered(PARALLEL).collect().await;
        let mut failed = Vec::new();
        for (found, result) in revived {
            match result {
                Ok(instance) => drop(self.instances.insert(found.uid.clone(), instance)),
                Err(error) => {
                    failed.push(Failure { subject: found.owner.clone(), uid: None, error });
                }
            }
        }
        Ok(failed)
    }

    /// Whether it has not been started a moment ago.
    fn may_start(&self, found: &Found) -> bool {
        let known = self.instances.get(&found.uid).filter(|known| known.id == found.id);
        known.is_none_or(Instance::may_start)
    }

    async fn revive(&self, found: &Found) -> Result<Instance, ReconcileError> {
        let found = self.with_addresses(found.clone());
        for address in &found.addresses {
            self.addresses.take(*address).await?;
        }
        self.configs.directory(&found.uid).before_start()?;
        self.containers.start(&found.id).await?;
        info!(owner = found.owner, "started with its last configuration");
        let mut instance = Instance::found(&found);
        instance.started();
        Ok(instance)
    }

    /// With the addresses at which its nginx was told to listen since it was made, if it is one that has some for itself.
    fn with_addresses(&self, mut found: Found) -> Found {
        if !found.addresses.is_empty() {
            let text = self.configs.directory(&found.uid).text().unwrap_or_default();
            found.addresses.extend(listened(&text).iter().map(|(_, socket)| socket.ip()));
        }
        found
    }

    /// Has the next look look at the containers: they may not be what they were.
    pub fn distrust_containers(&mut self) {
        self.containers_seen = None;
    }

    /// Looks at the node where the last look is too long ago; gives all addresses of this host.
    pub async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
        if is_due(self.addresses_seen, LOOK_AT_ADDRESSES) {
            self.look_at_addresses().await?;
            self.addresses_seen = Some(Instant::now());
        }
        let interval = if self.suspicious { LOOK_AFTER_FAILURE } else { LOOK_AT_CONTAINERS };
        if is_due(self.containers_seen, interval) {
            self.look_at_containers().await?;
            self.containers_seen = Some(Instant::now());
            self.suspicious = false;
        }
        Ok(&self.local)
    }

    /// All addresses of this host, as they were seen last.
    pub(crate) fn local(&self) -> &BTreeSet<IpAddr> {
        &self.local
    }

    async fn look_at_addresses(&mut self) -> Result<(), ReconcileError> {
        self.addresses.fence().await?;
        self.unguarded = self.addresses.guard().await.err();
        let seen = self.addresses.list().await?;
        (self.held, self.local) = (seen.held, seen.all);
        self.surplus.extend(&self.held);
        let due = self.wanted.iter().filter(|(uid, wanted)| {
            !wanted.spec.addresses.is_subset(&self.held) || self.is_to_be_asked(uid, &wanted.spec)
        });
        let due: Vec<_> = due.map(|(uid, _)| uid.clone()).collect();
        self.due.extend(due);
        Ok(())
    }

    async fn look_at_containers(&mut self) -> Result<(), ReconcileError> {
        let found = self.containers.list().await?;
        let mut known = mem::take(&mut self.instances);
        for found in found {
            let known = known.remove(&found.uid).filter(|known| known.id == found.id);
            let mut instance = match known {
                Some(known) => known,
                None => Instance::found(&self.with_addresses(found.clone())),
            };
            instance.seen(&found);
            self.instances.insert(found.uid, instance);
        }
        self.untidy = true;
        self.ask_all().await;
        let own =
            self.instances.iter().filter(|(_, instance)| self.owners.contains(&instance.kind));
        let own: Vec<_> = own.map(|(uid, _)| uid.clone()).collect();
        self.due.extend(own.into_iter().chain(self.wanted.keys().cloned()));
        Ok(())
    }

    /// Whether it has clients who may be forgotten.
    pub(super) fn is_to_be_asked(&self, uid: &str, spec: &InstanceSpec) -> bool {
        let instance = self.instances.get(uid);
        let affinity = instance.zip(spec.configuration.affinity);
        affinity.is_some_and(|(instance, affinity)| instance.is_to_be_asked(affinity))
    }

    /// Asks every nginx that should run what it goes by.
    async fn ask_all(&mut self) {
        let running = self.instances.iter_mut().filter(|(_, instance)| instance.is_running());
        let running: Vec<_> =
            running.map(|(uid, instance)| (self.configs.directory(uid), instance)).collect();
        let containers = &self.containers;
        stream::iter(running)
            .for_each_concurrent(PARALLEL_QUESTIONS, async |(directory, instance)| {
                let in_force = containers.in_force(&directory).await;
                instance.answered(in_force.map(|in_force| in_force.answer));
            })
            .await;
    }
}

fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
