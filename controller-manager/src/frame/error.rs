//! Why a reconciliation ended early. It is logged, and the key is tried again after a back-off.

/// A step of a reconciliation failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Error {
    step: &'static str,
    #[source]
    source: kube::Error,
}

impl Error {
    /// Why the step failed, in the API server's words if it has answered.
    pub fn reason(&self) -> String {
        reason(&self.source)
    }

    /// Whether somebody else was faster: nothing to worry about, the next try reads what they wrote.
    pub fn is_conflict(&self) -> bool {
        code(&self.source) == Some(409)
    }
}

/// Says at which step a call failed.
pub trait Step<T> {
    /// Names the step, as what could not be done: `creating a pod`.
    fn step(self, step: &'static str) -> Result<T, Error>;

    /// The same; but an object that is gone is no failure.
    fn unless_gone(self, step: &'static str) -> Result<Option<T>, Error>;
}

impl<T> Step<T> for kube::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error { step, source })
    }

    fn unless_gone(self, step: &'static str) -> Result<Option<T>, Error> {
        match self {
            Err(error) if code(&error) == Some(404) => Ok(None),
            other => other.step(step).map(Some),
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

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
