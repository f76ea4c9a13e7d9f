//! 1, 2, 4, … at a time.

/// The items in batches that double.
pub(super) fn batches<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let mut left = items;
    (0..).map_while(|step: u32| 1_usize.checked_shl(step)).map_while(move |size| {
        let (batch, rest) = left.split_at(size.min(left.len()));
        left = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double() {
        let check = |count, expected: &[usize]| {
            let items: Vec<usize> = (0..count).collect();
            let sizes: Vec<_> = batches(&items).map(<[usize]>::len).collect();
            assert_eq!(sizes, expected);
            assert_eq!(batches(&items).flatten().copied().collect::<Vec<_>>(), items);
        };
        check(0, &[]);
        check(1, &[1]);
        check(3, &[1, 2]);
        check(10, &[1, 2, 4, 3]);
    }
}
