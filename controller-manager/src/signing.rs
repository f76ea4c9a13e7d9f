//! The authority that signs certificates for who asks over the API: the flags, with Kubernetes' names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_machinery::duration;
use certificates::Signer;

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct SigningArgs {
    /// The certificate of the authority that signs what CertificateSigningRequests ask for: the cluster's own; without it,
    /// nothing is signed
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    pub cluster_signing_cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    pub cluster_signing_key_file: Option<PathBuf>,
    /// How long such a certificate is good, unless less was asked for
    #[arg(long, value_name = "DURATION", default_value = "8760h", value_parser = at_least_shortest)]
    pub cluster_signing_duration: Duration,
}

/// Who signs, and for how long at most.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The authority.
    pub(crate) signer: Arc<Signer>,
    /// The longest that it signs for.
    pub(crate) longest: Duration,
}

impl Signing {
    /// An authority that signs for at most so long.
    pub fn new(signer: Signer, longest: Duration) -> Self {
        Self { signer: Arc::new(signer), longest }
    }
}

impl SigningArgs {
    /// Reads the authority, if there is one.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Signing>> {
        let (Some(certificate), Some(key)) =
            (&self.cluster_signing_cert_file, &self.cluster_signing_key_file)
        else {
            return Ok(None);
        };
        let signer = Signer::new(&text(certificate)?, &text(key)?)?;
        Ok(Some(Signing::new(signer, self.cluster_signing_duration)))
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Less would be over before it is renewed.
const SHORTEST: Duration = Duration::from_secs(600);

fn at_least_shortest(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration < SHORTEST { Err("must be at least 10m".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        signing: SigningArgs,
    }

    fn authority() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// A new authority.
    pub(crate) fn signing() -> Signing {
        let (certificate, key) = authority();
        Signing::new(Signer::new(&certificate, &key).unwrap(), Duration::from_secs(86_400))
    }

    #[test]
    fn certificate_and_key_go_together_and_a_year_is_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (certificate, key) = authority();
        std::fs::write(at("crt"), certificate).unwrap();
        std::fs::write(at("key"), key).unwrap();
        let parse = |args: &[String]| {
            Args::try_parse_from(std::iter::once("x").chain(args.iter().map(String::as_str)))
        };
        let flag = |name: &str, value: &str| format!("--cluster-signing-{name}={value}");
        assert!(parse(&[]).unwrap().signing.read().unwrap().is_none());
        let both = [flag("cert-file", &at("crt")), flag("key-file", &at("key"))];
        let read = parse(&both).unwrap().signing.read().unwrap().unwrap();
        assert_eq!(read.longest, Duration::from_secs(8760 * 3600));
        assert!(parse(&both[..1]).is_err());
        let swapped = [flag("cert-file", &at("key")), flag("key-file", &at("crt"))];
        assert!(parse(&swapped).unwrap().signing.read().is_err());
        let short = parse(&[flag("duration", "5m")]).unwrap_err().to_string();
        assert!(short.contains("must be at least 10m"), "{short}");
    }
}
