//! Which queues a flow may wait in: a hand of cards, dealt by its hash, so that a flow that fills its queues hardly ever
//! fills all of another's (Kubernetes: `k8s.io/apiserver/pkg/util/shufflesharding`).

/// The most cards of a hand.
const LARGEST: usize = 15;
/// How many bits of a hash may be used, so that the last card is nearly even.
const ENTROPY: f64 = 60.0;
const LARGEST_DECK: usize = 1 << 26;

/// The queues of a flow, each once.
#[derive(Debug)]
pub(super) struct Hand {
    cards: [usize; LARGEST],
    size: usize,
}

impl Hand {
    pub(super) fn cards(&self) -> &[usize] {
        &self.cards[..self.size]
    }
}

/// Whether hashes are enough for such hands.
pub(super) fn can_be_dealt(deck: usize, size: usize) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    let entropy = || ((deck as f64).log2() * size as f64).ceil();
    (1..=LARGEST_DECK).contains(&deck)
        && (1..=deck.min(LARGEST)).contains(&size)
        && entropy() <= ENTROPY
}

/// A hand of `size` cards of a deck that [`can_be_dealt`].
pub(super) fn deal(mut hash: u64, deck: usize, size: usize) -> Hand {
    let mut rests = [0; LARGEST];
    for (index, rest) in rests.iter_mut().enumerate().take(size) {
        let left = (deck - index) as u64;
        *rest = usize::try_from(hash % left).expect("less than the deck has cards");
        hash /= left;
    }
    let mut cards = [0; LARGEST];
    for index in 0..size {
        // The rest counts the cards that are left: each that was dealt before it moves it on.
        let before = rests[..index].iter().rev();
        cards[index] = before.fold(rests[index], |card, &rest| card + usize::from(card >= rest));
    }
    Hand { cards, size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hands_that_take_more_than_a_hash_has_are_none() {
        assert!(can_be_dealt(128, 6) && can_be_dealt(1, 1) && can_be_dealt(16, 15));
        assert!(!can_be_dealt(4, 5) && !can_be_dealt(0, 0) && !can_be_dealt(1024, 7));
        assert!(!can_be_dealt(16, 16) && !can_be_dealt(LARGEST_DECK + 1, 1));
    }

    #[test]
    fn a_hand_is_dealt_as_kubernetes_deals_it() {
        // The rests are 64, 75 and 7: the second is moved on by the first.
        assert_eq!(deal(123_456, 128, 3).cards(), [64, 76, 7]);
        assert_eq!(deal(0, 4, 4).cards(), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn each_card_is_dealt_once(hash: u64, deck in 1_usize..200, size in 1_usize..9) {
            prop_assume!(can_be_dealt(deck, size));
            let hand = deal(hash, deck, size);
            let mut cards = hand.cards().to_vec();
            cards.sort_unstable();
            cards.dedup();
            prop_assert_eq!(cards.len(), size);
            prop_assert!(cards.iter().all(|card| *card < deck));
        }
    }
}
