//! The commands: one file each, and one line in the list below.

mod annotate;
mod api_resources;
mod api_versions;
mod apply;
mod attach;
mod autoscale;
mod certificate;
mod cfg;
mod choice;
mod cluster_info;
mod complete;
mod completion;
mod config;
mod config_files;
mod cordon;
mod create;
mod creation;
mod data;
mod delete;
mod describe;
mod drain;
mod exec;
mod expose;
mod following;
mod func;
mod get;
mod gpu;
mod heard;
mod job;
mod label;
mod login;
mod logs;
mod metadata;
mod pods;
mod port_forward;
mod process;
mod published_ports;
mod reset;
mod rollout;
mod run;
mod scale;
mod secret;
mod set;
mod target;
mod token;
mod top;
mod trigger;
mod usage;
mod version;
mod wait;
mod wf;

use clap::Subcommand;

use crate::{Failure, session::Session};

/// Makes the enumeration that clap reads and the one place that calls a command.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident($module:ident),)*) => {
        /// What `kubectl` can be told to do.
        #[derive(Debug, Subcommand)]
        #[allow(missing_docs, reason = "each command's own type says what it does")]
        pub enum Command {
            $($(#[$attribute])* $name($module::$name),)*
        }

        impl Command {
            /// Does it.
            pub async fn run(self, session: &Session) -> Result<(), Failure> {
                match self {
                    $(Self::$name(command) => Box::pin(command.run(session)).await,)*
                }
            }
        }
    };
}

commands! {
    Apply(apply),
    Get(get),
    Describe(describe),
    Delete(delete),
    Logs(logs),
    Exec(exec),
    Attach(attach),
    PortForward(port_forward),
    Create(create),
    Run(run),
    Expose(expose),
    Scale(scale),
    Autoscale(autoscale),
    Rollout(rollout),
    Wait(wait),
    Cordon(cordon),
    Uncordon(cordon),
    Drain(drain),
    Top(top),
    Set(set),
    Func(func),
    Trigger(trigger),
    Gpu(gpu),
    Label(label),
    Annotate(annotate),
    Wf(wf),
    ApiResources(api_resources),
    ApiVersions(api_versions),
    ClusterInfo(cluster_info),
    Token(token),
    Certificate(certificate),
    Cfg(cfg),
    Reset(reset),
    Config(config),
    Version(version),
    Completion(completion),
    #[command(name = "__complete", hide = true)]
    Complete(complete),
}
