//! Which images were fetched ahead, and which of them nobody has needed for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

/// The images that were fetched ahead, also before this kubelet began: only these are removed again. Others
/// may be nowhere but here. Each is noted before it comes: a kubelet may end in between.
#[derive(Debug)]
pub(super) struct Fetched {
    file: PathBuf,
    pub(super) images: BTreeSet<String>,
}

impl Fetched {
    pub(super) fn open(root: &Path) -> Self {
        let file = root.join("images-fetched-ahead");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Self { file, images: text.lines().map(str::to_owned).collect() }
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut BTreeSet<String>)) {
        change(&mut self.images);
        let lines: String = self.images.iter().map(|image| format!("{image}\n")).collect();
        let new = self.file.with_extension("new");
        let written = std::fs::write(&new, lines).and_then(|()| std::fs::rename(&new, &self.file));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot note which images were fetched");
        }
    }
}

/// Since when nobody has named what was fetched. A set may go and come again, and an image of long ago be that of
/// the next version.
#[derive(Debug, Default)]
pub(super) struct Unused(BTreeMap<String, Instant>);

impl Unused {
    /// Takes in which images are unused now, and gives those that have been for so long.
    pub(super) fn due<'a>(
        &mut self,
        unused: impl Iterator<Item = &'a String>,
        patience: Duration,
    ) -> Vec<String> {
        let now = Instant::now();
        let since = unused.map(|image| (image.clone(), self.0.get(image).copied().unwrap_or(now)));
        self.0 = since.collect();
        let due = self.0.iter().filter(|(_, since)| **since + patience <= now);
        due.map(|(image, _)| image.clone()).collect()
    }

    /// When another is due.
    pub(super) fn next(&self, patience: Duration) -> Option<Instant> {
        let due = self.0.values().map(|since| *since + patience);
        due.filter(|due| *due > Instant::now()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_image_is_due_when_nobody_has_named_it_for_a_while_at_a_stretch() {
        let patience = Duration::from_secs(300);
        let (old, new) = ("old:1".to_owned(), "new:1".to_owned());
        let mut unused = Unused::default();
        assert!(unused.due([&old].into_iter(), patience).is_empty());
        tokio::time::advance(patience / 2).await;
        assert!(unused.due([&old, &new].into_iter(), patience).is_empty());
        tokio::time::advance(patience / 2).await;
        assert_eq!(unused.next(patience), Some(Instant::now() + patience / 2));
        assert_eq!(unused.due([&old, &new].into_iter(), patience), ["old:1"]);
        // It is named again, for a moment.
        assert!(unused.due([&new].into_iter(), patience).is_empty());
        tokio::time::advance(patience / 2).await;
        assert_eq!(unused.due([&old, &new].into_iter(), patience), ["new:1"]);
    }
}
