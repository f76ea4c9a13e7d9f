//! One connection into a pod.

use std::{future::pending, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tokio_util::io::ReaderStream;

use crate::runtime::Runtime;

/// What is read of a connection at a time.
const BUFFER: usize = 16 << 10;

/// The pod that connections lead to.
pub(super) struct Forward {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) sandbox: String,
}

impl Forward {
    /// Leads to a port until that has nothing more to say. Once there is no more input, the pod hears that.
    /// The error is why it could not be reached.
    pub(super) async fn lead<F: Future<Output = ()>>(
        &self,
        port: u16,
        mut input: mpsc::Receiver<Bytes>,
        output: impl Fn(Bytes) -> F,
    ) -> Result<(), String> {
        let connected = self.runtime.connect(&self.sandbox, port).await;
        let connection = connected.map_err(|error| {
            format!("error forwarding port {port} to pod {}, uid : {error}", self.sandbox)
        })?;
        let (read, mut write) = connection.into_split();
        let written = async {
            while let Some(data) = input.recv().await {
                // What comes too late for a connection is lost, as everywhere.
                let _ = write.write_all(&data).await;
            }
            let _ = write.shutdown().await;
            pending().await
        };
        let mut parts = ReaderStream::with_capacity(read, BUFFER);
        let told = async {
            // A connection that breaks has ended.
            while let Some(Ok(part)) = parts.next().await {
                output(part).await;
            }
        };
        tokio::select! {
            () = told => {}
            () = written => {}
        }
        Ok(())
    }
}
