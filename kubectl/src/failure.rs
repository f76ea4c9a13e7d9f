//! What can go wrong, in the words of kubectl, each with the next step where there is one.

use std::{io, time::Duration};

use api_types::meta;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A fault of the request itself, found on this side.
    #[error("error: {0}")]
    Message(String),
    /// The server's answer was a failure.
    #[error("{0}")]
    Server(ServerError),
    /// Nobody listens at the server's address.
    #[error(
        "The connection to the server {server} was refused - did you specify the right host or port?"
    )]
    Refused {
        /// Host and port.
        server: String,
    },
    /// The server can't be spoken to for another reason.
    #[error("Unable to connect to the server: {0}")]
    Unreachable(String),
    /// No kubeconfig file was found and no server was named.
    #[error("error: no kubeconfig found (looked at {looked_at})")]
    NoKubeconfig {
        /// The places that were tried.
        looked_at: String,
    },
    /// A command in a container has failed; its exit code becomes ours.
    #[error("command terminated with exit code {0}")]
    Exited(u8),
    /// Everything there is to say was said already; only the exit code is left.
    #[error("")]
    Reported,
    /// Output or input that failed.
    #[error("error: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    /// A fault found on this side.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// Whether the server said that there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The code of the server's answer.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Server(error) => error.status.code,
            _ => None,
        }
    }

    /// Whether the server's answer is about objects of this resource.
    #[must_use]
    pub fn is_about(&self, plural: &str) -> bool {
        matches!(self, Self::Server(error) if error.status.details.as_ref()
            .is_some_and(|details| details.kind.as_deref() == Some(plural)))
    }

    /// Whether the object was changed by somebody else meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(error) if error.status.code == Some(409)
            && error.status.reason.as_deref() == Some("Conflict"))
    }

    /// Whether the server said that there is one of that name already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Server(error) if error.status.reason.as_deref() == Some("AlreadyExists"))
    }

    /// Whether the same request may have an answer later: the server is away, or has too much to do.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Unreachable(_) | Self::Io(_) => true,
            _ => matches!(self.code(), Some(429 | 500 | 502..=504)),
        }
    }

    /// When the server wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let Self::Server(error) = self else { return None };
        let seconds = error.status.details.as_ref()?.retry_after_seconds?;
        u64::try_from(seconds).ok().map(Duration::from_secs)
    }

    /// Whether the reader of our output went away (`kubectl get pods | head -1`).
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The same failure, saying of the server's refusal what it was about (`error when creating "x.yaml"`).
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        match self {
            Self::Server(error) => {
                Self::Server(ServerError { context: Some(what.to_owned()), ..error })
            }
            Self::Message(text) => Self::Message(format!("{what}: {text}")),
            other => other,
        }
    }

    /// What to do next, if that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { .. } => Some(
                "Start the cluster with scripts/up.sh, or name another server with --server or --kubeconfig.",
            ),
            Self::NoKubeconfig { .. } => Some(
                "Start a cluster with scripts/up.sh, which writes /etc/minik8s/admin.conf, or name a file with --kubeconfig or KUBECONFIG.",
            ),
            Self::Unreachable(why) if why.contains("certificate") => Some(
                "The kubeconfig belongs to another cluster, or the cluster was set up anew: take its new admin.conf.",
            ),
            _ => None,
        }
    }
}

/// A `metav1.Status` that says failure.
#[derive(Debug)]
pub struct ServerError {
    /// What the request was about, if the reader could not tell.
    pub context: Option<String>,
    /// The server's words.
    pub status: Box<meta::Status>,
}

impl ServerError {
    /// An answer that is no `Status` is shown as it came.
    #[must_use]
    pub fn from_answer(code: u16, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<meta::Status>(body)
            .ok()
            .filter(|s| s.message.is_some())
            .unwrap_or_else(|| meta::Status {
                code: Some(i32::from(code)),
                message: Some(String::from_utf8_lossy(body).trim().to_owned()),
                ..meta::Status::default()
            });
        let status = Box::new(meta::Status { code: Some(i32::from(code)), ..status });
        Self { context: None, status }
    }

    /// Field faults one per line, as kubectl shows a single object's (`The Pod "x" is invalid: …`).
    fn causes(&self) -> Option<String> {
        let details = self.status.details.as_ref().filter(|_| self.context.is_none())?;
        let causes = details.causes.as_ref().filter(|c| !c.is_empty())?;
        let (kind, name) = (details.kind.as_deref()?, details.name.as_deref().unwrap_or_default());
        let text = |c: &meta::StatusCause| match (&c.field, &c.message) {
            (Some(field), Some(message)) => format!("{field}: {message}"),
            (_, message) => message.clone().unwrap_or_default(),
        };
        let faults = match causes.as_slice() {
            [one] => format!(" {}", text(one)),
            many => many.iter().map(|c| format!("\n* {}", text(c))).collect(),
        };
        Some(format!("The {kind} {name:?} is invalid:{faults}"))
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reason = self.status.reason.as_deref().unwrap_or_default();
        if let Some(text) = self.causes().filter(|_| reason == "Invalid") {
            return f.write_str(&text);
        }
        f.write_str("Error from server")?;
        if !reason.is_empty() {
            write!(f, " ({reason})")?;
        }
        if let Some(context) = &self.context {
            write!(f, ": {context}")?;
        }
        write!(f, ": {}", self.status.message.as_deref().unwrap_or("unknown"))
    }
}

/// Failures of a command that goes on with the rest: said at the end, in order.
#[derive(Debug, Default)]
pub struct Failures(Vec<Failure>);

impl Failures {
    /// Keeps a failure for the end; gives back what succeeded. Closed output ends a command at once.
    pub fn keep<T>(&mut self, result: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.is_closed_output() => Err(failure),
            Err(failure) => {
                self.0.push(failure);
                Ok(None)
            }
        }
    }

    /// Whether everything succeeded so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says all failures but the last, which becomes the command's own.
    pub fn finish(mut self, io: &crate::Io) -> Result<(), Failure> {
        let Some(last) = self.0.pop() else { return Ok(()) };
        // A server that can't be reached is told once.
        let same_as_last = |f: &Failure| f.to_string() == last.to_string();
        self.0.iter().filter(|f| !same_as_last(f)).for_each(|f| io.note(f));
        Err(last)
    }
}
