//! What has been heard of tokens, for a while. A token is not kept, only a digest that nobody else can compute.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use ring::{
    hmac::{Context, HMAC_SHA256, Key},
    rand::SystemRandom,
};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

/// So many are kept.
const MOST: usize = 4096;

type Digest = [u8; 32];
/// Locked while it is asked for, so that who comes meanwhile hears the same answer.
type Verdict<T> = Arc<AsyncMutex<Option<(Instant, T)>>>;

/// See the module.
pub(super) struct Verdicts<T> {
    key: Key,
    believed: Duration,
    known: Mutex<HashMap<Digest, (Instant, Verdict<T>)>>,
}

impl<T> fmt::Debug for Verdicts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("believed", &self.believed).finish_non_exhaustive()
    }
}

impl<T: Clone> Verdicts<T> {
    /// Each is believed for so long.
    pub(super) fn new(believed: Duration) -> Self {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new());
        let key = key.expect("the system has random numbers");
        Self { key, believed, known: Mutex::default() }
    }

    /// What is known about what is asked, or what is found out now. A failure is not kept.
    pub(super) async fn get<'a>(
        &self,
        asked: impl Iterator<Item = &'a str>,
        find: impl AsyncFnOnce() -> Result<T, String>,
    ) -> Result<T, String> {
        let verdict = self.verdict(self.digest(asked));
        let mut verdict = verdict.lock().await;
        if let Some((then, known)) = &*verdict
            && then.elapsed() < self.believed
        {
            return Ok(known.clone());
        }
        let found = find().await?;
        *verdict = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    fn verdict(&self, digest: Digest) -> Verdict<T> {
        let (mut known, now) = (self.known.lock(), Instant::now());
        if known.len() >= MOST && !known.contains_key(&digest) {
            known.retain(|_, (used, _)| now.duration_since(*used) < self.believed);
            // Strangers, of whom anybody can send many, push out each other and not those who come all the time.
            let oldest = known.iter().min_by_key(|(_, (used, _))| *used).map(|(it, _)| *it);
            if let Some(oldest) = oldest.filter(|_| known.len() >= MOST) {
                known.remove(&oldest);
            }
        }
        let (used, verdict) = known.entry(digest).or_insert_with(|| (now, Arc::default()));
        *used = now;
        verdict.clone()
    }

    fn digest<'a>(&self, asked: impl Iterator<Item = &'a str>) -> Digest {
        let mut context = Context::with_key(&self.key);
        for part in asked {
            context.update(&part.len().to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_a_while_and_a_failure_not_at_all() {
        let verdicts = Verdicts::new(Duration::from_secs(10));
        let get = async |asked: [&'static str; 2], found| {
            verdicts.get(asked.into_iter(), async || found).await
        };
        assert_eq!(get(["a", "b"], Err("no".to_owned())).await, Err("no".to_owned()));
        assert_eq!(get(["a", "b"], Ok(1)).await, Ok(1));
        assert_eq!(get(["a", "b"], Ok(2)).await, Ok(1));
        assert_eq!(get(["ab", ""], Ok(3)).await, Ok(3));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(get(["a", "b"], Ok(4)).await, Ok(4));
    }

    #[tokio::test]
    async fn no_more_are_kept_than_fit() {
        let verdicts = Verdicts::new(Duration::from_secs(10));
        for token in 0..MOST + 100 {
            let token = token.to_string();
            verdicts.get([token.as_str()].into_iter(), async || Ok(())).await.unwrap();
        }
        assert!(verdicts.known.lock().len() <= MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_all_the_time_stays_however_many_strangers_come() {
        let verdicts = Verdicts::new(Duration::from_secs(10));
        let ask = async |token: &str, found: i32| {
            verdicts.get([token].into_iter(), async || Ok(found)).await.unwrap()
        };
        assert_eq!(ask("friend", 1).await, 1);
        for stranger in 0..MOST + 100 {
            tokio::time::advance(Duration::from_micros(1)).await;
            ask(stranger.to_string().as_str(), 0).await;
            assert_eq!(ask("friend", 2).await, 1);
        }
    }
}
