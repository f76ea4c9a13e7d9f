//! The embedded store does what a simple model of it does, for random requests.

use std::{collections::BTreeMap, future::Future};

use proptest::prelude::*;
use store::{
    Event, Expect, Guard, Query, Revision, Store, StoreError,
    embedded::{Embedded, Options},
};
use tempfile::TempDir;

use crate::wait::take;

const KEYS: [&str; 6] = ["/a/n1/x", "/a/n1/y", "/a/n10/x", "/a/n2/x", "/b/x", "/a/n1-"];
const PREFIXES: [&str; 5] = ["/a/", "/a/n1/", "/a/n10/", "/b/", "/c/"];

#[derive(Clone, Debug)]
enum Step {
    Put { key: usize, value: u8, expect: Guess, guards: Vec<(usize, Guess)> },
    Delete { key: usize, expect: Guess },
    Compact { back: u64 },
    List { prefix: usize, after: Option<usize>, limit: Option<usize>, back: Option<u64> },
    Watch { back: u64 },
    Reopen,
}

/// What a write expects.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Nothing,
    Absent,
    Right,
    Stale,
}

fn guesses() -> impl Strategy<Value = Guess> {
    use Guess::{Absent, Nothing, Right, Stale};
    prop_oneof![Just(Nothing), Just(Absent), Just(Right), Just(Stale)]
}

fn steps() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let guards = prop::collection::vec((key.clone(), guesses()), 0..3);
    let list = (0..PREFIXES.len(), prop::option::of(key.clone()), prop::option::of(0..4usize));
    prop_oneof![
        8 => (key.clone(), any::<u8>(), guesses(), guards).prop_map(
            |(key, value, expect, guards)| Step::Put { key, value, expect, guards },
        ),
        3 => (key, guesses()).prop_map(|(key, expect)| Step::Delete { key, expect }),
        1 => (0..6u64).prop_map(|back| Step::Compact { back }),
        4 => (list, prop::option::of(0..9u64)).prop_map(|((prefix, after, limit), back)| {
            Step::List { prefix, after, limit, back }
        }),
        2 => (0..9u64).prop_map(|back| Step::Watch { back }),
        1 => Just(Step::Reopen),
    ]
}

/// All states, and the changes between them.
#[derive(Default)]
struct Model {
    /// The state after each change; the first is that of revision 1.
    states: Vec<BTreeMap<&'static str, (u8, u64)>>,
    changes: Vec<(u64, &'static str, Option<u8>)>,
    compacted: u64,
}

impl Model {
    fn new() -> Self {
        Self { states: vec![BTreeMap::new()], changes: vec![], compacted: 1 }
    }

    fn revision(&self) -> u64 {
        self.states.len() as u64
    }

    fn current(&self, key: &str) -> Option<u64> {
        self.states.last().unwrap().get(key).map(|(_, revision)| *revision)
    }

    fn change(&mut self, key: &'static str, value: Option<u8>) -> Revision {
        let mut state = self.states.last().unwrap().clone();
        let revision = self.revision() + 1;
        match value {
            Some(value) => state.insert(key, (value, revision)),
            None => state.remove(key),
        };
        self.states.push(state);
        self.changes.push((revision, key, value));
        Revision(revision)
    }

    fn check_kept(&self, revision: u64) -> Result<(), StoreError> {
        let oldest = Revision(self.compacted);
        if revision < self.compacted { Err(StoreError::Compacted { oldest }) } else { Ok(()) }
    }

    fn put(
        &mut self,
        key: &'static str,
        value: u8,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let current = self.current(key).map(Revision);
        match expect {
            Some(Expect::Absent) if current.is_some() => return Err(conflict(key, current)),
            Some(Expect::At(revision)) if current != Some(revision) => {
                return Err(conflict(key, current));
            }
            _ => {}
        }
        for Guard { key, revision } in guards {
            let current = self.current(key).map(Revision);
            if current != Some(*revision) {
                return Err(StoreError::GuardFailed { key: key.clone(), current });
            }
        }
        Ok(self.change(key, Some(value)))
    }

    fn delete(
        &mut self,
        key: &'static str,
        expect: Option<Revision>,
    ) -> Result<Revision, StoreError> {
        let Some(current) = self.current(key).map(Revision) else {
            return Err(StoreError::NotFound { key: key.into() });
        };
        match expect {
            Some(revision) if revision != current => Err(conflict(key, Some(current))),
            _ => Ok(self.change(key, None)),
        }
    }

    /// Keys with values and revisions, whether there are more, and the revision of the list.
    fn list(&self, prefix: &str, query: &Query) -> Result<Listed, StoreError> {
        let at = query.at.map_or(self.revision(), |at| at.0);
        self.check_kept(at)?;
        let after = query.after.as_deref().unwrap_or("");
        let state = self.states[at as usize - 1].iter();
        let mut found: Vec<_> = state
            .filter(|(key, _)| key.starts_with(prefix) && **key > after)
            .map(|(key, (value, revision))| (key.to_string(), *value, *revision))
            .collect();
        let total = found.len();
        found.truncate(query.limit.filter(|limit| *limit > 0).unwrap_or(total));
        let more = total > found.len();
        Ok((found, more, at))
    }
}

type Listed = (Vec<(String, u8, u64)>, bool, u64);

fn conflict(key: &str, current: Option<Revision>) -> StoreError {
    StoreError::Conflict { key: key.into(), current }
}

/// The store and the model side by side.
struct Pair {
    directory: TempDir,
    store: Option<Embedded>,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut pair = Self { directory, store: None, model: Model::new() };
        pair.reopen();
        pair
    }

    fn reopen(&mut self) {
        self.store = None;
        let file = self.directory.path().join("store");
        self.store = Some(Embedded::open(file, Options::default()).unwrap());
    }

    fn store(&self) -> &Embedded {
        self.store.as_ref().unwrap()
    }

    async fn check(&mut self, step: Step) {
        match step {
            Step::Put { key, value, expect, guards } => {
                let guards: Vec<_> =
                    guards.into_iter().map(|(key, guess)| self.guard(KEYS[key], guess)).collect();
                self.put(KEYS[key], value, expect, &guards).await;
            }
            Step::Delete { key, expect } => self.delete(KEYS[key], expect).await,
            Step::Compact { back } => self.compact(back).await,
            Step::List { prefix, after, limit, back } => {
                let at = back.map(|back| Revision(self.back(back)));
                let after = after.map(|key| KEYS[key].to_owned());
                self.list(PREFIXES[prefix], Query { after, limit, at }).await;
            }
            Step::Watch { back } => self.watch(self.back(back)).await,
            Step::Reopen => self.reopen(),
        }
        assert_eq!(self.store().revision().await, Ok(Revision(self.model.revision())));
    }

    /// The revision so many before the latest.
    fn back(&self, back: u64) -> u64 {
        self.model.revision().saturating_sub(back).max(1)
    }

    /// The revision that a write expects its key to be at.
    fn guess(&self, key: &str, stale: bool) -> Revision {
        Revision(self.model.current(key).unwrap_or(1) - u64::from(stale))
    }

    fn guard(&self, key: &str, guess: Guess) -> Guard {
        let revision = match guess {
            Guess::Nothing | Guess::Right => self.guess(key, false),
            Guess::Absent => Revision(0),
            Guess::Stale => self.guess(key, true),
        };
        Guard { key: key.into(), revision }
    }

    async fn put(&mut self, key: &'static str, value: u8, expect: Guess, guards: &[Guard]) {
        let expect = match expect {
            Guess::Nothing => None,
            Guess::Absent => Some(Expect::Absent),
            Guess::Right => Some(Expect::At(self.guess(key, false))),
            Guess::Stale => Some(Expect::At(self.guess(key, true))),
        };
        let put = self.store().put_guarded(key, vec![value].into(), expect, guards).await;
        assert_eq!(put, self.model.put(key, value, expect, guards));
    }

    async fn delete(&mut self, key: &'static str, expect: Guess) {
        let expect = match expect {
            Guess::Nothing | Guess::Absent => None,
            Guess::Right => Some(self.guess(key, false)),
            Guess::Stale => Some(self.guess(key, true)),
        };
        let deleted = self.store().delete(key, expect).await;
        assert_eq!(deleted, self.model.delete(key, expect));
    }

    async fn compact(&mut self, back: u64) {
        let before = self.back(back);
        assert_eq!(self.store().compact(Revision(before)).await, Ok(()));
        self.model.compacted = self.model.compacted.max(before);
    }

    async fn list(&self, prefix: &str, query: Query) {
        let expected = self.model.list(prefix, &query);
        let page = self.store().list(prefix, query).await.map(|page| {
            let entries = page.entries.iter();
            let entries = entries.map(|e| (e.key.to_string(), e.value[0], e.revision.0)).collect();
            (entries, page.more, page.revision.0)
        });
        assert_eq!(page, expected);
    }

    async fn watch(&self, after: u64) {
        let expected: Vec<_> =
            self.model.changes.iter().filter(|(revision, ..)| *revision > after).cloned().collect();
        match self.store().watch(Revision(after)).await {
            Err(error) => assert_eq!(Err(error), self.model.check_kept(after)),
            Ok(mut watch) => {
                let events = take(&mut watch, expected.len()).await;
                assert_eq!(events.iter().map(flat).collect::<Vec<_>>(), flat_all(&expected));
            }
        }
    }
}

type Flat = (u64, String, Option<u8>);

fn flat(event: &Event) -> Flat {
    let value = match event {
        Event::Put(entry) => Some(entry.value[0]),
        Event::Delete { .. } => None,
    };
    (event.revision().0, event.key().to_string(), value)
}

fn flat_all(changes: &[(u64, &'static str, Option<u8>)]) -> Vec<Flat> {
    changes.iter().map(|(revision, key, value)| (*revision, key.to_string(), *value)).collect()
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_store_does_what_its_model_does(
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        run(async move {
            let mut pair = Pair::new();
            for step in steps {
                pair.check(step).await;
            }
        });
    }
}
