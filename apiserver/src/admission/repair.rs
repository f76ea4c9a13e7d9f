//! Making services and claims agree again, after a crash between claim and creation or between removal and release,
//! after a restored backup, after a write that nobody knows the outcome of
//! (Kubernetes: `ipallocator/controller` and `portallocator/controller`).

mod sorts;

use std::{collections::BTreeMap, net::IpAddr};

use api_machinery::ApiError;
use ipnet::IpNet;
use registry::ResourceDef;
use serde_json::Value;
use store::Revision;

use self::sorts::{ClusterIps, Fault, NodePorts, Sort};
use super::claims::{Found, Owner};
use crate::{
    catalogue::Catalogue,
    config::PortRange,
    encoded::readable,
    query::ReadAt,
    storage::{self, Address, Storage},
};

/// Claims without a service, as a call found them.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    addresses: BTreeMap<IpAddr, Revision>,
    ports: BTreeMap<u16, Revision>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
struct Findings<'a, T> {
    faults: Vec<(T, &'a Value, Fault)>,
    orphans: BTreeMap<T, Revision>,
}

/// Looks through all services and claims.
#[derive(Debug)]
pub(crate) struct Repair<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) storage: &'a Storage,
    pub(crate) addresses: Vec<IpNet>,
    pub(crate) ports: PortRange,
}

/// What users are to be told of a service.
#[derive(Debug)]
pub(crate) struct Warning {
    pub(crate) service: Value,
    pub(crate) reason: &'static str,
    pub(crate) action: &'static str,
    pub(crate) message: String,
}

impl Repair<'_> {
    /// Gives back claims that no service holds, claims what services hold without, and reports the rest.
    ///
    /// *Assumptions*: `suspects` are the claims without a service of the call before; a claim is given back only if it
    /// was suspect then already, since a service may be on its way between claim and creation; with a service that can't
    /// be read none is, as nobody knows what that one holds. They are replaced by
    /// those of this call. *Order*: services are read before claims, so that a service created in between is no fault.
    pub(crate) async fn run(&self, suspects: &mut Suspects) -> Result<Vec<Warning>, ApiError> {
        let Some(def) = self.catalogue.find("", "v1", "services") else { return Ok(Vec::new()) };
        let snapshot = self.storage.list(&def.prefix(None), ReadAt::MostRecent).await?;
        let mut services = Vec::new();
        let mut all_are_read = true;
        for item in snapshot.items.iter() {
            match readable(item) {
                Ok(service) => services.push(service.value()),
                Err(error) => {
                    tracing::warn!(%error, "a service can't be read; no cluster IP or node port is given back");
                    all_are_read = false;
                }
            }
        }
        if !all_are_read {
            *suspects = Suspects::default();
        }
        let (addresses, ports) = (ClusterIps(self.addresses.clone()), NodePorts(self.ports));
        let mut warnings = self.sweep(def, &services, &addresses, &mut suspects.addresses).await?;
        warnings.extend(self.sweep(def, &services, &ports, &mut suspects.ports).await?);
        Ok(warnings)
    }

    async fn sweep<S: Sort>(
        &self,
        def: &ResourceDef,
        services: &[Value],
        sort: &S,
        suspects: &mut BTreeMap<S::Value, Revision>,
    ) -> Result<Vec<Warning>, ApiError> {
        let claims = S::CLAIMS.all(self.storage).await.map_err(storage::api_error)?;
        let findings = examine(sort, services, &claims);
        let mut warnings = Vec::new();
        for (value, service, fault) in findings.faults {
            match self.mend(def, sort, value, service, fault).await {
                Ok(warning) => warnings.extend(warning),
                Err(error) => tracing::warn!(%value, %error, "claim can't be mended now"),
            }
        }
        let is_proven =
            |value: &S::Value, revision: &Revision| suspects.get(value) == Some(revision);
        let (proven, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            findings.orphans.into_iter().partition(|(value, revision)| is_proven(value, revision));
        for (value, revision) in proven {
            tracing::warn!(%value, "it is claimed by no service; giving it back");
            S::CLAIMS.give_back(self.storage, value, revision).await;
        }
        *suspects = new;
        Ok(warnings)
    }

    async fn mend<S: Sort>(
        &self,
        def: &ResourceDef,
        sort: &S,
        value: S::Value,
        service: &Value,
        fault: Fault,
    ) -> Result<Option<Warning>, ApiError> {
        // Between the two lists the service may have gone, and its claim with it, or to another.
        if matches!(fault, Fault::NotAllocated | Fault::WrongReference)
            && !self.still_holds::<S>(def, value, service).await?
        {
            return Ok(None);
        }
        if fault == Fault::NotAllocated {
            S::CLAIMS.claim(self.storage, value, &owner(service)).await?;
        }
        let (reason, message) = sort.words(value, fault);
        let (namespace, name) = (text(service, "namespace"), text(service, "name"));
        tracing::warn!(namespace, name, reason, message, "service has a faulty claim");
        Ok(Some(Warning { service: service.clone(), reason, action: S::ACTION, message }))
    }

    async fn still_holds<S: Sort>(
        &self,
        def: &ResourceDef,
        value: S::Value,
        service: &Value,
    ) -> Result<bool, ApiError> {
        let (namespace, name) = (Some(text(service, "namespace")), text(service, "name"));
        match self.storage.get(Address { def, namespace, name }).await {
            Ok(now) => {
                Ok(S::held(&now.object).contains(&value) && owner(&now.object).is(&owner(service)))
            }
            Err(error) if error.code() == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Compares what services hold with what is claimed. Of several services with one value, the one that it is claimed
/// for keeps it, or else the oldest.
fn examine<'a, S: Sort>(
    sort: &S,
    services: &'a [Value],
    claims: &BTreeMap<S::Value, Found>,
) -> Findings<'a, S::Value> {
    let mut holders: BTreeMap<S::Value, Vec<&Value>> = BTreeMap::new();
    for service in services {
        for value in S::held(service) {
            holders.entry(value).or_default().push(service);
        }
    }
    let mut faults = Vec::new();
    for (value, holders) in &mut holders {
        let claim = claims.get(value);
        holders.sort_by_key(|service| {
            let is_owner = claim.is_some_and(|claim| claim.owner.is(&owner(service)));
            (!is_owner, text(service, "creationTimestamp"), text(service, "uid"))
        });
        let is_in_range = sort.is_in_range(*value);
        for (rank, service) in holders.iter().enumerate() {
            let fault = fault(rank, claim, service, is_in_range);
            faults.extend(fault.map(|fault| (*value, *service, fault)));
        }
    }
    let is_orphan =
        |(value, claim): &(&S::Value, &Found)| claim.is_ours && !holders.contains_key(value);
    let orphans = claims.iter().filter(is_orphan);
    Findings { faults, orphans: orphans.map(|(value, claim)| (*value, claim.revision)).collect() }
}

fn fault(rank: usize, claim: Option<&Found>, service: &Value, is_in_range: bool) -> Option<Fault> {
    match (rank, claim) {
        (1.., _) => Some(Fault::AlreadyAllocated),
        _ if !is_in_range => Some(Fault::OutOfRange),
        (0, None) => Some(Fault::NotAllocated),
        (0, Some(claim)) => (!may_be_of(claim, service)).then_some(Fault::WrongReference),
    }
}

/// Whether the claim names this service, or nobody: of a service that is restored the UID is another.
fn may_be_of(claim: &Found, service: &Value) -> bool {
    let (its, own) = (&claim.owner, owner(service));
    its.name.is_none() || its.is(&own) || (&its.namespace, &its.name) == (&own.namespace, &own.name)
}

fn owner(service: &Value) -> Owner {
    let (namespace, name) = (text(service, "namespace"), text(service, "name"));
    Owner::of(Some(namespace), Some(name), text(service, "uid"))
}

fn text<'a>(service: &'a Value, field: &str) -> &'a str {
    service["metadata"][field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 7));

    fn service(name: &str, created: &str, ip: IpAddr) -> Value {
        json!({
            "metadata": {"namespace": "d", "name": name, "uid": name, "creationTimestamp": created},
            "spec": {"clusterIP": ip.to_string()},
        })
    }

    fn check(
        services: &[Value],
        claims: &[(IpAddr, &str)],
        faults: &[(&str, Fault)],
    ) -> BTreeMap<IpAddr, Revision> {
        let found = |uid: &str| Found {
            owner: Owner::of(None, None, uid),
            revision: Revision(5),
            is_ours: uid != "theirs",
        };
        let claims = claims.iter().map(|(ip, uid)| (*ip, found(uid))).collect();
        let range = ClusterIps(vec!["10.96.0.0/16".parse().unwrap()]);
        let findings = examine(&range, services, &claims);
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
        let [other, third] = ["10.96.0.8", "fd00:96::9"].map(|ip| ip.parse().unwrap());
        let orphans = check(&[held], &[(IP, "a"), (other, "b"), (third, "theirs")], &[]);
        assert_eq!(orphans, [(other, Revision(5))].into());
    }

    #[test]
    fn a_claim_that_names_another_is_reported_whoever_made_it() {
        let services = [service("a", "1", IP)];
        let range = ClusterIps(vec!["10.96.0.0/16".parse().unwrap()]);
        let faults = |name, uid, is_ours| {
            let owner = Owner { uid, ..Owner::of(Some("d"), Some(name), "") };
            let claims = [(IP, Found { owner, revision: Revision(5), is_ours })].into();
            let findings = examine(&range, &services, &claims);
            findings.faults.into_iter().map(|(_, _, fault)| fault).collect::<Vec<_>>()
        };
        assert_eq!(faults("b", None, false), [Fault::WrongReference]);
        assert_eq!(faults("b", Some("b".to_owned()), true), [Fault::WrongReference]);
        assert!(faults("a", None, false).is_empty());
        assert!(faults("a", Some("restored".to_owned()), true).is_empty());
    }

    #[test]
    fn an_address_of_another_range_is_reported_and_not_claimed() {
        let foreign = service("a", "1", "10.97.0.1".parse().unwrap());
        check(&[foreign], &[], &[("a", Fault::OutOfRange)]);
    }

    #[test]
    fn a_service_holds_its_address_of_each_family() {
        let mut service = service("a", "1", IP);
        service["spec"]["clusterIPs"] = json!([IP.to_string(), "fd00:96::7"]);
        let second = "fd00:96::7".parse().unwrap();
        let range =
            ClusterIps(vec!["10.96.0.0/16".parse().unwrap(), "fd00:96::/112".parse().unwrap()]);
        let services = [service];
        let findings = examine(&range, &services, &BTreeMap::new());
        let faults: Vec<_> = findings.faults.iter().map(|(ip, _, fault)| (*ip, *fault)).collect();
        assert_eq!(faults, [(IP, Fault::NotAllocated), (second, Fault::NotAllocated)]);
        let words = range.words(second, Fault::NotAllocated).1;
        assert_eq!(words, "Cluster IP [IPv6]: fd00:96::7 is not allocated; repairing");
    }
}
