//! What a connection shows of who makes the requests on it: a certificate, or none.

use std::sync::Arc;

use http::HeaderMap;
use rustls::pki_types::CertificateDer;

use crate::{
    identity::Identity,
    pki::{ClientVerifier, identity_of},
    request_header::RequestHeader,
};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// Whom they name, be it nobody in particular. A certificate that is of no authority of clients names none.
    pub(crate) identity: Option<Arc<Identity>>,
    /// When the certificate ends that names it, in seconds since 1970.
    pub(crate) not_after: Option<i64>,
    /// Whether they are those of a front proxy that is believed.
    is_front_proxy: bool,
}

impl Credentials {
    /// Those of a program in the same process.
    pub(crate) fn of(identity: Identity) -> Self {
        Self { identity: Some(Arc::new(identity)), not_after: None, is_front_proxy: false }
    }

    /// Those of a certificate with which a handshake has succeeded, and of what leads to its authority. `clients` tells
    /// whether it names a client, where others are taken as well.
    pub(crate) fn shown(
        chain: &[CertificateDer<'_>],
        clients: Option<&ClientVerifier>,
        proxies: Option<&RequestHeader>,
    ) -> Self {
        let Some(certificate) = chain.first() else { return Self::of(Identity::anonymous()) };
        let is_front_proxy = proxies.is_some_and(|proxies| proxies.believes(chain));
        if clients.is_some_and(|clients| !clients.verifies(chain)) {
            return Self { identity: None, not_after: None, is_front_proxy };
        }
        match identity_of(certificate) {
            Some((identity, not_after)) => {
                Self { not_after: Some(not_after), is_front_proxy, ..Self::of(identity) }
            }
            None => Self { is_front_proxy, ..Self::of(Identity::anonymous()) },
        }
    }

    /// For whom a request is made, if it comes from a front proxy that says so. What only such a proxy may say goes no further.
    pub(crate) fn take_proxied(
        &self,
        proxies: Option<&RequestHeader>,
        headers: &mut HeaderMap,
    ) -> Option<Arc<Identity>> {
        let proxies = proxies?;
        let named = self.is_front_proxy.then(|| proxies.identity(headers)).flatten();
        proxies.clear(headers);
        named.map(Arc::new)
    }
}
