//! What the Secret of a token is like (Kubernetes: `cluster-bootstrap/token/api`).

pub(super) const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
pub(super) const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The token's id follows.
pub(super) const NAME_PREFIX: &str = "bootstrap-token-";
/// What it may be used for follows.
pub(super) const USAGE_PREFIX: &str = "usage-bootstrap-";
