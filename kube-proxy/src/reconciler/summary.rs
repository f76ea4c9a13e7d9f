//! What passes tell.

use std::{io, net::SocketAddr};

use crate::{
    addresses::AddressError,
    bridged::Unset,
    configs::ConfigError,
    containers::ContainerError,
    instance::{Instance, InstanceSpec, Step},
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
    /// What another way of carrying Services has left.
    #[error("what another way of carrying Services has left")]
    Leftover(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Who listens on this host.
    #[error("which servers this host has")]
    Servers(#[source] std::io::Error),
    /// Another one.
    #[error("packets between pods of one node do not go by rules")]
    Bridged(#[from] Unset),
    /// Told to, and given time, nginx still goes by another configuration, or by none.
    #[error("its nginx does not take its configuration: {0}")]
    NotTaken(String),
    /// Services don't take the ports of the host's own servers.
    #[error("a server of this host listens at {0} already")]
    Taken(String),
    /// Where the nginx of all Services leaves out one of them.
    #[error("cannot listen at {0}")]
    LeftOut(String),
    /// What load balancers ask can't be listened on.
    #[error("cannot listen on {socket} for health checks")]
    HealthCheck {
        /// An address of the host, and the Service's `healthCheckNodePort`.
        socket: SocketAddr,
        /// Why.
        source: io::Error,
    },
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
    /// Those of them that have served nobody yet.
    pub starting: usize,
    /// Workers of earlier configurations ended because there were too many.
    pub workers_ended: usize,
    /// What is not as it should be.
    pub failed: Vec<Failure>,
}

impl Summary {
    pub(super) fn count(
        &mut self,
        spec: &InstanceSpec,
        instance: Option<&Instance>,
        result: Result<Step, ReconcileError>,
    ) {
        match result {
            Err(error) => {
                let (subject, uid) = (spec.owner.clone(), Some(spec.uid.clone()));
                self.failed.push(Failure { subject, uid, error });
            }
            Ok(Step::Nothing) => {}
            Ok(step) => {
                self.count_step(step);
                self.starting += usize::from(!instance.is_some_and(Instance::has_answered));
            }
        }
    }

    fn count_step(&mut self, step: Step) {
        match step {
            Step::Create => self.created += 1,
            Step::Start => self.restarted += 1,
            Step::Reload => self.reloaded += 1,
            Step::Wait | Step::Nothing => {}
        }
        self.pending += 1;
    }
}
