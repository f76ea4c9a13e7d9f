//! The names of hosts of DNS objects in a file, one a line, from one start of this program to the next: until an API server
//! answers, names that are not among them can be asked of others.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use tokio::{sync::watch, task, time};
use tracing::warn;

/// Until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The file, and what is to be in it.
#[derive(Debug)]
pub(super) struct LastHosts {
    file: PathBuf,
    /// Nothing before all are known.
    names: watch::Sender<Option<BTreeSet<String>>>,
}

impl LastHosts {
    pub(super) fn new(file: PathBuf) -> Self {
        LastHosts { file, names: watch::Sender::new(None) }
    }

    /// Nothing if there is no such file, or if it can't be read.
    pub(super) fn read(&self) -> Option<BTreeSet<String>> {
        match fs::read_to_string(&self.file) {
            Ok(text) => Some(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                warn!(file = %self.file.display(), %error, "cannot read the hosts of DNS objects of last time");
                None
            }
        }
    }

    /// These are all.
    pub(super) fn note(&self, names: &BTreeSet<String>) {
        self.names.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(names);
            if is_new {
                *known = Some(names.clone());
            }
            is_new
        });
    }

    /// Writes them whenever they are others, beside whoever notes them: many changes at once are written as one. That it
    /// can't be done is told once.
    pub(super) async fn keep(&self) {
        let (mut news, mut written, mut has_failed) = (self.names.subscribe(), self.read(), false);
        loop {
            let names = news.borrow_and_update().clone();
            if let Some(names) = names.filter(|names| written.as_ref() != Some(names)) {
                let result = self.write(&names).await;
                if let Err(error) = &result
                    && !has_failed
                {
                    warn!(file = %self.file.display(), %error, "cannot write the hosts of DNS objects");
                }
                has_failed = result.is_err();
                written = result.ok().map(|()| names).or(written);
            }
            let retry = if has_failed { RETRY } else { Duration::MAX };
            let _ = time::timeout(retry, news.changed()).await;
        }
    }

    /// All of them or nothing, also where the host fails meanwhile.
    async fn write(&self, names: &BTreeSet<String>) -> io::Result<()> {
        let (file, new) = (self.file.clone(), self.file.with_extension("new"));
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        let writing = task::spawn_blocking(move || {
            let mut written = fs::File::create(&new)?;
            written.write_all(text.as_bytes())?;
            written.sync_all()?;
            fs::rename(&new, &file)
        });
        writing.await?
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, pin::pin};

    use testkit::wait;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn of(directory: &Path) -> LastHosts {
        LastHosts::new(directory.join("dns-hosts"))
    }

    /// Until the next start would read these.
    async fn until_kept(
        keeping: impl Future<Output = ()>,
        hosts: &LastHosts,
        expected: &BTreeSet<String>,
    ) {
        let read = async || match hosts.read() {
            Some(found) if found == *expected => Ok(()),
            other => Err(other),
        };
        tokio::select! {
            () = keeping => unreachable!("it goes on for ever"),
            () = wait::until("the names are written", read) => {}
        }
    }

    #[tokio::test]
    async fn what_was_noted_last_is_read_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = of(directory.path());
        assert_eq!(hosts.read(), None);
        for names in [names(&["shop.test", "a.shop.test"]), names(&["b.test"]), names(&[])] {
            hosts.note(&names);
            until_kept(hosts.keep(), &hosts, &names).await;
            assert_eq!(of(directory.path()).read(), Some(names));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn before_all_names_are_known_those_of_last_time_stay() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("dns-hosts"), "shop.test\n").unwrap();
        let hosts = of(directory.path());
        until_kept(hosts.keep(), &hosts, &names(&["shop.test"])).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_tried_again() {
        let parent = tempfile::tempdir().unwrap();
        let (directory, shop) = (parent.path().join("later"), names(&["shop.test"]));
        let hosts = of(&directory);
        hosts.note(&shop);
        let mut keeping = pin!(hosts.keep());
        assert!(time::timeout(RETRY / 2, &mut keeping).await.is_err());
        assert_eq!(hosts.read(), None);
        fs::create_dir(&directory).unwrap();
        until_kept(keeping, &hosts, &shop).await;
    }
}
