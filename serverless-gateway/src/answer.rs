//! The body of an answer, on its way from the instance to the caller.

use std::io;

use axum::{
    body::{Body, Bytes},
    http::Response,
};
use futures::{Stream, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{sync::mpsc, time::timeout_at};

use crate::{dispatch::InHand, message::end_to_end, metrics::InFlight};

/// Pieces of an answer on their way.
const PIECES: usize = 8;

/// A piece of an answer; nothing at its end.
type Piece = Option<io::Result<Frame<Bytes>>>;

/// So much of an answer that is a failure says what it is.
const BEGINNING: usize = 1024;

/// Is told the beginning of an answer.
pub(crate) type Failure = Box<dyn FnOnce(&[u8]) + Send>;

/// Passes an answer on as it comes, until the call's deadline. The call is in hand until the instance has nothing more to
/// say, or nobody listens.
pub(crate) fn pass_on(
    answer: Response<Incoming>,
    in_hand: InHand,
    in_flight: InFlight,
    failed: Option<Failure>,
) -> Response<Body> {
    let (parts, mut body) = answer.into_parts();
    let (sender, receiver) = mpsc::channel(PIECES);
    // A task of its own: a caller that reads slowly must not keep the instance beyond the deadline.
    tokio::spawn(async move {
        // Past the deadline the channel closes without the end of the answer.
        let deadline = in_hand.deadline();
        let mut beginning = failed.is_some().then(Vec::new);
        let whole =
            timeout_at(deadline, pump(&mut body, &sender, &mut beginning)).await.unwrap_or(false);
        // A call is given up before its body, which ends the connection.
        if whole {
            in_hand.finish()
        } else {
            drop(in_hand)
        }
        drop((body, in_flight));
        if let (Some(failed), Some(beginning)) = (failed, beginning) {
            failed(&beginning);
        }
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

/// Tells whether the answer was received to its end. Ends early if nobody wants it any more. Its beginning is kept if that is
/// wanted.
async fn pump(
    answer: &mut Incoming,
    to: &mpsc::Sender<Piece>,
    beginning: &mut Option<Vec<u8>>,
) -> bool {
    loop {
        // An instance that is silent must not be kept for nobody.
        let piece = tokio::select! {
            () = to.closed() => return false,
            piece = answer.frame() => piece,
        };
        let Some(piece) = piece else { return true };
        let broken = piece.is_err();
        if let (Some(kept), Ok(data)) = (beginning.as_mut(), piece.as_ref().map(Frame::data_ref)) {
            let data = data.map_or(&[][..], |data| data);
            kept.extend_from_slice(&data[..data.len().min(BEGINNING - kept.len())]);
        }
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
