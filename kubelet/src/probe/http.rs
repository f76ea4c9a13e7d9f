//! The HTTP probe, in the clear or over TLS. Whose certificate it is does not matter, as in Kubernetes: the
//! probe asks whether the server answers, not who it is. Answers lead on to others of the same host.

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

use super::request::{Request, authority};

/// Who asks.
pub(super) const USER_AGENT: &str = "kube-probe/1.36";
/// Who tells.
const HOOK_AGENT: &str = "kube-lifecycle/1.36";
/// A head that is longer than this is none.
const HEAD_BYTES: u64 = 16 << 10;
/// As many requests are made where each answer leads on to the next.
const REQUESTS: usize = 10;

/// Asks a server, and whom its answers lead on to; gives what is to be said of a probe that has passed. The error says what was
/// wrong.
pub(super) async fn check(
    action: &HTTPGetAction,
    host: &str,
    port: u16,
) -> Result<Option<String>, String> {
    verdict(&last(action, host, port, USER_AGENT).await?)
}

/// The same of a hook: whatever the answer is, it was heard.
pub(super) async fn tell(action: &HTTPGetAction, host: &str, port: u16) -> Result<(), String> {
    last(action, host, port, HOOK_AGENT).await.map(drop)
}

/// The answer that leads nowhere else.
async fn last(action: &HTTPGetAction, host: &str, port: u16, agent: &str) -> Result<Head, String> {
    let mut request = Request::new(action, host, port)?;
    for _ in 0..REQUESTS {
        let head = ask(&request, &request.text(action, agent)).await?;
        match head.location.as_deref().and_then(|location| request.led_to(location)) {
            Some(next) => request = next,
            None => return Ok(head),
        }
    }
    Err(format!("stopped after {REQUESTS} redirects"))
}

async fn ask(request: &Request, text: &str) -> Result<Head, String> {
    let (host, port) = request.address();
    let stream = connect(&host, port).await?;
    let answer = if request.is_secured() {
        let secured = secured(stream, &host).await.map_err(|error| error.to_string())?;
        exchange(secured, text).await
    } else {
        exchange(stream, text).await
    };
    Head::parse(&answer.map_err(|error| error.to_string())?)
}

/// The error says to whom.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let failed = |error| format!("dial tcp {}: {error}", authority(host, port));
    TcpStream::connect((host, port)).await.map_err(failed)
}

/// Gives as much of the answer as is needed. The rest may be long, or never end.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    let mut answer = stream.take(HEAD_BYTES);
    while !is_enough(&head) && answer.read_buf(&mut head).await? > 0 {}
    Ok(head)
}

/// The first line, unless that says that there is more to look at.
fn is_enough(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let Some((line, _)) = text.split_once('\n') else { return false };
    !code(line).is_some_and(leads_on) || text.contains("\r\n\r\n") || text.contains("\n\n")
}

/// What an answer begins with.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    code: u16,
    /// Where it leads on to.
    location: Option<String>,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let code = lines.next().and_then(code).ok_or("the answer is not HTTP")?;
        let mut headers = lines.take_while(|line| !line.is_empty());
        let location = headers.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let location = location.filter(|location| leads_on(code) && !location.is_empty());
        Ok(Self { code, location })
    }
}

fn code(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/")?.split(' ').nth(1)?.trim_end().parse().ok()
}

fn leads_on(code: u16) -> bool {
    matches!(code, 301 | 302 | 303 | 307 | 308)
}

/// 200 to 399 is success; an answer that leads to another host is one, and said.
fn verdict(head: &Head) -> Result<Option<String>, String> {
    match head.code {
        200..=299 => Ok(None),
        300..=399 => Ok(Some("Probe terminated redirects".to_owned())),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
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

    fn verdict_of(head: &str) -> Result<Option<String>, String> {
        verdict(&Head::parse(head.as_bytes())?)
    }

    #[test]
    fn success_is_200_to_399() {
        assert_eq!(verdict_of("HTTP/1.1 200 OK\r\n"), Ok(None));
        assert_eq!(verdict_of("HTTP/1.1 204\r\n"), Ok(None));
        let warning = "Probe terminated redirects".to_owned();
        assert_eq!(verdict_of("HTTP/1.1 302 Found\r\n"), Ok(Some(warning)));
        let failed = verdict_of("HTTP/1.1 500 Oops\r\n");
        assert_eq!(failed, Err("HTTP probe failed with statuscode: 500".to_owned()));
        assert!(verdict_of("SSH-2.0").is_err());
    }

    #[test]
    fn where_an_answer_leads_is_told_by_its_head_alone() {
        let location = |head: &str| Head::parse(head.as_bytes()).unwrap().location;
        let found = "HTTP/1.1 302 Found\r\nlocation:  /a \r\n\r\n";
        assert_eq!(location(found).as_deref(), Some("/a"));
        assert_eq!(location("HTTP/1.1 200 OK\r\nLocation: /a\r\n\r\n"), None);
        assert_eq!(location("HTTP/1.1 302 Found\r\nLocation:\r\n\r\n"), None);
        assert_eq!(location("HTTP/1.1 302 Found\r\n\r\nLocation: /a\r\n"), None);
        assert!(is_enough(found.as_bytes()) && is_enough(b"HTTP/1.1 200 OK\r\nA: b"));
        assert!(!is_enough(b"HTTP/1.1 302 Found\r\nA: b\r\n") && !is_enough(b"HTTP/1.1 200 OK"));
    }

    /// A server that gives these answers, one for each connection; gives the paths that it was asked for.
    async fn probed(answers: &[&str]) -> (Result<Option<String>, String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut asked = Vec::new();
        let serve = async {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                asked.push(request.split(' ').nth(1).unwrap_or_default().to_owned());
                let answer = answer.replace("PORT", &port.to_string());
                stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
            }
        };
        let action = action(json!({"path": "/first", "port": port}));
        let ((), outcome) = tokio::join!(serve, check(&action, "127.0.0.1", port));
        (outcome, asked)
    }

    #[tokio::test]
    async fn answers_lead_a_probe_on_within_the_host() {
        let next = "302 Found\r\nLocation: http://127.0.0.1:PORT/next";
        let (outcome, asked) = probed(&[next, "200 OK"]).await;
        assert_eq!((outcome, asked.join(" ")), (Ok(None), "/first /next".to_owned()));
        let (outcome, _) = probed(&["301 Moved\r\nLocation: next", "500 Oops"]).await;
        assert_eq!(outcome, Err("HTTP probe failed with statuscode: 500".to_owned()));
        let (outcome, asked) = probed(&["302 Found\r\nLocation: http://192.0.2.1/"]).await;
        assert_eq!(outcome, Ok(Some("Probe terminated redirects".to_owned())));
        assert_eq!(asked, ["/first"]);
        let (outcome, _) = probed(&[next; REQUESTS]).await;
        assert_eq!(outcome, Err("stopped after 10 redirects".to_owned()));
    }

    #[tokio::test]
    async fn https_needs_no_certificate_that_is_known() {
        let plane = ControlPlane::builder().listen().start().await;
        let kubeconfig = plane.kubeconfig("admin", &["system:masters"], &[]);
        let server = component::Credentials::from_kubeconfig(&kubeconfig).unwrap().server;
        let address = server.strip_prefix("https://").unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let probe = async |scheme: &str| {
            let action = action(json!({"path": "/livez", "port": port, "scheme": scheme}));
            check(&action, "127.0.0.1", port).await
        };
        assert_eq!(probe("HTTPS").await, Ok(None));
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
        let action = action(json!({"port": 80}));
        let ask = check(&action, "127.0.0.1", address.port());
        let (_open, asked) = tokio::join!(serve, ask);
        assert_eq!(asked, Ok(None));
    }
}
