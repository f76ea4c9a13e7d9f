//! Front proxies: who shows a certificate of their authority says in headers for whom it makes a request
//! (Kubernetes: `k8s.io/apiserver/pkg/authentication/request/headerrequest`).

mod options;

use http::HeaderMap;
use rustls::pki_types::CertificateDer;

use crate::{
    identity::Identity,
    pki::{ClientVerifier, PkiError, authorities, identity_of},
};

pub use self::options::RequestHeaderOptions;

/// The ConfigMap of `kube-system` that tells other API servers of the front proxies of all servers.
pub(crate) const TRUST_MAP: &str = "extension-apiserver-authentication";

/// The front proxies that are believed.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    pub(crate) options: RequestHeaderOptions,
    verifier: ClientVerifier,
}

/// Why no front proxy can be believed as the options say.
#[derive(Debug, thiserror::Error)]
pub enum RequestHeaderError {
    /// Every client could say that it is somebody else.
    #[error(
        "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; --requestheader-allowed-names \
         must be specified to ensure regular client certificates cannot set authenticating proxy headers for arbitrary users"
    )]
    Overlapping,
    /// The certificates of the authorities can't be used.
    #[error("cannot use the authorities of front proxies")]
    Authorities(#[from] PkiError),
}

impl RequestHeader {
    /// Those of the options; `clients` are the authorities of whoever makes requests for itself, PEM.
    ///
    /// # Errors
    /// If any client would be a front proxy, or the authorities can't be used.
    pub fn new(options: RequestHeaderOptions, clients: &str) -> Result<Self, RequestHeaderError> {
        if options.allowed_names.is_empty() && overlap(&options.authorities, clients)? {
            return Err(RequestHeaderError::Overlapping);
        }
        let verifier = ClientVerifier::of(&options.authorities)?;
        Ok(Self { options, verifier })
    }

    /// Whether a certificate, with what leads to its authority, is that of one of them.
    pub(crate) fn believes(&self, chain: &[CertificateDer<'_>]) -> bool {
        let allowed = &self.options.allowed_names;
        let name = || chain.first().and_then(identity_of).map(|(identity, _)| identity.user);
        self.verifier.verifies(chain)
            && (allowed.is_empty() || name().is_some_and(|name| allowed.contains(&name)))
    }

    /// For whom a front proxy with these headers makes a request, if it names anybody.
    pub(crate) fn identity(&self, headers: &HeaderMap) -> Option<Identity> {
        self.options.identity(headers)
    }

    /// Removes the headers that only a front proxy may send.
    pub(crate) fn clear(&self, headers: &mut HeaderMap) {
        self.options.clear(headers);
    }
}

/// Whether an authority is in both. It is known by its key, which a certificate that is renewed may keep.
fn overlap(these: &str, those: &str) -> Result<bool, PkiError> {
    let (these, those) = (authorities(these)?, authorities(those)?);
    Ok(these.roots.iter().any(|it| {
        let key = &it.subject_public_key_info;
        those.roots.iter().any(|other| other.subject_public_key_info == *key)
    }))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;
    use crate::pki::Pki;

    /// Another certificate of the authority with this key.
    fn renewed(key: &Path) -> String {
        let key = KeyPair::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn no_authority_is_one_of_clients_and_of_front_proxies_of_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| Pki::open_or_create(&directory.path().join(name)).unwrap();
        let (own, other) = (at("own"), at("other"));
        let clients = [other.ca_certificate(), own.ca_certificate()].concat();
        let check = |authorities: &str, names: &[&str]| {
            let allowed_names = names.iter().map(|&name| name.to_owned()).collect();
            let authorities = authorities.to_owned();
            let names = RequestHeaderOptions { allowed_names, ..RequestHeaderOptions::default() };
            RequestHeader::new(RequestHeaderOptions { authorities, ..names }, &clients).map(drop)
        };
        let refused = check(own.ca_certificate(), &[]);
        assert!(matches!(refused, Err(RequestHeaderError::Overlapping)), "{refused:?}");
        let refused = check(&renewed(&directory.path().join("own/pki/ca.key")), &[]);
        assert!(matches!(refused, Err(RequestHeaderError::Overlapping)), "{refused:?}");
        check(own.ca_certificate(), &["front-proxy-client"]).unwrap();
        check(at("third").ca_certificate(), &[]).unwrap();
        let none = check("", &[]);
        assert!(matches!(none, Err(RequestHeaderError::Authorities(_))), "{none:?}");
    }
}
