//! Gives every namespace its ServiceAccount `default`.

use std::sync::Arc;

use api_types::api::core::v1::{Namespace, ServiceAccount};
use api_types::meta::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;

const DEFAULT: &str = "default";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let namespaces = queue.clone();
    context.informers.namespaces.on_change(move |change: &Change<Namespace>| {
        change.new.iter().for_each(|namespace| namespaces.add(ObjectKey::of(&namespace.metadata)));
    });
    let accounts = queue.clone();
    context.informers.service_accounts.on_change(move |change: &Change<ServiceAccount>| {
        if let (Some(old), None) = (&change.old, &change.new) {
            accounts.add(ObjectKey::cluster(old.metadata.namespace.clone().unwrap_or_default()));
        }
    });
    let controller =
        ServiceAccounts { client: context.client(), informers: context.informers.clone() };
    let Informers { namespaces, service_accounts, .. } = &context.informers;
    Registered::new(controller, queue).reads(namespaces).reads(service_accounts)
}

struct ServiceAccounts {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let namespace = self.informers.namespaces.get(key);
        let living =
            namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
        let account = ObjectKey::new(&key.name, DEFAULT);
        if living && self.informers.service_accounts.get(&account).is_none() {
            let api = Api::<ServiceAccount>::namespaced(self.client.clone(), &key.name);
            match api.create(&PostParams::default(), &default_account()).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                created => {
                    created.unless_terminating("creating the default service account")?;
                }
            }
        }
        Ok(Next::Change)
    }
}

fn default_account() -> ServiceAccount {
    let metadata = ObjectMeta { name: Some(DEFAULT.to_owned()), ..ObjectMeta::default() };
    ServiceAccount { metadata, ..ServiceAccount::default() }
}
