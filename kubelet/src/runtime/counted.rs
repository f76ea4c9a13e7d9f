//! A runtime whose calls are counted, by Kubernetes' names for them.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use api_machinery::RegistryLogin;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::net::TcpStream;

use super::{
    Container, ContainerSpec, Image, LogOptions, Resources, Runtime, RuntimeError, RuntimeEvent,
    RuntimeInfo, SandboxSpec, Summary,
    process::{Command, Exec, Size, Streams, Terminal},
};
use crate::metrics::Metrics;

/// Counts what another one is asked.
#[derive(Debug)]
pub struct Counted {
    runtime: Arc<dyn Runtime>,
    metrics: Metrics,
}

impl Counted {
    /// Counts what `runtime` is asked.
    pub fn new(runtime: Arc<dyn Runtime>, metrics: Metrics) -> Self {
        Self { runtime, metrics }
    }

    async fn count<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        self.metrics.operation_begun(operation);
        let begun = Instant::now();
        let result = call.await;
        self.metrics.operation_ended(operation, begun.elapsed(), result.is_ok());
        result
    }
}

#[async_trait]
impl Runtime for Counted {
    async fn info(&self) -> Result<RuntimeInfo, RuntimeError> {
        self.count("status", self.runtime.info()).await
    }

    async fn list(&self, pod: Option<&str>) -> Result<Vec<Container>, RuntimeError> {
        self.count("list_containers", self.runtime.list(pod)).await
    }

    async fn summary(&self) -> Result<Vec<Summary>, RuntimeError> {
        self.count("list_podsandbox", self.runtime.summary()).await
    }

    async fn inspect(&self, ids: &BTreeSet<String>) -> Result<Vec<Container>, RuntimeError> {
        self.count("container_status", self.runtime.inspect(ids)).await
    }

    async fn create_sandbox(&self, spec: &SandboxSpec) -> Result<String, RuntimeError> {
        self.count("run_podsandbox", self.runtime.create_sandbox(spec)).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, RuntimeError> {
        self.count("create_container", self.runtime.create(spec)).await
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        self.count("start_container", self.runtime.start(id)).await
    }

    async fn update(&self, id: &str, resources: &Resources) -> Result<(), RuntimeError> {
        self.count("update_container", self.runtime.update(id, resources)).await
    }

    async fn signal(&self, id: &str, signal: &str) -> Result<(), RuntimeError> {
        self.count("stop_container", self.runtime.signal(id, signal)).await
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        self.count("remove_container", self.runtime.remove(id)).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>, RuntimeError> {
        self.count("image_status", self.runtime.image(reference)).await
    }

    async fn pull(
        &self,
        reference: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<(), RuntimeError> {
        self.count("pull_image", self.runtime.pull(reference, login)).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), RuntimeError> {
        self.count("remove_image", self.runtime.remove_image(reference)).await
    }

    fn events(&self) -> BoxStream<'static, Result<RuntimeEvent, RuntimeError>> {
        self.runtime.events()
    }

    fn logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> BoxStream<'static, Result<Bytes, RuntimeError>> {
        self.runtime.logs(id, options)
    }

    async fn exec(&self, id: &str, command: &Command) -> Result<Exec, RuntimeError> {
        self.count("exec", self.runtime.exec(id, command)).await
    }

    async fn exec_status(&self, exec: &str) -> Result<i64, RuntimeError> {
        self.runtime.exec_status(exec).await
    }

    async fn end_exec(&self, exec: &str) -> Result<(), RuntimeError> {
        self.runtime.end_exec(exec).await
    }

    async fn attach(&self, id: &str, stdin: bool) -> Result<Streams, RuntimeError> {
        self.count("attach", self.runtime.attach(id, stdin)).await
    }

    async fn resize(&self, terminal: &Terminal, size: Size) -> Result<(), RuntimeError> {
        self.runtime.resize(terminal, size).await
    }

    async fn connect(&self, sandbox: &str, port: u16) -> Result<TcpStream, RuntimeError> {
        self.count("port_forward", self.runtime.connect(sandbox, port)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake::Fake;

    #[tokio::test]
    async fn calls_count_by_what_is_asked_and_how_it_ends() {
        let (metrics, served) = (Metrics::default(), component::Metrics::default());
        metrics.register(&served, "n1");
        let runtime = Counted::new(Arc::new(Fake::with_images(&[])), metrics);
        assert_eq!(runtime.summary().await.unwrap(), []);
        assert!(runtime.pull("no/such:image", None).await.is_err());
        let text = served.encode().unwrap();
        for line in [
            "kubelet_runtime_operations_total{operation_type=\"list_podsandbox\"} 1\n",
            "kubelet_runtime_operations_total{operation_type=\"pull_image\"} 1\n",
            "kubelet_runtime_operations_errors_total{operation_type=\"pull_image\"} 1\n",
            "kubelet_runtime_operations_duration_seconds_count{operation_type=\"pull_image\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let errors =
            text.lines().filter(|line| line.starts_with("kubelet_runtime_operations_errors_"));
        assert_eq!(errors.count(), 1, "{text}");
    }
}
