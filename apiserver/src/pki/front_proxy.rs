//! As what this server leads requests on to other API servers: they believe what it says of its clients if it shows a
//! certificate of an authority that is there for nothing else.

use std::{fmt, fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{Pki, PkiError, TlsFiles, ca, certificates, ensure, read, write};
use crate::identity::Identity;

/// The name in its certificate.
pub(crate) const NAME: &str = "front-proxy-client";

/// Its certificate and key, and what other servers have to know to believe it, all PEM.
#[derive(Clone)]
pub struct FrontProxy {
    certificate: String,
    key: String,
    /// The authority of its certificate.
    pub(crate) authority: String,
    /// Those whose clients are known here.
    pub(crate) client_authorities: String,
}

impl fmt::Debug for FrontProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontProxy").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl FrontProxy {
    /// What is shown to servers.
    pub(crate) fn shown(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok((certificates(&self.certificate)?, key))
    }

    /// The same for a client that trusts whom the host does.
    pub(crate) fn identity(&self) -> reqwest::Result<reqwest::Identity> {
        reqwest::Identity::from_pem(format!("{}\n{}", self.certificate, self.key).as_bytes())
    }
}

impl Pki {
    /// What this server shows other API servers; its authority is made if it isn't there.
    ///
    /// # Errors
    /// If files can't be read or written.
    pub fn front_proxy(&self, files: &TlsFiles) -> Result<FrontProxy, PkiError> {
        let authority = authority(&self.directory)?;
        let identity = Identity::new(NAME, &[]);
        let issue = || authority.issue(&identity, &[], ca::Usage::Client);
        let made = ensure(&authority, &self.directory, NAME, |_| true, issue)?;
        let client_authorities = self.client_authorities(files)?;
        Ok(FrontProxy {
            certificate: made.certificate,
            key: made.key,
            authority: authority.certificate().to_owned(),
            client_authorities,
        })
    }
}

fn authority(directory: &Path) -> Result<ca::Authority, PkiError> {
    let path = |extension: &str| directory.join("front-proxy-ca").with_extension(extension);
    if !fs::exists(path("crt")).unwrap_or(false) {
        let (certificate, key) = ca::Authority::generate("minik8s-front-proxy-ca")?;
        // The key first: with the certificate there, the authority is complete.
        write(&path("key"), &key, 0o600)?;
        write(&path("crt"), &certificate, 0o644)?;
    }
    ca::Authority::load(read(&path("crt"))?, &read(&path("key"))?)
}
