//! Headers of one direction are one zlib stream, which begins with a dictionary and is flushed after each.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::{Error, dictionary::DICTIONARY};

/// What is made room for at a time.
const PART: usize = 1 << 10;
/// The most that is taken from one frame.
const LONGEST: usize = 64 << 10;

/// What headers that come are read by.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

/// What headers that go are written by.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    pub(crate) fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(PART);
        loop {
            let (before, had) = (self.0.total_in(), out.len());
            match self.0.decompress_vec(block, &mut out, FlushDecompress::Sync) {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map_err(|_| Error::Compression)?;
                }
                done => {
                    done.map_err(|_| Error::Compression)?;
                }
            }
            block = unread(block, self.0.total_in() - before);
            if out.len() == out.capacity() {
                if out.len() >= LONGEST {
                    return Err(Error::TooLong(out.len()));
                }
                out.reserve(PART);
            } else if block.is_empty() {
                return Ok(out);
            } else if self.0.total_in() == before && out.len() == had {
                return Err(Error::Compression);
            }
        }
    }
}

impl Default for Deflater {
    fn default() -> Self {
        let mut begun = Compress::new(Compression::default(), true);
        begun.set_dictionary(DICTIONARY).expect("nothing was compressed yet");
        Self(begun)
    }
}

impl Deflater {
    pub(crate) fn deflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(PART);
        loop {
            let before = self.0.total_in();
            let done = self.0.compress_vec(block, &mut out, FlushCompress::Sync);
            done.map_err(|_| Error::Compression)?;
            block = unread(block, self.0.total_in() - before);
            if block.is_empty() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(PART);
        }
    }
}

fn unread(block: &[u8], read: u64) -> &[u8] {
    usize::try_from(read).ok().and_then(|read| block.get(read..)).unwrap_or_default()
}
