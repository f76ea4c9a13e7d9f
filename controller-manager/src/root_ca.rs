//! The authority that the API server's certificate comes from, as the pods of the cluster need it.

use std::path::Path;

use anyhow::{Context, ensure};
use component::ClientArgs;
use pem::{EncodeConfig, LineEnding, Pem};

/// The certificates in the file, or else those that this program itself trusts.
pub(crate) async fn read(
    file: Option<&Path>,
    client: &ClientArgs,
) -> anyhow::Result<Option<String>> {
    if let Some(path) = file {
        return from_file(path).map(Some);
    }
    let trusted = component::client::config(client).await?.root_cert;
    Ok(trusted.filter(|certificates| !certificates.is_empty()).map(encode))
}

fn from_file(path: &Path) -> anyhow::Result<String> {
    let wrong = || format!("cannot use --root-ca-file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(wrong)?;
    let certificates = pem::parse_many(&text).with_context(wrong)?;
    let is_certificate = |found: &Pem| found.tag() == "CERTIFICATE";
    ensure!(certificates.iter().any(is_certificate), "{}: it has no certificate", wrong());
    Ok(text)
}

fn encode(certificates: Vec<Vec<u8>>) -> String {
    let certificates: Vec<Pem> =
        certificates.into_iter().map(|certificate| Pem::new("CERTIFICATE", certificate)).collect();
    pem::encode_many_config(&certificates, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    async fn read_file(text: &str) -> Result<Option<String>, String> {
        let file = written(text);
        let read = read(Some(file.path()), &ClientArgs::default()).await;
        read.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn the_file_wins_and_must_hold_a_certificate() {
        let certificate = encode(vec![vec![1, 2, 3]]);
        assert_eq!(read_file(&certificate).await.unwrap(), Some(certificate));
        let error = read_file("nothing").await.unwrap_err();
        assert!(error.contains("--root-ca-file"), "{error}");
    }

    #[tokio::test]
    async fn without_a_file_it_is_the_authority_of_the_kubeconfig() {
        let plane = testkit::ControlPlane::builder().listen().start().await;
        let kubeconfig = plane.kubeconfig("system:kube-controller-manager", &[], &[]);
        let client = ClientArgs { kubeconfig: Some(kubeconfig), ..ClientArgs::default() };
        let authority = read(None, &client).await.unwrap().unwrap();
        let config = component::client::config(&client).await.unwrap();
        let certificates = pem::parse_many(&authority).unwrap();
        assert_eq!(vec![certificates[0].contents().to_vec()], config.root_cert.unwrap());
    }
}
