//! How much of a long answer there is at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http_body_util::BodyExt;

use super::*;

/// The pieces that a body comes in.
async fn chunks(mut body: Body, mut came: impl FnMut(&Bytes)) {
    while let Some(frame) = body.frame().await {
        came(&frame.unwrap().into_data().unwrap());
    }
}

#[tokio::test]
async fn small_pieces_are_put_together_and_large_ones_are_not_copied() {
    let large = Bytes::from(vec![b'x'; 3 * CHUNK]);
    let small = || Bytes::from_static(&[b'y'; 1000]);
    let mut all: Vec<_> = std::iter::repeat_with(small).take(200).collect();
    all.insert(0, large.clone());
    let response = pieces(all);
    assert_eq!(response.body().size_hint().exact(), Some(3 * CHUNK as u64 + 200_000));
    let mut came = Vec::new();
    chunks(response.into_body(), |chunk| came.push(chunk.clone())).await;
    assert_eq!(came[0].as_ptr(), large.as_ptr());
    let lengths: Vec<_> = came[1..].iter().map(Bytes::len).collect();
    assert_eq!(lengths, [65_000, 65_000, 65_000, 5_000]);
}

/// Whatever is asked for, the server holds a chunk of it.
#[tokio::test]
async fn elements_are_made_when_they_are_to_be_sent() {
    const LENGTH: usize = 1000;
    const COUNT: usize = 10_000;
    let made = Arc::new(AtomicUsize::default());
    let counter = made.clone();
    let all = (0..COUNT).map(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok("z".repeat(LENGTH))
    });
    let response = elements("[".to_owned(), all, "]".to_owned()).unwrap();
    let mut sent = 0;
    chunks(response.into_body(), |chunk| {
        assert!(chunk.len() <= CHUNK + LENGTH + 2, "{}", chunk.len());
        sent += chunk.len();
        let held = (made.load(Ordering::Relaxed) * (LENGTH + 1)).saturating_sub(sent);
        assert!(held <= CHUNK + LENGTH, "{held} bytes are made and not sent");
    })
    .await;
    assert_eq!(sent, COUNT * (LENGTH + 1) + 1);
}
