//! One probe, once: an HTTP request, a connection, a gRPC health check, or a command. Requests go to the
//! pod's own address only, whatever host the probe names.

use std::{sync::Arc, time::Duration};

use api_types::{
    IntOrString,
    api::core::v1::{Container as Wanted, HTTPGetAction, Probe},
};
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::runtime::{Runtime, command};

/// Where probes go, and hooks.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) pod_ip: String,
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
            if let Some(action) = &probe.http_get {
                let port = port(&action.port, wanted)?;
                return http::check(self.connect(port).await?, action, &self.pod_ip, port).await;
            }
            if let Some(tcp) = &probe.tcp_socket {
                return self.connect(port(&tcp.port, wanted)?).await.map(drop);
            }
            if let Some(action) = &probe.grpc {
                let service = action.service.as_deref().unwrap_or_default();
                return grpc::check(&self.address(number(action.port)?), service).await;
            }
            Err("the probe has no handler".to_owned())
        };
        let late = |_| format!("no answer within {} s", timeout.as_secs());
        tokio::time::timeout(timeout, attempt).await.map_err(late)?
    }

    /// Runs a command; one that fails is an error.
    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<(), String> {
        let result = command::run(self.runtime.clone(), id, command, timeout).await;
        match result.map_err(|error| error.to_string())? {
            (0, _) => Ok(()),
            (code, output) => Err(format!("command exited with {code}: {}", output.trim())),
        }
    }

    /// Sends the request of a hook; any answer will do.
    pub(crate) async fn get(&self, action: &HTTPGetAction, wanted: &Wanted) -> Result<(), String> {
        let port = port(&action.port, wanted)?;
        http::tell(self.connect(port).await?, action, &self.pod_ip, port).await
    }

    fn address(&self, port: u16) -> String {
        format!("{}:{port}", self.pod_ip)
    }

    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let address = self.address(port);
        TcpStream::connect(&address).await.map_err(|error| format!("dial tcp {address}: {error}"))
    }
}

fn port(wanted: &IntOrString, container: &Wanted) -> Result<u16, String> {
    let found = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    found.ok_or_else(|| format!("couldn't find port: {wanted:?}")).and_then(number)
}

fn number(port: i32) -> Result<u16, String> {
    u16::try_from(port).map_err(|_| format!("invalid port number: {port}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::runtime::fake::Fake;

    #[test]
    fn ports_may_be_named() {
        let container: Wanted = serde_json::from_value(
            json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]}),
        )
        .unwrap();
        assert_eq!(port(&IntOrString::String("web".into()), &container), Ok(80));
        assert_eq!(port(&IntOrString::Int(8080), &container), Ok(8080));
        assert!(port(&IntOrString::String("db".into()), &container).is_err());
        assert!(port(&IntOrString::Int(-1), &container).is_err());
    }

    #[tokio::test]
    async fn every_kind_of_probe_is_made() {
        let runtime = Arc::new(Fake::default());
        runtime.answer("", 3);
        let target = Target { runtime, pod_ip: "127.0.0.1".to_owned() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        for (probe, why) in [
            (json!({"exec": {"command": ["false"]}}), "command exited with 3"),
            (json!({"httpGet": {"port": port}}), "dial tcp 127.0.0.1"),
            (json!({"tcpSocket": {"port": port}}), "dial tcp 127.0.0.1"),
            (json!({"grpc": {"port": port}}), "error: failed to connect service"),
        ] {
            let probe: Probe = serde_json::from_value(probe).unwrap();
            let timeout = Duration::from_secs(60);
            let checked = target.check(&probe, &Wanted::default(), "", timeout).await;
            let error = checked.unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
