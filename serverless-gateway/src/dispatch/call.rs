//! One call, at the instance where it has a place.

use std::{io, pin::pin};

use axum::http::{Request, Response, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    Slot,
    endpoint::{CONNECT_TIMEOUT, Connection, Endpoint},
};
use crate::message::RequestBody;

/// A call that an instance is working on, or whose answer it is sending. To drop it is to give the call up: the place at
/// the instance stays taken until the instance has ended the call.
#[derive(Debug)]
pub(crate) struct InHand {
    /// Until it has ended.
    held: Option<(Slot, Connection)>,
    deadline: Instant,
}

/// Why there is no answer, and the place that is free again.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The request was certainly not begun. Here it is again.
    NotStarted(Box<Request<RequestBody>>, io::Error, Slot),
    /// It may have been.
    Broken(hyper::Error, Slot),
}

// === impl Slot ===

impl Slot {
    /// Sends a request to the instance, which may work on it until the deadline; gives the answer's head, and the call, which
    /// is to be finished after its body.
    pub(crate) async fn send(
        self,
        mut request: Request<RequestBody>,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, InHand), SendError> {
        if let Some(host) = &self.endpoint.host {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        let mut slot = self;
        loop {
            // It may take no time that the call has not: this is no failure of the function.
            let within = CONNECT_TIMEOUT.min((deadline - Instant::now()) / 2);
            let (mut connection, reused) = match slot.endpoint.connection(within).await {
                Ok(connection) => connection,
                Err(error) => return Err(SendError::NotStarted(request.into(), error, slot)),
            };
            // Dropped after `in_hand`: that a call is given up is told before its connection ends.
            let mut answer = pin!(connection.sender.try_send_request(request));
            let in_hand = InHand { held: Some((slot, connection)), deadline };
            let mut error = match answer.as_mut().await {
                Ok(answer) => {
                    in_hand.endpoint().is_alive();
                    return Ok((answer, in_hand));
                }
                Err(error) => error,
            };
            (slot, _) = in_hand.end();
            match error.take_message() {
                // It was closed while it was idle.
                Some(unsent) if reused => request = unsent,
                Some(unsent) => {
                    let error = io::Error::other(error.into_error());
                    return Err(SendError::NotStarted(unsent.into(), error, slot));
                }
                None => return Err(SendError::Broken(error.into_error(), slot)),
            }
        }
    }
}

// === impl InHand ===

impl InHand {
    /// The answer was received to its end: the place is free, and the connection can be used again.
    pub(crate) fn finish(self) {
        let (slot, connection) = self.end();
        slot.endpoint.is_alive();
        slot.endpoint.keep(connection);
    }

    /// Until when the instance may work on it.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The instance did not take the call, since it has as many as it may have: the place, which the call is to leave for another.
    pub(crate) fn refused(self) -> Slot {
        let (slot, connection) = self.end();
        slot.endpoint.keep(connection);
        slot.is_full();
        slot
    }

    fn endpoint(&self) -> &Endpoint {
        let (slot, _) = self.held.as_ref().expect("whoever ends it has it");
        &slot.endpoint
    }

    fn end(mut self) -> (Slot, Connection) {
        self.held.take().expect("whoever ends it has it")
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some((slot, connection)) = self.held.take() {
            connection.give_up(slot, self.deadline);
        }
    }
}
