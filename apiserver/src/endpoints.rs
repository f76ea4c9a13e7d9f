//! The API servers of the cluster as the endpoints of the service `kubernetes`
//! (Kubernetes: `pkg/controlplane/reconcilers/lease.go`).
//!
//! Each server renews a lease in the store, and writes the endpoints of all whose leases are alive: all write the same.
//! Clocks are not compared: a lease is dead if its revision has not changed for as long as this server has watched it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use api_machinery::ApiError;
use http::Method;
use serde_json::{Value, json};
use store::{Query, Revision, StoreError};
use tokio::time::Instant;

use crate::{
    internal::{replace, request},
    service::InProcess,
    storage::{Storage, WriteError, api_error},
};

/// Leases live where Kubernetes has them.
const LEASES: &str = "/registry/masterleases/";

/// How long a server lives on whose lease isn't renewed (Kubernetes: `DefaultEndpointReconcilerTTL`).
const TIME_TO_LIVE: Duration = Duration::from_secs(15);

const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// Who manages the slices: this server may delete them.
const MANAGER: &str = "apiserver.minik8s.io";

type Leases = BTreeMap<SocketAddr, Revision>;

/// What a server has seen of the leases of all.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Each lease's revision, and when it was first seen at that one.
    seen: BTreeMap<SocketAddr, (Revision, Instant)>,
}

impl Witness {
    /// When the next lease is going to be dead unless it is renewed.
    pub(crate) fn next_death(&self, now: Instant) -> Option<Instant> {
        let deaths = self.seen.values().map(|(_, since)| *since + TIME_TO_LIVE);
        deaths.filter(|death| *death > now).min()
    }

    /// Takes note of the leases that are there, and gives those that were not renewed in time.
    fn dead(&mut self, leases: &Leases, now: Instant) -> Leases {
        self.seen.retain(|server, _| leases.contains_key(server));
        for (server, revision) in leases {
            let seen = self.seen.entry(*server).or_insert((*revision, now));
            if seen.0 != *revision {
                *seen = (*revision, now);
            }
        }
        let is_dead =
            |(_, (_, since)): &(&_, &(_, Instant))| now.duration_since(*since) >= TIME_TO_LIVE;
        let dead = self.seen.iter().filter(is_dead);
        dead.map(|(server, (revision, _))| (*server, *revision)).collect()
    }
}

/// Renews this server's lease, removes those of dead servers, and writes the endpoints of the others.
pub(crate) async fn reconcile(
    api: &InProcess,
    storage: &Storage,
    own: SocketAddr,
    witness: &mut Witness,
) -> Result<(), ApiError> {
    let lease = json!({ "ip": own.ip(), "port": own.port() }).to_string();
    storage.store().put(&key(own), lease.into(), None).await.map_err(api_error)?;
    let mut leases = leases(storage).await.map_err(api_error)?;
    for (peer, revision) in witness.dead(&leases, Instant::now()) {
        if peer != own {
            tracing::warn!(%peer, "API server has not renewed its lease; removing its endpoint");
            remove(storage, peer, revision).await;
            leases.remove(&peer);
        }
    }
    write(api, &leases.into_keys().collect()).await
}

/// Takes this server out of the endpoints, unless it is the last: clients that find nobody can't wait for it either.
pub(crate) async fn leave(
    api: &InProcess,
    storage: &Storage,
    own: SocketAddr,
) -> Result<(), ApiError> {
    let mut leases = leases(storage).await.map_err(api_error)?;
    if let Some(revision) = leases.remove(&own) {
        remove(storage, own, revision).await;
    }
    if leases.is_empty() { Ok(()) } else { write(api, &leases.into_keys().collect()).await }
}

fn key(server: SocketAddr) -> String {
    format!("{LEASES}{server}")
}

async fn leases(storage: &Storage) -> Result<Leases, StoreError> {
    let entries = storage.store().list(LEASES, Query::default()).await?.entries;
    let lease = |entry: &store::Entry| {
        Some((entry.key.strip_prefix(LEASES)?.parse().ok()?, entry.revision))
    };
    Ok(entries.iter().filter_map(lease).collect())
}

/// One that has been renewed meanwhile stays.
async fn remove(storage: &Storage, peer: SocketAddr, revision: Revision) {
    if let Err(WriteError::Unknown(error)) = storage.delete(&key(peer), revision).await {
        tracing::warn!(%peer, %error, "lease can't be removed");
    }
}

async fn write(api: &InProcess, servers: &BTreeSet<SocketAddr>) -> Result<(), ApiError> {
    replace(api, ENDPOINTS, &endpoints(servers)).await?;
    let wanted = slices(servers);
    for slice in &wanted {
        replace(api, SLICES, slice).await?;
    }
    remove_other_slices(api, &wanted).await
}

async fn remove_other_slices(api: &InProcess, wanted: &[Value]) -> Result<(), ApiError> {
    let selector = format!("labelSelector=endpointslice.kubernetes.io/managed-by%3D{MANAGER}");
    let found = request(api, Method::GET, &format!("{SLICES}?{selector}"), &Value::Null).await?;
    let names = found["items"].as_array().into_iter().flatten().map(|s| &s["metadata"]["name"]);
    for name in names.filter(|name| wanted.iter().all(|w| w["metadata"]["name"] != **name)) {
        let path = format!("{SLICES}/{}", name.as_str().unwrap_or_default());
        match request(api, Method::DELETE, &path, &json!({})).await {
            Err(error) if error.code() != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// By port, as endpoints are grouped.
fn by_port(servers: &BTreeSet<SocketAddr>) -> BTreeMap<u16, Vec<IpAddr>> {
    let mut groups: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
    for server in servers {
        groups.entry(server.port()).or_default().push(server.ip());
    }
    groups
}

fn endpoints(servers: &BTreeSet<SocketAddr>) -> Value {
    let subset = |(port, ips): (u16, Vec<IpAddr>)| {
        json!({
            "addresses": ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>(),
            "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": by_port(servers).into_iter().map(subset).collect::<Vec<_>>(),
    })
}

/// A slice has one family and one port. The first has the name that Kubernetes gives its only one.
fn slices(servers: &BTreeSet<SocketAddr>) -> Vec<Value> {
    let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = servers.iter().partition(|s| s.is_ipv4());
    let families = [("IPv4", v4), ("IPv6", v6)].into_iter();
    let groups = families.flat_map(|(family, servers)| {
        by_port(&servers).into_iter().map(move |(port, ips)| (family, port, ips))
    });
    groups.enumerate().map(|(i, (family, port, ips))| slice(i, family, port, &ips)).collect()
}

fn slice(index: usize, family: &str, port: u16, ips: &[IpAddr]) -> Value {
    let name = match index {
        0 => "kubernetes".to_owned(),
        _ => format!("kubernetes-{}-{port}", family.to_lowercase()),
    };
    let endpoint = |ip: &IpAddr| json!({ "addresses": [ip], "conditions": { "ready": true } });
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/service-name": "kubernetes",
                "endpointslice.kubernetes.io/managed-by": MANAGER,
            },
        },
        "addressType": family,
        "endpoints": ips.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(all: &[&str]) -> BTreeSet<SocketAddr> {
        all.iter().map(|s| s.parse().unwrap()).collect()
    }

    #[test]
    fn a_lease_is_dead_when_it_was_not_renewed_before_these_eyes() {
        let (mut witness, start) = (Witness::default(), Instant::now());
        let server: SocketAddr = "10.0.0.1:6443".parse().unwrap();
        let mut check = |seconds: u64, revision: u64, expected: bool| {
            let leases = [(server, Revision(revision))].into();
            let dead = witness.dead(&leases, start + Duration::from_secs(seconds));
            assert_eq!(!dead.is_empty(), expected, "after {seconds} s");
        };
        // However old it is: nobody knows when it was renewed.
        check(0, 7, false);
        check(10, 7, false);
        check(14, 8, false);
        check(28, 8, false);
        check(29, 8, true);
        check(30, 9, false);
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(witness.next_death(after(30)), Some(after(45)));
        assert_eq!(witness.next_death(after(45)), None, "that was seen to");
    }

    #[test]
    fn servers_are_grouped_by_family_and_port() {
        let all = servers(&["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.1:7443", "[fd00::1]:6443"]);
        assert_eq!(
            endpoints(&all)["subsets"],
            json!([
                {
                    "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "fd00::1"}],
                    "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
                },
                {
                    "addresses": [{"ip": "10.0.0.1"}],
                    "ports": [{"name": "https", "port": 7443, "protocol": "TCP"}],
                },
            ])
        );
        let slices = slices(&all);
        let names: Vec<_> =
            slices.iter().map(|s| s["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["kubernetes", "kubernetes-ipv4-7443", "kubernetes-ipv6-6443"]);
        assert_eq!(slices[0]["endpoints"].as_array().unwrap().len(), 2);
    }
}
