//! The items, in their order.

use rustls::crypto::ring;

use super::facts::{Facts, says};

/// Whether an item is met.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    /// If this holds.
    Met(fn(&Facts) -> bool),
    /// Whoever runs the cluster turns it on, as the test does: then this holds.
    Offered(fn(&Facts) -> bool),
    NotApplicable,
    /// Whoever runs the cluster sees to it.
    Yours,
}

/// What the benchmark asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) number: &'static str,
    pub(super) title: &'static str,
    pub(super) is: Is,
    /// How it is met, or why it does not apply.
    pub(super) how: &'static str,
}

fn unit(name: &str, text: &str) -> bool {
    says(&format!("deploy/systemd/minik8s-{name}.service"), text)
}

fn is_private(name: &str) -> bool {
    unit(name, "StateDirectoryMode=0700")
}

fn has_strong_ciphers_alone() -> bool {
    ring::default_provider().cipher_suites.iter().all(|suite| {
        let name = format!("{:?}", suite.suite());
        let is_forward = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        is_forward && (name.contains("_GCM_") || name.contains("_CHACHA20_"))
    })
}

const fn item(number: &'static str, title: &'static str, is: Is, how: &'static str) -> Item {
    Item { number, title, is, how }
}

#[rustfmt::skip]
pub(super) const ITEMS: &[Item] = &[
    item("1.1.1", "API server pod specification file: mode 600 or more restrictive", Is::Met(|_| says("scripts/lib/releases.sh", "install -m 600 \"$ROOT/deploy/systemd/$name\"")), "there are no static pods: units of systemd and the files of their flags, root's, the latter of mode 600"),
    item("1.1.2", "API server pod specification file: owner root:root", Is::NotApplicable, "as 1.1.1"),
    item("1.1.3", "Controller manager pod specification file: mode 600 or more restrictive", Is::NotApplicable, "as 1.1.1"),
    item("1.1.4", "Controller manager pod specification file: owner root:root", Is::NotApplicable, "as 1.1.1"),
    item("1.1.5", "Scheduler pod specification file: mode 600 or more restrictive", Is::NotApplicable, "as 1.1.1"),
    item("1.1.6", "Scheduler pod specification file: owner root:root", Is::NotApplicable, "as 1.1.1"),
    item("1.1.7", "etcd pod specification file: mode 600 or more restrictive", Is::NotApplicable, "as 1.1.1"),
    item("1.1.8", "etcd pod specification file: owner root:root", Is::NotApplicable, "as 1.1.1"),
    item("1.1.9", "Container Network Interface files: mode 600 or more restrictive", Is::NotApplicable, "minik8s writes none: the kubelet makes the pod network itself. With `kubelet --network-plugin cni` or `weave` their files are yours"),
    item("1.1.10", "Container Network Interface files: owner root:root", Is::NotApplicable, "as 1.1.9"),
    item("1.1.11", "etcd data directory: mode 700 or more restrictive", Is::Met(|facts| facts.is_closed("data", 0o700) && facts.is_closed("store.redb", 0o600) && is_private("etcd") && is_private("apiserver")), "`StateDirectoryMode=0700`; the embedded store's folder has 700, its file 600"),
    item("1.1.12", "etcd data directory: owner etcd:etcd", Is::Met(|_| unit("etcd", "User=minik8s\n")), "owned by `minik8s`, whom etcd runs as"),
    item("1.1.13", "admin.conf: mode 600 or more restrictive", Is::Met(|facts| facts.is_closed("admin.conf", 0o600)), "written so"),
    item("1.1.14", "admin.conf: owner root:root", Is::Met(|facts| facts.is_closed("admin.conf", 0o777)), "owned by whom the API server runs as: root (`up.sh`), or `minik8s`, in a folder of mode 700 (units)"),
    item("1.1.15", "scheduler.conf: mode 600 or more restrictive", Is::Met(|facts| facts.is_closed("scheduler.conf", 0o600)), "written so"),
    item("1.1.16", "scheduler.conf: owner root:root", Is::Met(|facts| facts.is_closed("scheduler.conf", 0o777)), "owned by whom the API server runs as: root (`up.sh`), or `minik8s`, in a folder of mode 700 (units)"),
    item("1.1.17", "controller-manager.conf: mode 600 or more restrictive", Is::Met(|facts| facts.is_closed("controller-manager.conf", 0o600)), "written so"),
    item("1.1.18", "controller-manager.conf: owner root:root", Is::Met(|facts| facts.is_closed("controller-manager.conf", 0o777)), "owned by whom the API server runs as: root (`up.sh`), or `minik8s`, in a folder of mode 700 (units)"),
    item("1.1.19", "PKI directory and files: owner root:root", Is::Met(|facts| facts.is_closed("pki", 0o700)), "as 1.1.14; the directory has mode 700"),
    item("1.1.20", "PKI certificate files: mode 644 or more restrictive", Is::Met(|facts| facts.is_closed(".crt", 0o644)), "644"),
    item("1.1.21", "PKI key files: mode 600", Is::Met(|facts| facts.is_closed(".key", 0o600)), "600"),
    item("1.2.1", "`--anonymous-auth` is false", Is::Offered(|facts| facts.answers("nobody: health", 200) && facts.answers("nobody: pods", 403) && facts.answers("nobody: groups", 403)), "there is no such flag: anonymous requests are served what roles give them. That is health and version, and during a join `cluster-info`, unless you bind more to `system:anonymous` or `system:unauthenticated`"),
    item("1.2.2", "`--token-auth-file` is not set", Is::Met(|facts| !facts.has_flag("token-auth-file")), "there is no such flag"),
    item("1.2.3", "`DenyServiceExternalIPs` is set", Is::Offered(|facts| facts.answers("admin: an external IP", 403)), "off unless you set `--enable-admission-plugins DenyServiceExternalIPs`"),
    item("1.2.4", "`--kubelet-client-certificate` and `--kubelet-client-key` are set", Is::Met(|facts| facts.is_closed("apiserver-kubelet-client.key", 0o600)), "always: a certificate that the server signs for itself"),
    item("1.2.5", "`--kubelet-certificate-authority` is set", Is::Met(|_| says("apiserver/src/pki/mod.rs", "KubeletClient::new(self.ca_certificate()")), "always: kubelets have to show a certificate of the cluster's authority for their node"),
    item("1.2.6", "`--authorization-mode` is not AlwaysAllow", Is::Met(|facts| !facts.has_flag("authorization-mode") && facts.answers("bob: pods", 403)), "always Node and RBAC"),
    item("1.2.7", "`--authorization-mode` includes Node", Is::Met(|facts| facts.answers("node: a secret", 403)), "always"),
    item("1.2.8", "`--authorization-mode` includes RBAC", Is::Met(|facts| facts.answers("bob: pods", 403)), "always"),
    item("1.2.9", "`EventRateLimit` is set", Is::NotApplicable, "an alpha plugin of Kubernetes; Events end after an hour"),
    item("1.2.10", "`AlwaysAdmit` is not set", Is::Met(|_| !says("apiserver/src/flags.rs", "AlwaysAdmit")), "there is no such plugin"),
    item("1.2.11", "`AlwaysPullImages` is set", Is::NotApplicable, "images of a machine without a registry could not be run; a MutatingAdmissionPolicy does it where there is one"),
    item("1.2.12", "`ServiceAccount` is set", Is::Met(|_| !says("scripts/up.sh", "disable-admission-plugins") && !unit("apiserver", "DISABLE_ADMISSION") && !says("deploy/systemd/apiserver.env", "DISABLE_ADMISSION")), "unless `--disable-admission-plugins` says otherwise"),
    item("1.2.13", "`NamespaceLifecycle` is set", Is::Met(|facts| facts.answers("admin: a namespace that is not", 404)), "always"),
    item("1.2.14", "`NodeRestriction` is set", Is::Met(|facts| facts.answers("node: itself", 201) && facts.answers("node: another", 403)), "always"),
    item("1.2.15", "`--profiling` is false", Is::Met(|facts| facts.answers("admin: a profile", 404)), "there are no profiles to be had"),
    item("1.2.16", "`--audit-log-path` is set", Is::Offered(|facts| facts.is_closed("audit.log", 0o600)), "off unless you set `--audit-log-path` with `--audit-policy-file` (docs/installation.md); the file has mode 600"),
    item("1.2.17", "`--audit-log-maxage` is 30 or as appropriate", Is::Met(|facts| facts.has_flag("audit-log-maxage")), "366 days unless told otherwise"),
    item("1.2.18", "`--audit-log-maxbackup` is 10 or as appropriate", Is::Met(|facts| facts.has_flag("audit-log-maxbackup")), "100 files unless told otherwise"),
    item("1.2.19", "`--audit-log-maxsize` is 100 or as appropriate", Is::Met(|facts| facts.has_flag("audit-log-maxsize")), "100 MB unless told otherwise"),
    item("1.2.20", "`--request-timeout` is as appropriate", Is::Met(|_| says("apiserver/src/config.rs", "request_timeout: Duration::from_secs(60)")), "60 s, as in Kubernetes"),
    item("1.2.21", "`--service-account-lookup` is true", Is::Met(|facts| !facts.has_flag("service-account-lookup")), "always: tokens of what is deleted are refused"),
    item("1.2.22", "`--service-account-key-file` is set", Is::Met(|facts| facts.is_closed("sa.key", 0o600) && facts.has_flag("service-account-signing-key-file")), "a key of its own, made at the first start, or `--service-account-signing-key-file`"),
    item("1.2.23", "`--etcd-certfile` and `--etcd-keyfile` are set", Is::Met(|_| says("scripts/masters.sh", "MINIK8S_ETCD_CERTFILE=") && says("scripts/masters.sh", "MINIK8S_ETCD_KEYFILE=")), "`scripts/masters.sh` sets them; `up.sh --etcd` has an etcd without TLS on the loopback device, for a machine of one user"),
    item("1.2.24", "`--tls-cert-file` and `--tls-private-key-file` are set", Is::Met(|facts| facts.is_closed("apiserver.key", 0o600)), "a certificate of the cluster's authority, or these flags; nothing is served without TLS"),
    item("1.2.25", "`--client-ca-file` is set", Is::Met(|facts| facts.answers("bob: pods", 403) && facts.has_flag("client-ca-file")), "the cluster's authority, or this flag"),
    item("1.2.26", "`--etcd-cafile` is set", Is::Met(|_| says("scripts/masters.sh", "MINIK8S_ETCD_CAFILE=")), "as 1.2.23"),
    item("1.2.27", "`--encryption-provider-config` is set", Is::Offered(|facts| facts.has_no_plain_secret() && says("scripts/up.sh", "--encryption-provider-config")), "off unless you set it: `up.sh --secrets-encryption`, or docs/installation.md; Secrets of before stay plain until they are written again"),
    item("1.2.28", "Encryption providers are appropriately configured", Is::Met(|_| says("scripts/lib/cluster.sh", "secretbox: {keys:")), "`secretbox` first, `identity` last for what was stored before"),
    item("1.2.29", "Only strong cryptographic ciphers are used", Is::Met(|_| has_strong_ciphers_alone()), "TLS 1.2 and 1.3, forward secrecy and authenticated encryption alone (rustls)"),
    item("1.3.1", "`--terminated-pod-gc-threshold` is as appropriate", Is::Met(|_| says("controller-manager/src/eviction.rs", "terminated_pod_gc_threshold")), "12,500, as in Kubernetes"),
    item("1.3.2", "Controller manager: `--profiling` is false", Is::Met(|_| !says("crates/component/src/health.rs", "pprof")), "there are no profiles to be had"),
    item("1.3.3", "`--use-service-account-credentials` is true", Is::NotApplicable, "all controllers are one user with one role, `minik8s:controllers`"),
    item("1.3.4", "`--service-account-private-key-file` is set", Is::NotApplicable, "the API server alone signs tokens"),
    item("1.3.5", "`--root-ca-file` is set", Is::Met(|_| says("controller-manager/src/controllers/root_ca_publisher.rs", "kube-root-ca.crt")), "always: `kube-root-ca.crt` in each namespace, and in pods"),
    item("1.3.6", "`RotateKubeletServerCertificate` is true", Is::Met(|_| says("kubelet/src/credentials/serving.rs", "keep_serving")), "always: kubelets ask for another one when 70 to 90 % of its time are over"),
    item("1.3.7", "Controller manager: `--bind-address` is 127.0.0.1", Is::Met(|_| says("controller-manager/src/lib.rs", "health_address: \"127.0.0.1:10257\"")), "unless `--health-address` says otherwise; `--monitoring` has metrics alone elsewhere"),
    item("1.4.1", "Scheduler: `--profiling` is false", Is::Met(|_| !says("crates/component/src/health.rs", "pprof")), "there are no profiles to be had"),
    item("1.4.2", "Scheduler: `--bind-address` is 127.0.0.1", Is::Met(|_| says("scheduler/src/lib.rs", "health_address: \"127.0.0.1:10259\"")), "as 1.3.7"),
    item("2.1", "etcd: `--cert-file` and `--key-file` are set", Is::Met(|_| unit("etcd", " --cert-file ") && unit("etcd", " --key-file ")), "`minik8s-etcd.service`; see 1.2.23 for `up.sh --etcd`"),
    item("2.2", "etcd: `--client-cert-auth` is true", Is::Met(|_| unit("etcd", " --client-cert-auth ")), "`minik8s-etcd.service`"),
    item("2.3", "etcd: `--auto-tls` is not true", Is::Met(|_| !unit("etcd", "-auto-tls")), "`minik8s-etcd.service`"),
    item("2.4", "etcd: `--peer-cert-file` and `--peer-key-file` are set", Is::Met(|_| unit("etcd", " --peer-cert-file ") && unit("etcd", " --peer-key-file ")), "`minik8s-etcd.service`"),
    item("2.5", "etcd: `--peer-client-cert-auth` is true", Is::Met(|_| unit("etcd", " --peer-client-cert-auth ")), "`minik8s-etcd.service`"),
    item("2.6", "etcd: `--peer-auto-tls` is not true", Is::Met(|_| !unit("etcd", "peer-auto-tls")), "`minik8s-etcd.service`"),
    item("2.7", "etcd has a certificate authority of its own", Is::Met(|_| says("scripts/masters.sh", "authority store-ca minik8s-store-ca")), "`scripts/masters.sh` makes `store-ca` beside `ca`"),
    item("3.1.1", "Client certificates are not used for users", Is::Yours, "their identities come from OIDC or a webhook"),
    item("3.1.2", "Tokens of service accounts are not used for users", Is::Yours, "as 3.1.1"),
    item("3.1.3", "Bootstrap tokens are not used for users", Is::Yours, "they may ask for a node's certificate and nothing else, and end after a day"),
    item("3.2.1", "A minimal audit policy is created", Is::Met(|_| says("docs/installation.md", "kind: Policy")), "docs/installation.md has one"),
    item("3.2.2", "The audit policy covers key security concerns", Is::Yours, "that one has who changed what, and who watches Secrets; of Secrets, ConfigMaps, token requests and token reviews not what is in them"),
];
