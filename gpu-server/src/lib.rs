//! The server of one GPU job: it runs in the job's own pod and takes the job through a Slurm cluster.
//!
//! What is to be done next is decided in [`driver`](crate::driver), from the job's spec and status alone; [`server`]
//! does it, through [`remote`], the login node, and [`slurm`], the commands there. What has been done is in the status,
//! and in the job's directory on the cluster: a server that begins anew, at whatever point the last one ended, goes on
//! from these, and no task is in Slurm twice.

mod args;
mod driver;
#[cfg(test)]
mod fake_node;
mod fetch;
mod link;
mod login;
mod output;
mod prepare;
mod queue;
pub mod remote;
mod report;
mod server;
pub mod slurm;
mod sources;
pub mod ssh;

use std::io::Write;

use anyhow::Context;
use api_types::minik8s::{GpuJob, GpuJobSpec};
use component::{ClientArgs, Runtime, events::Recorder};
use futures::StreamExt;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::{net::TcpListener, sync::watch};

pub use args::Args;

/// Does what the command line asks for.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    if let Some(file) = args.file.as_ref().filter(|_| args.dry_run) {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let script = script(&text).with_context(|| format!("{}", file.display()))?;
        return std::io::stdout().write_all(script.as_bytes()).context("writing the script");
    }
    let kubeconfig = args.kubeconfig.clone();
    let client = component::client(&ClientArgs { kubeconfig, ..ClientArgs::default() }).await?;
    answer(&args, &runtime).await?;
    serve(args, client, &runtime).await;
    // The pod is not to begin anew until it is removed.
    runtime.shutdown.cancelled().await;
    Ok(())
}

/// The batch script of the first task of a job.
fn script(text: &str) -> anyhow::Result<String> {
    let job: GpuJob = serde_yaml::from_str(text).context("this is no GpuJob")?;
    let metadata = &job.metadata;
    let task = slurm::Task {
        namespace: metadata.namespace.as_deref().unwrap_or("default"),
        name: metadata.name.as_deref().context("the job has no metadata.name")?,
        uid: metadata.uid.as_deref().unwrap_or("00000000-0000-0000-0000-000000000000"),
        index: 0,
        attempt: 0,
    };
    slurm::batch_script(&job.spec, &task).map_err(anyhow::Error::msg)
}

async fn answer(args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
    let bound = TcpListener::bind(args.address).await;
    let listener = bound.with_context(|| format!("cannot serve on {}", args.address))?;
    let router = queue::router(args.ssh.clone());
    let stopped = runtime.shutdown.clone().cancelled_owned();
    runtime.tasks.spawn("answering requests", async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "server failed");
        }
    });
    Ok(())
}

/// Ends when nothing is left to be done for the job, or at shutdown.
async fn serve(args: Args, client: Client, runtime: &Runtime) {
    let Some((namespace, name)) = args.job.clone().map(|job| (job.namespace, job.name)) else {
        return;
    };
    let api: Api<GpuJob> = Api::namespaced(client.clone(), &namespace);
    let mut jobs = watch(&api, name, args.uid.clone(), runtime);
    let heard = tokio::select! {
        heard = jobs.changed() => heard,
        () = runtime.shutdown.cancelled() => return,
    };
    let job = jobs.borrow().clone();
    if let (Ok(()), Some(job)) = (heard, job) {
        let recorder = Recorder::new(&runtime.tasks, client, "gpu-server", "");
        let reporter = report::Reporter::new(api, recorder, &job);
        let shutdown = runtime.shutdown.clone();
        server::Server::new(args, jobs, reporter, &job, shutdown).run().await;
    }
}

/// The job as it is wanted to be, from when it was heard of first; nothing once it is gone.
fn watch(
    api: &Api<GpuJob>,
    name: String,
    uid: Option<String>,
    runtime: &Runtime,
) -> watch::Receiver<Option<GpuJob>> {
    let (sender, receiver) = watch::channel(None);
    let api = api.clone();
    runtime.tasks.spawn("watching the job", async move {
        let mut states = std::pin::pin!(watch_object(api, &name).default_backoff());
        while let Some(state) = states.next().await {
            match state {
                Ok(job) => {
                    let job = job.filter(|job| job.metadata.uid == uid);
                    sender.send_if_modified(|seen| replace(seen, job));
                }
                Err(error) => tracing::warn!(%error, "cannot watch the job"),
            }
        }
    });
    receiver
}

/// Whether that is news: the status is our own to write.
fn replace(seen: &mut Option<GpuJob>, job: Option<GpuJob>) -> bool {
    fn intent(job: &GpuJob) -> (bool, &GpuJobSpec) {
        (job.metadata.deletion_timestamp.is_some(), &job.spec)
    }
    let news = seen.as_ref().map(intent) != job.as_ref().map(intent);
    if news {
        *seen = job;
    }
    news
}

#[cfg(test)]
mod tests {
    use api_types::{jiff::Timestamp, meta::Time, minik8s::GpuJobStatus};

    use super::*;

    #[test]
    fn what_is_written_of_a_job_is_no_news() {
        let (mut seen, mut job) = (None, GpuJob::default());
        let mut is_news = |job: &GpuJob| replace(&mut seen, Some(job.clone()));
        assert!(is_news(&job));
        job.metadata.resource_version = Some("2".to_owned());
        job.status = Some(GpuJobStatus::default());
        assert!(!is_news(&job));
        job.spec.suspend = Some(true);
        assert!(is_news(&job) && !is_news(&job));
        job.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(is_news(&job));
        assert!(replace(&mut seen, None) && !replace(&mut seen, None));
    }
}
