//! `kubectl version`: of this program and of the server.

use api_machinery::encode;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::{Failure, api::Call, object::text, output::pretty_json, session::Session};

/// Print the versions of client and server
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl version\n  kubectl version --client\n  kubectl version -o json"
)]
pub struct Version {
    /// Only this program's, without asking a server
    #[arg(long)]
    client: bool,
    /// json or yaml
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Json,
    Yaml,
}

impl Version {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let own = format!("v{}", env!("CARGO_PKG_VERSION"));
        let platform = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
        let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
        let mut document = json!({"clientVersion": {
            "major": major, "minor": minor, "gitVersion": own, "platform": platform}});
        let server = match self.client {
            true => Ok(None),
            false => self.server(session).await.map(Some),
        };
        if let Ok(Some(version)) = &server {
            document["serverVersion"] = version.clone();
        }
        match self.output {
            Some(Form::Json) => {
                session.io.raw(pretty_json(&document).replace("    ", "  ").as_bytes())?
            }
            Some(Form::Yaml) => session.io.raw(encode::yaml(&document).as_bytes())?,
            None => {
                session.io.line(format_args!("Client Version: {own}"))?;
                if let Ok(Some(version)) = &server {
                    session
                        .io
                        .line(format_args!("Server Version: {}", text(version, "/gitVersion")))?;
                }
            }
        }
        server.map(drop)
    }

    async fn server(&self, session: &Session) -> Result<serde_json::Value, Failure> {
        session.api().await?.call(Call::get("/version")).await
    }
}
