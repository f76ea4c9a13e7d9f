//! What surrounds a run of kubectl, given as a value so that a test can give another.

use std::{ffi::OsString, fmt, path::PathBuf};

/// What a command takes from its surroundings.
#[derive(Clone, Default)]
pub struct Environment {
    /// A ready client, in place of any kubeconfig (tests).
    pub client: Option<kube::Client>,
    /// `$KUBECONFIG`.
    pub kubeconfig: Option<OsString>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// Where to remember the kinds of servers; nowhere if `None`.
    pub cache: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let cache = home.as_ref().map(|home| home.join(".kube/cache/minik8s"));
        Self { client: None, kubeconfig: std::env::var_os("KUBECONFIG"), home, cache }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}
