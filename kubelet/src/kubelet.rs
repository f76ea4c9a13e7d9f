//! Assembly: makes the parts and runs them until shutdown.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use api_types::api::core::v1::Pod;
use component::{Credentials, Runtime as Program, events::Recorder, host, resolv_conf};
use futures::StreamExt;
use listwatch::{ListWatch, Scope};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Ledger,
    check,
    container::dns::ClusterDns,
    context::Context,
    credentials, housekeeping, images,
    machine::{Memory, cpus, disk_bytes},
    metrics::Metrics,
    network::keeper,
    node::{cluster, heartbeat, lease, object, registration},
    objects::Objects,
    options::{Command, Options},
    pleg,
    pod::manager::PodManager,
    rims,
    runtime::{Runtime as _, RuntimeError, counted::Counted, docker::Docker},
    server::{self, Shared},
    services::Services,
    tokens::Tokens,
    usage::{announce, disks::Disks, host::Host, running::RunningPods, sampler::Sampler},
    volumes,
};

const HEALTH_ADDRESS: &str = "127.0.0.1:10248";
/// Until the Docker Engine is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// Kubernetes: `syncFrequency`.
const SYNC: Duration = Duration::from_secs(60);

/// Runs the kubelet until shutdown. Containers go on without it.
///
/// # Errors
/// Wrong configuration, or a part that failed; differences that were to be found.
pub async fn run(options: Options, program: Program) -> anyhow::Result<()> {
    match options.command {
        Some(Command::Check) => check::run(&options).await,
        None => work(options, program).await,
    }
}

async fn work(options: Options, program: Program) -> anyhow::Result<()> {
    program.serve(&options.serve, HEALTH_ADDRESS).await?;
    let name = rims::node_name(&options)?;
    // A host without a default route is a cluster by itself.
    let (ip, second_ip) = addresses(&options)?;
    if let (Some(from), Some(to)) = (&options.bootstrap_kubeconfig, &options.client.kubeconfig)
        && !credentials::bootstrap(from, to, &name, &program.shutdown).await?
    {
        return Ok(());
    }
    let client = component::client(&options.client).await?;
    let redis = options.client.redis.server()?;
    let listwatch = ListWatch::new(client.clone(), redis.as_ref(), &program.tasks)?;
    let Some(runtime) = connect(&options, &name, &program.shutdown).await? else {
        return Ok(());
    };
    volumes::prepare(&options.root_dir.join("pods"))
        .with_context(|| format!("cannot make {}", options.root_dir.display()))?;
    let metrics = Metrics::default();
    metrics.register(&program.metrics, &name);
    let running = RunningPods::default();
    program.metrics.collect(running.clone());
    let context = Arc::new(Context {
        runtime: Arc::new(Counted::new(Arc::new(runtime), metrics.clone())),
        network: rims::network(&options, &name)?,
        recorder: Recorder::new(&program.tasks, client.clone(), "kubelet", &name),
        objects: Objects::new(client.clone()),
        tokens: Tokens::new(client.clone()),
        sync_frequency: SYNC,
        ledger: Ledger::allowing(&options.allowed_unsafe_sysctls),
        client,
        node: name.clone(),
        host_ip: ip.clone(),
        second_host_ip: second_ip.clone(),
        root: options.root_dir.clone(),
        dns: ClusterDns {
            servers: options.cluster_dns.clone(),
            domain: options.cluster_domain.clone(),
            node_file: options.resolv_conf.clone().unwrap_or_else(resolv_conf::host_file),
        },
        publish_ports: options.publish_ports,
        services: Services::follow(&listwatch, &program.tasks, program.shutdown.clone()),
        running,
        metrics,
    });
    tracing::info!(node = name, ip, "starting");
    let pods = PodManager::new(context.clone());
    let (running, disks) = (&context.running, Disks::default());
    let images = context.runtime.info().await.ok().and_then(|info| info.images);
    let host = Host { images, ..Host::new(&context.root) };
    let sampler = Sampler::new(host.clone(), running.clone(), disks.clone());
    let mut parts = JoinSet::new();
    parts.spawn(disks.follow(host, running.clone(), program.shutdown.clone()));
    serve(&options, &context, &pods, sampler.clone(), &program, &mut parts).await?;
    if !cluster::join(&context.client, &context.root, &program.shutdown).await? {
        return Ok(());
    }
    let facts = facts(&options, name, (ip, second_ip))?;
    if redis.is_some() {
        let (name, shutdown) = (facts.name.clone(), program.shutdown.clone());
        let (pods, sampler) = (pods.clone(), sampler.clone());
        parts.spawn(heartbeat::run(listwatch.clone(), name, pods, sampler, shutdown));
    }
    let (name, shutdown) = (facts.name.clone(), program.shutdown.clone());
    parts.spawn(announce::run(listwatch.clone(), name, sampler, shutdown));
    run_parts(context, pods, listwatch, facts, &program, parts).await
}

/// Waits for the Docker Engine, which may start later than the kubelet. `None`: the kubelet was stopped
/// meanwhile.
async fn connect(
    options: &Options,
    node: &str,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Docker>> {
    let (host, runtime) = (&options.docker_host, rims::runtime(options, node)?);
    let answers = async {
        while let Err(error @ RuntimeError::Unreachable(_)) = runtime.info().await {
            tracing::warn!(%error, host, "waiting for the Docker Engine");
            tokio::time::sleep(RETRY).await;
        }
    };
    Ok(shutdown.run_until_cancelled(answers).await.map(|()| runtime))
}

async fn run_parts(
    context: Arc<Context>,
    pods: Arc<PodManager>,
    listwatch: ListWatch,
    facts: object::Facts,
    program: &Program,
    mut parts: JoinSet<()>,
) -> anyhow::Result<()> {
    let shutdown = &program.shutdown;
    let check = program.health.check("node");
    let source = follow_pods(listwatch, facts.name.clone(), pods.clone(), shutdown.clone());
    parts.spawn(source);
    parts.spawn(pleg::run(context.clone(), pods.clone(), shutdown.clone()));
    let (client, node) = (context.client.clone(), context.node.clone());
    let reclaim = volumes::reclaim::run(client, node, context.pods_dir(), shutdown.clone());
    parts.spawn(reclaim);
    parts.spawn(housekeeping::run(context.clone(), pods, shutdown.clone()));
    let patience = images::ahead::Patience::default();
    parts.spawn(images::ahead::run(context.clone(), patience, shutdown.clone()));
    parts.spawn(keeper::run(context.network.clone(), shutdown.clone()));
    parts.spawn(lease::run(context.clone(), shutdown.clone()));
    parts.spawn(registration::run(context, facts, check, shutdown.clone()));
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        if let Err(error) = ended {
            shutdown.cancel();
            outcome = Err(error);
        }
    }
    outcome.context("a part of the kubelet failed")
}

/// The pods that are bound to this node. The stream never ends and recovers by itself.
async fn follow_pods(
    listwatch: ListWatch,
    node: String,
    pods: Arc<PodManager>,
    shutdown: CancellationToken,
) {
    let mut events = listwatch.watch::<Pod>(Scope::PodsOfNode(node)).boxed();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => match event {
                Some(Ok(event)) => pods.handle(event),
                Some(Err(error)) => tracing::debug!(%error, "cannot watch the pods"),
                None => return,
            },
        }
    }
}

/// Starts the HTTPS server, with the certificate of the kubeconfig.
async fn serve(
    options: &Options,
    context: &Arc<Context>,
    pods: &Arc<PodManager>,
    sampler: Sampler,
    program: &Program,
    parts: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let Some(kubeconfig) = &options.client.kubeconfig else {
        tracing::warn!("no --kubeconfig, so no certificate to serve logs with");
        return Ok(());
    };
    let own = Credentials::from_kubeconfig(kubeconfig)?;
    let tls = match &options.bootstrap_kubeconfig {
        None => own.server_config()?,
        Some(_) => {
            own.server_config_with(keep_certificates(context, kubeconfig, program, parts))?
        }
    };
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", options.port))
        .await
        .with_context(|| format!("cannot serve on port {}", options.port))?;
    let shared = Shared {
        pods: pods.clone(),
        runtime: context.runtime.clone(),
        sampler,
        metrics: program.metrics.clone(),
    };
    let router = server::router(shared);
    parts.spawn(server::serve(listener, Arc::new(tls), router, program.shutdown.clone()));
    Ok(())
}

/// Renews what was asked for with a bootstrap token; what the server shows.
fn keep_certificates(
    context: &Arc<Context>,
    kubeconfig: &Path,
    program: &Program,
    parts: &mut JoinSet<()>,
) -> Arc<credentials::Serving> {
    let (client, node) = (&context.client, &context.node);
    let shutdown = &program.shutdown;
    let client_part =
        credentials::keep_client(client.clone(), kubeconfig.into(), node.clone(), shutdown.clone());
    parts.spawn(client_part);
    let serving = Arc::new(credentials::Serving::default());
    let at = (context.root.join("pki/kubelet-server.pem"), node.clone(), context.host_ip.clone());
    let with = (client.clone(), kubeconfig.to_owned());
    parts.spawn(credentials::keep_serving(serving.clone(), with, at, shutdown.clone()));
    serving
}

// === Facts about the node ===

fn facts(
    options: &Options,
    name: String,
    (ip, second_ip): (String, Option<String>),
) -> anyhow::Result<object::Facts> {
    Ok(object::Facts {
        name,
        ip,
        second_ip,
        port: options.port,
        labels: labels(&options.node_labels)?,
        cpus: cpus(),
        memory: Memory::read().total,
        disk: disk_bytes(&options.root_dir),
        max_pods: options.max_pods,
        thresholds: options.eviction_hard,
        runtime: crate::runtime::RuntimeInfo::default(),
        machine_id: line("/etc/machine-id"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
    })
}

/// That of IPv4 first. A node has one of IPv6 if pods do.
fn addresses(options: &Options) -> anyhow::Result<(String, Option<String>)> {
    let given = |is_family: fn(&IpAddr) -> bool| {
        let all: Vec<_> = options.node_ip.iter().copied().filter(is_family).collect();
        match all[..] {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => bail!("--node-ip: at most one address of each family"),
        }
    };
    let (v4, v6) = (given(IpAddr::is_ipv4)?, given(IpAddr::is_ipv6)?);
    let has_two = options.cluster_cidr.v6.is_some();
    if v6.is_some() && !has_two {
        bail!("--node-ip: an IPv6 address needs an IPv6 network in --cluster-cidr");
    }
    let first = v4.or_else(host::address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let second = v6.or_else(|| host::ipv6_address().filter(|_| has_two));
    Ok((first.to_string(), second.map(|ip| ip.to_string())))
}

fn line(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn labels(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |label: &String| {
        let (key, value) = label
            .split_once('=')
            .with_context(|| format!("--node-labels: {label:?} is not key=value"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    given.iter().filter(|label| !label.is_empty()).map(pair).collect()
}
