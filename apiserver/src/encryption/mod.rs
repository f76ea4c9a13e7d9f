//! Encryption at rest: what is written into the store is encrypted as a configuration says, kind by kind, and what comes
//! back is plain again for all that is above (Kubernetes: `k8s.io/apiserver/pkg/server/options/encryptionconfig`).
//!
//! *Guarantees*: what the store, its log and its backups hold of such kinds is encrypted, with the key as its first line
//! says; the first provider and its first key write, all others are tried when something is read. In the place of a value that
//! no key opens, or that who keeps the keys does not, is handed on why: it is no object, which is what an object is that can't
//! be read. All others are read on.

mod ciphers;
mod configuration;
mod form;
mod kms;
mod provider;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use ring::digest::{self, Digest, SHA256};
use store::{Entry, Event, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};

use self::configuration::Configuration;
pub use self::configuration::ConfigurationError;

/// How often the configuration is read again.
const PERIOD: Duration = Duration::from_secs(10);

/// A store of which a part is encrypted.
pub struct Encrypted {
    store: Arc<dyn Store>,
    path: PathBuf,
    read: Arc<ArcSwap<Read>>,
}

/// What the configuration says, and by what another one is told from it: the text has keys in it.
struct Read {
    digest: Digest,
    configuration: Configuration,
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encrypted").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Encrypted {
    /// Encrypts as a file says.
    ///
    /// # Errors
    /// If the file can't be read, or says what can't be done, or who keeps the keys is not well.
    pub async fn open(store: Arc<dyn Store>, path: &Path) -> Result<Self, ConfigurationError> {
        let read = read(path)?;
        read.ask().await?;
        Ok(Self { store, path: path.to_owned(), read: Arc::new(ArcSwap::from_pointee(read)) })
    }

    /// Goes by what the file says by now; whether that is news. Who may not be understood changes nothing.
    ///
    /// # Errors
    /// If the file can't be read, or says what can't be done, or who keeps the keys is not well.
    pub async fn look(&self) -> Result<bool, ConfigurationError> {
        let now = read(&self.path)?;
        let is_news = now.digest.as_ref() != self.read.load().digest.as_ref();
        if is_news {
            now.ask().await?;
            self.read.store(Arc::new(now));
        }
        Ok(is_news)
    }

    /// Goes by what the file says, if it is to be read again, and by what is said by those who keep keys, for ever.
    pub async fn follow(self: Arc<Self>, is_read_again: bool) {
        let looking = async {
            loop {
                tokio::time::sleep(PERIOD).await;
                if is_read_again {
                    self.look_again().await;
                }
            }
        };
        let asking = async {
            loop {
                let [well, unwell] = kms::PERIODS;
                let is_well = self.read.load_full().health().is_ok();
                tokio::time::sleep(if is_well { well } else { unwell }).await;
                if let Err(error) = self.ask().await {
                    tracing::warn!(%error, "who keeps the keys does not answer");
                }
            }
        };
        tokio::join!(looking, asking);
    }

    /// Asks all who keep keys how they are, and whether there are others.
    ///
    /// # Errors
    /// If one of them is not well.
    pub async fn ask(&self) -> Result<(), ConfigurationError> {
        self.read.load_full().ask().await
    }

    async fn look_again(&self) {
        let path = self.path.display();
        match self.look().await {
            Ok(true) => tracing::info!(%path, "the encryption's configuration has changed"),
            Ok(false) => {}
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!(%path, error = format!("{error:#}"), "encrypted is as before");
            }
        }
    }
}

impl Read {
    async fn ask(&self) -> Result<(), ConfigurationError> {
        for kms in self.configuration.kms() {
            kms.refresh().await.map_err(ConfigurationError::Kms)?;
        }
        Ok(())
    }

    fn health(&self) -> Result<(), String> {
        self.configuration.kms().try_for_each(|kms| kms.health())
    }
}

fn read(path: &Path) -> Result<Read, ConfigurationError> {
    let text = configuration::read(path)?;
    let digest = digest::digest(&SHA256, text.as_bytes());
    Ok(Read { digest, configuration: Configuration::parse(&text)? })
}

/// The entry with its plain value, or why there is none. Nothing fails for one value: all that is read after it would, too.
async fn opened(read: &ArcSwap<Read>, entry: Entry) -> Entry {
    let read = read.load_full();
    let Some(providers) = read.configuration.of_key(&entry.key) else { return entry };
    match provider::open(providers, &entry.value, &entry.key).await {
        Ok(opened) => Entry { value: opened.value, ..entry },
        Err(error) => {
            tracing::error!(key = %entry.key, %error, "cannot be decrypted");
            let value = [REFUSED, error.to_string().as_bytes()].concat();
            Entry { value: value.into(), ..entry }
        }
    }
}

/// Whether two are the same change. It may be that one of them was opened, and the other was not.
fn is_same(one: &Event, other: &Event) -> bool {
    let is_refused = |event: &Event| match event {
        Event::Put(entry) => entry.value.starts_with(REFUSED),
        Event::Delete { .. } => false,
    };
    let is_of_one_entry = one.key() == other.key() && one.revision() == other.revision();
    one == other || (is_of_one_entry && (is_refused(one) || is_refused(other)))
}

/// What stands before the reason in the place of a value that no key opens.
const REFUSED: &[u8] = b"k8s:enc: ";

/// Why a value is encrypted still.
pub(crate) fn refusal(value: &[u8]) -> Option<String> {
    if let Some(why) = value.strip_prefix(REFUSED) {
        return Some(String::from_utf8_lossy(why).into_owned());
    }
    let told = "identity transformer tried to read encrypted data";
    value.starts_with(provider::ENCRYPTED).then(|| told.to_owned())
}

#[async_trait]
impl Store for Encrypted {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.store.revision().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read.load_full().health().map_err(StoreError::Unavailable)?;
        self.store.check().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self.store.get(key).await? {
            Some(entry) => Ok(Some(opened(&self.read, entry).await)),
            None => Ok(None),
        }
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        let mut page = self.store.list(prefix, query).await?;
        for entry in &mut page.entries {
            *entry = opened(&self.read, entry.clone()).await;
        }
        Ok(page)
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let value = match self.read.load().configuration.of_key(key) {
            Some(providers) => provider::seal(providers, value, key)
                .map_err(|error| StoreError::Unavailable(error.to_string()))?,
            None => value,
        };
        self.store.put_guarded(key, value, expect, guards).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        self.store.delete(key, expect).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        let read = self.read.clone();
        let events = self.store.watch(after).await?.then(move |event| {
            let read = read.clone();
            async move {
                match event {
                    Ok(Event::Put(entry)) => Ok(Event::Put(opened(&read, entry).await)),
                    other => other,
                }
            }
        });
        Ok(events.boxed())
    }

    /// What is stored of a change is not what it says.
    async fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        if self.read.load().configuration.of_key(change.key()).is_none() {
            return self.store.remembers(change).await;
        }
        let revision = change.revision();
        if self.store.revision().await? < revision {
            return Ok(false);
        }
        let mut events = self.watch(Revision(revision.0.saturating_sub(1))).await?;
        match events.next().await {
            Some(event) => Ok(is_same(&event?, change)),
            None => Err(StoreError::Unavailable("the store ended the watch".to_owned())),
        }
    }

    async fn is_stale(&self, key: &str) -> Result<bool, StoreError> {
        if self.read.load().configuration.of_key(key).is_none() {
            return Ok(false);
        }
        let Some(entry) = self.store.get(key).await? else { return Ok(false) };
        let read = self.read.load_full();
        let providers = read.configuration.of_key(key).unwrap_or_default();
        let opened = provider::open(providers, &entry.value, key).await;
        Ok(opened.is_ok_and(|opened| opened.is_stale))
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.store.compact(before).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &'static [u8], revision: u64) -> Event {
        let key = "/registry/core/secrets/default/a".into();
        Event::Put(Entry { key, value: Bytes::from_static(value), revision: Revision(revision) })
    }

    #[test]
    fn a_change_is_the_same_whether_or_not_it_can_be_read() {
        let refused = put(b"k8s:enc: the vault is sealed", 7);
        assert!(is_same(&put(b"{}", 7), &refused) && is_same(&refused, &put(b"{}", 7)));
        assert!(!is_same(&put(b"{}", 8), &refused) && !is_same(&put(b"{}", 7), &put(b"[]", 7)));
    }
}
