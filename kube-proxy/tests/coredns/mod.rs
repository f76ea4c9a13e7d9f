//! CoreDNS, as it comes, with its own plugin `kubernetes`: it finds in the API server what the cluster's DNS here answers.

use std::{
    collections::BTreeSet,
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use api_types::{
    api::{core::v1::Service, discovery::v1::EndpointSlice},
    meta::ObjectMeta,
};
use hickory_proto::{
    op::Message,
    rr::{RData, Record, RecordType},
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{ControlPlane, wait};

use crate::{Cluster, ask};

const MODULE: &str = "github.com/coredns/coredns@v1.15.0";
/// Of a program that is there already.
const PROGRAM: &str = "MINIK8S_COREDNS";

/// A process that ends with the test.
struct CoreDns {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl CoreDns {
    fn start(kubeconfig: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = env::var_os(PROGRAM).map_or_else(|| install(folder.path()), PathBuf::from);
        // Nobody has it a moment later.
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        let corefile = folder.path().join("Corefile");
        let (port, kubeconfig) = (address.port(), kubeconfig.display());
        let text = format!(
            ".:{port} {{\n bind 127.0.0.1\n errors\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n  \
             kubeconfig {kubeconfig}\n  pods insecure\n }}\n}}\n"
        );
        std::fs::write(&corefile, text).unwrap();
        drop(free);
        let process = Command::new(program)
            .args(["-conf", &corefile.to_string_lossy()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address, _folder: folder }
    }
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn install(folder: &Path) -> PathBuf {
    let installed = Command::new("go").args(["install", MODULE]).env("GOBIN", folder).status();
    assert!(installed.expect("needs Go, or the program in MINIK8S_COREDNS").success());
    folder.join("coredns")
}

async fn dual_stack() -> ControlPlane {
    let ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
    ControlPlane::builder().config(|config| config.service_cidr = ranges).listen().start().await
}

async fn objects(plane: &ControlPlane) {
    let services = Api::<Service>::default_namespaced(plane.client());
    let slices = Api::<EndpointSlice>::default_namespaced(plane.client());
    let ports =
        json!([{"name": "http", "port": 80}, {"name": "names", "port": 53, "protocol": "UDP"}]);
    for (name, spec) in [
        ("web", json!({"clusterIP": "10.96.0.77", "ports": ports})),
        (
            "both",
            json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.78", "clusterIPs": ["10.96.0.78", "fd00:10:96::78"], "ports": ports}),
        ),
        ("six", json!({"clusterIP": "fd00:10:96::6", "ports": ports})),
        ("each", json!({"clusterIP": "None", "ports": ports})),
        ("early", json!({"clusterIP": "None", "ports": ports, "publishNotReadyAddresses": true})),
        ("nobody", json!({"clusterIP": "None", "ports": ports})),
        ("far", json!({"type": "ExternalName", "externalName": "www.example.com"})),
    ] {
        let spec = serde_json::from_value(spec).unwrap();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let service = Service { metadata, spec: Some(spec), ..Service::default() };
        services.create(&PostParams::default(), &service).await.unwrap();
    }
    for (service, first) in [("web", 10), ("each", 20), ("early", 30)] {
        for family in ["IPv4", "IPv6"] {
            let slice = serde_json::from_value(slice(service, first, family)).unwrap();
            slices.create(&PostParams::default(), &slice).await.unwrap();
        }
    }
}

/// Three endpoints: one with a name of its own, one without, and one that is not ready, but where a Service wants it to be said so.
fn slice(service: &str, first: u8, family: &str) -> Value {
    let address = |place: u8| match family {
        "IPv4" => [format!("10.244.0.{}", first + place)],
        _ => [format!("fd00:10:244::{}", first + place)],
    };
    json!({
        "metadata": {"name": format!("{service}-{}", family.to_lowercase()), "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"name": "http", "port": 8080}, {"name": "names", "port": 53, "protocol": "UDP"}],
        "endpoints": [
            {"addresses": address(0), "hostname": "first", "conditions": {"ready": true}},
            {"addresses": address(1), "conditions": {"ready": true}},
            {"addresses": address(2), "hostname": "late", "conditions": {"ready": service == "early"}},
        ],
    })
}

/// What the specification of Kubernetes' DNS is about: CoreDNS also has names of endpoints of Services with a virtual IP, and ports at a
/// Service's own name.
const QUESTIONS: [(&str, RecordType); 37] = [
    ("web.default.svc", RecordType::A),
    ("web.default.svc", RecordType::AAAA),
    ("_http._tcp.web.default.svc", RecordType::SRV),
    ("_names._udp.web.default.svc", RecordType::SRV),
    ("_names._tcp.web.default.svc", RecordType::SRV),
    ("each.default.svc", RecordType::A),
    ("_http._tcp.each.default.svc", RecordType::SRV),
    ("first.each.default.svc", RecordType::A),
    ("10-244-0-21.each.default.svc", RecordType::A),
    ("late.each.default.svc", RecordType::A),
    ("early.default.svc", RecordType::A),
    ("late.early.default.svc", RecordType::A),
    ("nobody.default.svc", RecordType::A),
    ("far.default.svc", RecordType::CNAME),
    ("10-244-0-9.default.pod", RecordType::A),
    ("10-244-0-9.nowhere.pod", RecordType::A),
    ("none.default.svc", RecordType::A),
    ("web.nowhere.svc", RecordType::A),
    ("WEB.default.SVC", RecordType::A),
    ("77.0.96.10.in-addr.arpa.", RecordType::PTR),
    ("20.0.244.10.in-addr.arpa.", RecordType::PTR),
    ("21.0.244.10.in-addr.arpa.", RecordType::PTR),
    ("99.0.96.10.in-addr.arpa.", RecordType::PTR),
    ("both.default.svc", RecordType::A),
    ("both.default.svc", RecordType::AAAA),
    ("six.default.svc", RecordType::A),
    ("six.default.svc", RecordType::AAAA),
    ("each.default.svc", RecordType::AAAA),
    ("first.each.default.svc", RecordType::AAAA),
    ("fd00-10-244--21.each.default.svc", RecordType::AAAA),
    ("fd00-10-244--21.each.default.svc", RecordType::A),
    ("fd00-10-244--9.default.pod", RecordType::AAAA),
    ("fd00-10-244--9.default.pod", RecordType::A),
    ("10-244-0-9.default.pod", RecordType::AAAA),
    ("8.7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.", RecordType::PTR),
    ("1.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa.", RecordType::PTR),
    ("9.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.", RecordType::PTR),
];

/// What an answer says, in whatever order and for however long; of equals in rank each has its own idea how to weigh them.
fn said(answer: &Message) -> (String, BTreeSet<String>) {
    let record = |record: &Record| {
        let name = record.name.to_ascii().to_lowercase();
        match &record.data {
            RData::SRV(srv) => format!("{name} SRV {} {} {}", srv.priority, srv.port, srv.target),
            data => format!("{name} {} {data}", record.record_type()),
        }
    };
    (answer.metadata.response_code.to_string(), answer.answers.iter().map(record).collect())
}

#[tokio::test]
#[ignore = "fetches Go modules: scripts/test.sh --clients"]
async fn coredns_finds_in_the_api_server_what_is_answered_here() {
    let plane = dual_stack().await;
    objects(&plane).await;
    let coredns = CoreDns::start(&plane.kubeconfig("coredns", &["system:masters"], &[]));
    let cluster = Cluster::of(plane, vec![], &[]).await;
    cluster.until_told("late.early.default.svc.cluster.local.", &["10.244.0.32"]).await;
    let listens = async || tokio::net::TcpStream::connect(coredns.address).await.map(drop);
    wait::until("CoreDNS to listen", listens).await;
    for (name, kind) in QUESTIONS {
        let name = match name.ends_with('.') {
            true => name.to_owned(),
            false => format!("{name}.cluster.local."),
        };
        let ours = said(&cluster.ask(&name, kind).await);
        wait::until(&format!("both to answer alike of {name} {kind}"), async || {
            let theirs = said(&ask(coredns.address, &name, kind).await);
            if theirs == ours { Ok(()) } else { Err(format!("{ours:?}, and CoreDNS {theirs:?}")) }
        })
        .await;
    }
}
