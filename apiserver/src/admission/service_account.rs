//! A pod has a service account: the one called `default` if it names none. It is refused unless that account exists, and
//! gets its token and image pull secrets (Kubernetes: `plugin/pkg/admission/serviceaccount`).

mod mountable_secrets;

use std::{borrow::Cow, sync::Arc, time::Duration};

use api_machinery::ApiError;
use api_types::{
    api::core::v1::{
        ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
        ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount as Account,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    meta::ObjectMeta,
};
use async_trait::async_trait;
use registry::{AnyObject, Subresource};

use super::{Attributes, Claim, Operation, Plugin};
use crate::{
    catalogue::InForce, node_authorizer::is_mirror, objects::Objects, storage::Storage, suffix,
    tokens::POD_SECONDS,
};

const ACCOUNTS: &str = "serviceaccounts";
/// The account of who names none.
const DEFAULT: &str = "default";
/// Where clients look for their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the names of volumes with tokens begin with.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Of the volume's files.
const MODE: i32 = 0o644;
/// The account `default` is made soon after its namespace: how often it is looked for, and after what time again.
const LOOKS: usize = 14;
const LOOK: Duration = Duration::from_millis(150);

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceAccount {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
    /// Whether accounts must exist. Without a controller-manager, nobody makes any.
    pub(super) must_exist: bool,
}

#[async_trait]
impl Plugin for ServiceAccount {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.is_core("pods");
        let pod = object.filter(|_| is_new).and_then(AnyObject::get_mut::<Pod>);
        // A mirror pod names no objects: its node is its author.
        let pod = pod.filter(|pod| !is_mirror(pod));
        let Some(Pod { metadata, spec: Some(spec), .. }) = pod else { return Ok(Vec::new()) };
        let account = name(spec).to_owned();
        if self.must_exist {
            let namespace = attributes.at.namespace.unwrap_or_default();
            let found = self.account(namespace, &account).await?;
            give(spec, &found.ok_or_else(|| refusal(metadata, namespace, &account))?);
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let pod = object.filter(|_| self.must_exist).and_then(AnyObject::get::<Pod>);
        let pod = pod.filter(|pod| !is_mirror(pod));
        let Some(spec) = pod.and_then(|pod| pod.spec.as_ref()) else { return Ok(()) };
        let what = match (attributes.operation, attributes.subresource) {
            (Operation::Create, None) => Cow::Borrowed(spec),
            (Operation::Update, Some(Subresource::EphemeralContainers)) => Cow::Owned(PodSpec {
                ephemeral_containers: spec.ephemeral_containers.clone(),
                ..PodSpec::default()
            }),
            _ => return Ok(()),
        };
        let name = spec.service_account_name.as_deref().unwrap_or(DEFAULT);
        let account = self.limiting(attributes.at.namespace, name).await?;
        match account.and_then(|account| mountable_secrets::misuse(&account, &what)) {
            Some(why) => Err(attributes.forbidden(&why)),
            None => Ok(()),
        }
    }
}

impl ServiceAccount {
    /// The account, if it limits its pods. Hardly any does, which is seen without decoding it.
    async fn limiting(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Account>, ApiError> {
        let catalogue = self.catalogue.load();
        let key = catalogue.find("", "v1", ACCOUNTS).map(|def| def.key(namespace, name));
        let cached = key.and_then(|key| self.storage.cache().get(&key));
        if cached
            .is_some_and(|it| it.object.as_ref().is_ok_and(|it| !mountable_secrets::is_said(it)))
        {
            return Ok(None);
        }
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let account: Option<Account> = objects.find(ACCOUNTS, namespace, name).await?;
        Ok(account.filter(mountable_secrets::are_enforced))
    }

    async fn account(&self, namespace: &str, name: &str) -> Result<Option<Account>, ApiError> {
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let find = || objects.find(ACCOUNTS, Some(namespace), name);
        let looks = if name == DEFAULT { LOOKS } else { 1 };
        for _ in 1..looks {
            if let Some(account) = find().await? {
                return Ok(Some(account));
            }
            tokio::time::sleep(LOOK).await;
        }
        find().await
    }
}

/// The pod may have no name yet.
fn refusal(pod: &ObjectMeta, namespace: &str, account: &str) -> ApiError {
    let name = pod.name.as_ref().or(pod.generate_name.as_ref());
    let why = format!(
        "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
    );
    ApiError::forbidden("", "pods", name.map_or("Unknown", String::as_str), &why)
}

/// The account that the pod names, by either field.
fn name(spec: &mut PodSpec) -> &str {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let old_name = given(&spec.service_account);
    let name = given(&spec.service_account_name).or(old_name);
    spec.service_account_name.insert(name.unwrap_or_else(|| DEFAULT.to_owned()))
}

/// What the account gives the pod.
fn give(spec: &mut PodSpec, account: &Account) {
    let automount = spec.automount_service_account_token;
    if automount.or(account.automount_service_account_token).unwrap_or(true) {
        mount_token(spec);
    }
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets.clone_from(&account.image_pull_secrets);
    }
}

/// Each container that has nothing of its own at the path gets the token there, in a volume that they share: that which
/// the pod brings, if it has one of such a name.
fn mount_token(spec: &mut PodSpec) {
    let names = spec.volumes.iter().flatten().map(|volume| &volume.name);
    let brought = names.into_iter().find(|name| name.starts_with(VOLUME_PREFIX)).cloned();
    let name = brought.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix::random()));
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let mut is_needed = false;
    for container in containers.filter(|container| !has_its_own(container)) {
        container.volume_mounts.get_or_insert_default().push(VolumeMount {
            name: name.clone(),
            mount_path: MOUNT_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        is_needed = true;
    }
    if brought.is_none() && is_needed {
        spec.volumes.get_or_insert_default().push(token_volume(name));
    }
}

fn has_its_own(container: &Container) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == MOUNT_PATH)
}

/// Kubernetes: `TokenVolumeSource`.
fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        path: "token".to_owned(),
        expiration_seconds: Some(POD_SECONDS),
        ..ServiceAccountTokenProjection::default()
    };
    let certificate = KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None };
    let root_ca = ConfigMapProjection {
        name: "kube-root-ca.crt".to_owned(),
        items: Some(vec![certificate]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() },
        VolumeProjection { config_map: Some(root_ca), ..VolumeProjection::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..VolumeProjection::default()
        },
    ];
    let projected = ProjectedVolumeSource { default_mode: Some(MODE), sources: Some(sources) };
    Volume { name, projected: Some(projected), ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a pod becomes of this account.
    fn given(account: &Value, pod: &Value) -> Value {
        let mut spec: PodSpec = serde_json::from_value(pod.clone()).unwrap();
        give(&mut spec, &serde_json::from_value(account.clone()).unwrap());
        serde_json::to_value(spec).unwrap()
    }

    fn has_token(account: &Value, pod: &Value) -> bool {
        given(account, pod)["volumes"][0]["projected"].is_object()
    }

    #[test]
    fn pod_and_account_say_whether_there_is_a_token_and_the_pod_has_the_last_word() {
        let pod = |wish: Value| json!({"containers": [{"name": "c"}], "automountServiceAccountToken": wish});
        for (account, wish, expected) in [
            (Value::Null, Value::Null, true),
            (json!(false), Value::Null, false),
            (json!(false), json!(true), true),
            (json!(true), json!(false), false),
        ] {
            let account = json!({"automountServiceAccountToken": account});
            assert_eq!(has_token(&account, &pod(wish.clone())), expected, "{account} {wish}");
        }
    }

    #[test]
    fn containers_share_a_volume_and_keep_what_they_mount_themselves() {
        let own = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
        let pod = json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": own}],
        });
        let found = given(&json!({}), &pod);
        let name = found["volumes"][0]["name"].as_str().unwrap();
        assert_eq!(name.len(), VOLUME_PREFIX.len() + 5);
        let mount = json!([{"name": name, "mountPath": MOUNT_PATH, "readOnly": true}]);
        assert_eq!(found["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(found["containers"][0]["volumeMounts"], mount);
        assert_eq!(found["containers"][1]["volumeMounts"], own);
        let alone = json!({"containers": [{"name": "b", "volumeMounts": own}]});
        assert_eq!(given(&json!({}), &alone).get("volumes"), None);
    }

    #[test]
    fn a_volume_of_such_a_name_is_used_that_is_there_already() {
        let volumes = json!([{"name": "kube-api-access-mine", "emptyDir": {}}]);
        let found = given(&json!({}), &json!({"containers": [{"name": "a"}], "volumes": volumes}));
        assert_eq!(found["volumes"], volumes);
        assert_eq!(found["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-mine");
    }

    #[test]
    fn image_pull_secrets_are_the_accounts_unless_the_pod_has_some() {
        let account = json!({"imagePullSecrets": [{"name": "theirs"}]});
        let pod = |secrets: Value| json!({"containers": [], "imagePullSecrets": secrets});
        let check = |secrets: Value, expected: &str| {
            assert_eq!(given(&account, &pod(secrets))["imagePullSecrets"][0]["name"], expected);
        };
        check(json!([]), "theirs");
        check(json!([{"name": "ours"}]), "ours");
    }
}
