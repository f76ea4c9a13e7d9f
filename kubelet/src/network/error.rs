//! What goes wrong with the pod network.

use std::{io, path::PathBuf};

use ipnet::Ipv4Net;

/// A step of the pod network that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The node has no pod CIDR yet.
    #[error("network is not ready: the node has no pod CIDR yet")]
    NotReady,
    /// All addresses of the node are in use.
    #[error("no address left in {0}")]
    Exhausted(Ipv4Net),
    /// The kernel refused.
    #[error("cannot set up links")]
    Links(#[from] netlink::Error),
    /// A file or namespace could not be used.
    #[error("cannot {step}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The packet filter does not have what it should.
    #[error("cannot set the packet filter's rules")]
    Rules(#[from] packet_filter::Error),
    /// A link that was just made is not there.
    #[error("link {0} does not exist")]
    NoLink(String),
    /// A program could not be run.
    #[error("cannot run {program}")]
    Run {
        /// Which.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A program that makes links has failed.
    #[error("{command} failed: {said}")]
    Refused {
        /// What it was asked.
        command: String,
        /// What it said.
        said: String,
    },
    /// What a CNI configuration says, or its plugins answer.
    #[error(transparent)]
    Cni(#[from] CniError),
}

/// Why the plugins do not connect pods.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// There are no files of configuration.
    #[error("cni config uninitialized: no networks found in {}", .0.display())]
    NoNetworks(PathBuf),
    /// None of them can be used.
    #[error("cni config uninitialized: no valid networks found in {}", folder.display())]
    NoValidNetworks {
        /// Where they are.
        folder: PathBuf,
        /// Why not the first of them.
        #[source]
        first: Box<CniError>,
    },
    /// A configuration says nothing that could be done.
    #[error("{}: {why}", file.display())]
    Configuration {
        /// Its file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file cannot be used.
    #[error("cannot {step} {}", file.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A plugin is in none of the folders.
    #[error("failed to find plugin {plugin:?} in path [{folders}]")]
    NoPlugin {
        /// Its name.
        plugin: String,
        /// The folders.
        folders: String,
    },
    /// A plugin cannot be run.
    #[error("cannot run plugin {plugin:?}")]
    Run {
        /// Its name.
        plugin: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A plugin refused.
    #[error("plugin type={plugin:?} failed ({verb}): {said}")]
    Plugin {
        /// Its name.
        plugin: String,
        /// What it was asked.
        verb: &'static str,
        /// What it said.
        said: String,
    },
    /// The plugins have given no address that pods can have here.
    #[error("the plugins gave no IPv4 address")]
    NoAddress,
    /// The sandbox's process has ended.
    #[error("the sandbox has no network namespace any more")]
    NoNamespace,
}
