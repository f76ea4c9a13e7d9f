//! Brings the node's addresses, configurations and containers to what is wanted: nginxes, whatever objects
//! they are for. `nginx` below makes of it a [`crate::backend::Backend`] for Services.
//!
//! Flow: look at the node, if that is due → of the nginxes that are not known to be as they should: remove
//! the containers and addresses that nobody wants → for each its addresses, its configuration, then its
//! container. In this order, because nginx can only bind to an address that is there, and because a new
//! object may have the address of a deleted one.
//!
//! Guarantees: may run at any time and twice; one that fails does not keep the others from
//! being served; a running nginx is never restarted; it is reloaded only if it goes by another text, and
//! again until it says that it goes by the wanted one. A pass never waits for an nginx, nor for the
//! start of more than a few. Between two looks it costs what those cost that have changed.
//!
//! Assumptions: what was wanted of a kind of objects when it was first told is complete: what is not wanted is
//! removed. Of a kind that nobody has told of all is left as it is. Between
//! two looks the node is as this program left it; a look now and then is the net under that.

mod look;
mod serve;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tracing::info;

use crate::{
    addresses::{AddressError, Addresses},
    configs::Configs,
    containers::Containers,
    instance::{Instance, InstanceSpec},
    nginx::{Config, Epoch, Files, Telling},
};

pub use summary::{Failure, ReconcileError, Summary};

/// How many are worked on at once. Docker starts no more per second with more.
const PARALLEL: usize = 4;
/// How many containers are started in one pass: a change of another one waits for no more.
const STARTS: usize = 16;

/// Keeps nginxes, each in a container of its own, and the virtual IPs that they listen on.
#[derive(Debug)]
pub struct Reconciler<C, A> {
    containers: C,
    addresses: A,
    configs: Configs,
    /// The virtual IPs that the node holds.
    held: BTreeSet<IpAddr>,
    /// Of these, those that may be wanted by nobody.
    surplus: BTreeSet<IpAddr>,
    /// All its addresses.
    local: BTreeSet<IpAddr>,
    /// Why ports that no Service serves are not refused, if so.
    unguarded: Option<AddressError>,
    /// The kinds of objects of which it is known what is wanted.
    owners: BTreeSet<String>,
    /// By uid.
    wanted: BTreeMap<String, Wanted>,
    /// By uid.
    instances: BTreeMap<String, Instance>,
    /// The uids of those that are not known to be as they should.
    due: BTreeSet<String>,
    /// The number of the next telling; no other program on this node has used it.
    telling: AtomicU64,
    addresses_seen: Option<Instant>,
    containers_seen: Option<Instant>,
    /// Something has failed since, perhaps because the containers are not what they were.
    suspicious: bool,
    /// Whether files of some that are gone may be there.
    untidy: bool,
    /// Where to begin among those whose containers are to be started, so that none waits for ever.
    turn: usize,
}

/// What one should be, and what was rendered of it last.
#[derive(Debug)]
struct Wanted {
    spec: Arc<InstanceSpec>,
    rendered: Option<(Epoch, Config)>,
}

impl Wanted {
    fn new(spec: InstanceSpec) -> Self {
        Wanted { spec: Arc::new(spec), rendered: None }
    }

    fn config(&mut self, epoch: Epoch) -> &Config {
        if self.rendered.as_ref().is_some_and(|(of, _)| *of != epoch) {
            self.rendered = None;
        }
        &self.rendered.get_or_insert_with(|| (epoch, self.spec.configuration.at(epoch))).1
    }
}

impl<C: Containers, A: Addresses> Reconciler<C, A> {
    /// Over these; nothing is touched yet.
    pub fn new(containers: C, addresses: A, configs: Configs) -> Self {
        Reconciler {
            containers,
            addresses,
            configs,
            held: BTreeSet::new(),
            surplus: BTreeSet::new(),
            local: BTreeSet::new(),
            unguarded: None,
            owners: BTreeSet::new(),
            wanted: BTreeMap::new(),
            instances: BTreeMap::new(),
            due: BTreeSet::new(),
            telling: AtomicU64::new(nanoseconds_now()),
            addresses_seen: None,
            containers_seen: None,
            suspicious: false,
            untidy: true,
            turn: 0,
        }
    }

    /// These are all for objects of this kind.
    pub fn want_all(&mut self, kind: &str, specs: Vec<InstanceSpec>) {
        let uids: HashSet<&str> = specs.iter().map(|spec| spec.uid.as_str()).collect();
        let gone = self
            .wanted
            .iter()
            .filter(|(uid, wanted)| wanted.spec.kind == kind && !uids.contains(uid.as_str()));
        let gone: Vec<_> = gone.map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| self.forget(uid));
        if self.owners.insert(kind.to_owned()) {
            // Now it is known which of those that were found are for nobody.
            (self.untidy, self.containers_seen) = (true, None);
            self.surplus.extend(&self.held);
        }
        specs.into_iter().for_each(|spec| self.want(spec));
    }

    /// This is one of them.
    pub fn want(&mut self, spec: InstanceSpec) {
        let uid = spec.uid.clone();
        if let Some(before) = self.wanted.get(&uid) {
            if *before.spec == spec {
                return;
            }
            self.surplus.extend(before.spec.addresses.difference(&spec.addresses));
        }
        self.wanted.insert(uid.clone(), Wanted::new(spec));
        self.due.insert(uid);
    }

    /// There is no such one any more.
    pub fn forget(&mut self, uid: &str) {
        if let Some(gone) = self.wanted.remove(uid) {
            self.surplus.extend(&gone.spec.addresses);
            self.due.insert(uid.to_owned());
        }
    }

    /// One pass.
    pub async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        self.look().await?;
        let (wanted, examined) = (self.wanted.len(), self.due.len());
        let mut summary = Summary { wanted, examined, ..Summary::default() };
        self.report_unguarded(&mut summary);
        self.remove_unwanted(&mut summary).await;
        self.release_surplus(&mut summary).await;
        self.tidy()?;
        self.serve_due(&mut summary).await;
        self.suspicious |= !summary.failed.is_empty();
        Ok(summary)
    }

    /// Whether there is any for an object of this kind, wanted or not.
    pub(crate) fn has_any(&self, kind: &str) -> bool {
        self.instances.values().any(|instance| instance.kind == kind)
    }

    /// Whether it is wanted as it is.
    pub(crate) fn wants(&self, spec: &InstanceSpec) -> bool {
        self.wanted.get(&spec.uid).is_some_and(|wanted| *wanted.spec == *spec)
    }

    /// Whether there is one of this uid, wanted or not.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.instances.contains_key(uid)
    }

    /// Whether there is one of this uid that runs.
    pub(crate) fn runs(&self, uid: &str) -> bool {
        self.instances.get(uid).is_some_and(Instance::is_running)
    }

    /// Whether the one of this uid is told of no change at present.
    pub(crate) fn pauses(&self, uid: &str) -> bool {
        self.instances.get(uid).is_some_and(Instance::pauses)
    }

    /// Whether there is one of this uid that has ended, as Docker says now.
    pub(crate) async fn has_ended(&self, uid: &str) -> Result<bool, ReconcileError> {
        let found = self.containers.list().await?;
        Ok(found.iter().any(|found| found.uid == uid && !found.running))
    }

    /// Whether the one of this uid goes by what is wanted.
    pub(crate) fn is_settled(&self, uid: &str) -> bool {
        let rendered = self.wanted.get(uid).and_then(|wanted| wanted.rendered.as_ref());
        let instance = self.instances.get(uid).zip(rendered);
        instance.is_some_and(|(instance, (_, config))| instance.goes_by(&config.generation))
    }

    /// The configuration that lies there for the one of this uid, whether it goes by it or not.
    pub(crate) fn text(&self, uid: &str) -> Option<String> {
        self.configs.directory(uid).text()
    }

    /// Puts another one in its place, which names no files, before it is read by [`Reconciler::resume`].
    pub(crate) fn put_text(&self, uid: &str, text: &str) -> Result<(), ReconcileError> {
        Ok(self.configs.directory(uid).write(text, &Files::new())?)
    }

    fn next_telling(&self) -> Telling {
        Telling(self.telling.fetch_add(1, Ordering::Relaxed))
    }

    fn report_unguarded(&mut self, summary: &mut Summary) {
        if let Some(error) = self.unguarded.take() {
            let subject = "ports that no Service serves".to_owned();
            summary.failed.push(Failure { subject, uid: None, error: error.into() });
            self.addresses_seen = None;
        }
    }

    /// Removes the containers of those that are gone, and those of an older version.
    async fn remove_unwanted(&mut self, summary: &mut Summary) {
        let unwanted = |uid: &&String| {
            let instance = self.instances.get(*uid);
            instance.is_some_and(|instance| {
                self.owners.contains(&instance.kind)
                    && !(instance.is_current() && self.wanted.contains_key(*uid))
            })
        };
        let unwanted: Vec<_> = self.due.iter().filter(unwanted).cloned().collect();
        let containers = &self.containers;
        let removals = unwanted.into_iter().filter_map(|uid| {
            let instance = self.instances.remove(&uid)?;
            Some(async move {
                let result = containers.remove(&instance.id).await;
                (uid, instance, result)
            })
        });
        let removals: Vec<_> = removals.collect();
        let removed: Vec<_> = stream::iter(removals).buffer_unordered(PARALLEL).collect().await;
        for (uid, instance, result) in removed {
            match result {
                Ok(()) => {
                    info!(owner = instance.owner, "removed");
                    summary.removed += 1;
                    self.remove_files(&uid);
                }
                Err(error) => {
                    let (subject, error) = (instance.owner.clone(), error.into());
                    summary.failed.push(Failure { subject, uid: None, error });
                    self.instances.insert(uid, instance);
                }
            }
        }
        self.due.retain(|uid| self.wanted.contains_key(uid) || self.instances.contains_key(uid));
    }

    /// Of one that has no container any more. What can't be removed is left to tidying up.
    fn remove_files(&mut self, uid: &str) {
        if !self.wanted.contains_key(uid) && self.configs.directory(uid).remove().is_err() {
            self.untidy = true;
        }
    }

    async fn release_surplus(&mut self, summary: &mut Summary) {
        if self.surplus.is_empty() {
            return;
        }
        for address in self.wanted.values().flat_map(|wanted| &wanted.spec.addresses) {
            self.surplus.remove(address);
        }
        let foreign = self.instances.values().filter(|i| !self.owners.contains(&i.kind));
        for address in foreign.flat_map(Instance::addresses) {
            self.surplus.remove(address);
        }
        self.surplus.retain(|address| self.held.contains(address));
        for address in self.surplus.clone() {
            match self.addresses.release(address).await {
                Ok(()) => {
                    self.held.remove(&address);
                    self.surplus.remove(&address);
                }
                Err(error) => {
                    let (subject, error) = (address.to_string(), error.into());
                    summary.failed.push(Failure { subject, uid: None, error });
                }
            }
        }
    }

    fn tidy(&mut self) -> Result<(), ReconcileError> {
        if std::mem::take(&mut self.untidy) {
            let foreign = self.instances.iter().filter(|(_, i)| !self.owners.contains(&i.kind));
            let kept = self.wanted.keys().chain(foreign.map(|(uid, _)| uid));
            self.configs.keep_only(&kept.map(String::as_str).collect())?;
        }
        Ok(())
    }
}

fn nanoseconds_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos().try_into().unwrap_or(0)
}
