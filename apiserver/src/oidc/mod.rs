//! People whom an OpenID Connect provider vouches for: with a token that it has signed, which says who they are
//! (Kubernetes: `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`).
//!
//! *Guarantees*: a token is taken if the provider's own keys, by its discovery document, have signed it, it is good now and meant
//! for this cluster. Nobody waits longer for a provider that does not answer than [`keys`] says, and hardly anybody does.

mod claims;
mod configuration;
mod keys;
mod options;
mod provider;

pub use self::{
    options::{OidcError, OidcOptions},
    provider::OidcProvider,
};
