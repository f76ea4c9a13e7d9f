//! What is to be typed on a host that joins: where the cluster is, and by which key it is known.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::Kubeconfig;

use crate::{Failure, api::Call, object, session::Session};

/// What anybody may know of the cluster: `kubeadm`'s ConfigMap.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";

/// A cluster, as who joins it knows it.
pub(super) struct Cluster {
    server: String,
    hash: String,
}

/// The cluster as it tells of itself.
pub(super) async fn cluster(session: &Session) -> Result<Cluster, Failure> {
    let info = session.api().await?.call(Call::get(CLUSTER_INFO)).await;
    let info = info.map_err(|failure| {
        Failure::message(format!(
            "cannot tell where the cluster is: {failure}\nscripts/up.sh writes the ConfigMap kube-public/cluster-info when it is run"
        ))
    })?;
    of(object::text(&info, "/data/kubeconfig")).ok_or_else(|| {
        Failure::message("the ConfigMap kube-public/cluster-info has no kubeconfig with a server and its authority")
    })
}

fn of(kubeconfig: &str) -> Option<Cluster> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).ok()?;
    let cluster = kubeconfig.clusters.into_iter().next()?.cluster?;
    let authority = STANDARD.decode(cluster.certificate_authority_data?).ok()?;
    let hash = certificates::public_key_hash(std::str::from_utf8(&authority).ok()?)?;
    let server = cluster.server?.strip_prefix("https://")?.trim_end_matches('/').to_owned();
    Some(Cluster { server, hash })
}

impl Cluster {
    pub(super) fn command(&self, token: &str) -> String {
        let Self { server, hash } = self;
        format!("scripts/join.sh {server} --token {token} --ca-cert-hash {hash}")
    }
}
