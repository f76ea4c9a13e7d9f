//! The API server's end of the topics of changes.
//!
//! # How a listener finds out what Redis has lost
//! Each change names the one before it on its topic, whether or not that one was delivered, so a loss
//! shows with the next change. A bookmark each second on each topic names the topic's last change, so it
//! shows within a second even if no change follows; and a listener that hears no bookmarks knows that it
//! hears nothing. A node's topic begins and ends with the node.
//!
//! # How several publishers get along
//! Each says what is so, and numbers for itself. One that begins, first recalls the latest changes, so that it
//! knows the last one of each topic as well as one that was always there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use component::{RedisServer, Tasks};
use serde_json::value::RawValue;

use crate::{
    ChangeMessage, ChangeType, Error, History,
    login::open,
    message::Reference,
    outlet::{Message, Outlet},
    topics,
};

/// How often each topic is to get a bookmark.
pub const BOOKMARK_PERIOD: Duration = Duration::from_secs(1);

/// Resources (of the core group) whose contents are never put on a topic.
const CONFIDENTIAL: [&str; 2] = ["secrets", "configmaps"];

/// A change of an object, as the API server knows it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The object's group; empty for the core kinds.
    pub group: &'a str,
    /// The plural of its kind.
    pub resource: &'a str,
    /// The version of the change, deletions included.
    pub resource_version: u64,
    /// What happened: `Added`, `Modified` or `Deleted`.
    pub type_: ChangeType,
    /// The object's JSON after the change, or its last state with the deletion's version.
    pub object: &'a [u8],
    /// The node the object was bound to before the change, if it is a pod.
    pub node_before: Option<&'a str>,
    /// The node it is bound to after the change, if it is a pod that is still there.
    pub node_after: Option<&'a str>,
}

/// Publishes changes to Redis. It never blocks and never fails; clones are the same publisher.
#[derive(Clone, Debug)]
pub struct Publisher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    outlet: Outlet,
    heads: Mutex<Heads>,
}

impl Publisher {
    /// A publisher that connects in the background, now and whenever the connection is lost. Must be
    /// called within a tokio runtime.
    pub fn connect(redis: &RedisServer, tasks: &Tasks) -> Result<Self, Error> {
        let outlet = Outlet::start(open(redis)?, tasks);
        Ok(Self { inner: Arc::new(Inner { outlet, heads: Mutex::default() }) })
    }

    /// Declares that every change after the version `since` will be published, and nothing is known of
    /// those before. To be called before the first change, and again when the source of changes had to
    /// begin anew. The topics of the `resources` (group, plural) get bookmarks from now on, others from
    /// their first change on. All versions belong to the `history`.
    pub fn begin<'a>(
        &self,
        history: History,
        since: u64,
        resources: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        let topics = resources.into_iter().map(|(group, plural)| topics::changes(group, plural));
        *self.inner.lock() = Heads { history, ..Heads::since(since, topics) };
    }

    /// Declares that with this version a new history continues the one so far. All topics hear of it before their
    /// next change, which would not say what its history continues.
    pub fn go_on(&self, history: History, version: u64) {
        let mut heads = self.inner.lock();
        heads.history = history;
        self.inner.outlet.send_all(heads.bookmarks(version));
    }

    /// Declares that a node is there: its topic gets bookmarks before the first change, so that its kubelet can
    /// follow it. To be called after [`Publisher::begin`]; nodes that come and go later are noticed.
    pub fn has_node(&self, name: &str) {
        self.inner.lock().declare(topics::pods_of_node(name));
    }

    /// Publishes a change. Changes must come in the order of their versions.
    pub fn publish(&self, change: &Change<'_>) {
        self.advance(change, encode(change).as_deref());
    }

    /// Takes note of a change without publishing it.
    pub fn recall(&self, change: &Change<'_>) {
        self.advance(change, None);
    }

    /// Tells all topics that all changes up to this version are published. To be called every [`BOOKMARK_PERIOD`], as
    /// long as changes come in.
    pub fn bookmark(&self, version: u64) {
        let mut heads = self.inner.lock();
        self.inner.outlet.send_news(|| heads.bookmarks(version));
    }

    fn advance(&self, change: &Change<'_>, object: Option<&RawValue>) {
        if let Some(node) = node(change) {
            let mut heads = self.inner.lock();
            match change.type_ {
                ChangeType::Deleted => heads.forget(&topics::pods_of_node(&node)),
                _ => heads.declare(topics::pods_of_node(&node)),
            }
        }
        for (topic, type_) in destinations(change) {
            self.inner.advance(&topic, type_, change, object.map(ToOwned::to_owned));
        }
    }
}

impl Inner {
    /// Numbering and sending under one lock: messages must be sent in the order of their numbers.
    fn advance(
        &self,
        topic: &str,
        type_: ChangeType,
        change: &Change<'_>,
        object: Option<Box<RawValue>>,
    ) {
        let mut heads = self.lock();
        let resource_version = change.resource_version;
        let previous = heads.advance(topic, resource_version);
        if type_ == ChangeType::Deleted {
            heads.end_unless_declared(topic);
        }
        // Of a change that cannot be encoded, listeners see the hole.
        let Some(object) = object else { return };
        let partial = is_confidential(change);
        let message = ChangeMessage {
            resource_version,
            previous,
            type_,
            object: Some(object),
            partial,
            history: heads.history.name.clone(),
            predecessors: Vec::new(),
        };
        self.send(topic, &message);
    }

    fn send(&self, topic: &str, message: &ChangeMessage) {
        match serde_json::to_vec(message) {
            Ok(payload) => drop(self.outlet.send(topic, payload)),
            Err(error) => tracing::error!(%error, topic, "change cannot be encoded"),
        }
    }

    /// A panic while holding the lock leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of the last change of each topic.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub(crate) history: History,
    /// The version after which every change is known, of topics that aren't listed here.
    since: Option<u64>,
    /// Up to this version all is known.
    latest: u64,
    topics: HashMap<String, u64>,
    /// Those of kinds and of nodes that are there. Others are of nodes that are not (any more).
    declared: HashSet<String>,
}

impl Heads {
    pub(crate) fn since(since: u64, topics: impl Iterator<Item = String>) -> Self {
        let declared: HashSet<_> = topics.collect();
        let topics = declared.iter().map(|topic| (topic.clone(), since)).collect();
        Self { history: History::default(), since: Some(since), latest: since, topics, declared }
    }

    /// Lets a topic have bookmarks from now on. Nothing can be said of one before the beginning is known.
    fn declare(&mut self, topic: String) {
        if let Some(since) = self.since {
            self.topics.entry(topic.clone()).or_insert(since);
            self.declared.insert(topic);
        }
    }

    /// Forgets a topic. If it comes back, what is said of it must not be older than what was.
    fn forget(&mut self, topic: &str) {
        self.declared.remove(topic);
        if let Some(head) = self.topics.remove(topic) {
            self.since = self.since.max(Some(head));
        }
    }

    /// Forgets a topic of which something has gone, if that may have been the last: the pods of a node go after it.
    fn end_unless_declared(&mut self, topic: &str) {
        if !self.declared.contains(topic) {
            self.forget(topic);
        }
    }

    /// Makes a change the topic's last one, and gives the version of the one before. If that is not known,
    /// it is the highest one possible, so that listeners rather see a hole that is none.
    pub(crate) fn advance(&mut self, topic: &str, version: u64) -> u64 {
        let unknown = self.since.unwrap_or(version.saturating_sub(1));
        self.latest = self.latest.max(version);
        match self.topics.get_mut(topic) {
            Some(head) => std::mem::replace(head, version),
            None => {
                self.topics.insert(topic.to_owned(), version);
                unknown
            }
        }
    }

    /// One for each topic, when all is known up to this version.
    pub(crate) fn bookmarks(&mut self, version: u64) -> Vec<Message> {
        self.latest = self.latest.max(version);
        let bookmark = |(topic, head): (&String, &u64)| Message {
            topic: topic.as_str().into(),
            payload: serde_json::to_vec(
                &ChangeMessage::bookmark(self.latest, *head).of(&self.history),
            )
            .expect("a bookmark is numbers"),
        };
        self.topics.iter().map(bookmark).collect()
    }
}

/// The topics a change belongs to, and what it is there.
fn destinations(change: &Change<'_>) -> Vec<(String, ChangeType)> {
    let mut destinations = vec![(topics::changes(change.group, change.resource), change.type_)];
    let node = |name, type_| (topics::pods_of_node(name), type_);
    match (change.node_before, change.node_after) {
        (Some(before), Some(after)) if before == after => {
            destinations.push(node(after, change.type_));
        }
        (before, after) => {
            destinations.extend(before.map(|name| node(name, ChangeType::Deleted)));
            destinations.extend(after.map(|name| node(name, ChangeType::Added)));
        }
    }
    destinations
}

/// The node that a change is of.
fn node(change: &Change<'_>) -> Option<String> {
    let is_node = change.group.is_empty() && change.resource == "nodes";
    let comes_or_goes = matches!(change.type_, ChangeType::Added | ChangeType::Deleted);
    if !is_node || !comes_or_goes {
        return None;
    }
    Some(serde_json::from_slice::<Reference>(change.object).ok()?.metadata.name)
}

/// The object as it goes on a topic: whole, or only named.
fn encode(change: &Change<'_>) -> Option<Box<RawValue>> {
    let encoded = match is_confidential(change) {
        true => serde_json::from_slice::<Reference>(change.object)
            .and_then(|reference| serde_json::value::to_raw_value(&reference)),
        false => serde_json::from_slice(change.object),
    };
    encoded
        .inspect_err(|error| {
            tracing::error!(%error, resource = change.resource, "change cannot be published");
        })
        .ok()
}

fn is_confidential(change: &Change<'_>) -> bool {
    change.group.is_empty() && CONFIDENTIAL.contains(&change.resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change<'a>(resource: &'a str, object: &'a str) -> Change<'a> {
        Change {
            group: "",
            resource,
            resource_version: 5,
            type_: ChangeType::Modified,
            object: object.as_bytes(),
            node_before: None,
            node_after: None,
        }
    }

    #[test]
    fn each_topic_counts_by_itself() {
        let mut heads = Heads::since(10, ["pods".to_owned()].into_iter());
        assert_eq!(heads.advance("pods", 11), 10);
        assert_eq!(heads.advance("nodes", 12), 10);
        assert_eq!(heads.advance("pods", 13), 11);
        assert_eq!(heads.latest, 13);
    }

    #[test]
    fn without_a_beginning_nothing_is_claimed_about_what_was_before() {
        let mut heads = Heads::default();
        assert_eq!(heads.advance("pods", 11), 10);
        assert_eq!(heads.advance("pods", 15), 11);
    }

    #[test]
    fn a_topic_that_comes_back_claims_nothing_that_was_not_so() {
        let mut heads = Heads::since(10, ["pods".to_owned()].into_iter());
        heads.declare("n1".to_owned());
        assert_eq!(heads.topics["n1"], 10);
        heads.advance("n1", 15);
        heads.forget("n1");
        assert_eq!(heads.topics.keys().collect::<Vec<_>>(), ["pods"]);
        assert_eq!(heads.advance("n1", 20), 15);
        assert_eq!(heads.advance("pods", 21), 10);
    }

    #[test]
    fn the_last_pod_of_a_node_that_is_gone_takes_its_topic_along() {
        let mut heads = Heads::since(10, ["pods".to_owned()].into_iter());
        heads.declare("n1".to_owned());
        heads.advance("n1", 15);
        heads.end_unless_declared("n1");
        assert!(heads.topics.contains_key("n1"));
        heads.forget("n1");
        assert_eq!(heads.advance("n1", 17), 15);
        heads.end_unless_declared("n1");
        assert!(!heads.topics.contains_key("n1"));
        assert_eq!(heads.advance("n1", 20), 17);
    }

    #[test]
    fn a_node_has_a_topic_as_long_as_it_is_there() {
        let object = r#"{"metadata":{"name":"n1","labels":{}}}"#;
        let of = |type_| node(&Change { type_, ..change("nodes", object) });
        assert_eq!(of(ChangeType::Added).as_deref(), Some("n1"));
        assert_eq!(of(ChangeType::Deleted).as_deref(), Some("n1"));
        assert_eq!(of(ChangeType::Modified), None);
        assert_eq!(node(&Change { type_: ChangeType::Added, ..change("pods", object) }), None);
    }

    /// The topics that get bookmarks.
    fn topics(publisher: &Publisher) -> Vec<String> {
        let mut topics: Vec<_> = publisher.inner.lock().topics.keys().cloned().collect();
        topics.sort();
        topics
    }

    #[tokio::test]
    async fn a_nodes_topic_begins_with_it_and_ends_with_its_last_pod() {
        let publisher =
            Publisher::connect(&"redis://127.0.0.1:1".into(), &Tasks::default()).unwrap();
        publisher.begin(History::default(), 4, [("", "nodes"), ("", "pods")]);
        let kinds = ["minik8s.core.nodes", "minik8s.core.pods"];
        let with_node = [&kinds[..], &["minik8s.pods.node.n1"]].concat();
        let node = change("nodes", r#"{"metadata":{"name":"n1"}}"#);
        publisher.publish(&Change { type_: ChangeType::Added, ..node });
        assert_eq!(topics(&publisher), with_node);
        let pod = change("pods", "{}");
        publisher.publish(&Change { node_after: Some("n1"), ..pod });
        publisher.publish(&Change { type_: ChangeType::Deleted, ..node });
        assert_eq!(topics(&publisher), kinds);
        publisher.publish(&Change { node_before: Some("n1"), node_after: Some("n1"), ..pod });
        assert_eq!(topics(&publisher), with_node);
        let deleted = ChangeType::Deleted;
        publisher.publish(&Change { type_: deleted, node_before: Some("n1"), ..pod });
        assert_eq!(topics(&publisher), kinds);
    }

    #[test]
    fn a_pod_appears_on_its_nodes_topic_when_it_is_bound() {
        let bound = Change { node_after: Some("n1"), ..change("pods", "{}") };
        let pods = "minik8s.core.pods".to_owned();
        assert_eq!(
            destinations(&bound),
            [
                (pods.clone(), ChangeType::Modified),
                ("minik8s.pods.node.n1".to_owned(), ChangeType::Added)
            ]
        );
        let changed = Change { node_before: Some("n1"), ..bound };
        assert_eq!(destinations(&changed)[1].1, ChangeType::Modified);
        let gone = Change { type_: ChangeType::Deleted, node_after: None, ..changed };
        assert_eq!(destinations(&gone)[1].1, ChangeType::Deleted);
        assert_eq!(destinations(&change("pods", "{}")), [(pods, ChangeType::Modified)]);
    }

    #[test]
    fn contents_of_secrets_and_config_maps_stay_at_home() {
        let object = r#"{"metadata":{"name":"s","namespace":"d","annotations":{"last":"hunter2"}},
            "data":{"password":"hunter2"}}"#;
        for resource in CONFIDENTIAL {
            let encoded = encode(&change(resource, object)).unwrap();
            assert_eq!(encoded.get(), r#"{"metadata":{"name":"s","namespace":"d"}}"#);
        }
        assert!(encode(&change("pods", object)).unwrap().get().contains("hunter2"));
    }
}
