//! `kubectl top`: what nodes and pods use, in the columns, units and words of stock.

pub(super) mod amounts;
mod nodes;
mod order;
mod pods;
pub(super) mod source;

use clap::{Args, Subcommand};

use crate::{Failure, session::Session};

/// Show what nodes or pods use of CPU and memory
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl top nodes\n  kubectl top pods -A --sort-by=cpu\n  kubectl top pod web --containers"
)]
pub struct Top {
    /// As stock has it: whether answers may come as Protobuf. They come as JSON.
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    use_protocol_buffers: Option<bool>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Of nodes, and how much that is of what pods may use
    #[command(
        visible_aliases = ["nodes", "no"],
        after_help = "Examples:\n  kubectl top nodes\n  kubectl top node n1\n  kubectl top nodes --sort-by=memory --show-capacity"
    )]
    Node(nodes::Nodes),
    /// Of pods, or of each of their containers
    #[command(
        visible_aliases = ["pods", "po"],
        after_help = "Examples:\n  kubectl top pods\n  kubectl top pod web --containers\n  kubectl top pods -l app=web --sum\n  kubectl top pods -A --sort-by=cpu"
    )]
    Pod(pods::Pods),
}

impl Top {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.what {
            What::Node(nodes) => nodes.run(session).await,
            What::Pod(pods) => pods.run(session).await,
        }
    }
}
