//! The cluster's own public key infrastructure: a CA made at the first start and kept, and the certificates of
//! this server. Everything lies as PEM under one directory.

mod ca;
mod client_verifier;
mod error;
mod front_proxy;
mod kubeconfig;
mod pem;
mod subject;

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::KeyPair;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use crate::{identity::Identity, kubelet_client::KubeletClient};

pub use ca::{Certificate, Usage};
pub(crate) use client_verifier::ClientVerifier;
pub use error::PkiError;
pub use front_proxy::FrontProxy;
pub(crate) use front_proxy::NAME as FRONT_PROXY;
pub(crate) use pem::authorities;
use pem::certificates;
pub(crate) use subject::identity_of;

/// Where the CA of a cluster with several API servers lies: the same on each.
#[derive(Clone, Debug)]
pub struct AuthorityFiles {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// What a server uses in place of its own certificate, and of the CA in judging its clients.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Its certificate, with those that lead to its authority, and its key, PEM.
    pub serving: Option<(PathBuf, PathBuf)>,
    /// The authorities whose clients are known, PEM.
    pub client_ca: Option<PathBuf>,
    /// Those of front proxies, PEM, whose certificates are taken, too, and name nobody.
    pub request_header_ca: Option<PathBuf>,
}

/// What a server shows its clients, and whose it knows.
#[derive(Clone, Debug)]
pub struct Serving {
    pub(crate) config: Arc<ServerConfig>,
    /// Tells which certificates name a client, where others are taken as well.
    pub(crate) clients: Option<ClientVerifier>,
    /// When its certificate ends, in seconds since 1970.
    pub(crate) not_after: Option<i64>,
}

/// The CA with the directory that this server's certificates lie in.
#[derive(Debug)]
pub struct Pki {
    directory: PathBuf,
    ca: ca::Authority,
}

impl Pki {
    /// Opens the CA under `<data_dir>/pki`; makes it if there is none.
    ///
    /// # Errors
    /// If files can't be read or written.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, PkiError> {
        let directory = data_dir.join("pki");
        create_dir(&directory)?;
        if !directory.join("ca.crt").exists() {
            let (certificate, key) = ca::Authority::generate("minik8s-ca")?;
            // The key first: with the certificate there, the CA is complete.
            write(&directory.join("ca.key"), &key, 0o600)?;
            write(&directory.join("ca.crt"), &certificate, 0o644)?;
        }
        Self::open(data_dir)
    }

    /// Opens the CA that is there.
    ///
    /// # Errors
    /// If there is none, or it can't be read.
    pub fn open(data_dir: &Path) -> Result<Self, PkiError> {
        let directory = data_dir.join("pki");
        if !directory.join("ca.crt").exists() {
            return Err(PkiError::NoCa(directory));
        }
        let certificate = read(&directory.join("ca.crt"))?;
        let key = read(&directory.join("ca.key"))?;
        Ok(Self { directory, ca: ca::Authority::load(certificate, &key)? })
    }

    /// Takes the CA from files, and keeps what it signs for this server under `<data_dir>/pki`, with links to these: whoever
    /// hands the CA to the controllers finds it there, wherever it lies.
    ///
    /// # Errors
    /// If files can't be read or written.
    pub fn with_authority(data_dir: &Path, files: &AuthorityFiles) -> Result<Self, PkiError> {
        let this = Self::signing_with(data_dir, files)?;
        let directory = &this.directory;
        create_dir(directory)?;
        for (name, file) in [("ca.crt", &files.certificate), ("ca.key", &files.key)] {
            point(&directory.join(name), file)?;
        }
        Ok(this)
    }

    /// The same for who signs with it, and leaves the server of the directory what it has.
    ///
    /// # Errors
    /// If files can't be read.
    pub fn signing_with(data_dir: &Path, files: &AuthorityFiles) -> Result<Self, PkiError> {
        let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
        let ca = ca::Authority::load(certificate, &key)?;
        Ok(Self { directory: data_dir.join("pki"), ca })
    }

    /// The CA's certificate.
    #[must_use]
    pub fn ca_certificate(&self) -> &str {
        self.ca.certificate()
    }

    /// A kubeconfig with a new certificate that is good for a client and, if it has names, for a server.
    ///
    /// # Errors
    /// If the certificate can't be made.
    pub fn kubeconfig(
        &self,
        server: &str,
        identity: &Identity,
        names: &[String],
    ) -> Result<String, PkiError> {
        let usage = if names.is_empty() { Usage::Client } else { Usage::Both };
        let certificate = self.ca.issue(identity, names, usage)?;
        kubeconfig::render(server, &identity.user, self.ca_certificate(), &certificate)
    }

    /// Writes a kubeconfig, readable by its owner alone.
    ///
    /// # Errors
    /// If it can't be made or written.
    pub fn write_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        identity: &Identity,
        names: &[String],
    ) -> Result<(), PkiError> {
        write(path, &self.kubeconfig(server, identity, names)?, 0o600)
    }

    /// Writes a kubeconfig unless one of this CA and server is there.
    ///
    /// # Errors
    /// If it can't be made or written.
    pub fn ensure_kubeconfig(
        &self,
        path: &Path,
        server: &str,
        identity: &Identity,
    ) -> Result<(), PkiError> {
        let kept = fs::read_to_string(path)
            .is_ok_and(|text| kubeconfig::is_of(&text, server, self.ca_certificate()));
        if kept {
            return Ok(());
        }
        self.write_kubeconfig(path, server, identity, &[])
    }

    /// The TLS settings of this server, with a certificate for these names. Clients may show a certificate of
    /// the CA, and need not.
    ///
    /// # Errors
    /// If the certificate can't be made or used.
    pub fn server_config(&self, names: &[String]) -> Result<Serving, PkiError> {
        self.server_config_from(&TlsFiles::default(), names)
    }

    /// The same, with what the files have.
    ///
    /// # Errors
    /// If they can't be read, or the certificate can't be made or used.
    pub fn server_config_from(
        &self,
        files: &TlsFiles,
        names: &[String],
    ) -> Result<Serving, PkiError> {
        let serving = match &files.serving {
            Some((certificate, key)) => {
                Certificate { certificate: read(certificate)?, key: read(key)? }
            }
            None => self.ensure_serving_certificate(names)?,
        };
        let mut authorities = self.client_authorities(files)?;
        let mut clients = None;
        if let Some(path) = &files.request_header_ca {
            clients = Some(ClientVerifier::of(&authorities)?);
            // A file need not end with a line's end.
            authorities += "\n";
            authorities += &read(path)?;
        }
        let config = tls_config(&serving, &authorities)?;
        Ok(Serving { config, clients, not_after: not_after(&serving.certificate) })
    }

    /// The authorities whose clients are known, PEM.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn client_authorities(&self, files: &TlsFiles) -> Result<String, PkiError> {
        match &files.client_ca {
            Some(path) => read(path),
            None => Ok(self.ca_certificate().to_owned()),
        }
    }

    /// This server's credentials towards kubelets.
    ///
    /// # Errors
    /// If the certificate can't be made or used.
    pub fn kubelet_client(&self) -> Result<KubeletClient, PkiError> {
        let identity = Identity::new("kube-apiserver-kubelet-client", &["system:masters"]);
        let issue = || self.ca.issue(&identity, &[], Usage::Client);
        let made = ensure(&self.ca, &self.directory, "apiserver-kubelet-client", |_| true, issue)?;
        KubeletClient::new(self.ca_certificate(), &made.certificate, &made.key)
            .map_err(|e| PkiError::Tls(e.to_string()))
    }

    /// The key that tokens of service accounts are signed with, PEM; made if it isn't there, with its public part beside
    /// it for who verifies tokens.
    ///
    /// # Errors
    /// If files can't be read or written.
    pub fn service_account_key(&self) -> Result<String, PkiError> {
        let path = self.directory.join("sa.key");
        if !path.exists() {
            let key = KeyPair::generate()?;
            write(&self.directory.join("sa.pub"), &key.public_key_pem(), 0o644)?;
            write(&path, &key.serialize_pem(), 0o600)?;
        }
        read(&path)
    }

    /// The serving certificate, made anew when a name is missing in the one that is there.
    fn ensure_serving_certificate(&self, names: &[String]) -> Result<Certificate, PkiError> {
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let fits = |certificate: &str| {
            let there = names_of(certificate);
            wanted.iter().all(|name| there.contains(*name))
        };
        let identity = Identity::new("kube-apiserver", &[]);
        let issue = || self.ca.issue(&identity, names, Usage::Server);
        ensure(&self.ca, &self.directory, "apiserver", fits, issue)
    }
}

/// A certificate from its files, made anew if it isn't there, of another CA, or doesn't fit.
fn ensure(
    ca: &ca::Authority,
    directory: &Path,
    name: &str,
    fits: impl Fn(&str) -> bool,
    make: impl FnOnce() -> Result<Certificate, PkiError>,
) -> Result<Certificate, PkiError> {
    let path = |extension: &str| directory.join(format!("{name}.{extension}"));
    let there = read(&path("crt")).and_then(|c| Ok((c, read(&path("key"))?)));
    if let Ok((certificate, key)) = there
        && KeyPair::from_pem(&key).is_ok()
        && ca.signed(&certificate)
        && fits(&certificate)
    {
        return Ok(Certificate { certificate, key });
    }
    let made = make()?;
    if !ca.signed(&made.certificate) {
        return Err(PkiError::OtherKey);
    }
    write(&path("key"), &made.key, 0o600)?;
    write(&path("crt"), &made.certificate, 0o644)?;
    Ok(made)
}

fn tls_config(serving: &Certificate, authorities: &str) -> Result<Arc<ServerConfig>, PkiError> {
    let ClientVerifier(verifier) = ClientVerifier::of(authorities)?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes())?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&serving.certificate)?, key)
        .map_err(|error| PkiError::Tls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// When the first certificate of some ends, in seconds since 1970.
fn not_after(certificates: &str) -> Option<i64> {
    let der = CertificateDer::from_pem_slice(certificates.as_bytes()).ok()?;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(&der).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// The DNS names and addresses that a certificate is good for.
fn names_of(certificate: &str) -> BTreeSet<String> {
    let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return BTreeSet::new();
    };
    let Ok((_, parsed)) = x509_parser::certificate::X509Certificate::from_der(&der) else {
        return BTreeSet::new();
    };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return BTreeSet::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map(|a| a.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(text).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

pub(crate) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|e| file_error(path, e))
}

/// Makes a link to a file. What is there and is no link stays if it says the same; else it is of an authority that was
/// before this one, and is kept beside the link: whoever went on to sign with it would do so in vain.
fn point(link: &Path, file: &Path) -> Result<(), PkiError> {
    let file = fs::canonicalize(file).map_err(|e| file_error(file, e))?;
    match fs::symlink_metadata(link) {
        Ok(there) if there.is_symlink() => {
            fs::remove_file(link).map_err(|e| file_error(link, e))?
        }
        Ok(_) if read(link)? == read(&file)? => return Ok(()),
        Ok(_) => {
            let aside = aside(link);
            tracing::warn!(file = %link.display(), aside = %aside.display(), "the authority is another one now: what was there is kept aside");
            fs::rename(link, aside).map_err(|e| file_error(link, e))?;
        }
        Err(_) => {}
    }
    std::os::unix::fs::symlink(file, link).map_err(|e| file_error(link, e))
}

/// A path beside this one at which nothing is.
fn aside(path: &Path) -> PathBuf {
    let numbered = |number: u32| PathBuf::from(format!("{}.old-{number}", path.display()));
    let mut number = 1;
    while numbered(number).exists() {
        number += 1;
    }
    numbered(number)
}

/// Writes a file whole or not at all.
///
/// # Errors
/// If it can't be written.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let written = (|| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|e| file_error(path, e))
}

/// What is in there is its owner's alone: keys, and objects beside them.
fn create_dir(path: &Path) -> Result<(), PkiError> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|e| file_error(path, e))
}

fn file_error(path: &Path, source: io::Error) -> PkiError {
    PkiError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn the_authority_is_kept_and_the_serving_certificate_as_long_as_it_fits() {
        let directory = tempfile::tempdir().unwrap();
        let first = Pki::open_or_create(directory.path()).unwrap();
        let made = first.ensure_serving_certificate(&names(&["localhost", "127.0.0.1"])).unwrap();
        let second = Pki::open_or_create(directory.path()).unwrap();
        assert_eq!(first.ca_certificate(), second.ca_certificate());
        let kept = second.ensure_serving_certificate(&names(&["127.0.0.1"])).unwrap();
        assert_eq!(made.certificate, kept.certificate);
        let other = second.ensure_serving_certificate(&names(&["10.0.0.1"])).unwrap();
        assert_ne!(made.certificate, other.certificate);
        assert_eq!(names_of(&other.certificate), ["10.0.0.1".to_owned()].into());
    }

    #[test]
    fn servers_that_share_an_authority_s_files_trust_each_other_s_clients() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let first = Pki::open_or_create(&at("a")).unwrap();
        let files = AuthorityFiles { certificate: at("a/pki/ca.crt"), key: at("a/pki/ca.key") };
        let second = Pki::with_authority(&at("b"), &files).unwrap();
        assert_eq!(first.ca_certificate(), second.ca_certificate());
        let issued = second.ensure_serving_certificate(&names(&["10.0.0.2"])).unwrap();
        assert!(first.ca.signed(&issued.certificate));
        assert!(at("b/pki/apiserver.crt").exists());
        Pki::with_authority(&at("b"), &files).unwrap();
        assert!(fs::symlink_metadata(at("b/pki/ca.key")).unwrap().is_symlink());
        assert_eq!(read(&at("b/pki/ca.key")).unwrap(), read(&files.key).unwrap());
        // Its own.
        Pki::with_authority(&at("a"), &files).unwrap();
        assert!(!fs::symlink_metadata(at("a/pki/ca.key")).unwrap().is_symlink());
        Pki::open_or_create(&at("c")).unwrap();
        let mixed = AuthorityFiles { key: at("c/pki/ca.key"), ..files };
        let wrong = Pki::with_authority(&at("d"), &mixed).unwrap();
        let refused = wrong.ensure_serving_certificate(&names(&["10.0.0.2"]));
        assert!(matches!(refused, Err(PkiError::OtherKey)));
    }

    #[test]
    fn an_authority_that_was_there_before_makes_way_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let own = Pki::open_or_create(&at("a")).unwrap();
        Pki::open_or_create(&at("b")).unwrap();
        let key = read(&at("a/pki/ca.key")).unwrap();
        let files = AuthorityFiles { certificate: at("b/pki/ca.crt"), key: at("b/pki/ca.key") };
        Pki::signing_with(&at("a"), &files).unwrap();
        assert_eq!(read(&at("a/pki/ca.key")).unwrap(), key);
        let shared = Pki::with_authority(&at("a"), &files).unwrap();
        assert_ne!(own.ca_certificate(), shared.ca_certificate());
        assert_eq!(read(&at("a/pki/ca.key")).unwrap(), read(&files.key).unwrap());
        assert_eq!(read(&at("a/pki/ca.key.old-1")).unwrap(), key);
        let kept = read(&at("a/pki/ca.crt.old-1")).unwrap();
        assert_eq!(kept, own.ca_certificate());
    }

    #[test]
    fn a_kubeconfig_is_kept_unless_the_authority_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conf/admin.conf");
        let ensure = |pki: &Pki| {
            pki.ensure_kubeconfig(&path, "https://127.0.0.1:6443", &Identity::admin()).unwrap();
            fs::read_to_string(&path).unwrap()
        };
        let pki = Pki::open_or_create(&directory.path().join("a")).unwrap();
        let first = ensure(&pki);
        assert_eq!(first, ensure(&pki));
        assert_ne!(first, ensure(&Pki::open_or_create(&directory.path().join("b")).unwrap()));
    }

    #[test]
    fn a_certificate_names_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let node = Identity::new("system:node:n1", &["system:nodes"]);
        let made = pki.ca.issue(&node, &names(&["n1", "10.0.0.7"]), Usage::Both).unwrap();
        let der = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let (identity, _) = identity_of(&der).unwrap();
        assert_eq!(
            identity,
            Identity::new("system:node:n1", &["system:nodes", "system:authenticated"])
        );
        assert_eq!(names_of(&made.certificate), ["10.0.0.7".to_owned(), "n1".to_owned()].into());
    }
}
