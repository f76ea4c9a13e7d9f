//! With a control plane in process, and without a Slurm cluster.

use std::pin::pin;

use api_types::{meta::Time, minik8s::GpuJob};
use axum::http::StatusCode;
use clap::Parser;
use component::{Tasks, events::Recorder};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testkit::ControlPlane;

use super::*;

/// A job that is being deleted.
struct World {
    plane: ControlPlane,
    tasks: Tasks,
    api: Api<GpuJob>,
    job: GpuJob,
    shutdown: CancellationToken,
    /// Nobody says on it that the job is gone.
    watch: watch::Sender<Option<GpuJob>>,
}

impl World {
    async fn new() -> Self {
        let plane = ControlPlane::start().await;
        let api: Api<GpuJob> = Api::namespaced(plane.client(), "default");
        let job = json!({
            "apiVersion": "minik8s.io/v1", "kind": "GpuJob",
            "metadata": { "name": "j", "finalizers": [GpuJob::FINALIZER] },
            "spec": {
                "runScripts": ["true"],
                "credentials": { "secretRef": { "name": "login" } },
            },
        });
        let job = serde_json::from_value(job).unwrap();
        api.create(&PostParams::default(), &job).await.unwrap();
        api.delete("j", &DeleteParams::default()).await.unwrap();
        let job = api.get("j").await.unwrap();
        let watch = watch::Sender::new(Some(job.clone()));
        let (tasks, shutdown) = (Tasks::default(), CancellationToken::new());
        Self { plane, tasks, api, job, shutdown, watch }
    }

    fn server(&self) -> Server {
        let uid = self.job.metadata.uid.as_deref().unwrap();
        let args = Args::try_parse_from([
            "gpu-server",
            "--job=default/j",
            &format!("--uid={uid}"),
            "--results=/nowhere",
            "--ssh-host=127.0.0.1",
            "--credentials=/nowhere",
        ]);
        let recorder = Recorder::new(&self.tasks, self.plane.client(), "gpu-server", "");
        let reporter = Reporter::new(self.api.clone(), recorder, &self.job);
        let jobs = self.watch.subscribe();
        Server::new(args.unwrap(), jobs, reporter, &self.job, self.shutdown.clone())
    }

    async fn ends(&self) {
        testkit::wait::within("the server has ended", self.server().run()).await;
    }
}

#[tokio::test]
async fn a_server_that_has_released_its_job_need_not_hear_that_the_job_is_gone() {
    let world = World::new().await;
    world.ends().await;
    assert!(world.api.get_opt("j").await.unwrap().is_none());
    // Also where it is gone already, and the pod with it.
    world.shutdown.cancel();
    world.ends().await;
}

#[tokio::test]
async fn a_server_whose_account_is_gone_ends_with_its_pod() {
    let world = World::new().await;
    world.shutdown.cancel();
    for code in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let _refused = world.plane.answer(code, |_| true);
        world.ends().await;
    }
    assert!(world.api.get("j").await.unwrap().metadata.finalizers.is_some());
}

#[tokio::test]
async fn what_keeps_a_deleted_job_is_told() {
    let world = World::new().await;
    let uploaded = json!({ "status": { "conditions": [{
        "type": GpuJob::UPLOADED, "status": "True", "reason": "Uploaded", "message": "",
        "lastTransitionTime": "2026-11-27T00:00:00Z",
    }] } });
    let params = PatchParams::default();
    world.api.patch_status("j", &params, &Patch::Merge(uploaded)).await.unwrap();
    let world = World { job: world.api.get("j").await.unwrap(), ..world };
    let told = testkit::wait::until_is(&world.api, "j", "its trouble is told", |job| {
        job.condition(CLUSTER_READY).is_some_and(|told| told.reason == "LoginRefused")
    });
    tokio::select! {
        () = world.server().run() => panic!("the job may be on the cluster"),
        _ = told => {}
    }
}

#[tokio::test]
async fn who_has_to_stay_for_a_deleted_job_keeps_nobody_from_telling_of_it() {
    let mut job = GpuJob::default();
    job.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let (watch, shutdown) = (watch::Sender::new(Some(job)), CancellationToken::new());
    shutdown.cancel();
    let mut stays = pin!(leave(&shutdown, watch.subscribe()));
    assert!(futures::poll!(&mut stays).is_pending());
    let told = tokio::task::spawn_blocking(move || watch.send_replace(None));
    testkit::wait::within("it is told", told).await.unwrap();
}
