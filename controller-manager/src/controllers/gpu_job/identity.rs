//! Who a job's server is to the API server: an account of its own, which may see and report this job and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::core::v1::{Pod, ServiceAccount};
use api_types::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use api_types::meta::{ObjectMeta, OwnerReference};
use api_types::minik8s::GpuJob;
use api_types::{NamespaceResourceScope, Resource};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{Error, Fault, Step};
use crate::owners::{controller_of, controller_reference, is_controlled_by};

/// What is of an earlier job of the same name goes in a moment.
#[derive(Debug, thiserror::Error)]
#[error("{0} of an earlier job of the name is still there")]
struct Earlier(String);

impl Fault for Earlier {
    fn may_pass(&self) -> bool {
        true
    }
}

/// The name of the account, the role and the binding.
pub(super) fn name(job: &GpuJob) -> String {
    format!("gpu-job-{}", job.metadata.name.as_deref().unwrap_or_default())
}

/// An annotation of the pod: the account's uid when it was made.
pub(super) const ACCOUNT_UID: &str = "minik8s.io/account-uid";

/// What there is of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Identity {
    pub(super) account: Option<Arc<ServiceAccount>>,
    pub(super) role: Option<Arc<Role>>,
    pub(super) binding: Option<Arc<RoleBinding>>,
}

impl Identity {
    /// Whether it is the job's, and gives what its server needs.
    pub(super) fn is_whole(&self, job: &GpuJob) -> bool {
        is_there(job, self.account.as_deref(), &account(job))
            && is_there(job, self.role.as_deref(), &role(job))
            && is_there(job, self.binding.as_deref(), &binding(job))
    }

    /// Whether the pod's token is of an account that is no more. Kubelets see that when the token is renewed, in most of
    /// an hour. The account of an earlier job of the name, which may be seen for a moment still, tells nothing.
    pub(super) fn is_another_than_of(&self, job: &GpuJob, pod: &Pod) -> bool {
        let account = self.account.as_deref().filter(|account| is_of(job, *account));
        let Some(ObjectMeta { uid: Some(uid), creation_timestamp: Some(made), .. }) =
            account.map(|account| &account.metadata)
        else {
            return false;
        };
        match pod.metadata.annotations.as_ref().and_then(|it| it.get(ACCOUNT_UID)) {
            Some(then) => then != uid,
            // Pods once did not say whose they are.
            None => pod.metadata.creation_timestamp.as_ref().is_some_and(|it| it < made),
        }
    }
}

fn is_there<K: Granted>(job: &GpuJob, there: Option<&K>, wanted: &K) -> bool {
    there.is_some_and(|there| is_of(job, there) && there.gives(wanted))
}

/// Somebody else has something of the name.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not this job's: delete it, or give the job another name")]
pub(super) struct Taken(String);

/// Makes what there is not, and mends what is not as it has to be. It goes with the job. Returns the account's uid, if its
/// namespace still takes one.
pub(super) async fn ensure(
    client: &Client,
    job: &GpuJob,
) -> Result<Result<Option<String>, Taken>, Error> {
    let account = ensure_one(client, job, &account(job)).await?;
    let role = ensure_one(client, job, &role(job)).await?;
    let binding = ensure_one(client, job, &binding(job)).await?;
    let uid = |account: Option<ServiceAccount>| account.and_then(|account| account.metadata.uid);
    Ok(account.and_then(|account| role.and(binding).map(|_| uid(account))))
}

/// Foreground deletion of the job does not wait for them: its server, which lets the job go, needs them.
fn metadata(job: &GpuJob) -> ObjectMeta {
    let owner = controller_reference(job);
    let owner = owner.map(|it| OwnerReference { block_owner_deletion: Some(false), ..it });
    let label = (GpuJob::LABEL.to_owned(), job.metadata.name.clone().unwrap_or_default());
    ObjectMeta {
        name: Some(name(job)),
        namespace: job.metadata.namespace.clone(),
        labels: Some(BTreeMap::from([label])),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn account(job: &GpuJob) -> ServiceAccount {
    ServiceAccount { metadata: metadata(job), ..ServiceAccount::default() }
}

fn role(job: &GpuJob) -> Role {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let of_job = |resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![GpuJob::GROUP.to_owned()]),
        resources: Some(texts(&[resource])),
        resource_names: Some(job.metadata.name.iter().cloned().collect()),
        verbs: texts(verbs),
        ..PolicyRule::default()
    };
    let events = PolicyRule {
        api_groups: Some(texts(&[""])),
        resources: Some(texts(&["events"])),
        verbs: texts(&["create", "patch"]),
        ..PolicyRule::default()
    };
    let jobs = GpuJob::URL_PATH_SEGMENT;
    let rules = vec![
        of_job(jobs, &["get", "list", "watch", "patch"]),
        of_job(&format!("{jobs}/status"), &["get", "patch", "update"]),
        events,
    ];
    Role { metadata: metadata(job), rules: Some(rules) }
}

fn binding(job: &GpuJob) -> RoleBinding {
    let subject = Subject {
        kind: ServiceAccount::KIND.to_owned(),
        name: name(job),
        namespace: job.metadata.namespace.clone(),
        ..Subject::default()
    };
    let role_ref = RoleRef {
        api_group: Some(Role::GROUP.to_owned()),
        kind: Role::KIND.to_owned(),
        name: name(job),
    };
    RoleBinding { metadata: metadata(job), role_ref, subjects: Some(vec![subject]) }
}

/// A part of it.
trait Granted:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Resource
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
{
    /// Whether it gives what this one does.
    fn gives(&self, wanted: &Self) -> bool;

    /// Whether it can be made so.
    fn may_give(&self, _wanted: &Self) -> bool {
        true
    }
}

/// Which may have what others put into it.
impl Granted for ServiceAccount {
    fn gives(&self, _: &Self) -> bool {
        true
    }
}

impl Granted for Role {
    fn gives(&self, wanted: &Self) -> bool {
        self.rules == wanted.rules
    }
}

/// What a binding refers to can't be changed.
impl Granted for RoleBinding {
    fn gives(&self, wanted: &Self) -> bool {
        let whom = |binding: &Self| {
            let subjects = binding.subjects.iter().flatten();
            let key = |it: &Subject| (it.kind.clone(), it.namespace.clone(), it.name.clone());
            subjects.map(key).collect::<Vec<_>>()
        };
        self.may_give(wanted) && whom(self) == whom(wanted)
    }

    fn may_give(&self, wanted: &Self) -> bool {
        let role = |binding: &Self| (binding.role_ref.kind.clone(), binding.role_ref.name.clone());
        role(self) == role(wanted)
    }
}

fn is_of<K: Granted>(job: &GpuJob, there: &K) -> bool {
    job.metadata.uid.as_deref().is_some_and(|uid| is_controlled_by(there.meta(), uid))
}

/// Whether it was left behind, by who deleted the job alone.
fn is_left_behind<K: Granted>(job: &GpuJob, there: &K) -> bool {
    let label = there.meta().labels.as_ref().and_then(|labels| labels.get(GpuJob::LABEL));
    controller_of(there.meta()).is_none() && label == job.metadata.name.as_ref()
}

async fn ensure_one<K: Granted>(
    client: &Client,
    job: &GpuJob,
    wanted: &K,
) -> Result<Result<Option<K>, Taken>, Error> {
    let kind = <K as Resource>::KIND;
    let name = name(job);
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), wanted).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        created => {
            return created.unless_terminating("making the account of a job").map(Ok);
        }
    }
    let Some(there) = api.get_opt(&name).await.step("reading the account of a job")? else {
        return Err(Earlier(format!("{kind} {name}")).into());
    };
    let is_ours = is_of(job, &there);
    if is_ours && there.gives(wanted) {
        return Ok(Ok(Some(there)));
    }
    if (is_ours || is_left_behind(job, &there)) && there.may_give(wanted) {
        let mut new = wanted.clone();
        let (uid, version) = (&there.meta().uid, &there.meta().resource_version);
        (new.meta_mut().uid, new.meta_mut().resource_version) = (uid.clone(), version.clone());
        let replaced = api.replace(&name, &PostParams::default(), &new).await;
        return replaced.step("mending the account of a job").map(|mended| Ok(Some(mended)));
    }
    match controller_of(there.meta()) {
        Some(owner) if owner.kind == GpuJob::KIND && !is_ours => {
            Err(Earlier(format!("{kind} {name}")).into())
        }
        _ => Ok(Err(Taken(format!("{kind} {name}")))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_may_see_and_report_its_own_job_alone() {
        let job = json!({"metadata": {"name": "add", "namespace": "ns", "uid": "u"}});
        let job: GpuJob = serde_json::from_value(job).unwrap();
        let of_job = |resource: &str, verbs: &[&str]| {
            json!({"apiGroups": ["minik8s.io"], "resources": [resource],
                "resourceNames": ["add"], "verbs": verbs})
        };
        let rules = json!([
            of_job("gpujobs", &["get", "list", "watch", "patch"]),
            of_job("gpujobs/status", &["get", "patch", "update"]),
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        ]);
        let (role, binding) = (role(&job), binding(&job));
        assert_eq!(json!(role.rules), rules);
        assert_eq!(role.metadata.name.as_deref(), Some(binding.role_ref.name.as_str()));
        let subjects =
            json!([{"kind": "ServiceAccount", "name": "gpu-job-add", "namespace": "ns"}]);
        assert_eq!(json!(binding.subjects), subjects);
    }

    #[test]
    fn a_token_is_of_the_jobs_own_account_by_its_uid_or_by_its_age() {
        let job = json!({"metadata": {"name": "add", "namespace": "ns", "uid": "u"}});
        let job: GpuJob = serde_json::from_value(job).unwrap();
        let check = |owner: &str, uid: &str, pod: &serde_json::Value, expected: bool| {
            let owner = json!({"apiVersion": "minik8s.io/v1", "kind": "GpuJob", "name": "add",
                "uid": owner, "controller": true});
            let account = json!({"metadata": {"uid": uid, "ownerReferences": [owner],
                "creationTimestamp": "2026-01-02T03:04:05Z"}});
            let account: ServiceAccount = serde_json::from_value(account).unwrap();
            let identity = Identity { account: Some(Arc::new(account)), ..Identity::default() };
            let pod: Pod = serde_json::from_value(json!({"metadata": pod})).unwrap();
            assert_eq!(identity.is_another_than_of(&job, &pod), expected, "{uid} {pod:?}");
        };
        let of_a = json!({"creationTimestamp": "2026-01-02T03:04:04Z",
            "annotations": {"minik8s.io/account-uid": "a"}});
        check("u", "a", &of_a, false);
        check("u", "b", &of_a, true);
        check("earlier", "b", &of_a, false);
        let before = json!({"creationTimestamp": "2026-01-02T03:04:04Z"});
        let after = json!({"creationTimestamp": "2026-01-02T03:04:05Z"});
        check("u", "b", &before, true);
        check("u", "b", &after, false);
        check("earlier", "b", &before, false);
    }
}
