//! The command line: from flags to a running server, or to a kubeconfig.

mod audit;
mod etcd;
mod oidc;
mod request_header;
mod requests;
mod token_webhook;
mod tokens;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use api_machinery::IpFamily;
use clap::{Args, Parser, Subcommand, ValueEnum};
use component::{RedisArgs, Runtime, host, network::Networks};
use listwatch::{Announcements, Publisher};
use store::{
    Store,
    embedded::{Embedded, Options},
};
use tokio::net::TcpListener;

use crate::{
    AdmissionPlugin, ApiServer, Config, Encrypted, Identity, PortRange, kubebuilder_assets,
    pki::{AuthorityFiles, Pki, TlsFiles},
};

/// The API server of minik8s: serves the Kubernetes API, and is the only door to the store.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        apiserver --data-dir /var/lib/minik8s/apiserver\n  \
        apiserver --store etcd --etcd-servers http://10.0.0.1:2379,http://10.0.0.2:2379 --redis redis://10.0.0.1:6379\n  \
        apiserver kubeconfig --data-dir /var/lib/minik8s/apiserver --server https://10.0.0.1:6443 \\\n    \
        --user system:node:n1 --group system:nodes --san n1 --san 10.0.0.2 --output kubelet.conf"
)]
pub struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeFlags,
}

impl Flags {
    /// The first member of etcd that is named.
    pub(crate) fn etcd_server(&self) -> Option<&str> {
        self.serve.etcd.first_server()
    }

    /// Has objects kept in etcd.
    pub(crate) fn use_etcd(&mut self) {
        self.serve.store = Backend::Etcd;
    }

    /// Has everything kept in this directory, which is thrown away when a test is over.
    pub(crate) fn keep_for_a_test(&mut self, directory: &Path) {
        self.serve.is_for_a_test = true;
        directory.clone_into(&mut self.serve.data_dir);
        directory.clone_into(&mut self.serve.kubeconfig_dir);
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Signs a certificate with the CA on disk and writes a kubeconfig with it.
    Kubeconfig(KubeconfigFlags),
    /// Makes a folder with the programs that controller-runtime's envtest starts, for KUBEBUILDER_ASSETS, and says where it is.
    #[command(
        after_help = "Examples:\n  KUBEBUILDER_ASSETS=$(apiserver envtest bin/envtest) go test ./..."
    )]
    Envtest {
        /// The folder
        directory: PathBuf,
    },
}

/// How long to wait for a store that another process has: one that was killed is being cleared up.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

/// Where objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// A file in the data directory.
    Embedded,
    /// The servers of --etcd-servers.
    Etcd,
}

#[derive(Debug, Args)]
struct ServeFlags {
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind_address: IpAddr,
    /// Port to listen on, with HTTPS
    #[arg(long, default_value_t = 6443)]
    secure_port: u16,
    /// Address at which others reach this server [default: that of the default route]
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// Directory of the CA, and of the embedded store
    #[arg(long, default_value = "/var/lib/minik8s/apiserver")]
    data_dir: PathBuf,
    /// What is kept there need not outlive a power cut.
    #[arg(skip)]
    is_for_a_test: bool,
    #[command(flatten)]
    authority: AuthorityFlags,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    request_header: request_header::RequestHeaderFlags,
    #[command(flatten)]
    tokens: tokens::TokenFlags,
    #[command(flatten)]
    oidc: oidc::OidcFlags,
    #[command(flatten)]
    token_webhook: token_webhook::TokenWebhookFlags,
    #[command(flatten)]
    requests: requests::RequestFlags,
    /// Where objects are kept
    #[arg(long, value_enum, default_value_t = Backend::Embedded)]
    store: Backend,
    /// Read and verify the whole file of the embedded store before serving, even if it was closed in order
    #[arg(long)]
    verify_store: bool,
    #[command(flatten)]
    encryption: EncryptionFlags,
    #[command(flatten)]
    audit: audit::AuditFlags,
    #[command(flatten)]
    etcd: etcd::EtcdFlags,
    #[command(flatten)]
    redis: RedisArgs,
    /// Range of the virtual IPs of services, or one of IPv4 and one of IPv6: the first is of the cluster's primary family
    #[arg(
        long,
        alias = "service-cluster-ip-range",
        value_name = "CIDR[,CIDR]",
        default_value = "10.96.0.0/16"
    )]
    service_cidr: Networks,
    /// Address of the service kube-dns, in one of these ranges [default: there is none]
    #[arg(long, value_name = "IP")]
    cluster_dns: Option<IpAddr>,
    /// Ports of nodes that services may have
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    service_node_port_range: PortRange,
    /// What is asked about requests beside the usual: DenyServiceExternalIPs, by which no Service gets an external IP
    #[arg(long, value_enum, value_delimiter = ',')]
    enable_admission_plugins: Vec<Extra>,
    /// What is not asked about requests. Without a controller-manager, nobody makes the service accounts that
    /// ServiceAccount wants, and nobody finds nodes ready that TaintNodesByCondition keeps pods from
    #[arg(long, value_enum, value_name = "NAME,…", value_delimiter = ',')]
    disable_admission_plugins: Vec<AdmissionPlugin>,
    /// Directory to write the kubeconfigs of the control plane to
    #[arg(long, default_value = "/etc/minik8s")]
    kubeconfig_dir: PathBuf,
}

/// Encryption at rest.
#[derive(Debug, Args)]
struct EncryptionFlags {
    /// What is encrypted in the store, with which keys: an EncryptionConfiguration
    #[arg(long, value_name = "FILE")]
    encryption_provider_config: Option<PathBuf>,
    /// Read it again when it changes
    #[arg(long, requires = "encryption_provider_config")]
    encryption_provider_config_automatic_reload: bool,
}

impl EncryptionFlags {
    /// The store with what it encrypts, if it does.
    async fn open(&self, store: &Arc<dyn Store>) -> anyhow::Result<Option<Arc<Encrypted>>> {
        let Some(path) = &self.encryption_provider_config else { return Ok(None) };
        Ok(Some(Arc::new(Encrypted::open(store.clone(), path).await?)))
    }

    /// Goes by what the file says while the server runs, if it is to, and by who keeps the keys.
    fn begin(&self, server: &ApiServer, encrypted: Option<Arc<Encrypted>>) {
        if let Some(encrypted) = encrypted {
            let following = encrypted.follow(self.encryption_provider_config_automatic_reload);
            server.begin("following the encryption's configuration", following);
        }
    }
}

/// A part of admission that is not asked unless a flag says so, as Kubernetes calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Extra {
    #[value(name = "DenyServiceExternalIPs")]
    DenyServiceExternalIps,
}

/// The CA, where several servers share one.
#[derive(Debug, Args)]
struct AuthorityFlags {
    /// Certificate of the CA, for several servers of one cluster [default: made in the data directory]
    #[arg(long, requires = "ca_key_file")]
    ca_cert_file: Option<PathBuf>,
    /// Key of the CA
    #[arg(long, requires = "ca_cert_file")]
    ca_key_file: Option<PathBuf>,
}

impl AuthorityFlags {
    fn files(&self) -> Option<AuthorityFiles> {
        let (certificate, key) = (self.ca_cert_file.clone()?, self.ca_key_file.clone()?);
        Some(AuthorityFiles { certificate, key })
    }
}

/// Certificates that are made elsewhere.
#[derive(Debug, Args)]
struct TlsFlags {
    /// Certificates of the authorities whose clients are known [default: that of the CA]
    #[arg(long)]
    client_ca_file: Option<PathBuf>,
    /// Certificate to serve with, and those that lead to its authority [default: signed by the CA]
    #[arg(long, requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
}

impl TlsFlags {
    fn files(&self) -> TlsFiles {
        let serving = self.tls_cert_file.clone().zip(self.tls_private_key_file.clone());
        let client_ca = self.client_ca_file.clone();
        TlsFiles { serving, client_ca, request_header_ca: None }
    }
}

#[derive(Debug, Args)]
struct KubeconfigFlags {
    /// Data directory of the apiserver whose CA signs
    #[arg(long, default_value = "/var/lib/minik8s/apiserver")]
    data_dir: PathBuf,
    #[command(flatten)]
    authority: AuthorityFlags,
    /// URL of the apiserver
    #[arg(long)]
    server: String,
    /// User name: the certificate's common name
    #[arg(long)]
    user: String,
    /// Group of the user; may be repeated
    #[arg(long = "group")]
    groups: Vec<String>,
    /// DNS name or IP address that the certificate is good for as a server's; may be repeated
    #[arg(long = "san")]
    names: Vec<String>,
    /// File to write
    #[arg(long)]
    output: PathBuf,
}

/// The programs that get a kubeconfig, and who they are.
fn kubeconfigs() -> [(&'static str, Identity); 5] {
    let program = |user: &str| Identity::new(user, &[]);
    [
        ("admin", Identity::admin()),
        ("scheduler", program("system:kube-scheduler")),
        ("controller-manager", program("system:kube-controller-manager")),
        ("kube-proxy", program("system:kube-proxy")),
        ("serverless-gateway", program("system:serverless-gateway")),
    ]
}

/// Does what the flags say.
///
/// # Errors
/// Wrong flags or files, a store or port that can't be had, or a server that can't go on.
pub async fn main(flags: Flags, runtime: Runtime) -> anyhow::Result<()> {
    main_with(flags, runtime, |_| {}).await
}

/// The same, with something to be done when the server has started.
///
/// # Errors
/// Those of [`main`].
pub async fn main_with(
    flags: Flags,
    runtime: Runtime,
    started: impl FnOnce(&ApiServer),
) -> anyhow::Result<()> {
    match flags.command {
        Some(Command::Kubeconfig(flags)) => kubeconfig(&flags),
        Some(Command::Envtest { directory }) => {
            let made = kubebuilder_assets::make(&directory)?;
            Ok(writeln!(io::stdout(), "{}", made.display())?)
        }
        None => serve(&flags.serve, &runtime, started).await,
    }
}

fn kubeconfig(flags: &KubeconfigFlags) -> anyhow::Result<()> {
    let pki = match flags.authority.files() {
        Some(files) => Pki::signing_with(&flags.data_dir, &files)?,
        None => Pki::open(&flags.data_dir)?,
    };
    let groups: Vec<&str> = flags.groups.iter().map(String::as_str).collect();
    let identity = Identity::new(&flags.user, &groups);
    Ok(pki.write_kubeconfig(&flags.output, &flags.server, &identity, &flags.names)?)
}

async fn serve(
    flags: &ServeFlags,
    runtime: &Runtime,
    started: impl FnOnce(&ApiServer),
) -> anyhow::Result<()> {
    check_service_cidr(&flags.service_cidr)?;
    let advertised = advertise_address(flags);
    check_families(&flags.service_cidr, advertised)?;
    let pki = match flags.authority.files() {
        Some(files) => Pki::with_authority(&flags.data_dir, &files)?,
        None => Pki::open_or_create(&flags.data_dir)?,
    };
    let files = TlsFiles { request_header_ca: flags.request_header.ca(), ..flags.tls.files() };
    let tls = pki.server_config_from(&files, &serving_names(flags, advertised))?;
    write_kubeconfigs(&pki, flags, advertised)?;
    let redis = flags.redis.server()?;
    let listen = |redis| Announcements::connect(redis, &runtime.tasks);
    let announcements = redis.as_ref().map(listen).transpose()?;
    let config = Config {
        announcements,
        service_cidr: flags.service_cidr,
        cluster_dns: flags.cluster_dns,
        node_ports: flags.service_node_port_range,
        advertise_address: advertised,
        secure_port: flags.secure_port,
        kubelet_client: Some(pki.kubelet_client()?),
        audit: flags.audit.audit()?,
        front_proxy: Some(pki.front_proxy(&files)?),
        request_header: flags.request_header.believed(&pki.client_authorities(&files)?)?,
        oidc: flags.oidc.providers(flags.tokens.issuers())?,
        token_webhook: flags.token_webhook.webhook()?,
        request_limits: flags.requests.limits()?,
        request_timeout: flags.requests.timeout(),
        shutdown_delay: flags.requests.shutdown_delay(),
        left_out: flags.disable_admission_plugins.iter().copied().collect(),
        denies_external_ips: flags
            .enable_admission_plugins
            .contains(&Extra::DenyServiceExternalIps),
        ..Config::new(flags.tokens.tokens(&pki)?)
    };
    let store = open_store(flags).await?;
    let encrypted = flags.encryption.open(&store).await?;
    let store = encrypted.clone().map_or(store, |encrypted| encrypted as Arc<dyn Store>);
    let connect = |redis| Publisher::connect(redis, &runtime.tasks);
    let publisher = redis.as_ref().map(connect).transpose()?;
    let address = (flags.bind_address, flags.secure_port);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {}:{}", flags.bind_address, flags.secure_port)
    })?;
    let server = ApiServer::start(config, store.clone(), publisher).await?;
    tracing::info!(address = %listener.local_addr()?, %advertised, "serving the Kubernetes API");
    flags.encryption.begin(&server, encrypted);
    server.serve(listener, tls);
    runtime.started();
    started(&server);
    let ended = server.run(&runtime.shutdown).await;
    store.close().await;
    Ok(ended?)
}

async fn open_store(flags: &ServeFlags) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match flags.store {
        Backend::Embedded => {
            let path = flags.data_dir.join("store.redb");
            let store = Embedded::open_within(&path, store_options(flags), LOCK_PATIENCE).await;
            Arc::new(store.with_context(|| format!("cannot open the store {}", path.display()))?)
        }
        Backend::Etcd => Arc::new(flags.etcd.open().await?),
    })
}

fn store_options(flags: &ServeFlags) -> Options {
    Options {
        verify: flags.verify_store,
        outlives_power_cuts: !flags.is_for_a_test,
        ..Options::default()
    }
}

fn write_kubeconfigs(pki: &Pki, flags: &ServeFlags, advertised: IpAddr) -> anyhow::Result<()> {
    let host = match advertised {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let server = format!("https://{host}:{}", flags.secure_port);
    for (name, identity) in kubeconfigs() {
        let path = flags.kubeconfig_dir.join(name).with_extension("conf");
        pki.ensure_kubeconfig(&path, &server, &identity)?;
    }
    Ok(())
}

/// All names and addresses under which clients may reach the server.
fn serving_names(flags: &ServeFlags, advertised: IpAddr) -> Vec<String> {
    let service = "kubernetes.default.svc.cluster.local";
    let mut names: Vec<String> = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        service,
    ]
    .map(str::to_owned)
    .into();
    names.extend(flags.service_cidr.first_host().map(|ip| ip.to_string()));
    names.push(advertised.to_string());
    if !flags.bind_address.is_unspecified() {
        names.push(flags.bind_address.to_string());
    }
    names.extend(host::name().ok().filter(|name| !name.is_empty()));
    names.sort();
    names.dedup();
    names
}

/// Larger ones can't be ServiceCIDRs (Kubernetes: `ipallocator.NewIPAllocator`).
fn check_service_cidr(ranges: &Networks) -> anyhow::Result<()> {
    match ranges.v6().filter(|range| range.prefix_len() < 64) {
        Some(range) => bail!("--service-cidr: {range} is too large: of IPv6, a /64 at most"),
        None => Ok(()),
    }
}

/// The service `kubernetes` has an address of the one, and leads to the other (Kubernetes says the same).
fn check_families(ranges: &Networks, advertised: IpAddr) -> anyhow::Result<()> {
    let first = ranges.primary();
    let (service, public) = (IpFamily::of(first.addr()), IpFamily::of(advertised));
    if service == public {
        return Ok(());
    }
    bail!(
        "service IP family \"{service}\" must match public address family \"{public}\": --service-cidr begins with {first}, \
         and the server is reached at {advertised}; begin with a range of {public}, or give an --advertise-address of {service}"
    )
}

fn advertise_address(flags: &ServeFlags) -> IpAddr {
    let bound = Some(flags.bind_address).filter(|address| !address.is_unspecified());
    flags
        .advertise_address
        .or(bound)
        .or_else(host::address)
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_outlives_power_cuts_unless_it_is_a_tests() {
        let mut flags = Flags::try_parse_from(["apiserver"]).unwrap();
        assert!(store_options(&flags.serve).outlives_power_cuts);
        flags.keep_for_a_test(Path::new("/nowhere"));
        assert!(!store_options(&flags.serve).outlives_power_cuts);
    }

    #[test]
    fn the_first_range_of_services_is_of_the_family_of_the_servers_address() {
        let check = |ranges: &str, advertised: &str| {
            check_families(&ranges.parse().unwrap(), advertised.parse().unwrap())
        };
        check("10.96.0.0/16", "10.0.0.1").unwrap();
        check("10.96.0.0/16,fd00:96::/108", "10.0.0.1").unwrap();
        check("fd00:96::/108,10.96.0.0/16", "fd00::1").unwrap();
        let told = check("fd00:96::/108,10.96.0.0/16", "10.0.0.1").unwrap_err().to_string();
        let expected = "service IP family \"IPv6\" must match public address family \"IPv4\": --service-cidr begins with fd00:96::/108";
        assert!(told.starts_with(expected), "{told}");
    }
}
