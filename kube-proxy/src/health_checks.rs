//! What load balancers ask, to send nobody to a host without an endpoint: the `healthCheckNodePort` of a Service (Kubernetes:
//! `pkg/proxy/healthcheck`). It is the same whatever carries the Services.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError},
};

/// The servers of this host.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    /// By uid.
    wanted: BTreeMap<String, Wanted>,
    serving: BTreeMap<(String, SocketAddr), AbortOnDropHandle<()>>,
    /// Whether Services are served as they should be, but for single ones.
    proxies: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Wanted {
    owner: String,
    sockets: Vec<SocketAddr>,
    answer: Answer,
}

#[derive(Clone, Debug)]
struct Answer {
    namespace: String,
    name: String,
    endpoints: Arc<AtomicUsize>,
    proxies: Arc<AtomicBool>,
}

impl HealthChecks {
    /// These are all Services.
    pub(crate) fn want_all(&mut self, plans: &[ServicePlan]) {
        let uids: BTreeSet<_> = plans.iter().map(|plan| &plan.uid).collect();
        let gone = self.wanted.keys().filter(|uid| !uids.contains(uid));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|uid| self.forget(uid));
        plans.iter().for_each(|plan| self.want(plan));
    }

    /// This is one of them.
    pub(crate) fn want(&mut self, plan: &ServicePlan) {
        let Some(check) = plan.outside.health_check else { return self.forget(&plan.uid) };
        let addresses = plan.outside.node_addresses.iter();
        let sockets = addresses.map(|address| SocketAddr::new(*address, check.port)).collect();
        let wanted = self.wanted.entry(plan.uid.clone()).or_insert_with(|| Wanted {
            owner: plan.to_string(),
            sockets: Vec::new(),
            answer: Answer {
                namespace: plan.namespace.clone(),
                name: plan.name.clone(),
                endpoints: Arc::default(),
                proxies: self.proxies.clone(),
            },
        });
        wanted.sockets = sockets;
        wanted.answer.endpoints.store(check.endpoints, Ordering::Relaxed);
    }

    /// There is no Service of this uid any more.
    pub(crate) fn forget(&mut self, uid: &str) {
        if let Some(gone) = self.wanted.remove(uid) {
            // Connections that are open outlive the server.
            gone.answer.endpoints.store(0, Ordering::Relaxed);
        }
    }

    /// Listens where it is wanted and nowhere else; gives what can't be listened on. `proxies`: whether Services are
    /// served.
    pub(crate) async fn settle(&mut self, proxies: bool) -> Vec<Failure> {
        self.proxies.store(proxies, Ordering::Relaxed);
        let wanted = &self.wanted;
        self.serving.retain(|(uid, socket), _| {
            wanted.get(uid).is_some_and(|wanted| wanted.sockets.contains(socket))
        });
        let mut failed = Vec::new();
        for (uid, Wanted { owner, sockets, answer }) in wanted {
            for socket in sockets {
                let key = (uid.clone(), *socket);
                if self.serving.contains_key(&key) {
                    continue;
                }
                match serve(*socket, answer.clone()).await {
                    Ok(server) => drop(self.serving.insert(key, server)),
                    Err(error) => failed.push(failure(owner, uid, *socket, error)),
                }
            }
        }
        failed
    }
}

async fn serve(socket: SocketAddr, answer: Answer) -> io::Result<AbortOnDropHandle<()>> {
    let listener = TcpListener::bind(socket).await?;
    let router = Router::new().fallback(respond).with_state(answer);
    let serving = async move { drop(axum::serve(listener, router).await) };
    Ok(AbortOnDropHandle::new(tokio::spawn(serving)))
}

async fn respond(State(answer): State<Answer>) -> impl IntoResponse {
    let Answer { namespace, name, endpoints, proxies } = answer;
    let (endpoints, proxies) = (endpoints.load(Ordering::Relaxed), proxies.load(Ordering::Relaxed));
    let status = match endpoints > 0 && proxies {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        // Who asks again meets the server of then: this one's may be a Service that is gone.
        ("Connection", "close".to_owned()),
        ("X-Content-Type-Options", "nosniff".to_owned()),
        ("X-Load-Balancing-Endpoint-Weight", endpoints.to_string()),
    ];
    let body = json!({
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": endpoints,
        "serviceProxyHealthy": proxies,
    });
    (status, headers, body.to_string())
}

fn failure(owner: &str, uid: &str, socket: SocketAddr, source: io::Error) -> Failure {
    Failure {
        subject: owner.to_owned(),
        uid: Some(uid.to_owned()),
        error: ReconcileError::HealthCheck { socket, source },
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::plan::{Balancing, HealthCheck, Outside};

    fn plan(port: u16, endpoints: usize) -> ServicePlan {
        let health_check = Some(HealthCheck { port, endpoints });
        let node_addresses = [Ipv4Addr::LOCALHOST.into()].into();
        ServicePlan {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "u1".to_owned(),
            ips: [[10, 96, 0, 10].into()].into(),
            affinity: None,
            balancing: Balancing::default(),
            kept: [].into(),
            outside: Outside { health_check, node_addresses, ..Outside::default() },
            ports: Vec::new(),
        }
    }

    /// The status and the body; nothing if nobody answers.
    async fn ask(port: u16) -> Option<(String, serde_json::Value)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().to_owned();
        Some((status, serde_json::from_str(body).unwrap()))
    }

    async fn free_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_host_is_well_while_it_has_endpoints_and_serves_and_as_long_as_the_service_is_there()
    {
        let (port, mut checks) = (free_port().await, HealthChecks::default());
        let answer = |status: &str, endpoints: usize, proxies: bool| {
            let service = json!({"namespace": "default", "name": "web"});
            let body = json!({
                "service": service, "localEndpoints": endpoints, "serviceProxyHealthy": proxies,
            });
            Some((status.to_owned(), body))
        };
        checks.want_all(&[plan(port, 2)]);
        assert!(checks.settle(true).await.is_empty());
        assert_eq!(ask(port).await, answer("200", 2, true));
        checks.want(&plan(port, 0));
        assert!(checks.settle(true).await.is_empty());
        assert_eq!(ask(port).await, answer("503", 0, true));
        checks.want(&plan(port, 1));
        assert!(checks.settle(false).await.is_empty());
        assert_eq!(ask(port).await, answer("503", 1, false));
        checks.want_all(&[]);
        checks.settle(true).await;
        // The server's task ends at its next turn.
        while ask(port).await.is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_has_is_reported_and_tried_again() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut checks = HealthChecks::default();
        checks.want(&plan(port, 1));
        let failed = checks.settle(true).await;
        assert_eq!((failed.len(), failed[0].subject.as_str()), (1, "default/web"));
        drop(taken);
        assert!(checks.settle(true).await.is_empty());
        assert!(ask(port).await.is_some());
    }
}
