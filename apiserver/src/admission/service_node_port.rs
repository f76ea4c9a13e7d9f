//! Services that are reached by ports of the nodes get them, each for no other service (Kubernetes:
//! `pkg/registry/core/service/portallocator`, and `alloc.go` for who gets which).

mod wishes;

use std::{collections::BTreeSet, sync::Arc};

use api_machinery::{ApiError, FieldErrors};
use api_types::api::core::v1::{Service, ServiceSpec};
use async_trait::async_trait;
use registry::AnyObject;

use self::wishes::{Target, Wishes};
use super::{
    Attributes, Claim, Plugin,
    admitted::Admitted,
    claims::{Claimed, NODE_PORTS, Owner},
    service_cluster_ip::random_below,
};
use crate::{
    config::PortRange,
    storage::{self, Address, Storage},
};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceNodePort {
    pub(super) storage: Arc<Storage>,
    pub(super) range: PortRange,
}

#[async_trait]
impl Plugin for ServiceNodePort {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let object = object.filter(|_| attributes.is_core("services"));
        let Some(service) = object.and_then(AnyObject::get_mut::<Service>) else {
            return Ok(Vec::new());
        };
        let owner = Owner::named(&service.metadata, attributes.uid);
        let name = service.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &mut service.spec else { return Ok(Vec::new()) };
        let old = attributes.old.and_then(AnyObject::get::<Service>);
        let old = old.and_then(|old| old.spec.as_ref());
        if let Some(old) = old {
            registry::service::update(spec, old);
        }
        let request = Request { owner, name, dry_run: attributes.dry_run };
        let mut claims = Vec::new();
        match self.allocate(&request, spec, old, &mut claims).await {
            Ok(()) => Ok(claims),
            Err(error) => {
                Admitted(claims).undo(&self.storage).await;
                Err(error)
            }
        }
    }

    async fn changed(&self, _: Address<'_>, old: &AnyObject, new: &AnyObject) {
        let kept = held(new);
        let gone: Vec<_> = held(old).difference(&kept).copied().collect();
        self.release(old, &gone).await;
    }

    async fn removed(&self, _: Address<'_>, object: &AnyObject) {
        self.release(object, &held(object).into_iter().collect::<Vec<_>>()).await;
    }
}

/// For whom ports are.
struct Request {
    owner: Owner,
    name: String,
    dry_run: bool,
}

impl ServiceNodePort {
    /// Gives the spec its ports; what was claimed for that is in `claims`, whatever comes of it.
    async fn allocate(
        &self,
        request: &Request,
        spec: &mut ServiceSpec,
        old: Option<&ServiceSpec>,
        claims: &mut Vec<Claim>,
    ) -> Result<(), ApiError> {
        let Wishes { these, shared, any } = wishes::of(spec, old);
        for (target, number) in &these {
            self.claim_this(request, *target, *number, claims).await?;
            target.set(spec, *number);
        }
        shared.iter().for_each(|(target, number)| target.set(spec, *number));
        if any.is_empty() {
            return Ok(());
        }
        let taken = NODE_PORTS.all(&self.storage).await.map_err(storage::api_error)?;
        let mut taken: BTreeSet<u16> = taken.into_keys().collect();
        // Those of a dry run are claimed for nobody.
        taken.extend(these.iter().map(|(_, number)| *number));
        for targets in any {
            let number = self.claim_any(request, targets[0], &mut taken, claims).await?;
            targets.iter().for_each(|target| target.set(spec, number));
        }
        Ok(())
    }

    async fn claim_this(
        &self,
        request: &Request,
        target: Target,
        number: u16,
        claims: &mut Vec<Claim>,
    ) -> Result<(), ApiError> {
        let refuse = |why: &str| Err(refused(&request.name, target, number, why));
        if !self.range.contains(number) {
            return refuse(&format!(
                "provided port is not in the valid range. The range of valid ports is {}",
                self.range
            ));
        }
        let Request { owner, dry_run, .. } = request;
        match NODE_PORTS.claim_or_try(&self.storage, number, owner, *dry_run).await? {
            Claimed::Taken => return refuse("provided port is already allocated"),
            Claimed::Free => {}
            Claimed::Ours(claim) => claims.push(claim),
        }
        Ok(())
    }

    async fn claim_any(
        &self,
        request: &Request,
        target: Target,
        taken: &mut BTreeSet<u16>,
        claims: &mut Vec<Claim>,
    ) -> Result<u16, ApiError> {
        let Request { owner, dry_run, .. } = request;
        for number in candidates(self.range) {
            if !taken.insert(number) {
                continue;
            }
            match NODE_PORTS.claim_or_try(&self.storage, number, owner, *dry_run).await? {
                Claimed::Taken => continue,
                Claimed::Free => {}
                Claimed::Ours(claim) => claims.push(claim),
            }
            return Ok(number);
        }
        let what = match target {
            Target::Port(_) => "nodePort",
            Target::HealthCheck => "HealthCheck NodePort",
        };
        Err(ApiError::internal(format!("failed to allocate a {what}: range is full")))
    }

    async fn release(&self, service: &AnyObject, ports: &[u16]) {
        let owner = Owner::holder(service.metadata());
        for port in ports {
            NODE_PORTS.release(&self.storage, *port, &owner).await;
        }
    }
}

/// The ports that a service holds.
fn held(object: &AnyObject) -> BTreeSet<u16> {
    let spec = object.get::<Service>().and_then(|service| service.spec.as_ref());
    spec.map(wishes::numbers).unwrap_or_default()
}

/// From a random one on, so that servers do not race for the same and a new service does not get the port of one just
/// deleted; those at the beginning, which people choose from, come last (Kubernetes: `ServiceNodePortStaticSubrange`).
fn candidates(range: PortRange) -> impl Iterator<Item = u16> {
    let size = usize::from(range.last - range.first) + 1;
    let chosen_by_people = if size < 32 { 0 } else { (size / 32).clamp(16, 128) };
    let first = range.first + u16::try_from(chosen_by_people).unwrap_or_default();
    let start =
        first + u16::try_from(random_below((size - chosen_by_people) as u128)).unwrap_or_default();
    (start..=range.last).chain(first..start).chain(range.first..first)
}

fn refused(name: &str, target: Target, number: u16, why: &str) -> ApiError {
    if target == Target::HealthCheck {
        let what = format!("failed to allocate requested HealthCheck NodePort {number}: {why}");
        return ApiError::internal(what);
    }
    let mut errors = FieldErrors::default();
    errors.invalid(&target.path(), number, why);
    ApiError::invalid("", "Service", name, &errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_of_a_range_is_a_candidate_once_and_those_for_people_last() {
        for (first, last) in [(30_000, 32_767), (30_000, 30_040), (5, 5), (1, 65_535)] {
            let all: Vec<_> = candidates(PortRange { first, last }).collect();
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            assert_eq!(all.len(), usize::from(last - first) + 1);
        }
        let all: Vec<_> = candidates(PortRange { first: 30_000, last: 32_767 }).collect();
        assert_eq!(all[all.len() - 86..], (30_000..30_086).collect::<Vec<_>>());
    }
}
