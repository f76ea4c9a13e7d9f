//! The store in etcd, for clusters with several API servers or an etcd of their own. etcd's revisions,
//! transactions and watches are what the [`Store`] trait asks for; this maps one to the other, and puts a
//! time limit on each request.
//!
//! It does not reconnect a broken watch: the error says what happened, and the cache goes on from its
//! revision. Requests find a member that answers.

mod convert;
mod members;
mod tls;

use std::{fmt, iter, time::Duration};

use async_stream::try_stream;
use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, ConnectOptions, GetOptions, KvClient,
    MaintenanceClient, Txn, TxnOp, TxnOpResponse, TxnResponse, WatchClient, WatchOptions,
    WatchStream,
};
use futures::{Stream, StreamExt};

pub use self::tls::Tls;
use self::{
    convert::{
        check_watch, entry, event, failure, header_revision, lacks, number, prefix_end, revision,
    },
    members::{Members, once},
};
use crate::{Entry, Event, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};

const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// A silent connection is probed so often (etcd refuses more than once in 5 s), and given up after so long.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// The longest answer, for lists without limit.
const LONGEST_ANSWER: usize = 1 << 30;

/// The store in an etcd cluster.
pub struct Etcd {
    /// Holds the connections that the others use.
    _client: Client,
    kv: KvClient,
    watch: WatchClient,
    maintenance: MaintenanceClient,
    members: Members,
    endpoints: Vec<String>,
}

impl Etcd {
    /// Connects to a cluster by its client URLs.
    ///
    /// *Errors*: `Unavailable` if no member answers with a quorum behind it.
    pub async fn connect(endpoints: &[String]) -> Result<Self, StoreError> {
        Self::connect_with(endpoints, None).await
    }

    /// The same, over TLS.
    pub async fn connect_with(endpoints: &[String], tls: Option<&Tls>) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_PATIENCE)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_require_leader(true);
        if let Some(tls) = tls {
            options = options.with_tls(tls.options());
        }
        let client = once(Client::connect(endpoints, Some(options))).await?;
        let etcd = Self {
            kv: client.kv_client().max_decoding_message_size(LONGEST_ANSWER),
            watch: client.watch_client().max_decoding_message_size(LONGEST_ANSWER),
            maintenance: client.maintenance_client(),
            _client: client,
            members: Members::of(endpoints),
            endpoints: endpoints.to_vec(),
        };
        let revision = etcd.revision().await?;
        tracing::info!(?endpoints, %revision, "connected to etcd");
        Ok(etcd)
    }

    /// Does `then` if all is as compared, or else finds out how the keys are. Gives the answer or, in the
    /// second case, the keys' revisions.
    async fn compare(
        &self,
        compares: Vec<Compare>,
        then: TxnOp,
        keys: impl Iterator<Item = &str>,
    ) -> Result<Result<TxnResponse, Vec<Option<Revision>>>, StoreError> {
        let look = |key| TxnOp::get(key, Some(GetOptions::new().with_keys_only()));
        let looks: Vec<_> = keys.map(look).collect();
        let transaction = Txn::new().when(compares).and_then([then]).or_else(looks);
        let send = || {
            let (mut kv, transaction) = (self.kv.clone(), transaction.clone());
            async move { kv.txn(transaction).await }
        };
        let answer = self.members.write(send).await?;
        if answer.succeeded() {
            return Ok(Ok(answer));
        }
        let found = answer.op_responses().into_iter().map(|found| match found {
            TxnOpResponse::Get(found) => {
                Ok(found.kvs().first().map(|kv| revision(kv.mod_revision())))
            }
            _ => Err(lacks("alternative")),
        });
        found.collect::<Result<_, _>>().map(Err)
    }

    /// A watch of all keys. It begins at `after` itself, though that one is known: etcd 3.4 forgets a
    /// deletion by the very revision of a compaction and does not tell; so it is told apart as compacted.
    async fn watch_from(&self, after: Revision) -> Result<WatchStream, StoreError> {
        let options = WatchOptions::new().with_all_keys().with_start_revision(number(after).max(1));
        let begin = || {
            let (mut watch, options) = (self.watch.clone(), options.clone());
            async move { watch.watch("", Some(options)).await }
        };
        self.members.look(begin).await
    }

    /// The oldest revision that is kept, after a request has failed for asking for an older one.
    async fn oldest(&self) -> Result<Revision, StoreError> {
        let mut watch = self.watch_from(Revision(1)).await?;
        while let Some(response) = once(watch.message()).await? {
            if let Err(StoreError::Compacted { oldest }) = check_watch(&response) {
                return Ok(oldest);
            }
            if !response.created() {
                break;
            }
        }
        Ok(Revision(1))
    }

    /// Fills in what etcd does not say.
    async fn explain(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Compacted { .. } => match self.oldest().await {
                Ok(oldest) => StoreError::Compacted { oldest },
                Err(_) => error,
            },
            error => error,
        }
    }
}

#[async_trait]
impl Store for Etcd {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let options = GetOptions::new().with_count_only();
        let ask = || {
            let (mut kv, options) = (self.kv.clone(), options.clone());
            async move { kv.get("/", Some(options)).await }
        };
        let answer = self.members.look(ask).await?;
        header_revision(answer.header())
    }

    /// An etcd whose disk is full, or damaged, answers reads and raises an alarm.
    async fn check(&self) -> Result<(), StoreError> {
        self.revision().await?;
        let ask = || {
            let mut maintenance = self.maintenance.clone();
            async move { maintenance.alarm(AlarmAction::Get, AlarmType::None, None).await }
        };
        let alarms = self.members.look(ask).await?;
        match alarms.alarms().first() {
            None => Ok(()),
            Some(alarm) => {
                Err(StoreError::Unavailable(format!("etcd: alarm: {:?}", alarm.alarm())))
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let ask = || {
            let mut kv = self.kv.clone();
            async move { kv.get(key, None).await }
        };
        let mut answer = self.members.look(ask).await?;
        Ok(answer.take_kvs().pop().map(entry))
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        if query.at == Some(Revision(0)) {
            return Err(StoreError::Compacted { oldest: Revision(1) });
        }
        let (key, options) = range(prefix, &query);
        let at = query.at.unwrap_or_default();
        let ask = || {
            let (mut kv, key, options) = (self.kv.clone(), key.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        };
        let mut answer = match self.members.list(at, ask).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.explain(error).await),
        };
        let now = header_revision(answer.header())?;
        let count = usize::try_from(answer.count()).unwrap_or_default();
        let entries: Vec<_> = answer.take_kvs().into_iter().map(entry).collect();
        let remaining = count.saturating_sub(entries.len());
        let (revision, more) = (query.at.unwrap_or(now), remaining > 0);
        Ok(Page { entries, revision, more, remaining: Some(remaining) })
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let expected = expect.map(|expect| match expect {
            // A key that does not exist compares as revision 0.
            Expect::Absent => Compare::mod_revision(key, CompareOp::Equal, 0),
            Expect::At(revision) => at_revision(key, revision),
        });
        let guarded = guards.iter().map(|guard| at_revision(&guard.key, guard.revision));
        let keys = iter::once(key).chain(guards.iter().map(|guard| &*guard.key));
        let compares = expected.into_iter().chain(guarded).collect();
        match self.compare(compares, TxnOp::put(key, value, None), keys).await? {
            Ok(answer) => header_revision(answer.header()),
            Err(found) => Err(refusal(key, expect, guards, &found)),
        }
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        let compare = match expect {
            // A deletion of nothing would be answered like any other.
            None => Compare::mod_revision(key, CompareOp::Greater, 0),
            Some(revision) => at_revision(key, revision),
        };
        let delete = TxnOp::delete(key, None);
        match self.compare(vec![compare], delete, iter::once(key)).await? {
            Ok(answer) => header_revision(answer.header()),
            Err(found) => Err(match found.first().copied().flatten() {
                None => StoreError::NotFound { key: key.into() },
                current => StoreError::Conflict { key: key.into(), current },
            }),
        }
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        Ok(events(self.watch_from(after).await?, after).boxed())
    }

    async fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        let mut watch = self.watch_from(change.revision()).await?;
        while let Some(response) = once(watch.message()).await? {
            check_watch(&response)?;
            let events = response.events().iter().map(event).collect::<Result<Vec<_>, _>>()?;
            if !events.is_empty() {
                return Ok(events.contains(change));
            }
        }
        Err(StoreError::Unavailable("etcd ended the watch".into()))
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let compact = || {
            let mut kv = self.kv.clone();
            async move { kv.compact(number(before), None).await }
        };
        // Twice is as good as once.
        match self.members.list(before, compact).await {
            Ok(_) | Err(StoreError::Compacted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// A key at revision 0 does not exist, which is not what is meant by an expected revision.
fn at_revision(key: &str, revision: Revision) -> Compare {
    let number = if revision == Revision(0) { i64::MAX } else { number(revision) };
    Compare::mod_revision(key, CompareOp::Equal, number)
}

/// Which of the comparisons failed: that of the key itself, or else the first of the guards'.
fn refusal(
    key: &str,
    expect: Option<Expect>,
    guards: &[Guard],
    found: &[Option<Revision>],
) -> StoreError {
    let Some((current, others)) = found.split_first() else { return lacks("alternative") };
    if expect.is_some_and(|expect| !expect.is_met(*current)) {
        return StoreError::Conflict { key: key.into(), current: *current };
    }
    let mut failed =
        guards.iter().zip(others).filter(|(guard, current)| **current != Some(guard.revision));
    failed.next().map_or_else(
        || lacks("reason"),
        |(guard, current)| StoreError::GuardFailed { key: guard.key.clone(), current: *current },
    )
}

fn range(prefix: &str, query: &Query) -> (Vec<u8>, GetOptions) {
    let start = match query.after.as_deref().filter(|after| *after >= prefix) {
        Some(after) => [after.as_bytes(), &[0]].concat(),
        None if prefix.is_empty() => vec![0],
        None => prefix.as_bytes().to_vec(),
    };
    let limit = query.limit.map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let options = GetOptions::new()
        .with_range(prefix_end(prefix))
        .with_limit(limit)
        .with_revision(query.at.map_or(0, number));
    (start, options)
}

/// The events after a revision.
fn events(
    mut watch: WatchStream,
    after: Revision,
) -> impl Stream<Item = Result<Event, StoreError>> + Send {
    try_stream! {
        while let Some(response) = watch.message().await.map_err(|error| failure(&error, after))? {
            check_watch(&response)?;
            for change in response.events() {
                let change = event(change)?;
                if change.revision() > after {
                    yield change;
                }
            }
        }
        Err(StoreError::Unavailable("etcd ended the watch".into()))?;
    }
}
