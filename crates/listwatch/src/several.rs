//! Several publishers on one topic, each at its own pace, and a listener: generated histories of what each of them
//! does, over the code that numbers messages and the code that decides about them.

use std::collections::VecDeque;

use proptest::{collection::vec, prelude::*};

use crate::{
    ChangeMessage, ChangeType, History, Predecessor,
    decision::{Decision, Position},
    publisher::Heads,
};

const TOPIC: &str = "topic";
/// As in the API server, but small.
const RECALLED: u64 = 12;
const REPEATED: u64 = 4;

/// What a version of the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// A change on the topic.
    Mine,
    /// A change on another one.
    Other,
    /// The beginning of a history.
    Beginning,
}

/// All versions, the first is 1.
#[derive(Debug, Default)]
struct Store(Vec<Write>);

impl Store {
    fn version(&self) -> u64 {
        self.0.len() as u64
    }

    fn versions(&self, what: Write, until: u64) -> Vec<u64> {
        (1..=until).filter(|version| self.at(*version) == what).collect()
    }

    fn at(&self, version: u64) -> Write {
        self.0[version as usize - 1]
    }

    /// The history that a version belongs to.
    fn history(&self, version: u64) -> History {
        let begun = self.versions(Write::Beginning, version);
        let predecessor =
            |pair: &[u64]| Predecessor { name: pair[0].to_string(), until: pair[1] - 1 };
        History {
            name: begun.last().map(u64::to_string).unwrap_or_default(),
            predecessors: begun.windows(2).map(predecessor).collect(),
        }
    }
}

/// An API server's end of the topic.
#[derive(Debug)]
struct Publisher {
    heads: Heads,
    /// Up to here it has seen the store's changes.
    seen: u64,
    /// Up to here it doesn't publish them.
    recalled: u64,
    /// What it has sent, and has not arrived yet.
    sent: VecDeque<ChangeMessage>,
}

impl Publisher {
    fn begin(store: &mut Store) -> Self {
        store.0.push(Write::Beginning);
        let since = store.version().saturating_sub(RECALLED);
        let mut heads = Heads::since(since, [TOPIC.to_owned()].into_iter());
        heads.history = store.history(since);
        let recalled = store.version().saturating_sub(REPEATED);
        let mut publisher = Self { heads, seen: since, recalled, sent: VecDeque::new() };
        while publisher.seen < recalled {
            publisher.see(store);
        }
        publisher
    }

    /// Takes the store's next change, if there is one.
    fn see(&mut self, store: &Store) {
        if self.seen == store.version() {
            return;
        }
        self.seen += 1;
        match store.at(self.seen) {
            Write::Mine => self.change(),
            Write::Other => drop(self.heads.advance("other", self.seen)),
            Write::Beginning => {
                self.heads.history = store.history(self.seen);
                self.bookmark();
            }
        }
    }

    fn change(&mut self) {
        let previous = self.heads.advance(TOPIC, self.seen);
        let message = ChangeMessage {
            type_: ChangeType::Modified,
            predecessors: Vec::new(),
            ..ChangeMessage::bookmark(self.seen, previous).of(&self.heads.history)
        };
        if self.seen > self.recalled {
            self.sent.push_back(message);
        }
    }

    fn bookmark(&mut self) {
        let bookmarks = self.heads.bookmarks(self.seen);
        let mine = bookmarks.iter().filter(|bookmark| &*bookmark.topic == TOPIC);
        self.sent.extend(
            mine.map(|mine| serde_json::from_slice::<ChangeMessage>(&mine.payload).unwrap()),
        );
    }

    fn catch_up(&mut self, store: &Store) {
        while self.seen < store.version() {
            self.see(store);
        }
        self.bookmark();
    }
}

#[derive(Debug)]
struct Listener {
    position: Position,
    /// The version that its HTTP watch began at, if it has one.
    watching: Option<u64>,
    /// The changes it told.
    told: Vec<u64>,
    watches: usize,
    lists: usize,
}

impl Listener {
    fn hear(&mut self, store: &Store, message: &ChangeMessage) {
        let since = self.watching.unwrap_or(self.position.last());
        match self.position.decide(message, since) {
            Decision::Late => {}
            Decision::Known => self.watching = None,
            Decision::Apply => {
                if message.type_ != ChangeType::Bookmark {
                    self.told.push(message.resource_version);
                }
                self.position.applied(message.resource_version);
                self.watching = None;
            }
            Decision::Hole if self.watching.is_none() => self.watch(),
            Decision::Hole => {}
            Decision::Foreign => self.list(store),
        }
    }

    fn list(&mut self, store: &Store) {
        self.lists += 1;
        self.position = Position::listed(store.version());
        self.told = store.versions(Write::Mine, store.version());
        self.watching = None;
    }

    fn watch(&mut self) {
        self.watches += 1;
        self.position.join();
        self.watching = Some(self.position.last());
    }

    /// Takes what the watch tells next.
    fn take_event(&mut self, store: &Store) {
        if self.watching.is_none() {
            return;
        }
        let mine = store.versions(Write::Mine, store.version());
        match mine.into_iter().find(|version| *version > self.position.last()) {
            Some(version) => {
                self.told.push(version);
                self.position.watched(version);
            }
            None => self.position.watched(store.version()),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Write),
    /// A server takes the store's next change.
    See(usize),
    Bookmark(usize),
    /// What a server sent arrives, or not.
    Deliver(usize),
    Lose(usize),
    /// What the HTTP watch tells arrives.
    TakeEvent,
    /// A server dies with all that it has sent but did not arrive, and another one begins.
    Restart(usize),
    /// The same at a moment when the other server is so many changes behind.
    RestartBeside(usize, u64),
}

#[derive(Debug)]
struct Scene {
    store: Store,
    servers: [Publisher; 2],
    listener: Listener,
}

impl Scene {
    fn new() -> Self {
        let mut store = Store::default();
        let servers = [Publisher::begin(&mut store), Publisher::begin(&mut store)];
        let listener = Listener {
            position: Position::listed(store.version()),
            watching: None,
            told: Vec::new(),
            watches: 0,
            lists: 0,
        };
        Self { store, servers, listener }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write(write) => self.store.0.push(write),
            Step::See(server) => self.servers[server].see(&self.store),
            Step::Bookmark(server) => self.servers[server].bookmark(),
            Step::Deliver(server) => {
                if let Some(message) = self.servers[server].sent.pop_front() {
                    self.listener.hear(&self.store, &message);
                }
            }
            Step::Lose(server) => drop(self.servers[server].sent.pop_front()),
            Step::TakeEvent => self.listener.take_event(&self.store),
            Step::Restart(server) => self.servers[server] = Publisher::begin(&mut self.store),
            Step::RestartBeside(server, behind) => {
                self.servers[1 - server].catch_up(&self.store);
                self.deliver(1 - server);
                (0..behind).for_each(|_| self.store.0.push(Write::Mine));
                self.servers[server] = Publisher::begin(&mut self.store);
            }
        }
        let last = self.listener.position.last();
        assert_eq!(self.listener.told, self.store.versions(Write::Mine, last), "in {self:#?}");
    }

    fn deliver(&mut self, server: usize) {
        while !self.servers[server].sent.is_empty() {
            self.take(&Step::Deliver(server));
        }
    }

    /// In the end both servers have told everything, one after the other.
    fn end(&mut self) {
        for server in [0, 1] {
            self.servers[server].catch_up(&self.store);
            self.deliver(server);
        }
    }
}

fn server() -> impl Strategy<Value = usize> {
    0..2_usize
}

fn faultless() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Write(Write::Mine)),
        2 => Just(Step::Write(Write::Other)),
        5 => server().prop_map(Step::See),
        2 => server().prop_map(Step::Bookmark),
        6 => server().prop_map(Step::Deliver),
        1 => (server(), 0..REPEATED).prop_map(|(server, behind)| Step::RestartBeside(server, behind)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => faultless(),
        2 => server().prop_map(Step::Lose),
        1 => server().prop_map(Step::Restart),
        3 => Just(Step::TakeEvent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Each change is told once and in order, by whichever server is first, and nobody needs an HTTP watch.
    #[test]
    fn two_servers_that_lose_nothing_suffice(steps in vec(faultless(), 1..100)) {
        let mut scene = Scene::new();
        steps.iter().for_each(|step| scene.take(step));
        scene.end();
        prop_assert_eq!((scene.listener.watches, scene.listener.lists), (0, 0));
        prop_assert_eq!(scene.listener.told, scene.store.versions(Write::Mine, scene.store.version()));
    }

    /// Whatever is lost: no change is told twice or left out, and a listener that misses some does not go by the topic.
    #[test]
    fn what_two_servers_lose_is_noticed(steps in vec(any_step(), 1..100)) {
        let mut scene = Scene::new();
        steps.iter().for_each(|step| scene.take(step));
        scene.end();
        let all = scene.store.versions(Write::Mine, scene.store.version());
        prop_assert!(scene.listener.watching.is_some() || scene.listener.told == all);
    }
}
