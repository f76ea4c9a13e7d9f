//! All that the program does, put together: parts that run beside each other until the end.

use std::sync::Arc;

use anyhow::{Context, bail};
use api_types::api::core::v1::Node;
use component::{Check, Runtime, events::Recorder, host::node_name, resolv_conf};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, select_all},
};
use kube::runtime::reflector::Store;
use listwatch::ListWatch;
use netlink::Netlink;
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::Loopback,
    announced::Announced,
    announcer::Announcer,
    args::{Args, NginxForm, ProxyMode},
    backend::{Backend, Nftables, Nginx, SharedNginx, WithoutRules, shared::HostSockets},
    client_addresses,
    configs::Configs,
    dns::{self, Dns},
    docker::Docker,
    host_ports,
    metrics::Metrics,
    policy,
    reconciler::Reconciler,
    routes::{Host, RouteMetrics, kernel::Kernel, sync::Outlets as RouteOutlets, sync::Routes},
    self_made,
    sync::{self, Outlets},
    wake::Wake,
    witness,
    world::{self, Follower, Here, RouterSettings, World},
};

const HEALTH_ADDRESS: &str = "127.0.0.1:10256";
/// In --state-dir.
const LAST_HOSTS: &str = "dns-hosts";

/// Runs until shutdown.
pub(crate) async fn work(args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
    if args.service_cidr.v6.is_some() != args.cluster_cidr.v6.is_some() {
        bail!("--service-cidr and --cluster-cidr: both need an IPv6 network, or neither");
    }
    let client = component::client(&args.client).await?;
    let redis = args.client.redis.server()?;
    let listwatch = ListWatch::new(client, redis.as_ref(), &runtime.tasks)?;
    let checks = (runtime.health.check("services"), runtime.health.check("routes"));
    runtime.serve(&args.serve, HEALTH_ADDRESS).await?;

    let node = node_name(args.node_name.as_deref()).context("cannot tell the host name")?;
    let recorder = Recorder::new(&runtime.tasks, listwatch.client().clone(), "kube-proxy", &node);
    let mut program = Program::new(args, runtime, args.here(node), &recorder, checks).await?;
    program.run(&listwatch, &runtime.shutdown).await
}

/// Its parts.
struct Program {
    here: Here,
    docker: Docker,
    names: Option<Names>,
    backend: Box<dyn Backend>,
    clients: Option<client_addresses::Keeper>,
    routes: Routes,
    announced: Arc<Announced>,
    announcer: Announcer,
    services: Outlets,
    policies: Option<policy::Keeper>,
    router: RouterSettings,
}

/// Who answers for names.
struct Names {
    dns: Dns,
    addresses: Loopback,
    check: Check,
}

/// By which the parts hear that there is something new.
#[derive(Default)]
struct Wakes {
    services: Arc<Wake>,
    routes: Arc<Wake>,
    node: Arc<Wake>,
    announcer: Arc<Wake>,
}

impl Program {
    /// `checks`: of Services and of routes.
    async fn new(
        args: &Args,
        runtime: &Runtime,
        here: Here,
        recorder: &Recorder,
        checks: (Check, Check),
    ) -> anyhow::Result<Self> {
        let engine =
            ::docker::Docker::new(&args.docker_host).context("cannot use --docker-host")?;
        let docker = Docker::new(engine, &args.nginx_image, &here.node);
        let names = serve_names(args, runtime).await?;
        let backend = carry_services(args, docker.clone()).await?;
        let clients = keep_clients(args, runtime).await?;
        let routes = keep_routes(args.host(&here.node), recorder.clone(), checks.1, runtime)?;
        let (announced, check) =
            (Arc::<Announced>::default(), runtime.health.check("load balancers"));
        let announcer = Announcer::new(here.clone(), announced.clone(), recorder.clone(), check);
        let announcer = announcer.context("cannot announce load balancers' addresses")?;
        let metrics = Metrics::register(&runtime.metrics);
        let services = Outlets { check: checks.0, metrics, recorder: recorder.clone() };
        let policies = keep_policies(args, &here, runtime).await?;
        let router = router_settings(args)?;
        Ok(Self {
            here,
            docker,
            names,
            backend,
            clients,
            routes,
            announced,
            announcer,
            services,
            policies,
            router,
        })
    }

    async fn run(
        &mut self,
        listwatch: &ListWatch,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let wakes = Wakes::default();
        let of_policies = self.policies.as_ref().map(policy::Keeper::wake);
        let (nodes, nodes_watch) = world::follow(listwatch, wakes.of_nodes(of_policies));
        let dns = self.names.as_ref().map(|names| names.dns.clone());
        let follower = dns.map(|dns| Arc::new(dns) as Arc<dyn Follower>);
        let (world, watches) = World::watch(listwatch, nodes.clone(), &wakes.services, follower);
        let world = world.with_router(self.router.clone()).with_announced(self.announced.clone());
        let mut parts = self.parts(&world, &nodes, &wakes, listwatch);
        parts.push(("watching Services and EndpointSlices", watches.boxed_local()));
        parts.push(("watching nodes", nodes_watch.boxed_local()));
        let ended = run(shutdown, parts).await;
        self.announcer.leave().await;
        ended
    }

    fn parts<'a>(
        &'a mut self,
        world: &'a World,
        nodes: &'a Store<Node>,
        wakes: &'a Wakes,
        listwatch: &'a ListWatch,
    ) -> Vec<Part<'a>> {
        let (here, client) = (&self.here, listwatch.client());
        let services = sync::run(world, here, &mut *self.backend, &wakes.services, &self.services);
        let host_ports =
            host_ports::keep(client, &here.node, nodes, &wakes.node, self.router.host_ports);
        let announcing = self.announcer.run(world, nodes, &wakes.announcer, &wakes.services);
        let mut parts: Vec<Part<'a>> = vec![
            ("keeping Services", services.boxed_local()),
            ("keeping routes", self.routes.run(nodes, &wakes.routes).boxed_local()),
            ("telling of host ports", host_ports.boxed_local()),
            ("announcing", announcing.boxed_local()),
            ("asking other hosts", witness::run(&here.node, nodes, listwatch).boxed_local()),
            ("following Docker's events", self.docker.follow_deaths(&wakes.services).boxed_local()),
        ];
        if let Some(clients) = &self.clients {
            let keeping = clients.run(world, &wakes.services);
            parts.push(("keeping addresses of clients", keeping.boxed_local()));
        }
        if let Some(policies) = &mut self.policies {
            let keeping = policies.run(world, nodes, listwatch);
            parts.push(("keeping network policies", keeping.boxed_local()));
        }
        if let Some(Names { dns, addresses, check }) = &self.names {
            let serving = dns.run(addresses, listwatch, check);
            parts.push(("serving DNS", serving.boxed_local()));
        }
        parts
    }
}

impl Wakes {
    /// Those of whom changes of nodes concern.
    fn of_nodes(&self, policies: Option<Arc<Wake>>) -> Vec<Arc<Wake>> {
        let Wakes { services, routes, node, announcer } = self;
        [services, routes, node, announcer].into_iter().cloned().chain(policies).collect()
    }
}

/// What it does, and doing it.
type Part<'a> = (&'static str, LocalBoxFuture<'a, ()>);

/// Runs until shutdown. No part comes to its end before; if one does, the program has failed.
async fn run(shutdown: &CancellationToken, parts: Vec<Part<'_>>) -> anyhow::Result<()> {
    let parts = parts.into_iter().map(|(doing, part)| part.map(move |()| doing).boxed_local());
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        (doing, ..) = select_all(parts) => bail!("{doing} has ended"),
    }
}

async fn hold_addresses(args: &Args) -> anyhow::Result<Loopback> {
    let opened = Loopback::open(args.service_cidr, args.cluster_cidr).await;
    opened.context("cannot hold addresses")
}

/// The two modes leave nothing of each other behind.
async fn carry_services(args: &Args, docker: Docker) -> anyhow::Result<Box<dyn Backend>> {
    let addresses = hold_addresses(args).await?.without(args.cluster_dns);
    let configs = Configs::open(&args.state_dir).context("cannot use --state-dir")?;
    let ranges = args.service_cidr;
    match (args.proxy_mode, args.nginx) {
        (ProxyMode::Nginx, NginxForm::PerService) => {
            by_nginx_alone(args, Nginx(Reconciler::new(docker, addresses, configs)))
        }
        (ProxyMode::Nginx, NginxForm::Shared) => {
            let sockets = Box::new(HostSockets);
            by_nginx_alone(args, SharedNginx::new(ranges, docker, addresses, configs, sockets))
        }
        (ProxyMode::Nftables, _) => {
            Ok(Box::new(Nftables::new(ranges, args.cluster_cidr, docker, addresses, configs)))
        }
    }
}

fn by_nginx_alone<B: Backend + 'static>(args: &Args, nginx: B) -> anyhow::Result<Box<dyn Backend>> {
    let nginx = WithoutRules::new(args.service_cidr, nginx);
    if args.nginx_keeps_clients() {
        return Ok(Box::new(nginx));
    }
    let left = client_addresses::Left { pods: args.cluster_cidr, kernel: Netlink::open()? };
    Ok(Box::new(nginx.and_without(Box::new(left))))
}

fn router_settings(args: &Args) -> anyhow::Result<RouterSettings> {
    let certificate = self_made::certificate(&args.state_dir);
    let certificate = certificate.context("cannot make a certificate in --state-dir")?;
    Ok(RouterSettings { host_ports: args.ingress_host_ports, certificate })
}

/// Nobody, if nobody is wanted here.
async fn serve_names(args: &Args, runtime: &Runtime) -> anyhow::Result<Option<Names>> {
    let (dns, check) = (make_dns(args, runtime)?, runtime.health.check("dns"));
    let Some(dns) = dns else {
        check.ready();
        return Ok(None);
    };
    Ok(Some(Names { dns, addresses: hold_addresses(args).await?, check }))
}

/// Nothing, if none is wanted here.
fn make_dns(args: &Args, runtime: &Runtime) -> anyhow::Result<Option<Dns>> {
    let Some(address) = args.cluster_dns else { return Ok(None) };
    if !args.service_cidr.contains(address) {
        bail!("--cluster-dns: {address} is not in --service-cidr {}", args.service_cidr);
    }
    if args.dns_upstream.iter().any(|server| server.ip() == address) {
        bail!("--dns-upstream: {address} is the cluster's DNS itself");
    }
    let own = |stub: &&dns::Stub| stub.servers.iter().any(|server| server.ip() == address);
    if let Some(stub) = args.dns_stub.iter().find(own) {
        bail!("--dns-stub: {address}, for {}, is the cluster's DNS itself", stub.domain);
    }
    let settings = dns::Settings {
        address,
        domain: args.cluster_domain.clone(),
        ranges: args.service_cidr.iter().chain(args.cluster_cidr.iter()).collect(),
        upstream: args.dns_upstream.clone(),
        host_file: args.resolv_conf.clone().unwrap_or_else(resolv_conf::host_file),
        stubs: args.dns_stub.clone(),
        last_hosts: args.state_dir.join(LAST_HOSTS),
    };
    let metrics = dns::metrics::Metrics::register(&runtime.metrics);
    Dns::new(settings, metrics).map(Some)
}

/// Nothing, if they are not wanted: then nothing is left of them, either.
async fn keep_policies(
    args: &Args,
    here: &Here,
    runtime: &Runtime,
) -> anyhow::Result<Option<policy::Keeper>> {
    if !args.network_policy {
        policy::remove(here).await.context("cannot remove the rules of network policies")?;
        return Ok(None);
    }
    let outlets = policy::Outlets::new(runtime.health.check("network policies"), &runtime.metrics);
    let kernel = Kernel::open().context("cannot keep network policies")?;
    Ok(Some(policy::Keeper::new(here.clone(), kernel, outlets)))
}

/// Nothing, if nginx is not to speak from them. What brings answers back goes once no nginx does, or Services have none.
async fn keep_clients(
    args: &Args,
    runtime: &Runtime,
) -> anyhow::Result<Option<client_addresses::Keeper>> {
    let (pods, kernel) = (args.cluster_cidr, Netlink::open()?);
    if args.nginx_keeps_clients() {
        let check = runtime.health.check("addresses of clients");
        return Ok(Some(client_addresses::Keeper { pods, kernel, check }));
    }
    if args.proxy_mode == ProxyMode::Nftables {
        let removed = client_addresses::remove(pods, &kernel).await;
        removed.context("cannot remove the rules by which nginx kept clients' addresses")?;
    }
    Ok(None)
}

fn keep_routes(
    host: Host,
    recorder: Recorder,
    check: Check,
    runtime: &Runtime,
) -> anyhow::Result<Routes> {
    let metrics = RouteMetrics::register(&runtime.metrics);
    let kernel = Kernel::open().context("cannot keep routes")?;
    Ok(Routes::new(host, kernel, RouteOutlets { check, metrics, recorder }).guarded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_before_the_program_is_a_failure() {
        let shutdown = CancellationToken::new();
        let parts = || vec![("staying", std::future::pending().boxed_local())];
        let mut with_one_that_ends = parts();
        with_one_that_ends.push(("leaving", async {}.boxed_local()));
        let error = run(&shutdown, with_one_that_ends).await.unwrap_err();
        assert_eq!(error.to_string(), "leaving has ended");
        shutdown.cancel();
        run(&shutdown, parts()).await.unwrap();
    }
}
