//! Random ends of names.

use uuid::Uuid;

/// One for `metadata.generateName`, of the letters that Kubernetes uses: none that make words.
pub(crate) fn random() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = Uuid::new_v4();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    random.as_bytes()[..5].iter().map(letter).collect()
}
