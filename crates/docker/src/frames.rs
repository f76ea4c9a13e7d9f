//! How a daemon writes standard output and standard error into one stream: in frames, each with a header
//! of 8 bytes. (Docker: `pkg/stdcopy`.)

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

const HEADER: usize = 8;

/// Something a process has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To its standard output, or to its terminal.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// Tells what is in the frames. What comes of one is told as it comes: it may be as long as 4 GiB.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    is_error: bool,
    /// Bytes of the frame that are to come.
    left: usize,
}

impl Decoder for Frames {
    type Item = Output;
    type Error = io::Error;

    fn decode(&mut self, read: &mut BytesMut) -> io::Result<Option<Output>> {
        while self.left == 0 {
            if read.len() < HEADER {
                return Ok(None);
            }
            self.is_error = match read[0] {
                0 | 1 => false,
                2 => true,
                other => return Err(io::Error::other(format!("no stream has the number {other}"))),
            };
            read.advance(HEADER - size_of::<u32>());
            self.left = usize::try_from(read.get_u32()).map_err(io::Error::other)?;
        }
        if read.is_empty() {
            return Ok(None);
        }
        let part = read.split_to(read.len().min(self.left)).freeze();
        self.left -= part.len();
        Ok(Some(if self.is_error { Output::Stderr(part) } else { Output::Stdout(part) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_as_it_comes() {
        let (mut frames, mut read) = (Frames::default(), BytesMut::new());
        let mut told = |part: &[u8]| {
            read.extend_from_slice(part);
            std::iter::from_fn(|| frames.decode(&mut read).transpose())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| error.to_string())
        };
        let out = |text: &'static str| Output::Stdout(text.into());
        let err = |text: &'static str| Output::Stderr(text.into());
        assert_eq!(told(b"\x01\0\0\0\0\0"), Ok(vec![]));
        assert_eq!(told(b"\0\x03ab"), Ok(vec![out("ab")]));
        // One without data, and one of 4 GiB.
        let rest = b"c\x01\0\0\0\0\0\0\0\x02\0\0\0\xff\xff\xff\xff\x09no";
        assert_eq!(told(rest), Ok(vec![out("c"), err("\x09no")]));
        assert_eq!(told(b"more"), Ok(vec![err("more")]));
        let (mut frames, mut read) = (Frames::default(), BytesMut::from(&b"no frames"[..]));
        assert!(frames.decode(&mut read).is_err());
    }
}
