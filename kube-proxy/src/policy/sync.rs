//! The loop over policies, and what it tells people. The pods of the cluster are followed only while there is a policy.
//!
//! Guarantees: the kernel's table changes as a whole; it stays while this program is away, and until it knows everything
//! again; it comes back if somebody takes it away, and goes with the last policy.

use std::{io, sync::Arc, time::Duration};

use api_types::api::core::v1::Node;
use component::Check;
use kube::runtime::reflector::Store;
use listwatch::ListWatch;
use packet_filter::nftables::{Contents, Found, Table};
use prometheus_client::metrics::gauge::Gauge;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Cluster, Policy,
    outlook::{Outlook, Subjects},
    table,
    watch::Kept,
};
use crate::{
    bridged,
    family::Family,
    metrics::count,
    pace::{Outcome, Pace},
    routes::kernel::Kernel,
    wake::Wake,
    world::{self, World},
};

/// How often it is looked whether the kernel's table is as it was made.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the table of this host.
#[derive(Debug)]
pub struct Keeper {
    outlook: Outlook,
    tables: Vec<TableOfFamily>,
    outlets: Outlets,
    wake: Arc<Wake>,
    /// Whether there is no table, as nobody needs it.
    clear: bool,
}

/// That of the packets of one family.
#[derive(Debug)]
struct TableOfFamily {
    family: Family,
    table: Table,
    written: Option<Written>,
}

/// What the kernel has.
#[derive(Debug)]
struct Written {
    contents: Contents,
    looked: Instant,
}

/// Where it is told how things are.
#[derive(Clone, Debug)]
pub struct Outlets {
    check: Check,
    policies: Gauge,
    pods: Gauge,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("addresses of this host")]
    Addresses(#[from] netlink::Error),
    #[error("rules of nftables (its tool is in the package nftables)")]
    Rules(#[from] packet_filter::Error),
    #[error("the watches have ended")]
    Watches,
    #[error("pods of one node reach each other whatever policies say")]
    Bridged(#[from] bridged::Unset),
}

impl Outlets {
    /// Makes the metrics and has them served.
    pub fn new(check: Check, registry: &component::Metrics) -> Self {
        let outlets = Outlets { check, policies: Gauge::default(), pods: Gauge::default() };
        let Outlets { policies, pods, .. } = outlets.clone();
        registry.register("kubeproxy_network_policies", "NetworkPolicies of the cluster", policies);
        let help = "Pods of this host that a NetworkPolicy isolates";
        registry.register("kubeproxy_network_policy_isolated_pods", help, pods);
        outlets
    }
}

/// Removes the tables that a program before this one has kept for the node; one that is not there is fine.
///
/// # Errors
///
/// The tool refuses.
pub async fn remove(here: &world::Here) -> Result<(), packet_filter::Error> {
    for TableOfFamily { table, .. } in tables_of(here) {
        match table.remove().await {
            // Where there is no tool there is no table.
            Err(packet_filter::Error::Run(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            }
            done => done?,
        }
    }
    Ok(())
}

/// What is left of the tables where nobody enforces policies, in words.
pub(crate) async fn left(here: &world::Here) -> Result<Vec<String>, packet_filter::Error> {
    let mut found = Vec::new();
    for TableOfFamily { table, .. } in tables_of(here) {
        found.extend(table.differences(None).await?);
    }
    Ok(found)
}

/// What of the tables is not as the API server's policies want it, in words.
pub(crate) async fn differences(
    here: world::Here,
    kernel: Kernel,
    world: &World,
    nodes: &Store<Node>,
    listwatch: &ListWatch,
) -> Result<Vec<String>, Fault> {
    let (tables, wake) = (tables_of(&here), Arc::<Wake>::default());
    let (policies, policies_watch) = Kept::follow(listwatch, wake.clone(), Policy::read);
    let (subjects, following) = Subjects::follow(listwatch, wake.clone());
    let listed = async {
        loop {
            if let Some(cluster) = policies.all().and_then(|policies| subjects.under(policies)) {
                return cluster;
            }
            wake.wait(LOOK).await;
        }
    };
    let cluster = tokio::select! {
        cluster = listed => cluster,
        () = policies_watch => return Err(Fault::Watches),
        () = following => return Err(Fault::Watches),
    };
    let rules = match cluster.policies.is_empty() {
        true => None,
        false => Some(Outlook::new(here, kernel).rules(cluster, world, nodes).await?),
    };
    let mut found = Vec::new();
    for TableOfFamily { family, table, .. } in tables {
        let contents = rules.as_ref().map(|rules| table::contents(rules, family));
        found.extend(table.differences(contents.as_ref()).await?);
    }
    Ok(found)
}

impl Keeper {
    /// Nothing is touched yet.
    pub fn new(here: world::Here, kernel: Kernel, outlets: Outlets) -> Self {
        let (tables, wake) = (tables_of(&here), Arc::default());
        let outlook = Outlook::new(here, kernel);
        Keeper { outlook, tables, outlets, wake, clear: false }
    }

    /// What to call when nodes change.
    pub fn wake(&self) -> Arc<Wake> {
        self.wake.clone()
    }

    /// Passes until dropped. Nothing is touched before all that there is is here.
    pub async fn run(&mut self, world: &World, nodes: &Store<Node>, listwatch: &ListWatch) {
        world.also_wake(self.wake.clone());
        self.outlets.check.failed("waiting for the list of policies");
        let (policies, following) = Kept::follow(listwatch, self.wake.clone(), Policy::read);
        tokio::select! {
            () = following => {}
            () = self.keep(&policies, world, nodes, listwatch) => {}
        }
    }

    async fn keep(
        &mut self,
        policies: &Kept<Policy>,
        world: &World,
        nodes: &Store<Node>,
        listwatch: &ListWatch,
    ) {
        let mut pace = Pace::default();
        loop {
            let any = policies.all().map(|all| !all.is_empty());
            let outcome = match any {
                None => Outcome::Well,
                Some(false) => {
                    let result = self.clear().await;
                    self.outlets.report(result)
                }
                Some(true) => {
                    self.enforce(policies, world, nodes, listwatch).await;
                    Outcome::Pending
                }
            };
            pace.wait(outcome, &self.wake).await;
        }
    }

    async fn clear(&mut self) -> Result<(), Fault> {
        if self.clear {
            return Ok(());
        }
        self.outlets.policies.set(0);
        self.outlets.pods.set(0);
        remove(&self.outlook.here).await?;
        self.clear = true;
        let written = self.tables.iter_mut().filter_map(|of_family| of_family.written.take());
        if written.count() > 0 {
            info!("the last network policy has gone, and the rules with it");
        }
        Ok(())
    }

    /// Until there is no policy any more.
    async fn enforce(
        &mut self,
        policies: &Kept<Policy>,
        world: &World,
        nodes: &Store<Node>,
        listwatch: &ListWatch,
    ) {
        self.clear = false;
        if self.tables.iter().any(|of_family| of_family.written.is_none()) {
            self.outlets.check.failed("waiting for the pods and namespaces that policies go by");
        }
        let (subjects, following) = Subjects::follow(listwatch, self.wake.clone());
        let passes = async {
            world.ready().await;
            let mut pace = Pace::default();
            loop {
                let outcome = match policies.all() {
                    Some(policies) if policies.is_empty() => return,
                    Some(policies) => match subjects.under(policies) {
                        Some(cluster) => {
                            let result = self.pass(cluster, world, nodes).await;
                            self.outlets.report(result)
                        }
                        None => Outcome::Well,
                    },
                    None => Outcome::Well,
                };
                pace.wait(outcome, &self.wake).await;
            }
        };
        tokio::select! {
            () = following => {}
            () = passes => {}
        }
    }

    async fn pass(
        &mut self,
        cluster: Cluster,
        world: &World,
        nodes: &Store<Node>,
    ) -> Result<(), Fault> {
        self.outlets.policies.set(count(cluster.policies.len()));
        let rules = self.outlook.rules(cluster, world, nodes).await?;
        let isolated = rules.known.iter();
        let isolated = isolated
            .filter(|pod| rules.ingress.contains_key(*pod) || rules.egress.contains_key(*pod));
        self.outlets.pods.set(count(isolated.count()));
        for of_family in &mut self.tables {
            let family = of_family.family;
            of_family.write(table::contents(&rules, family)).await?;
            bridged::packets_meet_the_rules(family).await?;
        }
        Ok(())
    }
}

impl TableOfFamily {
    /// The first time it is changed from what there is, so that it is never open meanwhile.
    async fn write(&mut self, wanted: Contents) -> Result<(), Fault> {
        // Until it is known what there is: it may fail, or its caller be dropped.
        match self.written.take() {
            None => drop(self.table.ensure(&wanted).await?),
            Some(written) if written.looked.elapsed() < LOOK => {
                self.table.change(&Found::of(&written.contents), &wanted).await?;
                self.written = Some(Written { contents: wanted, ..written });
                return Ok(());
            }
            Some(written) => {
                let found = self.table.read().await?;
                if found.as_ref() != Some(&Found::of(&written.contents)) {
                    warn!("somebody had changed our rules for network policies; they come back");
                }
                match found {
                    Some(found) => drop(self.table.change(&found, &wanted).await?),
                    None => self.table.replace(&wanted).await?,
                }
            }
        }
        self.written = Some(Written { contents: wanted, looked: Instant::now() });
        Ok(())
    }
}

impl Outlets {
    fn report(&self, result: Result<(), Fault>) -> Outcome {
        match result {
            Ok(()) => {
                self.check.ready();
                Outcome::Well
            }
            Err(fault) => {
                let why = format!("{:#}", anyhow::Error::from(fault));
                warn!("network policies are not enforced as they should be: {why}");
                self.check.failed(why);
                Outcome::Failed
            }
        }
    }
}

/// One for each family that the cluster has.
fn tables_of(here: &world::Here) -> Vec<TableOfFamily> {
    let digest = Sha256::digest(&here.node);
    let mark: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let table = |family: Family| TableOfFamily {
        family,
        table: Table { family: family.word(), name: format!("minik8s-policy-{mark}") },
        written: None,
    };
    here.service_cidr.iter().map(|range| table(Family::of(range.addr()))).collect()
}
