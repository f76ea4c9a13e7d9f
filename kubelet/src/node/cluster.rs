//! Which cluster this node belongs to. The containers of a node are those of one cluster's pods: were its
//! kubelet led to another cluster (or to the same address with its data gone), it would find none of them
//! among its pods there, and remove them all.

use std::{io, path::Path, time::Duration};

use api_types::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

/// Until the API server is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Why the kubelet must not run its pods.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The node's containers belong to the pods of another cluster.
    #[error(
        "this node belongs to another cluster (its kube-system namespace is {ours}, the API server's is {theirs}): \
         nothing is touched. If the API server's data was lost, restore it; to let this node join the new \
         cluster, which removes the pods it runs, remove {file}"
    )]
    Another {
        /// The cluster that the node belongs to.
        ours: String,
        /// The cluster of the API server.
        theirs: String,
        /// What remembers it.
        file: String,
    },
    /// The node can't tell which cluster it belongs to.
    #[error("cannot read or write {file}")]
    Io {
        /// What remembers it.
        file: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Waits for the API server and compares its cluster with the one that `root` remembers; a new node
/// remembers this one. False if shutdown came before.
///
/// # Errors
/// It is another cluster, or the memory can't be read or written.
pub async fn join(
    client: &Client,
    root: &Path,
    shutdown: &CancellationToken,
) -> Result<bool, ClusterError> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(false),
        cluster = identity(client) => match cluster {
            Some(theirs) => remember(&root.join("cluster"), &theirs).map(|()| true),
            None => Ok(true),
        },
    }
}

/// The UID of the namespace that lives as long as the cluster; `None` if this node may not read it.
async fn identity(client: &Client) -> Option<String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let mut last = String::new();
    loop {
        let reason = match namespaces.get_opt("kube-system").await {
            Ok(Some(namespace)) => return namespace.metadata.uid,
            Ok(None) => "there is no namespace kube-system yet".to_owned(),
            Err(kube::Error::Api(status)) if status.code == 403 => return None,
            Err(error) => error.to_string(),
        };
        if reason != last {
            tracing::info!(reason, "waiting for the API server");
            last = reason;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn remember(file: &Path, theirs: &str) -> Result<(), ClusterError> {
    let io = |source| ClusterError::Io { file: file.display().to_string(), source };
    let another = |ours: &str| ClusterError::Another {
        ours: ours.to_owned(),
        theirs: theirs.to_owned(),
        file: file.display().to_string(),
    };
    match std::fs::read_to_string(file) {
        Ok(ours) if ours.trim() == theirs => Ok(()),
        // An empty one is what a crash leaves.
        Ok(ours) if !ours.trim().is_empty() => Err(another(ours.trim())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
        Ok(_) | Err(_) => std::fs::write(file, theirs).map_err(io),
    }
}

#[cfg(test)]
mod tests {
    use testkit::ControlPlane;

    use super::*;

    #[tokio::test]
    async fn a_node_serves_the_cluster_it_joined_and_no_other() {
        let (first, second) = (ControlPlane::start().await, ControlPlane::start().await);
        let (root, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        for _ in 0..2 {
            assert!(join(&first.client(), root.path(), &shutdown).await.unwrap());
        }
        let refused = join(&second.client(), root.path(), &shutdown).await.unwrap_err();
        assert!(matches!(refused, ClusterError::Another { .. }), "{refused}");
        assert!(refused.to_string().contains("nothing is touched"), "{refused}");
        std::fs::remove_file(root.path().join("cluster")).unwrap();
        assert!(join(&second.client(), root.path(), &shutdown).await.unwrap());
    }

    #[tokio::test]
    async fn a_kubelet_that_is_stopped_does_not_wait_for_the_server() {
        let plane = ControlPlane::start().await;
        plane.stop_server().await;
        let (root, shutdown) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        shutdown.cancel();
        assert!(!join(&plane.client(), root.path(), &shutdown).await.unwrap());
    }
}
