//! `kubectl trigger`: a call of a function through the gateway.

use std::fs;

use clap::Args;
use serde_json::Value;

use super::{func, target::Target};
use crate::{
    Failure,
    object::{scalar, text},
    session::Session,
};

/// Where a gateway listens, on the host of the API server if nothing else is known.
const GATEWAY_PORT: u16 = 8081;

/// Call a function
///
/// Prints the result. The URL and the function's name are said on standard error, and so is an error, with which the
/// command fails.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl trigger add-five -d '{\"x\": 100}'\n  kubectl trigger add-five -d @params.json\n  kubectl trigger team/add-five --gateway=http://10.0.0.1:8081 --token=@token"
)]
pub struct Trigger {
    /// NAME or NAMESPACE/NAME
    name: String,
    /// The parameters, as JSON; @FILE takes them from a file, @- from standard input
    #[arg(short, long, default_value = "")]
    data: String,
    /// The gateway's address; else the one in the function's status
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// The bearer token for a gateway that asks for one; @FILE takes it from a file
    #[arg(long)]
    token: Option<String>,
}

impl Trigger {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let function = func::function(session, &self.name).await?;
        let url = self.url(session, &function).await?;
        session.io.note(&url);
        session.io.note(function.name.as_deref().unwrap_or_default());
        let call = client()?.post(&url).header("content-type", "application/json");
        let call = match self.token()? {
            Some(token) => call.bearer_auth(token),
            None => call,
        };
        let call = match session.global.request_timeout {
            limit if limit.is_zero() => call,
            limit => call.timeout(limit),
        };
        let answer = call.body(self.parameters(session)?).send().await;
        let answer = answer.map_err(|error| unreachable(&url, &error))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| unreachable(&url, &error))?;
        if !status.is_success() {
            return Err(Failure::message(error_of(status.as_u16(), &body)));
        }
        session.io.note("result:");
        session.io.raw(&body)?;
        if !body.ends_with(b"\n") {
            session.io.line("")?;
        }
        Ok(())
    }

    async fn url(&self, session: &Session, function: &Target) -> Result<String, Failure> {
        let (namespace, name) = (function.namespace.as_deref(), function.name.as_deref());
        let path = format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default());
        if let Some(gateway) = &self.gateway {
            let scheme = if gateway.contains("://") { "" } else { "http://" };
            return Ok(format!("{scheme}{}/{path}", gateway.trim_end_matches('/')));
        }
        let found = function.fetch(session).await?;
        match text(&found, "/status/url") {
            "" => {
                let server = session.api().await?.server();
                let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
                Ok(format!("http://{host}:{GATEWAY_PORT}/{path}"))
            }
            url => Ok(url.to_owned()),
        }
    }

    fn parameters(&self, session: &Session) -> Result<Vec<u8>, Failure> {
        match self.data.strip_prefix('@') {
            None => Ok(self.data.clone().into_bytes()),
            Some("-") => Ok(session.io.read_all()?.into_bytes()),
            Some(file) => read(file),
        }
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(token) = &self.token else { return Ok(None) };
        let Some(file) = token.strip_prefix('@') else { return Ok(Some(token.clone())) };
        let token = String::from_utf8_lossy(&read(file)?).trim().to_owned();
        Ok(Some(token))
    }
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::message(format!("error reading {file}: {error}")))
}

fn client() -> Result<reqwest::Client, Failure> {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().build().map_err(|error| Failure::message(error.to_string()))
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    let why = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        let mut deepest: &dyn std::error::Error = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        deepest.to_string()
    };
    Failure::message(format!("calling {url}: {why}"))
}

/// What a function (`{"error": {"type", "message"}}`) or the gateway (a `Status`) says.
fn error_of(status: u16, body: &[u8]) -> String {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match (said.pointer("/error/type"), said.pointer("/error/message"), said.get("message")) {
        (Some(kind), Some(message), _) => format!("{}: {}", scalar(kind), scalar(message)),
        (_, _, Some(message)) => format!("{} ({status})", scalar(message)),
        _ => format!("{} ({status})", String::from_utf8_lossy(body).trim_end()),
    }
}
