//! What passes tell.

use std::{io, net::SocketAddrV4};

use crate::{
    addresses::AddressError,
    bridged::Unset,
    configs::ConfigError,
    containers::ContainerError,
    instance::{InstanceSpec, Step},
};

/// What a pass could not do.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something about the virtual IPs.
    #[error("virtual addresses")]
    Addresses(#[from] AddressError),
    /// Something about containers.
    #[error("containers")]
    Containers(#[from] ContainerError),
    /// Something about files.
    #[error("configurations")]
    Configs(#[from] ConfigError),
    /// Something about the packet filter's rules.
    #[error("rules of the packet filter")]
    Rules(#[from] packet_filter::Error),
    /// A flag of the kernel's.
    #[error("setting {0}")]
    Flag(&'static str, #[source] std::io::Error),
    /// Another one.
    #[error("packets between pods of one node do not go by rules")]
    Bridged(#[from] Unset),
    /// Told to, and given time, nginx still goes by another configuration, or by none.
    #[error("its nginx does not take its configuration: {0}")]
    NotTaken(String),
    /// What load balancers ask can't be listened on.
    #[error("cannot listen on {socket} for health checks")]
    HealthCheck {
        /// An address of the host, and the Service's `healthCheckNodePort`.
        socket: SocketAddrV4,
        /// Why.
        source: io::Error,
    },
    /// This way of carrying Services does not serve it.
    #[error(
        "node ports, external IPs and load balancers' addresses are not served with --proxy-mode \
         nftables"
    )]
    OutsideOfMode,
    /// Nginx has ended soon after it was started.
    #[error("its nginx has ended: {0}")]
    Ended(String),
}

/// What is not as it should be.
#[derive(Debug)]
pub struct Failure {
    /// The object, as `<namespace>/<name>`, or what else it is about.
    pub subject: String,
    /// The uid of the object, if it still exists.
    pub uid: Option<String>,
    /// Why.
    pub error: ReconcileError,
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Summary {
    /// All that there should be.
    pub wanted: usize,
    /// Those that were looked at, being not known to be as they should.
    pub examined: usize,
    /// Containers made.
    pub created: usize,
    /// Containers started again.
    pub restarted: usize,
    /// Nginxes told to read their configuration.
    pub reloaded: usize,
    /// Containers of objects that are gone.
    pub removed: usize,
    /// Those that should go by their configuration in a moment.
    pub pending: usize,
    /// Workers of earlier configurations ended because there were too many.
    pub workers_ended: usize,
    /// What is not as it should be.
    pub failed: Vec<Failure>,
    /// What can't be as it should, whatever is tried: users are told, and it is no fault of this host.
    pub unserved: Vec<Failure>,
}

impl Summary {
    pub(super) fn count(&mut self, spec: &InstanceSpec, result: Result<Step, ReconcileError>) {
        match result {
            Err(error) => {
                let (subject, uid) = (spec.owner.clone(), Some(spec.uid.clone()));
                self.failed.push(Failure { subject, uid, error });
            }
            Ok(step) => self.count_step(step),
        }
    }

    fn count_step(&mut self, step: Step) {
        match step {
            Step::Create => self.created += 1,
            Step::Start => self.restarted += 1,
            Step::Reload => self.reloaded += 1,
            Step::Wait | Step::Nothing => {}
        }
        if step != Step::Nothing {
            self.pending += 1;
        }
    }
}
