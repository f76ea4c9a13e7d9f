//! Why a look ended early, and whether another one may help though nothing has changed.

use std::error::Error as StdError;

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("{step}")]
    Call {
        /// What could not be done.
        step: &'static str,
        /// What came of it.
        source: kube::Error,
    },
    /// The API server has done all that it was asked, but things are not as they should be.
    #[error("{0}")]
    Fault(Box<dyn Fault>),
}

/// Something of the cluster's objects that a controller can't cope with.
pub trait Fault: StdError + Send + Sync + 'static {
    /// Whether it may be over though no object that the controller follows has changed: it looks again then after a
    /// back-off, and otherwise when one changes.
    fn may_pass(&self) -> bool;
}

impl<F: Fault> From<F> for Error {
    fn from(fault: F) -> Self {
        Self::Fault(Box::new(fault))
    }
}

impl Error {
    /// Why the look ended, in the API server's words if it has answered.
    pub fn reason(&self) -> String {
        match self {
            Self::Call { source, .. } => reason(source),
            Self::Fault(fault) => fault.to_string(),
        }
    }

    /// Whether to look again after a back-off though nothing has changed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Call { .. } => true,
            Self::Fault(fault) => fault.may_pass(),
        }
    }

    /// Whether somebody else was faster: nothing to worry about, the next try reads what they wrote.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether the API server has said that it did nothing. After any other failure it may have done what it
    /// was asked, and only its answer is lost.
    pub fn is_refusal(&self) -> bool {
        self.code().is_some_and(|code| (400..500).contains(&code))
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Call { source, .. } => code(source),
            Self::Fault(_) => None,
        }
    }
}

/// Says at which step a call failed.
pub trait Step<T> {
    /// Names the step, as what could not be done: `creating a pod`.
    fn step(self, step: &'static str) -> Result<T, Error>;

    /// The same; but an object that is gone is no failure.
    fn unless_gone(self, step: &'static str) -> Result<Option<T>, Error>;

    /// The same; but a namespace that is on its way out or gone, where nothing can be created, is no failure.
    fn unless_terminating(self, step: &'static str) -> Result<Option<T>, Error>;
}

impl<T> Step<T> for kube::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Call { step, source })
    }

    fn unless_gone(self, step: &'static str) -> Result<Option<T>, Error> {
        match self {
            Err(error) if code(&error) == Some(404) => Ok(None),
            other => other.step(step).map(Some),
        }
    }

    fn unless_terminating(self, step: &'static str) -> Result<Option<T>, Error> {
        match self {
            Err(error) if is_terminating(&error) => Ok(None),
            other => other.unless_gone(step),
        }
    }
}

/// Why a call failed, in the API server's words if it has answered.
pub fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether nothing can be created because the namespace is on its way out.
pub fn is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

/// The status code that the API server has answered with.
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
