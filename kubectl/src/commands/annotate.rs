//! `kubectl annotate`.

use clap::Args;

use super::metadata::{Change, Which};
use crate::{Failure, session::Session};

/// Set or remove annotations
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl annotate pod web note='first try'\n  kubectl annotate pod web note-          # remove it"
)]
pub struct Annotate {
    #[command(flatten)]
    change: Change,
}

impl Annotate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let which = Which {
            field: "annotations",
            set: "annotated",
            removed: "annotated",
            field_manager: "kubectl-annotate",
        };
        self.change.run(session, which).await
    }
}
