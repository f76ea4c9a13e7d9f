//! Port-forward in channels. Each port has two: its data, and why it could not be reached.
//! (Kubernetes: `websocket.go`.)

use std::future::pending;

use axum::extract::ws::WebSocket;
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::mpsc;

use super::forward::Forward;
use crate::server::channels::{self, Frame, Protocol, Receiver, Sender};

/// One client and its ports.
pub(super) struct Session {
    pub(super) forward: Forward,
    pub(super) ports: Vec<u16>,
    pub(super) protocol: Protocol,
}

/// Data for a channel.
type Part = (u8, Bytes);

impl Session {
    /// Serves until all is said or the client has gone.
    pub(super) async fn serve(self, socket: WebSocket) {
        let (sender, mut receiver) = channels::split(socket, self.protocol);
        let (parts, told) = mpsc::channel(1);
        let (mut inputs, mut connections) = (Vec::new(), Vec::new());
        for (port, channel) in self.ports.iter().zip((0..=u8::MAX).step_by(2)) {
            let (input, read) = mpsc::channel(1);
            inputs.push(input);
            connections.push(self.forward(*port, channel, read, parts.clone()));
        }
        drop(parts);
        let forward = async {
            join_all(connections).await;
            // What they had to say may still be told.
            pending().await
        };
        let ended = tokio::select! {
            () = listen(&sender, &mut receiver, &inputs) => false,
            () = sender.idle() => false,
            ended = tell(&sender, told) => ended,
            ended = forward => ended,
        };
        if ended {
            channels::close(&sender, receiver, None).await;
        }
    }

    /// A client that has gone is noticed by others.
    async fn forward(
        &self,
        port: u16,
        channel: u8,
        input: mpsc::Receiver<Bytes>,
        parts: mpsc::Sender<Part>,
    ) {
        let tell = async |channel: u8, data| drop(parts.send((channel, data)).await);
        let name = Bytes::copy_from_slice(&port.to_le_bytes());
        for named in [channel, channel + 1] {
            tell(named, name.clone()).await;
        }
        if let Err(why) = self.forward.lead(port, input, |data| tell(channel, data)).await {
            tell(channel + 1, why.into()).await;
        }
    }
}

/// Passes on what the client says until it has gone.
async fn listen(sender: &Sender, receiver: &mut Receiver, inputs: &[mpsc::Sender<Bytes>]) {
    while let Some(frame) = receiver.next().await {
        let Frame::Data(channel, data) = frame else { continue };
        let Some(input) = inputs.get(usize::from(channel / 2)) else { continue };
        if channel % 2 == 0 && sender.while_deaf(input.send(data)).await.is_none() {
            return;
        }
    }
}

/// Tells the client what comes from the pod; whether that has ended, and not the client gone.
async fn tell(sender: &Sender, mut parts: mpsc::Receiver<Part>) -> bool {
    while let Some((channel, data)) = parts.recv().await {
        if sender.send(channel, &data).await.is_err() {
            return false;
        }
    }
    true
}
