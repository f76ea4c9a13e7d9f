//! `/healthz`, `/livez` and `/readyz`: how the server is, as a whole or check by check
//! (Kubernetes: `k8s.io/apiserver/pkg/server/healthz`).

use std::time::Duration;

use api_machinery::ApiError;
use http::StatusCode;

use crate::{
    query::Query,
    respond::{self, Response},
    storage::Storage,
};

/// How long the store may take to say that it can be read and written.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// A thing that can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Whether the server answers at all.
    Ping,
    /// Whether the store does, whichever it is: Kubernetes' name for it is `etcd`.
    Store,
    /// Whether the server will go on.
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Store => "etcd",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthRequest {
    endpoint: String,
    /// Only this check.
    check: Option<String>,
    verbose: bool,
    excluded: Option<String>,
}

impl HealthRequest {
    /// A request at one of the three paths, or one below.
    pub(crate) fn new(endpoint: &str, check: Option<&str>, query: &Query) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            check: check.map(str::to_owned),
            verbose: query.flag("verbose"),
            excluded: query.get("exclude").map(str::to_owned),
        }
    }

    /// Whether it is about how the server is as a whole.
    pub(crate) fn is_of_all(&self) -> bool {
        self.check.is_none()
    }

    /// The checks that are asked for; 404 for one that there isn't.
    fn checks(&self) -> Result<Vec<Check>, ApiError> {
        // A server that stops is alive: it is to finish its work, not to be restarted.
        let all: &[Check] = match self.endpoint.as_str() {
            "livez" => &[Check::Ping, Check::Store],
            _ => &[Check::Ping, Check::Store, Check::Shutdown],
        };
        let named = |name: &str| all.iter().copied().find(|check| check.name() == name);
        match &self.check {
            Some(name) => Ok(vec![named(name).ok_or_else(ApiError::no_such_path)?]),
            None => {
                let kept = |check: &Check| self.excluded.as_deref() != Some(check.name());
                Ok(all.iter().copied().filter(kept).collect())
            }
        }
    }
}

/// Answers it: `ok`, or a line for each check. Anybody may ask: what is wrong is told in the log.
pub(crate) async fn report(
    storage: &Storage,
    is_stopping: bool,
    asked: &HealthRequest,
) -> Result<Response, ApiError> {
    let (mut report, mut is_well) = (String::new(), true);
    for check in asked.checks()? {
        let name = check.name();
        match fault(storage, is_stopping, check).await {
            None => report += &format!("[+]{name} ok\n"),
            Some(why) => {
                is_well = false;
                tracing::info!(check = name, why, endpoint = asked.endpoint, "not well");
                report += &format!("[-]{name} failed: reason withheld\n");
            }
        }
    }
    if is_well && !asked.verbose {
        return Ok(respond::text(StatusCode::OK, "ok"));
    }
    let (code, outcome) = match is_well {
        true => (StatusCode::OK, "passed"),
        false => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    Ok(respond::text(code, format!("{report}{} check {outcome}\n", asked.endpoint)))
}

async fn fault(storage: &Storage, is_stopping: bool, check: Check) -> Option<String> {
    match check {
        Check::Ping => None,
        Check::Shutdown => is_stopping.then(|| "the server is stopping".to_owned()),
        Check::Store => {
            let checked = storage.store().check();
            match tokio::time::timeout(STORE_PATIENCE, checked).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {STORE_PATIENCE:?}")),
            }
        }
    }
}
