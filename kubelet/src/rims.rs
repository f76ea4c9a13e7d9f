//! The rims of the kubelet, as its flags say.

use std::sync::Arc;

use anyhow::Context;
use component::host;

use crate::{
    network::{
        PodNetwork,
        bridge::Bridge,
        cni::{Cni, Places},
        weave::{WEAVE, Weave},
    },
    options::{NetworkPlugin, Options},
    runtime::{LogLimits, docker::Docker},
};

/// Of this node.
pub(crate) fn node_name(options: &Options) -> anyhow::Result<String> {
    host::node_name(options.node_name.as_deref()).context("cannot tell the host name")
}

/// The Docker Engine, which may not answer yet.
pub(crate) fn runtime(options: &Options, node: &str) -> anyhow::Result<Docker> {
    let host = &options.docker_host;
    let engine =
        docker::Docker::new(host).with_context(|| format!("cannot use Docker at {host}"))?;
    let logs = LogLimits {
        max_size: options.container_log_max_size,
        max_files: options.container_log_max_files,
    };
    Ok(Docker::new(engine, node, &options.pause_image, logs))
}

/// The pod network, of which nothing is made yet.
pub(crate) fn network(options: &Options, node: &str) -> anyhow::Result<Arc<dyn PodNetwork>> {
    let (pods, services) = (options.cluster_cidr, options.service_cidr);
    Ok(match options.network_plugin {
        NetworkPlugin::Bridge => Arc::new(Bridge::new(node, pods, services)),
        NetworkPlugin::Weave => {
            Arc::new(Weave::new(WEAVE, &options.weave_peers, node, pods, services))
        }
        NetworkPlugin::Cni => {
            let places = Places {
                configurations: options.cni_conf_dir.clone(),
                plugins: options.cni_bin_dir.clone(),
                attachments: options.root_dir.join("cni"),
            };
            Arc::new(Cni::new(places, node, pods, services)?)
        }
    })
}
