//! Who a job's server is to the API server: an account of its own, which may see and report this job and nothing else.

use api_types::api::core::v1::ServiceAccount;
use api_types::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use api_types::meta::ObjectMeta;
use api_types::minik8s::GpuJob;
use api_types::{NamespaceResourceScope, Resource};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{Error, Fault, Step};
use crate::owners::{controller_of, controller_reference};

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

/// Makes what there is not. It goes with the job. If somebody else has something of the name, says so.
pub(super) async fn ensure(client: &Client, job: &GpuJob) -> Result<Option<String>, Error> {
    let metadata = metadata(job);
    let account = ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() };
    let made = [
        ensure_one(client, job, &account).await?,
        ensure_one(client, job, &role(job, metadata.clone())).await?,
        ensure_one(client, job, &binding(job, metadata)).await?,
    ];
    Ok(made.into_iter().flatten().next())
}

fn metadata(job: &GpuJob) -> ObjectMeta {
    ObjectMeta {
        name: Some(name(job)),
        namespace: job.metadata.namespace.clone(),
        owner_references: controller_reference(job).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn role(job: &GpuJob, metadata: ObjectMeta) -> Role {
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
    Role { metadata, rules: Some(rules) }
}

fn binding(job: &GpuJob, metadata: ObjectMeta) -> RoleBinding {
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
    RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) }
}

async fn ensure_one<K>(client: &Client, job: &GpuJob, wanted: &K) -> Result<Option<String>, Error>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Resource,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let (kind, metadata) = (<K as Resource>::KIND, kube::Resource::meta(wanted));
    let name = metadata.name.clone().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<K>::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), wanted).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        created => {
            return created.unless_terminating("making the account of a job").map(|_| None);
        }
    }
    let there = api.get_opt(&name).await.step("reading the account of a job")?;
    let owner = there.as_ref().and_then(|there| controller_of(kube::Resource::meta(there)));
    match owner {
        Some(owner) if Some(&owner.uid) == job.metadata.uid.as_ref() => Ok(None),
        Some(owner) if owner.kind == GpuJob::KIND => Err(Earlier(format!("{kind} {name}")).into()),
        _ => Ok(Some(format!(
            "{kind} {name} is not this job's: delete it, or give the job another name"
        ))),
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
        let (role, binding) = (role(&job, metadata(&job)), binding(&job, metadata(&job)));
        assert_eq!(json!(role.rules), rules);
        assert_eq!(role.metadata.name.as_deref(), Some(binding.role_ref.name.as_str()));
        let subjects =
            json!([{"kind": "ServiceAccount", "name": "gpu-job-add", "namespace": "ns"}]);
        assert_eq!(json!(binding.subjects), subjects);
    }
}
