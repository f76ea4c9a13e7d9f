//! SPDY/3.1, as far as Kubernetes' clients speak it: frames from bytes and back. Pure.
//!
//! They tunnel port-forwards through it. It is old and nobody else's any more; they neither keep to its
//! windows nor announce settings, so both are passed over here.
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod compression;
mod dictionary;
mod error;
mod headers;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use self::compression::{Deflater, Inflater};
pub use self::{error::Error, headers::Headers};

const VERSION: u16 = 3;
const CONTROL: u32 = 1 << 31;
/// The length of what every frame begins with.
const HEADER: usize = 8;
/// The longest frame; lengths have three bytes, but nobody says more at once.
const LONGEST: usize = 1 << 20;
/// The longest control frame that is taken.
const LONGEST_CONTROL: usize = 64 << 10;
/// Who sends this says no more on the stream.
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// What one side says to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream: an odd one if a client does.
    SynStream {
        /// The stream.
        stream: u32,
        /// What it is for.
        headers: Headers,
        /// Whether nothing follows.
        fin: bool,
    },
    /// Takes a stream that the other side has opened.
    SynReply {
        /// The stream.
        stream: u32,
        /// Whatever there is to say.
        headers: Headers,
        /// Whether nothing follows.
        fin: bool,
    },
    /// Ends a stream at once, both ways.
    RstStream {
        /// The stream.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Comes back as it is. Those of clients are odd.
    Ping(u32),
    /// No more streams are opened.
    GoAway {
        /// The last stream that was taken.
        last: u32,
        /// Why.
        status: u32,
    },
    /// More about a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// What there is to say.
        headers: Headers,
        /// Whether nothing follows.
        fin: bool,
    },
    /// What the stream is for.
    Data {
        /// The stream.
        stream: u32,
        /// Up to 1 MiB.
        data: Bytes,
        /// Whether nothing follows.
        fin: bool,
    },
}

/// One side of one connection. Headers are compressed against all that came before, so frames come and
/// go through the same one, in order.
#[derive(Debug, Default)]
pub struct Codec {
    inflater: Inflater,
    deflater: Deflater,
}

/// What a frame begins with.
struct Head {
    /// A stream; or `CONTROL`, the version and the kind.
    first: u32,
    flags: u8,
    length: usize,
}

impl Head {
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let first = bytes.try_get_u32().ok()?;
        let flags = bytes.try_get_u8().ok()?;
        let length = usize::try_from(bytes.try_get_uint(3).ok()?).ok()?;
        Some(Self { first, flags, length })
    }

    fn is_control(&self) -> bool {
        self.first & CONTROL != 0
    }

    #[expect(clippy::cast_possible_truncation, reason = "each has a half of the 31 bits")]
    fn version_and_kind(&self) -> (u16, u16) {
        ((self.first >> 16) as u16 & !(1 << 15), self.first as u16)
    }
}

// === Decoding ===

impl Decoder for Codec {
    type Item = Frame;
    type Error = Error;

    fn decode(&mut self, read: &mut BytesMut) -> Result<Option<Frame>, Error> {
        while let Some((head, body)) = next(read)? {
            if let Some(frame) = self.understand(&head, body)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

fn next(read: &mut BytesMut) -> Result<Option<(Head, Bytes)>, Error> {
    let Some(head) = Head::read(read) else { return Ok(None) };
    if head.length > if head.is_control() { LONGEST_CONTROL } else { LONGEST } {
        return Err(Error::TooLong(head.length));
    }
    if read.len() < HEADER + head.length {
        read.reserve(HEADER + head.length - read.len());
        return Ok(None);
    }
    read.advance(HEADER);
    // Its own bytes: a part of what was read would keep all of that.
    let body = Bytes::copy_from_slice(&read.split_to(head.length));
    Ok(Some((head, body)))
}

impl Codec {
    /// Nothing, if it says nothing that matters.
    fn understand(&mut self, head: &Head, mut body: Bytes) -> Result<Option<Frame>, Error> {
        let fin = head.flags & FIN != 0;
        if !head.is_control() {
            return Ok(Some(Frame::Data { stream: head.first, data: body, fin }));
        }
        let (version, kind) = head.version_and_kind();
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let mut number = || body.try_get_u32().map_err(|_| Error::TooShort);
        Ok(Some(match kind {
            SYN_STREAM => {
                let stream = number()? & !CONTROL;
                // The stream that it belongs to, its priority, and a slot for certificates.
                body.try_get_uint(6).map_err(|_| Error::TooShort)?;
                Frame::SynStream { stream, headers: self.headers(&body)?, fin }
            }
            SYN_REPLY => {
                let stream = number()? & !CONTROL;
                Frame::SynReply { stream, headers: self.headers(&body)?, fin }
            }
            HEADERS => {
                let stream = number()? & !CONTROL;
                Frame::Headers { stream, headers: self.headers(&body)?, fin }
            }
            RST_STREAM => Frame::RstStream { stream: number()? & !CONTROL, status: number()? },
            PING => Frame::Ping(number()?),
            GOAWAY => Frame::GoAway { last: number()? & !CONTROL, status: number()? },
            _ => return Ok(None),
        }))
    }

    fn headers(&mut self, block: &[u8]) -> Result<Headers, Error> {
        headers::read(&self.inflater.inflate(block)?)
    }
}

// === Encoding ===

impl Encoder<Frame> for Codec {
    type Error = Error;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), Error> {
        let pair = |one: u32, two: u32| [one.to_be_bytes(), two.to_be_bytes()].concat();
        match frame {
            Frame::Data { stream, data, fin } => begin(stream, fin, &data, out),
            Frame::SynStream { stream, headers, fin } => {
                let body = [&stream.to_be_bytes()[..], &[0; 6], &self.block(&headers)?].concat();
                control(SYN_STREAM, fin, &body, out)
            }
            Frame::SynReply { stream, headers, fin } => {
                let body = [&stream.to_be_bytes()[..], &self.block(&headers)?].concat();
                control(SYN_REPLY, fin, &body, out)
            }
            Frame::Headers { stream, headers, fin } => {
                let body = [&stream.to_be_bytes()[..], &self.block(&headers)?].concat();
                control(HEADERS, fin, &body, out)
            }
            Frame::RstStream { stream, status } => {
                control(RST_STREAM, false, &pair(stream, status), out)
            }
            Frame::Ping(number) => control(PING, false, &number.to_be_bytes(), out),
            Frame::GoAway { last, status } => control(GOAWAY, false, &pair(last, status), out),
        }
    }
}

impl Codec {
    fn block(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        self.deflater.deflate(&headers::write(headers))
    }
}

fn control(kind: u16, fin: bool, body: &[u8], out: &mut BytesMut) -> Result<(), Error> {
    begin(CONTROL | u32::from(VERSION) << 16 | u32::from(kind), fin, body, out)
}

fn begin(first: u32, fin: bool, body: &[u8], out: &mut BytesMut) -> Result<(), Error> {
    if body.len() > LONGEST {
        return Err(Error::TooLong(body.len()));
    }
    out.reserve(HEADER + body.len());
    out.put_u32(first);
    out.put_u8(if fin { FIN } else { 0 });
    out.put_uint(body.len() as u64, 3);
    out.put_slice(body);
    Ok(())
}

#[cfg(test)]
mod tests;
