//! `kubectl label`.

use clap::Args;

use super::metadata::{Change, Which};
use crate::{Failure, session::Session};

/// Set or remove labels
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl label node n1 os=linux disk=ssd\n  kubectl label pods web tier=front --overwrite\n  kubectl label pods --all tier-          # remove it"
)]
pub struct Label {
    #[command(flatten)]
    change: Change,
}

impl Label {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let which = Which {
            field: "labels",
            set: "labeled",
            removed: "unlabeled",
            field_manager: "kubectl-label",
        };
        self.change.run(session, which).await
    }
}
