//! Nothing is stored that would exceed a ResourceQuota of its namespace: what it uses is added to the quota's status first
//! (Kubernetes: `k8s.io/apiserver/pkg/admission/plugin/resourcequota`). The last plugin: what others refuse is not charged.
//!
//! *Guarantees*: usage is added by compare-and-swap, so that all servers together stay within a quota. What was added for an
//! object that is not stored after all, or that is gone, is taken away by the controller that counts anew.

mod charge;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use api_machinery::{ApiError, amounts, quota};
use api_types::{
    api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service},
    jiff::Timestamp,
};
use async_trait::async_trait;
use registry::{AnyObject, ResourceDef};
use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use self::charge::Charge;
use super::{Attributes, Operation, Plugin};
use crate::{
    catalogue::InForce,
    encoded::readable,
    storage::{Address, Storage, Stored},
};

/// In so many groups namespaces take turns.
const TURNS: usize = 64;
/// For so long a request waits until it is its turn, and is charged (Kubernetes: `quotaEvaluator`).
const PATIENCE: Duration = Duration::from_secs(10);
/// What is not counted: it comes by itself, and in the middle of what was refused.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

/// See the module.
#[derive(Debug)]
pub(super) struct ResourceQuotas {
    catalogue: InForce,
    storage: Arc<Storage>,
    /// The requests of this server don't get in each other's way.
    turns: [Mutex<()>; TURNS],
}

#[async_trait]
impl Plugin for ResourceQuotas {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let (Some(object), Some(namespace)) = (object, attributes.at.namespace) else {
            return Ok(());
        };
        let catalogue = self.catalogue.load();
        let Some(def) = catalogue.find("", "v1", "resourcequotas") else { return Ok(()) };
        let names = &attributes.at.def.names;
        let resource = (names.group.as_str(), names.plural.as_str());
        if !is_counted(attributes, object) || IGNORED.contains(&resource) {
            return Ok(());
        }
        let (item, old) = (item(resource, object), attributes.old.map(|old| item(resource, old)));
        let charge = Charge { item, old, now: Timestamp::now() };
        Box::pin(self.charge(def, namespace, &charge, attributes)).await
    }
}

impl ResourceQuotas {
    pub(super) fn new(catalogue: InForce, storage: Arc<Storage>) -> Self {
        let turns = std::array::from_fn(|_| Mutex::default());
        Self { catalogue, storage, turns }
    }

    /// Charges the quotas that are about the object; none of them if one has no room.
    async fn charge(
        &self,
        def: &ResourceDef,
        namespace: &str,
        charge: &Charge<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), ApiError> {
        let quotas = self.quotas(def, namespace)?;
        if attributes.dry_run || quotas.is_empty() {
            let mut all = quotas.iter().map(|quota| charged(charge, quota, attributes));
            return all.try_for_each(|charged| charged.map(drop));
        }
        self.check_is_new(attributes).await?;
        let charged = timeout(PATIENCE, self.charge_in_turn(def, namespace, charge, attributes));
        charged
            .await
            .unwrap_or_else(|_| Err(ApiError::internal("resource quota evaluation timed out")))
    }

    /// Fails if what is to be created is there: it would be charged each time that somebody tries.
    async fn check_is_new(&self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        let is_creation = attributes.operation == Operation::Create;
        if is_creation && self.storage.cache().get(&attributes.at.key()).is_some() {
            // Unless the cache doesn't know yet that it is gone.
            self.storage.may_create(attributes.at).await?;
        }
        Ok(())
    }

    async fn charge_in_turn(
        &self,
        def: &ResourceDef,
        namespace: &str,
        charge: &Charge<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), ApiError> {
        let _turn = self.turn(namespace).await;
        let mut concerned = Vec::new();
        for quota in self.quotas(def, namespace)? {
            match charged(charge, &quota, attributes) {
                Ok(None) => {}
                Ok(Some(_)) => concerned.push(quota),
                // The store may know better. Before any other is charged.
                Err(_) => concerned.insert(0, quota),
            }
        }
        for quota in concerned {
            let name = quota.metadata.name.as_deref().unwrap_or_default();
            let at = Address { def, namespace: Some(namespace), name };
            self.write(at, charge, attributes).await?;
        }
        Ok(())
    }

    /// Those of a namespace, as the cache has them: one that was made just now limits nothing before it was counted.
    fn quotas(&self, def: &ResourceDef, namespace: &str) -> Result<Vec<ResourceQuota>, ApiError> {
        let found = self.storage.cache().list(&def.prefix(Some(namespace)));
        let quota = |item| parse(readable(item)?.value());
        found.items.iter().map(quota).collect()
    }

    async fn turn(&self, namespace: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        namespace.hash(&mut hasher);
        let turn = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.turns[turn].lock().await
    }

    async fn write(
        &self,
        at: Address<'_>,
        charge: &Charge<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), ApiError> {
        let attempt = |old: Stored| async move {
            let mut quota = parse(old.object.clone())?;
            let Some(used) = charged(charge, &quota, attributes)? else { return Ok(()) };
            quota.status.get_or_insert_default().used = Some(amounts::write(&used));
            let mut quota = AnyObject::new(quota);
            quota.set_managed_fields(old.managed_fields.clone());
            let written = self.storage.update(at, &old, &mut quota).await;
            written.map(drop)
        };
        match self.storage.compare_and_swap::<(), _>(at, attempt).await {
            // It is gone, and limits nothing any more.
            Err(error) if error.code() == 404 => Ok(()),
            result => result,
        }
    }
}

/// Whether the request may change what is used.
fn is_counted(attributes: &Attributes<'_>, object: &AnyObject) -> bool {
    if attributes.resizes() {
        return true;
    }
    if attributes.subresource.is_some() {
        return false;
    }
    match attributes.operation {
        Operation::Create => true,
        Operation::Update => match (object.get::<Pod>(), attributes.old.and_then(AnyObject::get)) {
            (Some(new), Some(old)) => quota::is_terminating(new) != quota::is_terminating(old),
            _ => {
                object.get::<Service>().is_some() || object.get::<PersistentVolumeClaim>().is_some()
            }
        },
        Operation::Delete | Operation::Connect => false,
    }
}

fn item<'a>(resource: quota::GroupResource<'a>, object: &'a AnyObject) -> quota::Item<'a> {
    let pod = object.get().map(quota::Item::Pod);
    let service = object.get().map(quota::Item::Service);
    let claim = object.get().map(quota::Item::Claim);
    pod.or(service).or(claim).unwrap_or(quota::Item::Other(resource))
}

fn parse(quota: Value) -> Result<ResourceQuota, ApiError> {
    serde_json::from_value(quota).map_err(ApiError::internal)
}

/// What a quota says is used with the object; `None` if that is as it was.
fn charged(
    charge: &Charge<'_>,
    quota: &ResourceQuota,
    attributes: &Attributes<'_>,
) -> Result<Option<amounts::Amounts>, ApiError> {
    let at = attributes.at;
    charge.used(quota).map_err(|why| {
        let names = &at.def.names;
        ApiError::forbidden(&names.group, &names.plural, at.name, &why)
    })
}
