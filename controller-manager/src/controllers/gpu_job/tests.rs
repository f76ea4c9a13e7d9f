//! The controller against the API server, with stores that are told what to show.

use api_types::api::core::v1::{Event, HostPathVolumeSource, Node, ServiceAccount};
use api_types::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use testkit::{ControlPlane, node, wait};

use super::*;
use crate::workers::WorkersArgs;

const START: &str = "2026-01-02T03:04:05Z";
const HOST_KEY: &str = "SHA256:0123456789012345678901234567890123456789012";

/// A controller whose stores follow nothing, and the job `add`.
struct Stage {
    plane: ControlPlane,
    controller: GpuJobs,
    key: ObjectKey,
}

impl Stage {
    async fn new(spec: Value) -> Self {
        let plane = ControlPlane::start().await;
        let context = crate::controllers::tests::context(
            plane.listwatch_as("kube-controller-manager"),
            WorkersArgs::default(),
        );
        let mut controller = GpuJobs::new(&context);
        controller.clock = Clock::starting_at(START.parse().unwrap());
        let stage = Self { plane, controller, key: ObjectKey::new("default", "add") };
        let mut job = json!({
            "apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": {"name": "add"},
            "spec": {"runScripts": ["./add"], "credentials": {"secretRef": {"name": "hpc"}}},
        });
        json_patch::merge(&mut job["spec"], &spec);
        stage.create::<GpuJob>("default", job).await;
        stage
    }

    /// One whose cluster and login are known.
    async fn known(spec: Value) -> Self {
        let stage = Self::new(spec).await;
        stage.create_config_map("kube-system", "gpu-cluster").await;
        let secret = json!({"metadata": {"name": "hpc"}, "stringData": {"username": "u"}});
        stage.create::<Secret>("default", secret).await;
        stage
    }

    async fn create_config_map(&self, namespace: &str, name: &str) {
        let data = json!({"host": "login", "port": "2222", "hostKey": HOST_KEY});
        let map = json!({"metadata": {"name": name}, "data": data});
        self.create::<ConfigMap>(namespace, map).await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
    {
        Api::default_namespaced(self.plane.client())
    }

    async fn create<K>(&self, namespace: &str, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.plane.client(), namespace);
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// The stores show the job and its pods as they are now.
    async fn see(&self) -> Option<GpuJob> {
        let informers = &self.controller.informers;
        let job = self.api::<GpuJob>().get_opt("add").await.unwrap();
        show(&informers.gpu_jobs, job.clone().into_iter().collect());
        show(&informers.pods, self.pods().await);
        show(&informers.service_accounts, self.all().await);
        show(&informers.roles, self.all().await);
        show(&informers.role_bindings, self.all().await);
        job
    }

    async fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    async fn pods(&self) -> Vec<Pod> {
        self.all().await
    }

    /// One look at what there is, and the job after it.
    async fn look(&self) -> (Next, Option<GpuJob>) {
        self.see().await;
        let next = self.controller.reconcile(&self.key).await.unwrap();
        (next, self.see().await)
    }

    /// Looks until the job has a pod.
    async fn serve(&self) -> Pod {
        self.look().await;
        self.look().await;
        let pods = self.pods().await;
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods.into_iter().next().unwrap()
    }

    async fn patch_status<K>(&self, name: &str, status: Value)
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The job as its server leaves it when it begins.
    async fn upload(&self) {
        let job = self.api::<GpuJob>().get("add").await.unwrap();
        let mut conditions = json!(job.status.unwrap_or_default().conditions);
        conditions.as_array_mut().unwrap().push(json!({
            "type": "Uploaded", "status": "True", "reason": "r", "message": "", "lastTransitionTime": START}));
        let tasks = json!([{"index": 0, "attempt": 0, "jobId": "4711", "state": "RUNNING"}]);
        let status = json!({"conditions": conditions, "startTime": START, "tasks": tasks});
        self.patch_status::<GpuJob>("add", status).await;
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }

    async fn delete(&self) {
        self.api::<GpuJob>().delete("add", &DeleteParams::default()).await.unwrap();
    }

    /// At once, as if it had ended.
    async fn remove(&self, pod: &Pod) {
        let name = pod.metadata.name.as_deref().unwrap();
        self.api::<Pod>().delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    async fn until_told(&self, namespace: &str, reason: &str) -> String {
        let events = Api::<Event>::namespaced(self.plane.client(), namespace);
        wait::until(reason, async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let it = all.iter().find(|event| event.reason.as_deref() == Some(reason));
            it.and_then(|event| event.message.clone()).ok_or(all)
        })
        .await
    }
}

fn show<K: Watched>(informer: &Informer<K>, objects: Vec<K>) {
    let objects = objects.into_iter().map(watcher::Event::InitApply);
    let list = [watcher::Event::Init].into_iter().chain(objects).chain([watcher::Event::InitDone]);
    list.for_each(|event| informer.take_in(event));
}

fn ready(job: &GpuJob) -> (&str, &str) {
    let condition = job.condition(GpuJob::SERVER_READY).unwrap();
    (&condition.status, &condition.reason)
}

fn message(job: &GpuJob) -> &str {
    job.status.as_ref().unwrap().message.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn a_job_gets_an_account_and_a_pod() {
    let stage = Stage::known(json!({"nodeSelector": {"gpu": "yes"}})).await;
    let pod = stage.serve().await;
    let job = stage.api::<GpuJob>().get("add").await.unwrap();
    assert_eq!(job.metadata.finalizers, Some(vec![GpuJob::FINALIZER.to_owned()]));
    assert_eq!(ready(&job), ("False", "PodStarting"));
    let uid = job.metadata.uid.as_deref().unwrap();
    let account = stage.api::<ServiceAccount>().get("gpu-job-add").await.unwrap();
    for metadata in [&account.metadata, &pod.metadata] {
        assert_eq!(controller_of(metadata).map(|owner| owner.uid.as_str()), Some(uid));
    }
    let spec = pod.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("gpu-job-add"));
    assert_eq!(json!(spec.node_selector), json!({"gpu": "yes"}));
    let arguments = spec.containers[0].args.clone().unwrap();
    let uid = format!("--uid={uid}");
    let expected = [
        "--job=default/add",
        &uid,
        "--ssh-host=login",
        "--ssh-port=2222",
        &format!("--ssh-host-key={HOST_KEY}"),
        "--credentials=/credentials",
        "--sources=/sources",
        "--results=/results",
    ];
    assert_eq!(arguments, expected);
    let (_, job) = stage.look().await;
    assert_eq!(job.unwrap().status.unwrap().pod_name, pod.metadata.name);
    assert_eq!(stage.pods().await.len(), 1);
}

#[tokio::test]
async fn a_job_waits_for_the_config_map_that_says_where_its_cluster_is() {
    let cluster = json!({"configMapRef": {"name": "mine"}});
    let stage = Stage::new(json!({"cluster": cluster})).await;
    stage.look().await;
    let (next, job) = stage.look().await;
    let job = job.unwrap();
    assert_eq!((next, ready(&job)), (Next::After(PERIOD), ("False", "ClusterUnknown")));
    assert_eq!(message(&job), "ConfigMap default/mine does not exist");
    assert_eq!(stage.until_told("default", "ClusterUnknown").await, message(&job));
    assert_eq!(stage.pods().await.len(), 0);
    stage.create_config_map("default", "mine").await;
    let (_, job) = stage.look().await;
    assert_eq!(ready(&job.unwrap()), ("False", "PodStarting"));
    assert_eq!(stage.pods().await.len(), 1);
}

#[tokio::test]
async fn what_a_pod_waits_for_is_told() {
    let sources = json!({"configMap": {"name": "src"}});
    let stage = Stage::new(json!({"sources": sources})).await;
    stage.create_config_map("kube-system", "gpu-cluster").await;
    let pod = stage.serve().await;
    let (_, job) = stage.look().await;
    let job = job.unwrap();
    assert_eq!(ready(&job), ("False", "SecretNotFound"));
    assert_eq!(message(&job), "its pod waits for Secret hpc, which does not exist");
    let secret = json!({"metadata": {"name": "hpc"}, "stringData": {"username": "u"}});
    stage.create::<Secret>("default", secret).await;
    let (_, job) = stage.look().await;
    assert_eq!(ready(&job.unwrap()), ("False", "ConfigMapNotFound"));
    let ready_pod = testkit::pod("x").running("10.0.0.1").build().status;
    stage.patch_status::<Pod>(pod.metadata.name.as_deref().unwrap(), json!(ready_pod)).await;
    let (_, job) = stage.look().await;
    let job = job.unwrap();
    assert_eq!((ready(&job), message(&job)), (("True", "PodReady"), ""));
}

/// What the server says stays.
#[tokio::test]
async fn the_servers_message_is_its_own() {
    let stage = Stage::known(json!({})).await;
    stage.serve().await;
    stage.patch_status::<GpuJob>("add", json!({"message": "Priority"})).await;
    let (_, job) = stage.look().await;
    assert_eq!(message(&job.unwrap()), "Priority");
}

#[tokio::test]
async fn an_account_of_somebody_else_is_not_used() {
    let stage = Stage::known(json!({})).await;
    let account = json!({"metadata": {"name": "gpu-job-add"}});
    stage.create::<ServiceAccount>("default", account).await;
    stage.look().await;
    let (next, job) = stage.look().await;
    let job = job.unwrap();
    assert_eq!((next, ready(&job)), (Next::After(PERIOD), ("False", "AccountTaken")));
    let expected =
        "ServiceAccount gpu-job-add is not this job's: delete it, or give the job another name";
    assert_eq!(message(&job), expected);
    assert_eq!(stage.pods().await.len(), 0);
}

#[tokio::test]
async fn the_account_of_a_deleted_job_is_taken_over_and_made_its_own() {
    let stage = Stage::known(json!({})).await;
    let metadata = json!({"name": "gpu-job-add", "labels": {GpuJob::LABEL: "add"}});
    stage.create::<ServiceAccount>("default", json!({"metadata": metadata})).await;
    stage.create::<Role>("default", json!({"metadata": metadata, "rules": []})).await;
    stage.serve().await;
    let job = stage.api::<GpuJob>().get("add").await.unwrap();
    let account = stage.api::<ServiceAccount>().get("gpu-job-add").await.unwrap();
    assert_eq!(controller_of(&account.metadata).map(|it| &it.uid), job.metadata.uid.as_ref());
    assert_eq!(stage.api::<Role>().get("gpu-job-add").await.unwrap().rules.unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_server_needs_of_its_account_is_mended_while_its_pod_lives() {
    let stage = Stage::known(json!({})).await;
    stage.serve().await;
    stage.look().await;
    let written = || {
        let asked = stage.plane.requests();
        asked
            .iter()
            .filter(|request| request.contains("gpu-job-add") || request.contains("roles"))
            .count()
    };
    let before = written();
    stage.controller.reconcile(&stage.key).await.unwrap();
    assert_eq!(written(), before, "nothing is wrong");
    let (roles, bindings) = (stage.api::<Role>(), stage.api::<RoleBinding>());
    roles.delete("gpu-job-add", &DeleteParams::default()).await.unwrap();
    let emptied = Patch::Merge(json!({"subjects": null}));
    bindings.patch("gpu-job-add", &PatchParams::default(), &emptied).await.unwrap();
    stage.look().await;
    let role = roles.get("gpu-job-add").await.unwrap();
    let owner = controller_of(&role.metadata).unwrap();
    assert_eq!((role.rules.unwrap().len(), owner.block_owner_deletion), (3, Some(false)));
    assert_eq!(bindings.get("gpu-job-add").await.unwrap().subjects.unwrap().len(), 1);
    let emptied = Patch::Merge(json!({"rules": []}));
    roles.patch("gpu-job-add", &PatchParams::default(), &emptied).await.unwrap();
    stage.look().await;
    assert_eq!(roles.get("gpu-job-add").await.unwrap().rules.unwrap().len(), 3);
    assert!(stage.pods().await[0].metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn a_pod_whose_token_is_of_an_account_that_is_no_more_is_replaced() {
    let stage = Stage::known(json!({})).await;
    stage.serve().await;
    stage.see().await;
    // Within the same second, as like as not.
    let accounts = stage.api::<ServiceAccount>();
    accounts.delete("gpu-job-add", &DeleteParams::default()).await.unwrap();
    stage.look().await;
    assert_eq!(stage.pods().await.len(), 1);
    stage.see().await;
    stage.controller.reconcile(&stage.key).await.unwrap();
    // Nobody has bound it: it goes at once.
    assert_eq!(stage.pods().await.len(), 0);
    stage.look().await;
    assert_eq!(stage.pods().await.len(), 1);
}

#[tokio::test]
async fn a_directory_of_the_node_that_is_not_for_jobs_is_refused() {
    let stage = Stage::known(json!({"volume": "/etc/cron.d"})).await;
    stage.look().await;
    let (next, job) = stage.look().await;
    let job = job.unwrap();
    assert_eq!((next, ready(&job)), (Next::After(PERIOD), ("False", "DirectoryRefused")));
    let expected = "spec.volume: \"/etc/cron.d\" is not in /gpu: ";
    assert!(message(&job).starts_with(expected), "{}", message(&job));
    assert_eq!(stage.until_told("default", "DirectoryRefused").await, message(&job));
    assert_eq!(stage.pods().await.len(), 0);
}

fn host_paths(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.as_ref().unwrap().volumes.iter().flatten();
    let paths = volumes.filter_map(|it| {
        let HostPathVolumeSource { path, type_ } = it.host_path.as_ref()?;
        Some(format!("{}: {path} {}", it.name, type_.as_ref()?))
    });
    paths.collect()
}

/// Where each container goes on from a volume.
fn ways(pod: &Pod, volume: &str) -> Vec<Option<String>> {
    let containers = pod.spec.as_ref().unwrap().containers.iter();
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.filter(|mount| mount.name == volume).map(|mount| mount.sub_path.clone()).collect()
}

/// Mounts begin at what the administrator has set apart: what a job's pod may have put below it may be a link.
#[tokio::test]
async fn a_volume_with_sources_must_be_on_the_node_and_who_only_clears_up_needs_none() {
    let stage = Stage::known(json!({"volume": "/gpu/matrix"})).await;
    let pod = stage.serve().await;
    let root = |name: &str| format!("{name}: /gpu DirectoryOrCreate");
    let present = "sources-on-node: /gpu/matrix Directory".to_owned();
    assert_eq!(host_paths(&pod), [root("sources"), root("results"), present]);
    let way = Some("matrix".to_owned());
    assert_eq!(
        (ways(&pod, "sources"), ways(&pod, "results")),
        (vec![way.clone()], vec![way.clone(), way])
    );
    stage.upload().await;
    stage.remove(&pod).await;
    stage.look().await;
    let pod = stage.pods().await.remove(0);
    assert_eq!(host_paths(&pod), [root("results")]);
    assert_eq!(ways(&pod, "sources"), [None]);
    stage.delete().await;
    stage.remove(&pod).await;
    stage.look().await;
    let pod = stage.pods().await.remove(0);
    assert_eq!((host_paths(&pod), ways(&pod, "results")), (vec![], vec![None, None]));
}

#[tokio::test]
async fn kubelets_put_no_variables_into_what_a_server_is_told() {
    let stage = Stage::new(json!({"cluster": {"directory": "/a/$(HOME)/$$"}})).await;
    stage.create_config_map("kube-system", "gpu-cluster").await;
    let pod = stage.serve().await;
    let arguments = pod.spec.unwrap().containers[0].args.clone().unwrap();
    assert!(arguments.contains(&"--directory=/a/$$(HOME)/$$$$".to_owned()), "{arguments:?}");
}

#[tokio::test]
async fn a_job_that_says_all_itself_does_not_wait_until_what_is_said_for_all_is_right() {
    let cluster = json!({"host": "other", "hostKey": HOST_KEY});
    let stage = Stage::new(json!({"cluster": cluster})).await;
    let wrong = json!({"metadata": {"name": "gpu-cluster"}, "data": {"port": "many"}});
    stage.create::<ConfigMap>("kube-system", wrong).await;
    stage.serve().await;
    let stage = Stage::new(json!({})).await;
    let wrong = json!({"metadata": {"name": "gpu-cluster"}, "data": {"port": "many"}});
    stage.create::<ConfigMap>("kube-system", wrong).await;
    stage.look().await;
    let (_, job) = stage.look().await;
    let expected =
        "ConfigMap kube-system/gpu-cluster, key port: must be between 1 and 65535, inclusive";
    assert_eq!(message(&job.unwrap()), expected);
}

#[tokio::test]
async fn a_job_fails_when_its_time_is_over_before_it_has_a_server() {
    let stage = Stage::new(json!({"activeDeadlineSeconds": 60, "suspend": true})).await;
    stage.look().await;
    let job = stage.look().await.1.unwrap();
    assert_eq!(ready(&job), ("False", "ClusterUnknown"));
    stage.pass(61).await;
    let resumed = Patch::Merge(json!({"spec": {"suspend": false}}));
    stage.api::<GpuJob>().patch("add", &PatchParams::default(), &resumed).await.unwrap();
    let started = |job: GpuJob| job.status.unwrap().start_time.is_some();
    assert!(!started(job) && started(stage.look().await.1.unwrap()));
    let (_, job) = stage.look().await;
    assert!(job.unwrap().ended().is_none(), "it may take 60 s from now on");
    stage.pass(61).await;
    stage.look().await;
    let (next, job) = stage.look().await;
    let job = job.unwrap();
    let ended = job.ended().unwrap();
    assert_eq!((ended.type_.as_str(), ended.reason.as_str()), ("Failed", "DeadlineExceeded"));
    let expected = "Job was active longer than specified deadline: no host is named: ";
    assert!(message(&job).starts_with(expected), "{}", message(&job));
    assert_eq!((next, stage.pods().await.len()), (Next::Change, 0));
}

#[tokio::test]
async fn a_lost_pod_is_replaced_also_after_the_job_has_ended_and_needs_no_sources() {
    let sources = json!({"hostPath": "/gpu/src"});
    let stage = Stage::known(json!({"sources": sources})).await;
    let first = stage.serve().await;
    assert_eq!(ways(&first, "sources"), [Some("src".to_owned())]);
    stage.upload().await;
    stage.remove(&first).await;
    stage.look().await;
    let pods = stage.pods().await;
    assert_eq!(pods.len(), 1);
    assert_ne!(pods[0].metadata.uid, first.metadata.uid);
    assert_eq!(host_paths(&pods[0]), Vec::<String>::new());
}

#[tokio::test]
async fn a_pod_on_a_lost_node_is_replaced_before_it_is_gone() {
    let stage = Stage::known(json!({})).await;
    let pod = stage.serve().await;
    let name = pod.metadata.name.as_deref().unwrap();
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    stage
        .api::<Pod>()
        .create_subresource::<_, Value>("binding", name, &PostParams::default(), &binding)
        .await
        .unwrap();
    let show = |ready: bool| {
        let node: Node = node("n1").ready(ready).build();
        stage.controller.informers.nodes.take_in(watcher::Event::Apply(node));
    };
    show(true);
    stage.api::<Pod>().delete(name, &DeleteParams::default()).await.unwrap();
    let (next, _) = stage.look().await;
    assert_eq!((next, stage.pods().await.len()), (Next::After(PERIOD), 1), "it is ending");
    show(false);
    stage.look().await;
    assert_eq!(stage.pods().await.len(), 2);
}

#[tokio::test]
async fn a_job_that_is_deleted_gets_a_server_to_clear_up_and_goes_without_if_it_was_never_in_slurm()
{
    let stage = Stage::known(json!({})).await;
    let pod = stage.serve().await;
    stage.upload().await;
    stage.delete().await;
    stage.remove(&pod).await;
    stage.look().await;
    assert_eq!(stage.pods().await.len(), 1);

    let stage = Stage::known(json!({})).await;
    stage.serve().await;
    stage.delete().await;
    let (_, job) = stage.look().await;
    assert!(job.is_none(), "{job:?}");
}

#[tokio::test]
async fn that_a_server_has_begun_meanwhile_keeps_the_job() {
    let stage = Stage::known(json!({})).await;
    stage.serve().await;
    stage.delete().await;
    stage.see().await;
    stage.upload().await;
    let error = stage.controller.reconcile(&stage.key).await.unwrap_err();
    assert!(error.is_conflict(), "{error:?}");
    assert!(stage.see().await.is_some());
}

#[tokio::test]
async fn what_keeps_a_job_from_being_deleted_is_told_with_the_way_out() {
    let stage = Stage::known(json!({})).await;
    let pod = stage.serve().await;
    stage.upload().await;
    let maps = Api::<ConfigMap>::namespaced(stage.plane.client(), "kube-system");
    maps.delete("gpu-cluster", &DeleteParams::default()).await.unwrap();
    stage.delete().await;
    stage.remove(&pod).await;
    stage.look().await;
    let told = stage.until_told("default", "ClusterUnknown").await;
    assert!(told.starts_with("no host is named: make ConfigMap kube-system/gpu-cluster"), "{told}");
    assert!(told.contains("without the finalizer minik8s.io/gpu-job"), "{told}");
}

#[tokio::test]
async fn a_job_whose_namespace_goes_leaves_word_of_what_may_be_left() {
    let stage = Stage::known(json!({})).await;
    let pod = stage.serve().await;
    stage.upload().await;
    stage.delete().await;
    stage.remove(&pod).await;
    let namespace = json!({"metadata": {"name": "default", "deletionTimestamp": START}});
    let namespace = serde_json::from_value(namespace).unwrap();
    stage.controller.informers.namespaces.take_in(watcher::Event::Apply(namespace));
    let (_, job) = stage.look().await;
    assert!(job.is_none(), "{job:?}");
    let told = stage.until_told("default", "GpuJobAbandoned").await;
    assert!(told.contains("may have left Slurm's jobs 4711 and the directory"), "{told}");
}

#[tokio::test]
async fn a_job_that_ended_long_ago_is_deleted() {
    let stage = Stage::known(json!({"ttlSecondsAfterFinished": 60})).await;
    stage.serve().await;
    let complete = json!({"type": "Complete", "status": "True", "reason": "r", "message": "",
        "lastTransitionTime": START});
    stage.patch_status::<GpuJob>("add", json!({"conditions": [complete]})).await;
    let (next, _) = stage.look().await;
    let Next::After(left) = next else { panic!("{next:?}") };
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(50), "{left:?}");
    stage.pass(61).await;
    let (_, job) = stage.look().await;
    assert!(job.unwrap().metadata.deletion_timestamp.is_some());
}
