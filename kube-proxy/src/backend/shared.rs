//! Services carried by one nginx for all of them, which costs the memory of one. nginx takes a configuration as a whole or
//! not at all, so it is found out before where it could not listen: such a socket is left out, and told of, and the others are served.
//!
//! Flow: look at the node, if that is due → take the addresses of new Services, before nginx listens there → if there is
//! news, and what was told last has been taken, tell the nginx → the nginxes, of which some are for a Service alone.
//!
//! Guarantees: a socket is its old nginx's until that is gone, and is never asked for by two; a change is told at once, and
//! those that come meanwhile together, so that there are no more than some reloads a second, however many changes.

mod claims;
mod common;
mod configuration;
mod sockets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use component::dual_stack::DualStack;
use tokio::time::Instant;
use tracing::warn;

use self::{
    claims::Claims,
    configuration::{addresses, shares, spec, without},
    sockets::name,
};
pub use self::{
    configuration::{UID, specs as all_specs},
    sockets::{HostSockets, Sockets},
};
use super::{
    Backend, about_objects, gateway, router,
    service::{self, KIND, OUTSIDE, specs},
    service_addresses::ServiceAddresses,
};
use crate::{
    addresses::Addresses,
    configs::Configs,
    containers::Containers,
    gateway::GatewayPlan,
    instance::InstanceSpec,
    nginx::{Socket, listened},
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Reconciler, Summary},
    router::RouterPlan,
};

/// How often it is looked whether what was left out may be had.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Carries Services by one nginx in a container, and those with session affinity by one each, as [`super::Nginx`] does.
pub struct SharedNginx<C, A> {
    nginxes: Reconciler<C, ServiceAddresses<A>>,
    addresses: ServiceAddresses<A>,
    ranges: DualStack,
    sockets: Box<dyn Sockets>,
    /// By uid.
    plans: BTreeMap<String, ServicePlan>,
    /// Addresses held for what ran before, until it is known whose they are.
    resumed: BTreeSet<IpAddr>,
    /// Addresses to let go once nginx does not listen there.
    unwanted: BTreeSet<IpAddr>,
    told: Told,
    claims: Claims,
    /// Whether there may be something that is not told yet.
    stale: bool,
    /// By Service and its uid, where it is not served, and why.
    left_out: BTreeMap<(String, String), String>,
}

/// What the nginx of all was told, and what is known of it.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Where it is to listen.
    sockets: BTreeSet<Socket>,
    /// For which Services.
    uids: BTreeSet<String>,
    /// Whether it is not known yet what becomes of it.
    in_flight: bool,
    /// Where it listens as far as is known; nothing as long as nothing is.
    listening: Option<BTreeSet<Socket>>,
    /// Where it listened before: its old workers may for a moment, for which nginx waits.
    before: BTreeSet<Socket>,
    /// Whether it has said so itself.
    is_certain: bool,
    /// Services that it may still have sockets of.
    leaving: BTreeSet<String>,
}

impl<C: fmt::Debug, A: fmt::Debug> fmt::Debug for SharedNginx<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedNginx").field("told", &self.told).finish_non_exhaustive()
    }
}

impl<C: Containers, A: Addresses> SharedNginx<C, A> {
    /// For the virtual IPs of these ranges, on a host with these sockets.
    pub fn new(
        ranges: DualStack,
        containers: C,
        addresses: A,
        configs: Configs,
        sockets: Box<dyn Sockets>,
    ) -> Self {
        let addresses = ServiceAddresses::new(addresses);
        SharedNginx {
            nginxes: Reconciler::new(containers, addresses.clone(), configs),
            addresses,
            ranges,
            sockets,
            plans: BTreeMap::new(),
            resumed: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            told: Told::default(),
            claims: Claims::default(),
            stale: false,
            left_out: BTreeMap::new(),
        }
    }

    /// Takes the addresses at which the nginx of all listened when it was told last: its container does not name them.
    async fn resume_addresses(&mut self) -> Result<(), ReconcileError> {
        self.addresses.fence().await?;
        let sockets = listened(&self.nginxes.text(UID).unwrap_or_default());
        let virtual_ips = addresses(&sockets).into_iter().filter(|ip| self.ranges.contains(*ip));
        self.resumed = virtual_ips.collect();
        self.resumed.iter().for_each(|ip| self.addresses.want(*ip));
        Ok(self.addresses.take_missing().await?)
    }

    /// One that has ended listened at addresses that may not be there now, balancers' say, and would end again: it begins
    /// where it can listen.
    async fn resume_sockets(&mut self) -> Result<(), ReconcileError> {
        if !self.nginxes.has_ended(UID).await? {
            return Ok(());
        }
        let text = self.nginxes.text(UID).unwrap_or_default();
        let is_taken = |(protocol, socket): &Socket| {
            let tried = self.sockets.try_bind(*protocol, *socket);
            tried.inspect_err(|error| warn!(%socket, %error, "not listened at")).is_err()
        };
        let taken: BTreeSet<_> = listened(&text).into_iter().filter(is_taken).collect();
        if !taken.is_empty() {
            self.nginxes.put_text(UID, &without(&text, &taken))?;
        }
        Ok(())
    }

    fn drop_service(&mut self, uid: &str) {
        if let Some(gone) = self.plans.remove(uid) {
            gone.ips.into_iter().for_each(|ip| self.let_go(ip));
            self.stale = true;
        }
    }

    /// Another Service may have got it before it was said that this one has it no more.
    fn let_go(&mut self, address: IpAddr) {
        if !self.plans.values().any(|plan| plan.ips.contains(&address)) {
            self.addresses.forget(address);
            self.unwanted.insert(address);
        }
    }

    async fn release_unwanted(&mut self) {
        if self.stale || self.told.in_flight {
            return;
        }
        for address in mem::take(&mut self.unwanted) {
            if self.addresses.holds(address) {
                // The next look at addresses lets go what is left, or tells why it is.
                drop(self.addresses.release(address).await);
            }
        }
    }

    /// Whether there is something to tell that has to wait.
    fn tell_if_due(&mut self) -> bool {
        // What comes meanwhile is told with it.
        let pauses = self.nginxes.pauses(UID);
        let tries_again =
            !self.left_out.is_empty() && self.told.at.is_some_and(|at| at.elapsed() >= TRY_AGAIN);
        if !self.stale && !tries_again {
            return false;
        }
        if self.told.in_flight || pauses {
            return true;
        }
        let plans = mem::take(&mut self.plans);
        self.tell(&plans);
        self.plans = plans;
        self.stale
    }

    fn tell(&mut self, plans: &BTreeMap<String, ServicePlan>) {
        let (shared, own): (Vec<_>, Vec<_>) = plans.values().partition(|plan| shares(plan));
        let (ready, waiting): (Vec<_>, Vec<_>) =
            shared.into_iter().partition(|plan| self.may_be_shared(plan));
        let wanted: Vec<_> =
            ready.iter().map(|plan| (&*plan.uid, service::sockets(plan))).collect();
        let others = self.claims.settle(&wanted);
        let unusable = self.unusable();
        let spec = (!ready.is_empty()).then(|| {
            spec(ready.iter().copied(), |plan, socket| {
                self.claims.has(&plan.uid, socket) && !unusable.contains_key(socket)
            })
        });
        let uids: BTreeSet<_> = ready.iter().map(|plan| plan.uid.clone()).collect();
        self.left_out = left_out(&ready, &others, &unusable, &self.claims);
        self.told.leaving.extend(self.told.uids.difference(&uids).cloned());
        let (free, bound): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|plan| !self.told.leaving.contains(&plan.uid));
        self.stale = !waiting.is_empty() || !bound.is_empty();
        let own = free.into_iter().flat_map(specs).collect();
        self.told.uids = uids;
        self.want_nginxes(spec, own);
    }

    /// Its sockets are its own nginx's until that is gone; and nobody listens at an address that is not there.
    fn may_be_shared(&self, plan: &ServicePlan) -> bool {
        let has_own = ["", OUTSIDE].iter().any(|of| self.nginxes.has(&format!("{}{of}", plan.uid)));
        !has_own && plan.ips.iter().all(|ip| self.addresses.holds(*ip))
    }

    /// Where the nginx of all could not listen, and why.
    fn unusable(&mut self) -> BTreeMap<Socket, String> {
        let text = || self.nginxes.text(UID).unwrap_or_default();
        let Told { listening, before, .. } = &mut self.told;
        // Of another kube-proxy: what it was told is what it goes by, or is about to.
        let listening = listening.get_or_insert_with(|| listened(&text()));
        let is_ours = |socket: &Socket| listening.contains(socket) || before.contains(socket);
        let tried = self.claims.sockets().filter(|(socket, _)| !is_ours(socket));
        let refused = tried.filter_map(|(socket, _)| {
            let error = self.sockets.try_bind(socket.0, socket.1).err()?;
            Some((*socket, error.to_string()))
        });
        refused.collect()
    }

    fn want_nginxes(&mut self, spec: Option<InstanceSpec>, own: Vec<InstanceSpec>) {
        self.told.at = Some(Instant::now());
        self.told.sockets =
            spec.iter().flat_map(|spec| listened(&spec.configuration.stream)).collect();
        self.told.in_flight = spec.as_ref().is_some_and(|spec| !self.nginxes.wants(spec));
        self.nginxes.want_all(KIND, spec.into_iter().chain(own).collect());
    }

    /// What a pass has shown of the nginx of all.
    fn take_in(&mut self, summary: &Summary) {
        let of_all = |failure: &&Failure| failure.uid.as_deref() == Some(UID);
        let faults: Vec<_> = summary.failed.iter().filter(of_all).map(|it| &it.error).collect();
        if self.nginxes.is_settled(UID) {
            self.told.is_now_at(self.told.sockets.clone());
        }
        if !faults.is_empty() {
            // Somebody may have taken a socket in between.
            (self.told.in_flight, self.stale) = (false, true);
            self.told.before.clear();
            // One that could not be told, of a full disk say, listens where it did: its own sockets are nobody else's.
            let is_refused = faults.iter().any(|it| matches!(it, ReconcileError::NotTaken(_)));
            if is_refused && !self.told.is_certain {
                self.told.is_nowhere();
            }
        }
    }

    /// One that has ended has let go of everything: before it is started again it is found out what others have taken.
    fn take_in_end(&mut self) {
        if !self.nginxes.runs(UID) {
            self.told.is_nowhere();
            self.stale |= !self.told.uids.is_empty();
        }
    }
}

impl Told {
    fn is_now_at(&mut self, sockets: BTreeSet<Socket>) {
        if self.listening.as_ref() != Some(&sockets) {
            self.before = self.listening.replace(sockets).unwrap_or_default();
        }
        (self.is_certain, self.in_flight) = (true, false);
        self.leaving.clear();
    }

    /// Whether there are Services that it does not serve yet.
    fn lacks_any(&self, plans: &BTreeMap<String, ServicePlan>) -> bool {
        let is_told_of = |plan: &ServicePlan| self.uids.contains(&plan.uid) || !shares(plan);
        let listens = self.listening.as_ref().is_some_and(|it| self.sockets.is_subset(it));
        !listens || !plans.values().all(is_told_of)
    }

    fn is_nowhere(&mut self) {
        self.is_now_at(BTreeSet::new());
        self.before.clear();
    }
}

fn left_out(
    ready: &[&ServicePlan],
    others: &BTreeMap<String, BTreeSet<Socket>>,
    unusable: &BTreeMap<Socket, String>,
    claims: &Claims,
) -> BTreeMap<(String, String), String> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (uid, sockets) in others {
        let taken = sockets.iter().map(|it| format!("{}: another Service has it", name(it)));
        reasons.entry(uid).or_default().extend(taken);
    }
    for (socket, uid) in claims.sockets() {
        let why = unusable.get(socket).map(|why| format!("{}: {why}", name(socket)));
        if let Some(why) = why {
            reasons.entry(uid).or_default().push(why);
        }
    }
    let reason = |plan: &&ServicePlan| {
        let why = reasons.get(plan.uid.as_str())?;
        Some(((plan.to_string(), plan.uid.clone()), why.join(", ")))
    };
    ready.iter().filter_map(reason).collect()
}

#[async_trait]
impl<C: Containers, A: Addresses> Backend for SharedNginx<C, A> {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        let mut prepared = self.resume_addresses().await;
        if prepared.is_ok() {
            prepared = self.resume_sockets().await;
        }
        let mut failed = self.nginxes.resume().await?;
        if let Err(error) = prepared {
            failed.push(Failure { subject: configuration::OWNER.to_owned(), uid: None, error });
        }
        Ok(failed)
    }

    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
        self.nginxes.look().await
    }

    fn distrust_containers(&mut self) {
        self.nginxes.distrust_containers();
    }

    fn want_all(&mut self, plans: Vec<ServicePlan>) {
        let uids: BTreeSet<&str> = plans.iter().map(|plan| plan.uid.as_str()).collect();
        let gone = self.plans.keys().filter(|uid| !uids.contains(uid.as_str()));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|uid| self.drop_service(uid));
        plans.into_iter().for_each(|plan| self.want(plan));
        mem::take(&mut self.resumed).into_iter().for_each(|ip| self.let_go(ip));
        // What is there may be for nobody.
        self.stale |= self.told.at.is_none();
    }

    fn want(&mut self, plan: ServicePlan) {
        plan.ips.iter().for_each(|ip| self.addresses.want(*ip));
        let before = self.plans.insert(plan.uid.clone(), plan.clone());
        for ip in before.iter().flat_map(|before| before.ips.difference(&plan.ips)) {
            self.let_go(*ip);
        }
        self.stale |= before.as_ref() != Some(&plan);
    }

    fn forget(&mut self, uid: &str) {
        self.drop_service(uid);
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        self.nginxes.want_all(router::KIND, plan.iter().flat_map(router::specs).collect());
    }

    fn want_gateways(&mut self, plans: &[GatewayPlan]) {
        self.nginxes.want_all(gateway::KIND, plans.iter().flat_map(gateway::specs).collect());
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        self.nginxes.look().await?;
        let addressed = self.addresses.take_missing().await;
        self.take_in_end();
        let waits = self.tell_if_due();
        let mut summary = self.nginxes.pass().await?;
        self.take_in(&summary);
        self.release_unwanted().await;
        let is_under_way = waits || self.told.in_flight;
        summary.pending += usize::from(is_under_way);
        summary.starting += usize::from(is_under_way && self.told.lacks_any(&self.plans));
        summary.wanted = self.plans.len();
        if let Err(error) = addressed {
            let subject = "addresses of Services".to_owned();
            summary.failed.push(Failure { subject, uid: None, error: error.into() });
        }
        let left_out = self.left_out.iter().map(|((subject, uid), why)| Failure {
            subject: subject.clone(),
            uid: Some(uid.clone()),
            error: ReconcileError::LeftOut(why.clone()),
        });
        summary.failed.extend(left_out);
        Ok(about_objects(summary))
    }
}
