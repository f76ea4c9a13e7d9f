//! The way to a plugin: gRPC over a unix socket.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Uri, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::messages::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, EncryptedObject,
    StatusRequest, StatusResponse,
};

/// See the module.
#[derive(Clone)]
pub(super) struct Plugin {
    grpc: Grpc<Channel>,
    timeout: Duration,
    socket: PathBuf,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Plugin {
    /// One that is connected to when it is first asked, and again when it was away. Within a runtime.
    pub(super) fn new(socket: &Path, timeout: Duration) -> Self {
        let path = socket.to_owned();
        // Nobody looks the name up.
        let endpoint = Endpoint::from_static("http://localhost");
        let connect = move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        };
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(connect));
        Self { grpc: Grpc::new(channel), timeout, socket: socket.to_owned() }
    }

    pub(super) async fn status(&self) -> Result<StatusResponse, Status> {
        self.call("/v2.KeyManagementService/Status", StatusRequest {}).await
    }

    pub(super) async fn encrypt(&self, plaintext: &[u8]) -> Result<EncryptResponse, Status> {
        let uid = Uuid::new_v4().to_string();
        let request = EncryptRequest { plaintext: plaintext.to_owned(), uid };
        self.call("/v2.KeyManagementService/Encrypt", request).await
    }

    /// The seed or key that an object was encrypted with.
    pub(super) async fn decrypt(&self, object: &EncryptedObject) -> Result<Vec<u8>, Status> {
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source.clone(),
            uid: Uuid::new_v4().to_string(),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        let response: DecryptResponse =
            self.call("/v2.KeyManagementService/Decrypt", request).await?;
        Ok(response.plaintext)
    }

    async fn call<Q, A>(&self, method: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        let work = async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let path = PathAndQuery::from_static(method);
            grpc.unary(Request::new(question), path, ProstCodec::<Q, A>::default()).await
        };
        match tokio::time::timeout(self.timeout, work).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded("context deadline exceeded")),
        }
    }
}
