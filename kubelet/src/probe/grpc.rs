//! The gRPC probe: `grpc.health.v1.Health/Check`, in Kubernetes' words when it fails.

use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::http::USER_AGENT;

/// Asks the server at an address after one of its services, or with an empty name after itself.
pub(super) async fn check(address: &str, service: &str) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(|error| format!("error: invalid address {address:?}: {error}"))?;
    let channel = endpoint.connect().await;
    let channel = channel
        .map_err(|error| format!("error: failed to connect service {address:?}: {error:?}"))?;
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
        Ok(answer) => {
            let status = answer.get_ref().status().as_str_name();
            Err(format!("service unhealthy (responded with {status:?})"))
        }
        Err(status) if status.code() == Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol \
             (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {status}")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tonic::transport::{Server, server::TcpIncoming};
    use tonic_health::{
        ServingStatus as Serving,
        server::{HealthReporter, health_reporter},
    };

    use super::*;

    async fn server() -> (String, HealthReporter) {
        let (reporter, service) = health_reporter();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        (address, reporter)
    }

    #[tokio::test]
    async fn a_service_that_serves_is_healthy_and_others_say_why_not() {
        let (address, reporter) = server().await;
        assert_eq!(check(&address, "").await, Ok(()));
        reporter.set_service_status("db", Serving::Serving).await;
        assert_eq!(check(&address, "db").await, Ok(()));
        reporter.set_service_status("db", Serving::NotServing).await;
        let unhealthy = "service unhealthy (responded with \"NOT_SERVING\")";
        assert_eq!(check(&address, "db").await, Err(unhealthy.to_owned()));
        let unknown = check(&address, "unknown").await.unwrap_err();
        assert!(unknown.starts_with("error: health rpc probe failed"), "{unknown}");
    }

    #[tokio::test]
    async fn nobody_there_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = check(&address, "").await.unwrap_err();
        assert!(error.starts_with("error: failed to connect service"), "{error}");
    }
}
