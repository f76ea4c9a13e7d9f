//! Keys that somebody else keeps, who is asked by a plugin (Kubernetes: KMS v2, `pkg/storage/value/encrypt/envelope/kmsv2`).
//!
//! *Flow*: the plugin encrypts a seed that this server made, and says with which of its keys. Each object is encrypted with
//! a key of its own that comes of the seed and of random bytes beside the object; with it is stored the encrypted seed, which
//! the plugin is asked to decrypt by who does not know it. So one question a minute is asked, not one for each object.
//! When the plugin names another key, there is another seed, and what was encrypted before is stale.
//!
//! *Guarantees*: while the plugin is away what it has decrypted is read on, and objects are written for three more minutes. What it
//! has not decrypted is asked for again after ten seconds, or when it has said that it is well.

mod messages;
mod plugin;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use ring::{
    hkdf::{HKDF_SHA256, KeyType, Prk},
    rand::{SecureRandom, SystemRandom},
};
use tokio::time::Instant;

use self::{
    messages::{EncryptedObject, SEED},
    plugin::Plugin,
};
use super::{
    ciphers::{self, Cipher},
    form::{Opened, ProviderError},
};

/// How often a plugin is asked how it is; the second while it is not well.
pub(super) const PERIODS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10)];
/// For how long objects are written after the plugin was well (Kubernetes: `kmsv2PluginWriteDEKSourceMaxTTL`).
const WRITTEN_FOR: Duration = Duration::from_secs(3 * 60);
/// The versions of plugins that are known.
const VERSIONS: [&str; 2] = ["v2", "v2beta1"];
/// From where on what a plugin says is too long (Kubernetes).
const LONGEST_KEY_ID: usize = (1 << 10) + 1;
const LONGEST_SOURCE: usize = (1 << 10) + 1;
const LONGEST_ANNOTATIONS: usize = (32 << 10) + 1;
/// So many seeds are remembered: one for each key of the plugin and each start of a server.
const SEEDS: usize = 1000;

const SIZE: usize = 32;
type Secret = [u8; SIZE];

/// See the module.
#[derive(Debug)]
pub(super) struct Kms {
    name: String,
    plugin: Plugin,
    current: ArcSwapOption<Current>,
    /// What the plugin has decrypted, by what is stored of it.
    known: Mutex<HashMap<Source, Arc<Known>>>,
    /// What it has not decrypted, when that was and why: many objects have one seed, and do not wait for it one after another.
    refused: Mutex<HashMap<Source, (Instant, ProviderError)>>,
    health: Mutex<Result<(), String>>,
}

/// What is stored of a seed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Source {
    kind: i32,
    encrypted: Vec<u8>,
    key_id: String,
    annotations: BTreeMap<String, Vec<u8>>,
}

impl Source {
    fn of(object: &EncryptedObject) -> Self {
        Self {
            kind: object.encrypted_dek_source_type,
            encrypted: object.encrypted_dek_source.clone(),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        }
    }
}

/// A seed, or a key.
enum Known {
    Seed(Prk),
    Key(Box<dyn Cipher>),
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

/// What objects are encrypted with.
#[derive(Debug)]
struct Current {
    source: Source,
    seed: Arc<Known>,
    until: Instant,
}

impl Kms {
    /// One whose plugin has not been asked yet. Within a runtime.
    pub(super) fn new(name: &str, socket: &Path, timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            plugin: Plugin::new(socket, timeout),
            current: ArcSwapOption::empty(),
            known: Mutex::default(),
            refused: Mutex::default(),
            health: Mutex::new(Err("it was not asked yet".to_owned())),
        }
    }

    /// What of a value is behind this provider's prefix.
    pub(super) fn of<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        let named = stored.strip_prefix(b"k8s:enc:kms:v2:")?.strip_prefix(self.name.as_bytes())?;
        named.strip_prefix(b":")
    }

    /// How the plugin was when it was last asked.
    pub(super) fn health(&self) -> Result<(), String> {
        self.health.lock().clone()
    }

    /// Asks how the plugin is, and for another seed if it has another key.
    pub(super) async fn refresh(&self) -> Result<(), String> {
        let health = self
            .asked()
            .await
            .map_err(|why| format!("kmsv2 Provider {} is not healthy, error: {why}", self.name));
        *self.health.lock() = health.clone();
        if health.is_ok() {
            self.refused.lock().clear();
        }
        health
    }

    async fn asked(&self) -> Result<(), String> {
        // From before the question: it is the most that may go by after an answer.
        let until = Instant::now() + WRITTEN_FOR;
        let status = self.plugin.status().await.map_err(|status| told(&status))?;
        if status.healthz != "ok" {
            return Err(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !VERSIONS.contains(&status.version.as_str()) {
            return Err(format!("expected KMSv2 API version v2, got {}", status.version));
        }
        let current = self.current.load_full();
        if let Some(it) = current.filter(|it| it.source.key_id == status.key_id) {
            let (source, seed) = (it.source.clone(), it.seed.clone());
            self.current.store(Some(Arc::new(Current { source, seed, until })));
            return Ok(());
        }
        self.rotate(&status.key_id, until).await
    }

    async fn rotate(&self, key_id: &str, until: Instant) -> Result<(), String> {
        let seed: Secret = random().ok_or("no randomness")?;
        let made = self.plugin.encrypt(&seed).await;
        let made =
            made.map_err(|status| format!("failed to encrypt DEK, error: {}", told(&status)))?;
        let source = Source {
            kind: SEED,
            encrypted: made.ciphertext,
            key_id: made.key_id,
            annotations: made.annotations,
        };
        validate(&source)?;
        if source.key_id != key_id {
            return Err("it encrypts with another key than it says".to_owned());
        }
        let seed = Arc::new(Known::Seed(Prk::new_less_safe(HKDF_SHA256, &seed)));
        self.remember(source.clone(), seed.clone());
        self.current.store(Some(Arc::new(Current { source, seed, until })));
        tracing::info!(provider = self.name, "objects are encrypted with another seed");
        Ok(())
    }

    fn remember(&self, source: Source, known: Arc<Known>) {
        let mut all = self.known.lock();
        if all.len() >= SEEDS {
            all.clear();
        }
        all.insert(source, known);
    }

    fn refused_lately(&self, source: &Source) -> Option<ProviderError> {
        let [_, unwell] = PERIODS;
        let refused = self.refused.lock();
        let (when, error) = refused.get(source)?;
        (when.elapsed() < unwell).then(|| error.clone())
    }

    fn refuse(&self, source: Source, error: ProviderError) -> ProviderError {
        let mut all = self.refused.lock();
        if all.len() >= SEEDS {
            all.clear();
        }
        all.insert(source, (Instant::now(), error.clone()));
        error
    }

    /// What is stored of a value, with the prefix.
    pub(super) fn seal(&self, value: &[u8], place: &[u8]) -> Result<Bytes, ProviderError> {
        let failure = |why: &str| ProviderError::Kms(format!("{}: {why}", self.name));
        let current = self.current.load_full();
        let current = current.ok_or_else(|| failure("the plugin has not been well yet"))?;
        if Instant::now() > current.until {
            return Err(failure("the plugin has not been well for three minutes"));
        }
        let info: Secret = random().ok_or(ProviderError::Seal)?;
        let sealed = cipher(&current.seed, &info).and_then(|cipher| cipher.seal(value, place));
        let sealed = sealed.ok_or(ProviderError::Seal)?;
        let Source { kind, encrypted, key_id, annotations } = current.source.clone();
        let object = EncryptedObject {
            encrypted_data: [&info[..], &sealed].concat(),
            key_id,
            encrypted_dek_source: encrypted,
            annotations,
            encrypted_dek_source_type: kind,
        };
        let mut stored = format!("k8s:enc:kms:v2:{}:", self.name).into_bytes();
        object.encode(&mut stored).map_err(|_| ProviderError::Seal)?;
        Ok(stored.into())
    }

    /// The value of what is behind the prefix.
    pub(super) async fn open(&self, stored: &[u8], place: &[u8]) -> Result<Opened, ProviderError> {
        let object = EncryptedObject::decode(stored).map_err(|_| ProviderError::Refused)?;
        let source = Source::of(&object);
        let known = self.known.lock().get(&source).cloned();
        let known = match known {
            Some(known) => known,
            None => self.ask(&object, source).await?,
        };
        let value = match &*known {
            Known::Key(cipher) => cipher.open(&object.encrypted_data, place),
            Known::Seed(_) => {
                let split = object.encrypted_data.split_first_chunk::<SIZE>();
                split.and_then(|(info, sealed)| cipher(&known, info)?.open(sealed, place))
            }
        };
        let value = value.ok_or(ProviderError::Refused)?.into();
        let current = self.current.load();
        let is_of = |current: &Arc<Current>| {
            let now = &current.source;
            (&now.key_id, now.kind) == (&object.key_id, object.encrypted_dek_source_type)
        };
        Ok(Opened { value, is_stale: !current.as_ref().is_some_and(is_of) })
    }

    async fn ask(
        &self,
        object: &EncryptedObject,
        source: Source,
    ) -> Result<Arc<Known>, ProviderError> {
        validate(&source).map_err(|_| ProviderError::Refused)?;
        if let Some(error) = self.refused_lately(&source) {
            return Err(error);
        }
        let decrypted = self.plugin.decrypt(object).await.map_err(|status| {
            let why = format!("failed to decrypt DEK, error: {}", told(&status));
            self.refuse(source.clone(), ProviderError::Kms(why))
        })?;
        let known = match source.kind {
            SEED => Some(Known::Seed(Prk::new_less_safe(HKDF_SHA256, &decrypted))),
            0 => ciphers::aes_gcm(&decrypted).map(Known::Key),
            _ => None,
        };
        let known = Arc::new(known.ok_or(ProviderError::Refused)?);
        self.remember(source, known.clone());
        Ok(known)
    }
}

/// As gRPC's own clients say it.
fn told(status: &tonic::Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

fn validate(source: &Source) -> Result<(), String> {
    let Source { encrypted, key_id, annotations, .. } = source;
    let sizes = annotations.iter().map(|(key, value)| key.len() + value.len());
    match (key_id.len(), encrypted.len(), sizes.sum::<usize>()) {
        (0, _, _) => Err("keyID is empty".to_owned()),
        (LONGEST_KEY_ID.., _, _) => Err("keyID is too long".to_owned()),
        (_, 0, _) => Err("encrypted DEK source is empty".to_owned()),
        (_, LONGEST_SOURCE.., _) => Err("encrypted DEK source is too long".to_owned()),
        (_, _, LONGEST_ANNOTATIONS..) => Err("annotations are too long".to_owned()),
        _ => Ok(()),
    }
}

fn random() -> Option<Secret> {
    let mut bytes = [0; SIZE];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

/// The length of a key that comes of a seed.
#[derive(Debug)]
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        SIZE
    }
}

/// What one object is encrypted with.
fn cipher(known: &Known, info: &Secret) -> Option<Box<dyn Cipher>> {
    let Known::Seed(seed) = known else { return None };
    let mut key: Secret = [0; SIZE];
    seed.expand(&[info], Length).and_then(|okm| okm.fill(&mut key)).ok()?;
    ciphers::aes_gcm(&key)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    const PLACE: &[u8] = b"/registry/core/secrets/default/a";

    /// One that knows a seed without having asked anybody.
    fn knowing(seed: Secret, until: Instant) -> Kms {
        let kms = Kms::new("vault", Path::new("/nowhere"), Duration::from_secs(3));
        let source = Source {
            kind: SEED,
            encrypted: b"sealed".to_vec(),
            key_id: "one".to_owned(),
            annotations: [("a.example.com".to_owned(), b"b".to_vec())].into(),
        };
        let seed = Arc::new(Known::Seed(Prk::new_less_safe(HKDF_SHA256, &seed)));
        kms.remember(source.clone(), seed.clone());
        kms.current.store(Some(Arc::new(Current { source, seed, until })));
        kms
    }

    /// Written by Kubernetes' own code with a seed of 32 bytes of 1: `k8s.io/apiserver` v0.36.3.
    #[tokio::test]
    async fn what_kubernetes_has_written_is_read() {
        let stored = STANDARD
            .decode("azhzOmVuYzprbXM6djI6dmF1bHQ6Ck0D1C/K/c7dc3tZs2eE0Wrn6h+lP1JM5bWFjFR99IEBmCmL6x0CkNXGi6WK+MsQC/a4V317TYh42ZuUr0cQlMpZzeWczKzlAvOs7eNiixIDb25lGgZzZWFsZWQiEgoNYS5leGFtcGxlLmNvbRIBYigB")
            .unwrap();
        let kms = knowing([1; SIZE], Instant::now());
        let opened = kms.open(kms.of(&stored).unwrap(), PLACE).await;
        let value = Bytes::from_static(b"{\"kind\":\"Secret\"}");
        assert_eq!(opened, Ok(Opened { value, is_stale: false }));
        let other = knowing([2; SIZE], Instant::now());
        let opened = other.open(kms.of(&stored).unwrap(), PLACE).await;
        assert_eq!(opened, Err(ProviderError::Refused));
        let opened = kms.open(kms.of(&stored).unwrap(), b"elsewhere").await;
        assert_eq!(opened, Err(ProviderError::Refused));
    }

    #[tokio::test]
    async fn objects_are_written_for_a_while_after_the_plugin_was_well_and_read_for_ever() {
        let kms = knowing([1; SIZE], Instant::now() + WRITTEN_FOR);
        let stored = kms.seal(b"x", PLACE).unwrap();
        assert_ne!(stored, kms.seal(b"x", PLACE).unwrap());
        let later = knowing([1; SIZE], Instant::now() - Duration::from_millis(1));
        let told = later.seal(b"x", PLACE).unwrap_err().to_string();
        assert_eq!(told, "vault: the plugin has not been well for three minutes");
        assert_eq!(later.open(later.of(&stored).unwrap(), PLACE).await.unwrap().value, "x");
        assert!(later.of(b"k8s:enc:kms:v2:vaults:x").is_none() && later.of(b"{}").is_none());
    }
}
