//! The HTTP probe, in the clear or over TLS. Whose certificate it is does not matter, as in Kubernetes: the
//! probe asks whether the server answers, not who it is.

use std::sync::Arc;

use api_types::api::core::v1::HTTPGetAction;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Who asks.
pub(super) const USER_AGENT: &str = "kube-probe/1.36";
/// Who tells.
const HOOK_AGENT: &str = "kube-lifecycle/1.36";
/// A status line that is longer than this is none.
const LINE_BYTES: u64 = 1024;

/// Sends one request over a connection to the pod; the error says what was wrong.
pub(super) async fn check(
    stream: TcpStream,
    action: &HTTPGetAction,
    ip: &str,
    port: u16,
) -> Result<(), String> {
    verdict(&ask(stream, action, ip, port, USER_AGENT).await.map_err(|error| error.to_string())?)
}

/// The same of a hook: whatever the answer is, it was heard.
pub(super) async fn tell(
    stream: TcpStream,
    action: &HTTPGetAction,
    ip: &str,
    port: u16,
) -> Result<(), String> {
    let line =
        ask(stream, action, ip, port, HOOK_AGENT).await.map_err(|error| error.to_string())?;
    if line.is_empty() { Err("no answer".to_owned()) } else { Ok(()) }
}

async fn ask(
    stream: TcpStream,
    action: &HTTPGetAction,
    ip: &str,
    port: u16,
    agent: &str,
) -> std::io::Result<Vec<u8>> {
    let request = request(action, ip, port, agent);
    if action.scheme.as_deref() == Some("HTTPS") {
        exchange(secured(stream, ip).await?, &request).await
    } else {
        exchange(stream, &request).await
    }
}

/// Gives the first line of the answer. The rest may be long, or never end.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut line = Vec::new();
    let mut answer = stream.take(LINE_BYTES);
    while !line.contains(&b'\n') && answer.read_buf(&mut line).await? > 0 {}
    Ok(line)
}

fn request(action: &HTTPGetAction, ip: &str, port: u16, agent: &str) -> String {
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let host = headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.map_or_else(|| format!("{ip}:{port}"), |header| header.value.clone());
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
         Accept: */*\r\nConnection: close\r\n"
    );
    for header in headers.iter().filter(|header| !header.name.eq_ignore_ascii_case("host")) {
        text.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    text + "\r\n"
}

/// 200 to 399 is success.
fn verdict(head: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(head);
    let code = text.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1));
    match code.and_then(|code| code.trim_end().parse().ok()) {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

// === TLS ===

async fn secured(stream: TcpStream, ip: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let invalid = |_| std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let name = ServerName::try_from(ip.to_owned()).map_err(invalid)?;
    let config = any_server().map_err(std::io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn any_server() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyServer(provider.clone()));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Accepts every certificate; that the server has its key is checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use testkit::ControlPlane;
    use tokio::net::TcpListener;

    use super::*;

    fn action(action: Value) -> HTTPGetAction {
        serde_json::from_value(action).unwrap()
    }

    #[test]
    fn success_is_200_to_399() {
        assert!(verdict(b"HTTP/1.1 200 OK\r\n").is_ok());
        assert!(verdict(b"HTTP/1.1 204\r\n").is_ok());
        assert!(verdict(b"HTTP/1.1 302 Found\r\n").is_ok());
        let failed = verdict(b"HTTP/1.1 500 Oops\r\n");
        assert_eq!(failed, Err("HTTP probe failed with statuscode: 500".to_owned()));
        assert!(verdict(b"SSH-2.0").is_err());
    }

    #[test]
    fn a_request_names_the_pod_unless_a_header_names_a_host() {
        let text = request(&action(json!({"path": "ready", "port": 80})), "10.244.0.2", 80, "me");
        assert!(text.starts_with("GET /ready HTTP/1.1\r\nHost: 10.244.0.2:80\r\n"), "{text}");
    }

    #[tokio::test]
    async fn https_needs_no_certificate_that_is_known() {
        let plane = ControlPlane::builder().listen().start().await;
        let kubeconfig = plane.kubeconfig("admin", &["system:masters"], &[]);
        let server = component::Credentials::from_kubeconfig(&kubeconfig).unwrap().server;
        let address = server.strip_prefix("https://").unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let probe = async |scheme: &str| {
            let stream = TcpStream::connect(address).await.unwrap();
            let action = action(json!({"path": "/livez", "port": port, "scheme": scheme}));
            check(stream, &action, "127.0.0.1", port).await
        };
        assert_eq!(probe("HTTPS").await, Ok(()));
        assert!(probe("HTTP").await.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            stream
        };
        let ask = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let action = action(json!({"port": 80}));
            check(stream, &action, "127.0.0.1", address.port()).await
        };
        let (_open, asked) = tokio::join!(serve, ask);
        assert_eq!(asked, Ok(()));
    }
}
