//! The nginxes of a Gateway: a function from a [`GatewayPlan`] to [`InstanceSpec`]s.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::service::OUTSIDE;
use crate::{
    gateway::{GatewayPlan, PlannedSite, Speaks},
    instance::InstanceSpec,
    nginx::{
        Configuration, DRAINING_CONNECTIONS,
        http::Http,
        routed::{Routed, RoutedServer, Tls},
    },
};

/// Whose nginx it is.
pub const KIND: &str = "Gateway";
/// Names the Service of the Gateway on its container.
const LABEL: &str = "io.minik8s.gateway";
/// Connections that one worker can hold: two for a request, and every thousand costs 0.43 MB.
const CONNECTIONS: usize = 16_384;

/// The nginx at a Gateway's virtual IPs and, if other addresses of this host lead to it, one for these by itself: an address
/// or a port that is taken does nothing to the other.
pub fn specs(plan: &GatewayPlan) -> Vec<InstanceSpec> {
    let owner = format!("{}/{}", plan.namespace, plan.service);
    let spec = |suffix: &str, held: BTreeSet<IpAddr>, at: &BTreeSet<IpAddr>| InstanceSpec {
        kind: KIND.to_owned(),
        uid: format!("{}{suffix}", plan.uid),
        name: format!("gateway_{}_{}_{}{suffix}", plan.service, plan.namespace, plan.uid),
        labels: [(LABEL.to_owned(), owner.clone())].into(),
        addresses: held,
        configuration: Configuration {
            title: format!("A Gateway, for Service {owner}"),
            connections: CONNECTIONS,
            stream: String::new(),
            http: http(plan, at),
            affinity: None,
            draining_connections: DRAINING_CONNECTIONS,
        },
        owner: owner.clone(),
    };
    let outside = (!plan.held.is_empty()).then(|| spec(OUTSIDE, BTreeSet::new(), &plan.held));
    [spec("", plan.ips.clone(), &plan.ips)].into_iter().chain(outside).collect()
}

fn http(plan: &GatewayPlan, at: &BTreeSet<IpAddr>) -> Http {
    let upstreams = plan.backends.iter().map(|(backend, all)| (backend.to_string(), all.clone()));
    let server = |site: &PlannedSite| RoutedServer {
        addresses: at.iter().map(|ip| SocketAddr::new(*ip, site.port)).collect(),
        port: site.port,
        host: site.host.clone(),
        tls: match &site.speaks {
            Speaks::Http => Tls::Without,
            Speaks::Https(Some(certificate)) => Tls::As(certificate.clone()),
            Speaks::Https(None) => Tls::Rejected,
        },
        matches: site.matches.clone(),
    };
    let servers = plan.sites.iter().map(server).collect();
    let routed = Routed { actions: plan.actions.clone(), servers };
    Http { upstreams: upstreams.collect(), routed, ..Http::default() }
}
