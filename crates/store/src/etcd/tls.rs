//! Whom we trust to be etcd, and how we show who we are.

use etcd_client::{Certificate, Identity, TlsOptions};

/// What TLS to etcd needs, in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// The authorities of the members' certificates; those that this host trusts, if there are none.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate and its key, for members that ask for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    pub(super) fn options(&self) -> TlsOptions {
        let options = match &self.authorities {
            Some(authorities) => {
                TlsOptions::new().ca_certificate(Certificate::from_pem(authorities))
            }
            None => TlsOptions::new().with_native_roots(),
        };
        match &self.identity {
            Some((certificate, key)) => options.identity(Identity::from_pem(certificate, key)),
            None => options,
        }
    }
}

/// The key is not shown.
impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
