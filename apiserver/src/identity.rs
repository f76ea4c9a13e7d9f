//! Who makes a request, as authentication found out.

/// The name of whom nobody vouches for.
const ANONYMOUS: &str = "system:anonymous";

/// A user and its groups. In a client certificate: the common name and the organizations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// An authenticated user.
    #[must_use]
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        Self { user: user.into(), groups: groups.iter().map(|&g| g.to_owned()).collect() }
    }

    /// The administrator of the cluster.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &["system:masters"])
    }

    /// Nobody in particular: may only ask how the server is.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &["system:unauthenticated"])
    }

    /// Whether nobody vouches for this identity.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS
    }
}
