//! One probe, once: an HTTP request, a connection, a gRPC health check, or a command. Requests go to the
//! pod's own address, or to the host that they name.

use std::{sync::Arc, time::Duration};

use api_types::{
    IntOrString,
    api::core::v1::{Container as Wanted, HTTPGetAction, Probe},
};

use super::{grpc, http, request::authority};
use crate::runtime::{Runtime, command};

/// Where probes go, and hooks.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) pod_ip: String,
}

impl Target {
    /// Probes once; gives what is to be said of it though it has passed. The error says what was wrong.
    pub(super) async fn check(
        &self,
        probe: &Probe,
        wanted: &Wanted,
        id: &str,
        timeout: Duration,
    ) -> Result<Option<String>, String> {
        let attempt = async {
            if let Some(exec) = &probe.exec {
                let command = exec.command.clone().unwrap_or_default();
                self.exec(id, &command, timeout).await?;
            } else if let Some(action) = &probe.http_get {
                let port = port(&action.port, wanted)?;
                return http::check(action, self.host(action.host.as_deref()), port).await;
            } else if let Some(tcp) = &probe.tcp_socket {
                let port = port(&tcp.port, wanted)?;
                http::connect(self.host(tcp.host.as_deref()), port).await?;
            } else if let Some(action) = &probe.grpc {
                let service = action.service.as_deref().unwrap_or_default();
                grpc::check(&authority(&self.pod_ip, number(action.port)?), service).await?;
            } else {
                return Err("the probe has no handler".to_owned());
            }
            Ok(None)
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
        http::tell(action, self.host(action.host.as_deref()), port).await
    }

    fn host<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        named.filter(|host| !host.is_empty()).unwrap_or(&self.pod_ip)
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
    async fn a_probe_may_name_another_host() {
        let target = Target { runtime: Arc::new(Fake::default()), pod_ip: "192.0.2.1".to_owned() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = json!({"tcpSocket": {"port": port, "host": "127.0.0.1"}});
        let (probe, timeout) = (serde_json::from_value(probe).unwrap(), Duration::from_secs(60));
        assert_eq!(target.check(&probe, &Wanted::default(), "", timeout).await, Ok(None));
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
