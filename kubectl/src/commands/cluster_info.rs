//! `kubectl cluster-info`: where the control plane is, and whether it is well.

use clap::Args;

use crate::{Failure, api::Call, session::Session};

/// Print where the control plane is
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl cluster-info")]
pub struct ClusterInfo {}

impl ClusterInfo {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let api = session.api().await?;
        api.bytes(Call::get("/readyz")).await?;
        session.io.line(format_args!(
            "Kubernetes control plane is running at https://{}",
            api.server()
        ))?;
        Ok(())
    }
}
