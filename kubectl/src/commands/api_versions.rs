//! `kubectl api-versions`: the groups and versions that the server serves.

use std::collections::BTreeSet;

use clap::Args;

use crate::{Failure, session::Session};

/// Print the API groups and versions that the server serves
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl api-versions")]
pub struct ApiVersions {}

impl ApiVersions {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mapper = session.fresh_mapper().await?;
        let versions: BTreeSet<_> = mapper.resources().iter().map(|r| r.api_version()).collect();
        for version in versions {
            session.io.line(version)?;
        }
        Ok(())
    }
}
