use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use tokio_util::codec::{Decoder, Encoder};

use super::*;

/// What `moby/spdystream`, which Kubernetes' clients use, writes for two streams, an answer, and one frame
/// of each other kind. Settings and windows are among them.
const WIRE: &str = "800300010000003d0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a0\
    24cc6461c0c0c0c0590489c44c50e2663400000000ffff0000000101000000\
    800300010000001c00000003000000000000826ac51445350c542e25a29a05000000ffff0000000300000005474554202f\
    800300020000000e000000036260606000000000ffff800300090000000800000003000100008003000600000004000000\
    07800300040000000c00000001000000040000006480030003000000080000000300000005\
    80030007000000080000000300000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn on_the_wire() -> Vec<Frame> {
    let stream = |stream, kind| {
        let headers = headers(&[("streamtype", kind), ("port", "80"), ("requestid", "0")]);
        Frame::SynStream { stream, headers, fin: false }
    };
    vec![
        stream(1, "error"),
        Frame::Data { stream: 1, data: Bytes::new(), fin: true },
        stream(3, "data"),
        Frame::Data { stream: 3, data: "GET /".into(), fin: false },
        Frame::SynReply { stream: 3, headers: Headers::new(), fin: false },
        Frame::Ping(7),
        Frame::RstStream { stream: 3, status: 5 },
        Frame::GoAway { last: 3, status: 0 },
    ]
}

/// What comes in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Frame>, Error> {
    let (mut codec, mut read, mut frames) = (Codec::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        read.extend_from_slice(piece);
        while let Some(frame) = codec.decode(&mut read)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn encode(frames: &[Frame]) -> BytesMut {
    let (mut codec, mut out) = (Codec::default(), BytesMut::new());
    for frame in frames {
        codec.encode(frame.clone(), &mut out).unwrap();
    }
    out
}

#[test]
fn what_kubernetes_clients_write_is_read_however_it_comes() {
    let wire = bytes(WIRE);
    for size in [1, 7, wire.len()] {
        assert_eq!(decode(wire.chunks(size)).unwrap(), on_the_wire());
    }
}

#[test]
fn frames_without_headers_are_written_as_kubernetes_clients_do() {
    let frames = on_the_wire();
    let written = encode(&[frames[1].clone(), frames[3].clone(), frames[6].clone()]);
    let expected = "00000001010000000000000300000005474554202f80030003000000080000000300000005";
    assert_eq!(written, bytes(expected));
}

#[test]
fn other_protocols_and_frames_without_measure_are_refused() {
    let refusal = |hex: &str| decode([&bytes(hex)[..]]).unwrap_err().to_string();
    assert_eq!(refusal("800200060000000400000001"), "SPDY of version 2 is not known");
    assert_eq!(refusal("8003000100ffffff"), "a frame of 16777215 bytes is too long");
    assert_eq!(refusal("0000000100100001"), "a frame of 1048577 bytes is too long");
    assert_eq!(refusal("800300030000000400000003"), "a frame ends too early");
    let compression = "headers are not compressed as they should be";
    assert_eq!(refusal("800300020000000800000003deadbeef"), compression);
    let data = Bytes::from(vec![0; LONGEST + 1]);
    let long = Frame::Data { stream: 1, data, fin: false };
    let refused = Codec::default().encode(long, &mut BytesMut::new()).unwrap_err();
    assert_eq!(refused.to_string(), "a frame of 1048577 bytes is too long");
}

#[test]
fn data_does_not_keep_what_was_read_beside_it() {
    let (mut codec, mut read) = (Codec::default(), encode(&on_the_wire()));
    let frames: Vec<_> = std::iter::from_fn(|| codec.decode(&mut read).unwrap()).collect();
    let data = |frame: &Frame| matches!(frame, Frame::Data { data, .. } if data.is_unique());
    assert!(frames.iter().any(data), "{frames:?}");
}

#[test]
fn few_bytes_do_not_become_many_headers() {
    let headers = headers(&[("name", &"a".repeat(1 << 20))]);
    let written = encode(&[Frame::SynReply { stream: 1, headers, fin: false }]);
    assert!(written.len() < 4 << 10);
    let refused = decode([&written[..]]).unwrap_err();
    assert!(matches!(refused, Error::TooLong(_)), "{refused}");
}

fn a_stream() -> impl Strategy<Value = u32> {
    0_u32..1 << 31
}

fn some_headers() -> impl Strategy<Value = Headers> {
    proptest::collection::btree_map("[a-z-]{0,20}", ".{0,300}", 0..8)
}

fn a_frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        (a_stream(), some_headers(), any::<bool>())
            .prop_map(|(stream, headers, fin)| Frame::SynStream { stream, headers, fin }),
        (a_stream(), some_headers(), any::<bool>())
            .prop_map(|(stream, headers, fin)| Frame::SynReply { stream, headers, fin }),
        (a_stream(), some_headers(), any::<bool>())
            .prop_map(|(stream, headers, fin)| Frame::Headers { stream, headers, fin }),
        (a_stream(), any::<u32>()).prop_map(|(stream, status)| Frame::RstStream { stream, status }),
        any::<u32>().prop_map(Frame::Ping),
        (a_stream(), any::<u32>()).prop_map(|(last, status)| Frame::GoAway { last, status }),
        (a_stream(), vec(any::<u8>(), 0..3000), any::<bool>())
            .prop_map(|(stream, data, fin)| Frame::Data { stream, data: data.into(), fin }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(frames in vec(a_frame(), 0..12), size in 1_usize..5000) {
        let written = encode(&frames);
        prop_assert_eq!(decode(written.chunks(size)).unwrap(), frames);
    }

    #[test]
    fn whatever_comes_is_read_or_refused(
        frames in vec(a_frame(), 0..3),
        noise in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = [&encode(&frames)[..], &noise].concat();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let _ = decode([&bytes[..]]);
    }
}
