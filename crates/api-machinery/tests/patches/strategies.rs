//! The tables of strategies against the tags of Kubernetes' types: `strategies.txt` has a line of each path with its
//! `patchStrategy`, its `patchMergeKey` (`-`: none) and the kinds where both are so (`*`: all), as k8s.io/api v0.36.3 and
//! its like say of every kind of Kubernetes' that is served.

use api_machinery::patch::{ListMerge, merge_key, patch_strategy};

#[test]
fn what_kubernetes_types_say_of_patches_is_in_the_tables() {
    let mut lines = 0;
    for line in include_str!("strategies.txt").lines() {
        let [path, strategy, key, kinds] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        for kind in kinds.split(',').map(|kind| kind.rsplit('/').next().unwrap()) {
            let path: Vec<_> = [kind].into_iter().chain(path.split('.')).collect();
            let expected = (strategy.to_owned(), key);
            assert_eq!((patch_strategy(&path), key_of(&path)), expected, "{path:?}");
        }
        lines += 1;
    }
    assert!(lines > 100);
}

fn key_of(path: &[&str]) -> &'static str {
    match merge_key(path) {
        ListMerge::Key(key) => key,
        ListMerge::Set | ListMerge::Atomic => "-",
    }
}
