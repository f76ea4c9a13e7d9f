//! Why a reconciliation ended early. It is logged, and the key is tried again after a back-off.

/// A step of a reconciliation failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Error {
    step: &'static str,
    #[source]
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Api(kube::Error),
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A step failed though the API server has done all that it was asked.
    pub fn other(step: &'static str, why: impl Into<String>) -> Self {
        Self { step, cause: Cause::Other(why.into()) }
    }

    /// Why the step failed, in the API server's words if it has answered.
    pub fn reason(&self) -> String {
        match &self.cause {
            Cause::Api(error) => reason(error),
            Cause::Other(why) => why.clone(),
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
        match &self.cause {
            Cause::Api(error) => code(error),
            Cause::Other(_) => None,
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
        self.map_err(|source| Error { step, cause: Cause::Api(source) })
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
