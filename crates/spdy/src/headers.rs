//! Headers as they are before compression: a count, and names and values with their lengths.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};

use crate::Error;

/// What is said about a stream, by names in lower case.
pub type Headers = BTreeMap<String, String>;

pub(crate) fn read(mut block: &[u8]) -> Result<Headers, Error> {
    let count = block.try_get_u32().map_err(|_| Error::TooShort)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut block)?;
        headers.insert(name, text(&mut block)?);
    }
    Ok(headers)
}

fn text(block: &mut &[u8]) -> Result<String, Error> {
    let length = block.try_get_u32().map_err(|_| Error::TooShort)?;
    let length = usize::try_from(length).map_err(|_| Error::TooShort)?;
    let text = block.split_off(..length).ok_or(Error::TooShort)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

pub(crate) fn write(headers: &Headers) -> Vec<u8> {
    let mut block = Vec::new();
    put_length(&mut block, headers.len());
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        put_length(&mut block, text.len());
        block.put_slice(text.as_bytes());
    }
    block
}

fn put_length(block: &mut Vec<u8>, length: usize) {
    block.put_u32(u32::try_from(length).expect("nobody has texts of 4 GiB"));
}
