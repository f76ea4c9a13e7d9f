//! A key, and the request for a certificate of it.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// Why a key or a request can't be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key or a request for its certificate: {0}")]
pub struct KeyError(#[from] rcgen::Error);

/// A new private key, as PEM.
///
/// # Errors
/// If none can be made.
pub fn new_key() -> Result<String, KeyError> {
    Ok(KeyPair::generate()?.serialize_pem())
}

/// A request for a certificate of a key, for a user with its groups, or a server with its names and addresses.
///
/// # Errors
/// If the key is none, or a name can't be in a certificate.
pub fn new_request(
    key: &str,
    user: &str,
    groups: &[&str],
    names: &[String],
) -> Result<String, KeyError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    Ok(params.serialize_request(&KeyPair::from_pem(key)?)?.pem()?)
}
