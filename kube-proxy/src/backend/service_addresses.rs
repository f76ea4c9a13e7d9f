//! The virtual IPs of Services that no nginx holds.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::addresses::{AddressError, Addresses, Listed};

/// The node's addresses, of which those of Services are kept here: who keeps nginxes does not see them, and lets go
/// what neither wants.
#[derive(Debug)]
pub(super) struct ServiceAddresses<A>(Arc<Shared<A>>);

#[derive(Debug)]
struct Shared<A> {
    node: A,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: BTreeSet<IpAddr>,
    held: BTreeSet<IpAddr>,
}

impl<A> Clone for ServiceAddresses<A> {
    fn clone(&self) -> Self {
        ServiceAddresses(self.0.clone())
    }
}

impl<A: Addresses> ServiceAddresses<A> {
    pub(super) fn new(node: A) -> Self {
        ServiceAddresses(Arc::new(Shared { node, state: Mutex::default() }))
    }

    pub(super) fn want(&self, address: IpAddr) {
        self.0.state.lock().wanted.insert(address);
    }

    /// It is let go when addresses are looked at next.
    pub(super) fn forget(&self, address: IpAddr) {
        self.0.state.lock().wanted.remove(&address);
    }

    /// Whether it was there when it was looked last, or has been taken since.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.0.state.lock().held.contains(&address)
    }

    /// Those that are wanted and were not there when it was looked last.
    pub(super) async fn take_missing(&self) -> Result<(), AddressError> {
        let missing: Vec<_> = {
            let State { wanted, held } = &*self.0.state.lock();
            wanted.difference(held).copied().collect()
        };
        for address in missing {
            self.0.node.take(address).await?;
            self.0.state.lock().held.insert(address);
        }
        Ok(())
    }
}

#[async_trait]
impl<A: Addresses> Addresses for ServiceAddresses<A> {
    async fn fence(&self) -> Result<(), AddressError> {
        self.0.node.fence().await
    }

    async fn guard(&self) -> Result<(), AddressError> {
        self.0.node.guard().await
    }

    async fn list(&self) -> Result<Listed, AddressError> {
        let Listed { held, all } = self.0.node.list().await?;
        let State { wanted, held: known } = &mut *self.0.state.lock();
        let others = held.difference(wanted).copied().collect();
        *known = held;
        Ok(Listed { held: others, all })
    }

    async fn take(&self, address: IpAddr) -> Result<(), AddressError> {
        self.0.node.take(address).await
    }

    /// One that a Service has got meanwhile stays.
    async fn release(&self, address: IpAddr) -> Result<(), AddressError> {
        if self.0.state.lock().wanted.contains(&address) {
            return Ok(());
        }
        self.0.node.release(address).await?;
        self.0.state.lock().held.remove(&address);
        Ok(())
    }
}
