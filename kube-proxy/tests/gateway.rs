//! What a Gateway's nginxes are told.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod manifest;

use std::{collections::BTreeSet, fs, net::SocketAddr, sync::Arc};

use api_machinery::{gateway::Backend, host_routes::Secret};
use api_types::{
    api::core::v1::Service,
    gateway::{Gateway, HttpRoute},
};
use kube_proxy::{
    backend::gateway::specs,
    gateway::{GatewayPlan, Means, plan_gateway},
    nginx::{Epoch, Telling, http::Certificate},
    plan::{Place, PortRef, backends},
};
use manifest::{Manifest, is_named};

struct Objects {
    gateways: Vec<Gateway>,
    routes: Vec<Arc<HttpRoute>>,
    services: Vec<Arc<Service>>,
}

impl Objects {
    fn read(manifest: &str) -> Self {
        let mut all = Manifest::read(manifest);
        let objects = Objects {
            gateways: all.take("Gateway"),
            routes: all.take("HTTPRoute"),
            services: all.take("Service"),
        };
        all.end();
        objects
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let named = |it: &&Arc<Service>| is_named(&it.metadata, namespace, name);
        self.services.iter().find(named).cloned()
    }

    fn backends(&self, to: &Backend) -> Option<BTreeSet<SocketAddr>> {
        let service = self.service(&to.namespace, &to.service)?;
        backends(&place(), &service, [], &PortRef::Number(to.port))
    }

    fn plan(&self) -> GatewayPlan {
        let certificate = |secret: Secret<'_>| {
            (secret.name == "shop-tls")
                .then(|| Certificate { chain: b"chain".to_vec(), key: b"key".to_vec() })
        };
        let means = Means {
            place: &place(),
            routes: &self.routes,
            grants: &[],
            labels: &|_| None,
            service: &|namespace, name| self.service(namespace, name),
            backends: &|to| self.backends(to),
            certificate: &certificate,
        };
        let service = self.service("default", "gateway-web").unwrap();
        plan_gateway(&means, &self.gateways[0], &service).unwrap()
    }
}

fn place() -> Place {
    Place {
        nodes: ["here".into()].into(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        cluster_dns: None,
        zone: None,
        node_addresses: BTreeSet::new(),
        addresses: ["203.0.113.9".parse().unwrap()].into(),
    }
}

fn file(name: &str) -> String {
    format!("{}/tests/golden/gateway/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// At its virtual IP, and by itself at the balancer's address that this host has.
#[test]
fn a_gateway_with_a_canary_is_as_written_down() {
    let objects = Objects::read(&fs::read_to_string(file("canary.yaml")).unwrap());
    let specs = specs(&objects.plan());
    let [inside, outside] = &specs[..] else { panic!("{} of them", specs.len()) };
    let text =
        |it: &kube_proxy::instance::InstanceSpec| it.configuration.at(Epoch(0)).text(Telling(1));
    expect_test::expect_file![file("canary.conf")].assert_eq(&text(inside));
    assert_eq!(inside.addresses, ["10.96.0.30".parse().unwrap()].into());
    let moved = text(inside).replace("10.96.0.30:", "203.0.113.9:");
    let but_its_mark = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("$connection"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(but_its_mark(&text(outside)), but_its_mark(&moved));
    assert!(outside.addresses.is_empty() && outside.uid == format!("{}-outside", inside.uid));
    assert_eq!(inside.configuration.at(Epoch(0)).files().len(), 2);
}

/// It would listen at the address of the Gateway's.
#[test]
fn the_service_of_a_gateway_has_no_other_nginx() {
    let mut objects = Objects::read(&fs::read_to_string(file("canary.yaml")).unwrap());
    let planned = |objects: &Objects| {
        let services = objects.services.iter().map(AsRef::as_ref);
        let plans = kube_proxy::plan::plan(&place(), services, []);
        plans.into_iter().map(|plan| plan.name).collect::<Vec<_>>()
    };
    assert_eq!(planned(&objects), ["canary", "gateway-web", "stable"]);
    let labels = [
        ("app.kubernetes.io/managed-by", "minik8s"),
        ("gateway.networking.k8s.io/gateway-name", "web"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Arc::make_mut(&mut objects.services[0]).metadata.labels = Some(labels.into());
    assert_eq!(planned(&objects), ["canary", "stable"]);
}
