//! The certificate that stands in where a Secret has none that can be used. It is kept, so that what a server goes by is
//! the same after this program's next start.

use std::{fs, io, path::Path};

use api_types::{ByteString, api::core::v1::Secret};
use component::server_certificate::ServerCertificate;
use rcgen::{CertificateParams, DnType, KeyPair};
use tracing::info;

use crate::{configs::write_private, nginx::http::Certificate};

const CERTIFICATE: &str = "default-certificate.crt";
const KEY: &str = "default-certificate.key";
/// What it says of itself.
const NAME: &str = "minik8s default ingress certificate";

/// The one in a directory, made if it is not there.
///
/// # Errors
///
/// It can't be made, or not be written.
pub(crate) fn certificate(directory: &Path) -> anyhow::Result<Certificate> {
    let (chain, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    if let (Ok(chain), Ok(key)) = (fs::read(&chain), fs::read(&key)) {
        let found = Certificate { chain, key };
        if is_usable(&found) {
            return Ok(found);
        }
    }
    let made = make()?;
    fs::create_dir_all(directory)?;
    // One without the other is no pair, and both are made anew.
    for (file, content) in [(key, &made.key), (chain, &made.chain)] {
        let new = file.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => write_private(&new, content)?,
        }
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &file)?;
    }
    info!("made the certificate of hosts that have no other");
    Ok(made)
}

/// A server that is given another one takes nothing of its configuration.
fn is_usable(found: &Certificate) -> bool {
    let data = [("tls.crt", &found.chain), ("tls.key", &found.key)];
    let data = data.map(|(name, bytes)| (name.to_owned(), ByteString(bytes.clone())));
    let secret = Secret { data: Some(data.into()), ..Secret::default() };
    ServerCertificate::of(&secret).is_ok()
}

fn make() -> Result<Certificate, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["ingress.local".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    let certificate = params.self_signed(&key)?;
    Ok(Certificate { chain: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() })
}

/// As a server reads it, whatever else was beside it.
pub(crate) fn pem_of(found: &ServerCertificate) -> Certificate {
    let chain = found.chain.iter().map(|der| pem::Pem::new("CERTIFICATE", der.to_vec()));
    let label = match found.key {
        rustls::pki_types::PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        rustls::pki_types::PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let key = pem::Pem::new(label, found.key.secret_der());
    Certificate {
        chain: pem::encode_many(&chain.collect::<Vec<_>>()).into_bytes(),
        key: pem::encode(&key).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_its_key_is_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let made = certificate(directory.path()).unwrap();
        assert_eq!(certificate(directory.path()).unwrap(), made);
        let mode = fs::metadata(directory.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(directory.path().join(CERTIFICATE)).unwrap();
        let other = certificate(directory.path()).unwrap();
        assert_ne!(other, made);
        // Of another pair.
        fs::write(directory.path().join(KEY), &made.key).unwrap();
        let third = certificate(directory.path()).unwrap();
        assert!(third != other && third != made);
        assert_eq!(certificate(directory.path()).unwrap(), third);
    }
}
