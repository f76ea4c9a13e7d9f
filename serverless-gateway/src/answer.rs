//! The body of an answer, on its way from the instance to the caller.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::Response,
};
use futures::{Stream, stream};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{
    sync::mpsc,
    time::{timeout, timeout_at},
};

use crate::{
    dispatch::{InHand, Slot},
    message::end_to_end,
    metrics::InFlight,
};

/// Pieces of an answer on their way.
const PIECES: usize = 8;

/// A piece of an answer; nothing at its end.
type Piece = Option<io::Result<Frame<Bytes>>>;

/// So much of an answer that is a failure says what it is.
const BEGINNING: usize = 1024;

/// How long it may take an instance to say that it has not begun a call, after the head.
const REFUSAL: Duration = Duration::from_secs(1);

/// What is wrong with an answer after its head.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It says that the call failed: its beginning.
    Said(Vec<u8>),
    /// It broke off.
    Broken(hyper::Error),
    /// It was not whole at the call's deadline.
    Late,
}

/// Is told if anything is wrong.
pub(crate) type Tell = Box<dyn FnOnce(Failure) + Send>;

/// How the way of an answer ended.
enum End {
    Whole,
    CallerGone,
    Broken(hyper::Error),
}

/// Passes an answer on as it comes, until the call's deadline. The call is in hand until the instance has nothing more to
/// say, or nobody listens.
pub(crate) fn pass_on(
    answer: Response<Incoming>,
    in_hand: InHand,
    in_flight: Option<InFlight>,
    tell: Tell,
) -> Response<Body> {
    let (parts, mut body) = answer.into_parts();
    let mut beginning = parts.status.is_server_error().then(Vec::new);
    let status = parts.status.as_u16();
    let (sender, receiver) = mpsc::channel(PIECES);
    // A task of its own: a caller that reads slowly must not keep the instance beyond the deadline.
    tokio::spawn(async move {
        // Past the deadline the channel closes without the end of the answer.
        let deadline = in_hand.deadline();
        let end = timeout_at(deadline, pump(&mut body, &sender, &mut beginning)).await;
        let whole = matches!(end, Ok(End::Whole));
        // A call is given up before its body, which ends the connection.
        if whole {
            in_hand.finish()
        } else {
            drop(in_hand)
        }
        drop(body);
        let code = match &end {
            Ok(End::Whole) => Some(status),
            Ok(End::CallerGone) => None,
            Ok(End::Broken(_)) => Some(502),
            Err(_) => Some(504),
        };
        match (in_flight, code) {
            (Some(in_flight), Some(code)) => in_flight.ended(code),
            (in_flight, _) => drop(in_flight),
        }
        let said = beginning.map(Failure::Said);
        let failure = match end {
            Ok(End::Whole | End::CallerGone) => said,
            Ok(End::Broken(error)) => said.or(Some(Failure::Broken(error))),
            Err(_) => said.or(Some(Failure::Late)),
        };
        if let Some(failure) = failure {
            tell(failure);
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

/// Takes in the answer of an instance that has not begun the call: the place that the call has there.
pub(crate) async fn refused(answer: Response<Incoming>, in_hand: InHand) -> Slot {
    let said = Limited::new(answer.into_body(), BEGINNING).collect();
    // If there is more of it, the connection is of no more use.
    let _ = timeout(REFUSAL, said).await;
    in_hand.refused()
}

/// Ends early if nobody wants the answer any more. Its beginning is kept if that is wanted.
async fn pump(
    answer: &mut Incoming,
    to: &mpsc::Sender<Piece>,
    beginning: &mut Option<Vec<u8>>,
) -> End {
    loop {
        // An instance that is silent must not be kept for nobody.
        let piece = tokio::select! {
            () = to.closed() => return End::CallerGone,
            piece = answer.frame() => piece,
        };
        let Some(piece) = piece else { return End::Whole };
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                let told = to.send(Some(Err(io::ErrorKind::ConnectionAborted.into()))).await;
                return told.map_or(End::CallerGone, |()| End::Broken(error));
            }
        };
        if let (Some(kept), Some(data)) = (beginning.as_mut(), piece.data_ref()) {
            kept.extend_from_slice(&data[..data.len().min(BEGINNING - kept.len())]);
        }
        if to.send(Some(Ok(piece))).await.is_err() {
            return End::CallerGone;
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
