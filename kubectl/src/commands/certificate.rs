//! `kubectl certificate`: decides requests for certificates.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use api_types::jiff::Timestamp;

use crate::{Failure, api::Call, failure::Failures, object, session::Session};

const KIND: &str = "certificatesigningrequests.certificates.k8s.io";
/// How often a decision is tried, as with Kubernetes, if somebody else has changed the request meanwhile.
const TRIES: usize = 10;

/// Approve or deny requests for certificates
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl get csr\n  kubectl certificate approve jane\n  kubectl certificate deny jane"
)]
pub struct Certificate {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have the signer sign what was asked for
    #[command(after_help = "Examples:\n  kubectl certificate approve jane")]
    Approve(Names),
    /// Have nobody sign it
    #[command(after_help = "Examples:\n  kubectl certificate deny jane")]
    Deny(Names),
}

#[derive(Args, Debug)]
struct Names {
    /// The names of CertificateSigningRequests
    #[arg(required = true)]
    names: Vec<String>,
    /// Decide though that was done before
    #[arg(long)]
    force: bool,
}

impl Certificate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (names, condition) = match self.action {
            Action::Approve(names) => (names, ("Approved", "KubectlApprove", "approve")),
            Action::Deny(names) => (names, ("Denied", "KubectlDeny", "deny")),
        };
        let mut failures = Failures::default();
        for name in &names.names {
            let mut decided = decide(session, name, names.force, condition).await;
            // The controllers write there, too.
            for _ in 1..TRIES {
                if !decided.as_ref().is_err_and(Failure::is_conflict) {
                    break;
                }
                decided = decide(session, name, names.force, condition).await;
            }
            failures.keep(decided)?;
        }
        failures.finish(&session.io)
    }
}

async fn decide(
    session: &Session,
    name: &str,
    force: bool,
    (type_, reason, verb): (&str, &str, &str),
) -> Result<(), Failure> {
    let resource = session.resource(KIND).await?;
    let path = resource.object_path(None, name);
    let api = session.api().await?;
    let mut csr = api.call(Call::get(&path)).await?;
    let decided = object::list(&csr, "/status/conditions");
    if force || !decided.iter().any(|condition| condition["type"] == type_) {
        let condition = json!({
            "type": type_, "status": "True", "reason": reason, "lastUpdateTime": Timestamp::now(),
            "message": format!("This CSR was {} by kubectl certificate {verb}.", type_.to_lowercase()),
        });
        csr["status"]["conditions"] = with(decided, &condition);
        api.call(Call::new(Method::PUT, format!("{path}/approval")).body(&csr)).await?;
    }
    session.io.line(format_args!("{} {}", resource.object_name(name), type_.to_lowercase()))?;
    Ok(())
}

/// The conditions with one, in the place of that of its type.
fn with(conditions: &[Value], one: &Value) -> Value {
    let others = conditions.iter().filter(|condition| condition["type"] != one["type"]).cloned();
    others.chain([one.clone()]).collect()
}
