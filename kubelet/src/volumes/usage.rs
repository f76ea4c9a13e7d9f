//! How much disk a directory takes, whatever a container put into it.

use std::{collections::BTreeSet, fs::Metadata, os::unix::fs::MetadataExt, path::Path};

/// What the kernel counts blocks in, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// Bytes on disk of everything below, a file with several names counted once. Other file systems are
/// not entered, nor are links followed. What vanishes meanwhile counts as nothing.
pub(crate) fn of_directory(directory: &Path) -> u64 {
    let Ok(top) = directory.symlink_metadata() else { return 0 };
    let (mut open, mut seen, mut blocks) = (vec![directory.to_owned()], BTreeSet::new(), 0);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.dev() != top.dev() || !first_name(&metadata, &mut seen) {
                continue;
            }
            blocks += metadata.blocks();
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    blocks * BLOCK_BYTES
}

fn first_name(metadata: &Metadata, seen: &mut BTreeSet<u64>) -> bool {
    metadata.is_dir() || metadata.nlink() == 1 || seen.insert(metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_and_links_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("v/d")).unwrap();
        let file = root.path().join("v/d/file");
        std::fs::write(&file, vec![1; 100_000]).unwrap();
        std::fs::write(root.path().join("outside"), vec![1; 1_000_000]).unwrap();
        std::fs::hard_link(&file, root.path().join("v/again")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("v/link")).unwrap();
        let used = of_directory(&root.path().join("v"));
        assert!((100_000..200_000).contains(&used), "{used}");
        assert_eq!(of_directory(&root.path().join("none")), 0);
    }
}
