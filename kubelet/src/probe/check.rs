//! One probe, once: an HTTP request, a connection, or a command. Requests go to the pod's own address
//! only, whatever host the probe names.

use std::{sync::Arc, time::Duration};

use api_types::{
    IntOrString,
    api::core::v1::{Container as Wanted, HTTPGetAction, Probe},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::context::Context;

/// How much of an answer is read: the status line is enough.
const HEAD_BYTES: usize = 1024;

/// Where probes go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) context: Arc<Context>,
    pub(super) pod_ip: String,
}

impl Target {
    /// Probes once; the error says what was wrong.
    pub(super) async fn check(
        &self,
        probe: &Probe,
        wanted: &Wanted,
        id: &str,
        timeout: Duration,
    ) -> Result<(), String> {
        let attempt = async {
            if let Some(exec) = &probe.exec {
                let command = exec.command.clone().unwrap_or_default();
                return self.exec(id, &command, timeout).await;
            }
            if let Some(http) = &probe.http_get {
                return self.http(http, port(&http.port, wanted)?).await;
            }
            if let Some(tcp) = &probe.tcp_socket {
                return self.connect(port(&tcp.port, wanted)?).await.map(drop);
            }
            Err("the probe has no supported handler".to_owned())
        };
        let late = |_| format!("no answer within {} s", timeout.as_secs());
        tokio::time::timeout(timeout, attempt).await.map_err(late)?
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<(), String> {
        let result = self.context.runtime.exec(id, command, timeout).await;
        match result.map_err(|error| error.to_string())? {
            (0, _) => Ok(()),
            (code, output) => Err(format!("command exited with {code}: {}", output.trim())),
        }
    }

    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let address = format!("{}:{port}", self.pod_ip);
        TcpStream::connect(&address).await.map_err(|error| format!("dial tcp {address}: {error}"))
    }

    async fn http(&self, action: &HTTPGetAction, port: u16) -> Result<(), String> {
        if action.scheme.as_deref() == Some("HTTPS") {
            return Err("HTTPS probes are not supported".to_owned());
        }
        let mut stream = self.connect(port).await?;
        let request = request(action, &self.pod_ip, port);
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            let mut head = Vec::new();
            (&mut stream).take(HEAD_BYTES as u64).read_to_end(&mut head).await?;
            std::io::Result::Ok(head)
        };
        let head = exchange.await.map_err(|error| error.to_string())?;
        verdict(&head)
    }
}

fn request(action: &HTTPGetAction, ip: &str, port: u16) -> String {
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let host = headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = host.map_or_else(|| format!("{ip}:{port}"), |header| header.value.clone());
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/1.36\r\n\
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
    let code = text.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    match code {
        Some(200..=399) => Ok(()),
        Some(code) => Err(format!("HTTP probe failed with statuscode: {code}")),
        None => Err("the answer is not HTTP".to_owned()),
    }
}

fn port(wanted: &IntOrString, container: &Wanted) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    number.ok_or_else(|| format!("couldn't find port: {wanted:?}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn success_is_200_to_399() {
        assert!(verdict(b"HTTP/1.1 200 OK\r\n").is_ok());
        assert!(verdict(b"HTTP/1.1 302 Found\r\n").is_ok());
        let failed = verdict(b"HTTP/1.1 500 Oops\r\n");
        assert_eq!(failed, Err("HTTP probe failed with statuscode: 500".to_owned()));
        assert!(verdict(b"SSH-2.0").is_err());
    }

    #[test]
    fn ports_may_be_named() {
        let container: Wanted = serde_json::from_value(
            json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}),
        )
        .unwrap();
        assert_eq!(port(&IntOrString::String("web".into()), &container), Ok(80));
        assert_eq!(port(&IntOrString::Int(8080), &container), Ok(8080));
        assert!(port(&IntOrString::String("db".into()), &container).is_err());
    }

    #[test]
    fn a_request_names_the_pod_unless_a_header_names_a_host() {
        let action: HTTPGetAction =
            serde_json::from_value(json!({"path": "ready", "port": 80})).unwrap();
        let text = request(&action, "10.244.0.2", 80);
        assert!(text.starts_with("GET /ready HTTP/1.1\r\nHost: 10.244.0.2:80\r\n"), "{text}");
    }
}
