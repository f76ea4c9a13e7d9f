//! The body of an answer, on its way from the instance to the caller.

use std::io;

use axum::{
    body::{Body, Bytes},
    http::Response,
};
use futures::{Stream, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::{
    dispatch::{Connection, Slot},
    message::end_to_end,
    metrics::InFlight,
};

/// Pieces of an answer on their way.
const PIECES: usize = 8;

/// A piece of an answer; nothing at its end.
type Piece = Option<io::Result<Frame<Bytes>>>;

/// Passes an answer on as it comes, until `deadline`. The instance's place, and the call, are held until the instance
/// has nothing more to say: then the connection can be used again.
pub(crate) fn pass_on(
    answer: Response<Incoming>,
    connection: Connection,
    slot: Slot,
    in_flight: InFlight,
    deadline: Instant,
) -> Response<Body> {
    let (parts, body) = answer.into_parts();
    let (sender, receiver) = mpsc::channel(PIECES);
    // A task of its own: a caller that reads slowly must not keep the instance beyond the deadline.
    tokio::spawn(async move {
        // Past the deadline the channel closes without the end of the answer.
        let whole = timeout_at(deadline, pump(body, &sender)).await.unwrap_or(false);
        if whole {
            slot.endpoint.keep(connection);
        }
        drop((slot, in_flight));
        if whole {
            // Whoever has gone needs no end.
            let _ = timeout_at(deadline, sender.send(None)).await;
        }
    });
    let mut response = Response::new(Body::new(StreamBody::new(pieces(receiver))));
    *response.status_mut() = parts.status;
    *response.headers_mut() = end_to_end(&parts.headers);
    response
}

/// Tells whether the answer was received to its end. Ends early if nobody wants it any more.
async fn pump(mut answer: Incoming, to: &mpsc::Sender<Piece>) -> bool {
    loop {
        // An instance that is silent must not be kept for nobody.
        let piece = tokio::select! {
            () = to.closed() => return false,
            piece = answer.frame() => piece,
        };
        let Some(piece) = piece else { return true };
        let broken = piece.is_err();
        if to.send(Some(piece.map_err(io::Error::other))).await.is_err() || broken {
            return false;
        }
    }
}

/// An answer that breaks off is an error, so that it is not taken for a whole one.
fn pieces(from: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    stream::unfold(Some(from), async |from| {
        let mut from = from?;
        match from.recv().await {
            Some(piece) => piece.map(|piece| (piece, Some(from))),
            None => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}
