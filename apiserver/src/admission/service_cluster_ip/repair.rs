//! Making services and claims agree again, after a crash between claim and creation or between removal and release,
//! after a restored backup, after a write that nobody knows the outcome of
//! (Kubernetes: `pkg/registry/core/service/ipallocator/controller`).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api_machinery::ApiError;
use ipnet::Ipv4Net;
use registry::ResourceDef;
use serde_json::Value;
use store::Revision;

use super::{
    can_be_given,
    claims::{self, Found, Owner},
};
use crate::{
    catalogue::Catalogue,
    encoded::readable,
    query::ReadAt,
    storage::{self, Address, Storage},
};

/// Claims without a service, as a call found them.
pub(crate) type Suspects = BTreeMap<Ipv4Addr, Revision>;

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The service holds it without a claim.
    NotAllocated,
    /// Another service holds it too, and with more right.
    AlreadyAllocated,
    OutOfRange,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
struct Findings<'a> {
    faults: Vec<(Ipv4Addr, &'a Value, Fault)>,
    orphans: Suspects,
}

/// Looks through all services and claims.
#[derive(Debug)]
pub(crate) struct Repair<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) storage: &'a Storage,
    pub(crate) range: Ipv4Net,
}

/// What users are to be told of a service.
#[derive(Debug)]
pub(crate) struct Warning {
    pub(crate) service: Value,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Repair<'_> {
    /// Gives back claims that no service holds, claims what services hold without, and reports the rest.
    ///
    /// *Assumptions*: `suspects` are the claims without a service of the call before; a claim is given back only if it
    /// was suspect then already, since a service may be on its way between claim and creation. They are replaced by
    /// those of this call. *Order*: services are read before claims, so that a service created in between is no fault.
    pub(crate) async fn run(&self, suspects: &mut Suspects) -> Result<Vec<Warning>, ApiError> {
        let Some(def) = self.catalogue.find("", "v1", "services") else { return Ok(Vec::new()) };
        let snapshot = self.storage.list(&def.prefix(None), ReadAt::MostRecent).await?;
        // With a service that can't be read nobody knows which address it holds, and none can be given back.
        let services = snapshot.items.iter().map(|item| Ok(readable(item)?.value()));
        let services = services.collect::<Result<Vec<Value>, ApiError>>()?;
        let claims = claims::all(self.storage).await.map_err(storage::api_error)?;
        let findings = examine(&services, &claims, self.range);
        let mut warnings = Vec::new();
        for (ip, service, fault) in findings.faults {
            match self.mend(def, ip, service, fault).await {
                Ok(warning) => warnings.extend(warning),
                Err(error) => tracing::warn!(%ip, %error, "address can't be mended now"),
            }
        }
        let is_proven = |ip: &Ipv4Addr, revision: &Revision| suspects.get(ip) == Some(revision);
        let (proven, new): (Suspects, Suspects) =
            findings.orphans.into_iter().partition(|(ip, revision)| is_proven(ip, revision));
        for (ip, revision) in proven {
            tracing::warn!(%ip, "address is claimed by no service; giving it back");
            claims::give_back(self.storage, ip, revision).await;
        }
        *suspects = new;
        Ok(warnings)
    }

    async fn mend(
        &self,
        def: &ResourceDef,
        ip: Ipv4Addr,
        service: &Value,
        fault: Fault,
    ) -> Result<Option<Warning>, ApiError> {
        if fault == Fault::NotAllocated {
            // Between the two lists the service may have gone, and its claim with it.
            if !self.still_holds(def, ip, service).await? {
                return Ok(None);
            }
            claims::claim(self.storage, ip, &owner(service)).await?;
        }
        let (reason, message) = words(ip, fault);
        let (namespace, name) = (text(service, "namespace"), text(service, "name"));
        tracing::warn!(namespace, name, reason, message, "service has a faulty address");
        Ok(Some(Warning { service: service.clone(), reason, message }))
    }

    async fn still_holds(
        &self,
        def: &ResourceDef,
        ip: Ipv4Addr,
        service: &Value,
    ) -> Result<bool, ApiError> {
        let (namespace, name) = (Some(text(service, "namespace")), text(service, "name"));
        match self.storage.get(Address { def, namespace, name }).await {
            Ok(now) => {
                Ok(cluster_ip(&now.object) == Some(ip) && owner(&now.object).is(&owner(service)))
            }
            Err(error) if error.code() == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Compares what services hold with what is claimed. Of several services with one address, the one that it is claimed
/// for keeps it, or else the oldest.
fn examine<'a>(
    services: &'a [Value],
    claims: &BTreeMap<Ipv4Addr, Found>,
    range: Ipv4Net,
) -> Findings<'a> {
    let mut holders: BTreeMap<Ipv4Addr, Vec<&Value>> = BTreeMap::new();
    for service in services {
        if let Some(ip) = cluster_ip(service) {
            holders.entry(ip).or_default().push(service);
        }
    }
    let mut faults = Vec::new();
    for (ip, holders) in &mut holders {
        let claim = claims.get(ip);
        holders.sort_by_key(|service| {
            let is_owner = claim.is_some_and(|claim| claim.owner.is(&owner(service)));
            (!is_owner, text(service, "creationTimestamp"), text(service, "uid"))
        });
        for (rank, service) in holders.iter().enumerate() {
            faults.extend(fault(*ip, rank, claim, range).map(|fault| (*ip, *service, fault)));
        }
    }
    let held: BTreeSet<_> = holders.keys().collect();
    let orphans = claims.iter().filter(|(ip, _)| !held.contains(ip));
    Findings { faults, orphans: orphans.map(|(ip, claim)| (*ip, claim.revision)).collect() }
}

fn fault(ip: Ipv4Addr, rank: usize, claim: Option<&Found>, range: Ipv4Net) -> Option<Fault> {
    match (rank, claim) {
        (1.., _) => Some(Fault::AlreadyAllocated),
        _ if !can_be_given(range, ip) => Some(Fault::OutOfRange),
        (0, None) => Some(Fault::NotAllocated),
        (0, Some(_)) => None,
    }
}

fn owner(service: &Value) -> Owner {
    let (namespace, name) = (text(service, "namespace"), text(service, "name"));
    Owner::of(Some(namespace), Some(name), text(service, "uid"))
}

fn cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    service["metadata"][field].as_str().unwrap_or_default()
}

/// Kubernetes' words.
fn words(ip: Ipv4Addr, fault: Fault) -> (&'static str, String) {
    match fault {
        Fault::NotAllocated => (
            "ClusterIPNotAllocated",
            format!("Cluster IP [IPv4]: {ip} is not allocated; repairing"),
        ),
        Fault::AlreadyAllocated => (
            "ClusterIPAlreadyAllocated",
            format!(
                "Cluster IP [IPv4]: {ip} was assigned to multiple services; please recreate service"
            ),
        ),
        Fault::OutOfRange => (
            "ClusterIPOutOfRange",
            format!(
                "Cluster IP [IPv4]: {ip} is not within any configured service CIDR; please recreate service"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);

    fn service(name: &str, created: &str, ip: Ipv4Addr) -> Value {
        json!({
            "metadata": {"namespace": "d", "name": name, "uid": name, "creationTimestamp": created},
            "spec": {"clusterIP": ip.to_string()},
        })
    }

    fn check(
        services: &[Value],
        claims: &[(Ipv4Addr, &str)],
        faults: &[(&str, Fault)],
    ) -> Suspects {
        let found = |uid: &str| Found { owner: Owner::of(None, None, uid), revision: Revision(5) };
        let claims = claims.iter().map(|(ip, uid)| (*ip, found(uid))).collect();
        let findings = examine(services, &claims, "10.96.0.0/16".parse().unwrap());
        let named: Vec<_> = findings.faults.iter().map(|(_, s, f)| (text(s, "name"), *f)).collect();
        assert_eq!(named, faults);
        findings.orphans
    }

    #[test]
    fn of_services_with_one_address_the_one_that_claimed_it_keeps_it() {
        let (old, new) = (service("old", "1", IP), service("new", "2", IP));
        check(&[old.clone(), new.clone()], &[(IP, "new")], &[("old", Fault::AlreadyAllocated)]);
        check(&[new.clone(), old.clone()], &[(IP, "gone")], &[("new", Fault::AlreadyAllocated)]);
        let unclaimed = [("old", Fault::NotAllocated), ("new", Fault::AlreadyAllocated)];
        check(&[new, old], &[], &unclaimed);
    }

    #[test]
    fn claims_without_a_service_are_suspect_with_their_revision() {
        let held = service("a", "1", IP);
        let other = Ipv4Addr::new(10, 96, 0, 8);
        let orphans = check(&[held], &[(IP, "a"), (other, "b")], &[]);
        assert_eq!(orphans, [(other, Revision(5))].into());
    }

    #[test]
    fn an_address_of_another_range_is_reported_and_not_claimed() {
        let foreign = service("a", "1", Ipv4Addr::new(10, 97, 0, 1));
        check(&[foreign], &[], &[("a", Fault::OutOfRange)]);
    }
}
