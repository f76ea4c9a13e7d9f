//! Whether what clients were told can be: by one history, that of the watch, in which each action has a place between its
//! beginning and its end. Versions are the places, so nothing has to be searched for.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::log::{Act, Action, Event, Kind, Moment, Outcome};

/// All that is wrong with a history that began without objects.
pub(super) fn faults(acts: &[Act], events: &[Event]) -> Vec<String> {
    let truth = Truth::of(events);
    let bounds = Bounds::of(acts, &truth);
    let of_acts = acts.iter().filter_map(|act| {
        let (from, to) = (bounds.before(act.began), bounds.after(act.ended));
        let why = truth.contradicts(act, from, to)?;
        Some(format!("{why}, between {from} and {to}: {act:?}"))
    });
    truth
        .disorder(events)
        .into_iter()
        .chain(truth.unexplained(acts, events, &bounds))
        .chain(of_acts)
        .collect()
}

/// The history of all objects.
struct Truth<'e> {
    by_version: BTreeMap<u64, &'e Event>,
    by_deleted: HashMap<&'e str, u64>,
    /// Of each object the versions at which it changed, with its own from there on.
    states: BTreeMap<&'e str, Vec<(u64, Option<u64>)>>,
}

impl<'e> Truth<'e> {
    fn of(events: &'e [Event]) -> Self {
        let mut states: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        let mut by_deleted = HashMap::new();
        for event in events {
            let is_there = event.kind != Kind::Deleted;
            states
                .entry(&event.key)
                .or_default()
                .push((event.version, is_there.then_some(event.version)));
            if !is_there {
                by_deleted.insert(&*event.uid, event.version);
            }
        }
        let by_version = events.iter().map(|event| (event.version, event)).collect();
        Self { by_version, by_deleted, states }
    }

    /// The object's version as of a version of all.
    fn state(&self, key: &str, at: u64) -> Option<u64> {
        let states = self.states.get(key)?;
        let next = states.partition_point(|(version, _)| *version <= at);
        states[..next].last()?.1
    }

    /// Whether it was so at some version from the one on and before the other.
    fn was(&self, key: &str, (from, to): (u64, u64), is: impl Fn(Option<u64>) -> bool) -> bool {
        let states = self.states.get(key).map(Vec::as_slice).unwrap_or_default();
        let later = states.iter().filter(|(version, _)| (from + 1..to).contains(version));
        is(self.state(key, from)) || later.map(|(_, state)| *state).any(is)
    }

    /// The version that an action is known to come after, or to be.
    fn place(&self, outcome: &Outcome) -> Option<u64> {
        match outcome {
            Outcome::Written(version) | Outcome::Listed { at: version, .. } => Some(*version),
            Outcome::Deleted(uid) => self.by_deleted.get(&**uid).copied(),
            Outcome::Read(version) => *version,
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// What of the events can't follow one another.
    fn disorder(&self, events: &[Event]) -> Vec<String> {
        let falls = events.windows(2).filter(|two| two[0].version >= two[1].version);
        let falls = falls.map(|two| format!("out of order: {two:?}"));
        let wrong = events.iter().filter(|event| {
            let was_there = self.state(&event.key, event.version - 1).is_some();
            was_there != (event.kind != Kind::Added)
        });
        falls.chain(wrong.map(|event| format!("it was not so before: {event:?}"))).collect()
    }

    /// Events that nobody can have made. An action that nobody knows the outcome of made one at most, and none before it began.
    fn unexplained(&self, acts: &[Act], events: &[Event], bounds: &Bounds) -> Vec<String> {
        let known = Known::of(acts);
        let unknown = acts.iter().filter(|act| act.outcome == Outcome::Unknown);
        let mut unknown: Vec<_> = unknown.map(|act| (act, bounds.before(act.began))).collect();
        // What can have made few events goes first; any of the rest is as good as another for what comes later.
        unknown.sort_by_key(|(act, _)| matches!(act.action, Action::Delete { base: None }));
        let mut is_explained = |event: &&Event| {
            let is_maker =
                |(act, from): &(&Act, u64)| *from < event.version && self.can_have_made(act, event);
            known.made(event)
                || unknown.iter().position(is_maker).map(|i| unknown.remove(i)).is_some()
        };
        let left = events.iter().filter(|event| !is_explained(event));
        left.map(|event| format!("nobody did this: {event:?}")).collect()
    }

    fn can_have_made(&self, act: &Act, event: &Event) -> bool {
        let is_of_kind = match act.action {
            Action::Delete { .. } => event.kind == Kind::Deleted,
            Action::Create(_) | Action::Patch(_) | Action::Update { .. } => {
                event.kind != Kind::Deleted
            }
            Action::Get | Action::List => false,
        };
        let write = (&*act.key, &act.action);
        is_of_kind && self.contradicts_write(write, event.version, Some(&event)).is_none()
    }

    /// Why an action can't have ended so, if it was done at a version beyond the one and before the other.
    fn contradicts(&self, act: &Act, from: u64, to: u64) -> Option<&'static str> {
        let was = |is: &dyn Fn(Option<u64>) -> bool| self.was(&act.key, (from, to), is);
        match (&act.action, &act.outcome) {
            (_, Outcome::Unknown) => None,
            (Action::List, Outcome::Listed { at, versions }) => {
                let now = self
                    .states
                    .keys()
                    .filter_map(|key| Some(((*key).to_owned(), self.state(key, *at)?)));
                let is_right = (from..to).contains(at) && now.eq(versions.clone());
                (!is_right).then_some("no such list")
            }
            (Action::Get, Outcome::Read(version)) => {
                (!was(&|state| state == *version)).then_some("it was not as it was read")
            }
            (Action::Create(_), Outcome::Refused) => {
                (!was(&|state| state.is_some())).then_some("it was not there")
            }
            (Action::Patch(_) | Action::Delete { base: None }, Outcome::Refused) => {
                (!was(&|state| state.is_none())).then_some("it was there")
            }
            (
                Action::Update { base, .. } | Action::Delete { base: Some(base) },
                Outcome::Refused,
            ) => (!was(&|state| state != Some(*base))).then_some("it was at that version"),
            (action, outcome) => self.place(outcome).map_or(Some("it is lost"), |version| {
                let event = self.by_version.get(&version);
                self.contradicts_write((&act.key, action), version, event).or_else(|| {
                    (!(from + 1..to).contains(&version)).then_some("it is out of its time")
                })
            }),
        }
    }

    fn contradicts_write(
        &self,
        (key, action): (&str, &Action),
        version: u64,
        event: Option<&&Event>,
    ) -> Option<&'static str> {
        let is_it = event.is_some_and(|event| {
            event.key == key && value(action).is_none_or(|value| value == event.value)
        });
        let base = match action {
            Action::Update { base, .. } => Some(*base),
            Action::Delete { base } => *base,
            _ => None,
        };
        let swapped = base.is_none_or(|base| self.state(key, version - 1) == Some(base));
        match (is_it, swapped) {
            (false, _) => Some("it is lost"),
            (_, false) => Some("it was at another version"),
            _ => None,
        }
    }
}

fn value(action: &Action) -> Option<&str> {
    match action {
        Action::Create(value) | Action::Patch(value) | Action::Update { value, .. } => Some(value),
        Action::Delete { .. } | Action::Get | Action::List => None,
    }
}

/// What clients were told that they did.
struct Known<'a> {
    /// Version, key and value.
    written: HashSet<(u64, &'a str, &'a str)>,
    deleted: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(acts: &'a [Act]) -> Self {
        let (mut written, mut deleted) = (HashSet::new(), HashSet::new());
        for act in acts {
            match (&act.outcome, value(&act.action)) {
                (Outcome::Written(version), Some(value)) => {
                    written.insert((*version, &*act.key, value));
                }
                (Outcome::Deleted(uid), _) => {
                    deleted.insert(&**uid);
                }
                _ => {}
            }
        }
        Self { written, deleted }
    }

    fn made(&self, event: &Event) -> bool {
        match event.kind {
            Kind::Deleted => self.deleted.contains(&*event.uid),
            Kind::Added | Kind::Modified => {
                self.written.contains(&(event.version, &*event.key, &*event.value))
            }
        }
    }
}

/// What is known of the versions around a moment.
struct Bounds {
    /// When something ended, and the last version known by then.
    ended: Vec<(Moment, u64)>,
    /// When a write began, and the first version of it and those that began later.
    began: Vec<(Moment, u64)>,
}

impl Bounds {
    fn of(acts: &[Act], truth: &Truth<'_>) -> Self {
        let placed = || acts.iter().filter_map(|act| Some((act, truth.place(&act.outcome)?)));
        let mut ended: Vec<_> = placed().map(|(act, version)| (act.ended, version)).collect();
        ended.sort_unstable();
        ended.iter_mut().fold(0, |last, (_, version)| {
            *version = last.max(*version);
            *version
        });
        let is_write = |act: &Act| !matches!(act.action, Action::Get | Action::List);
        let writes = placed().filter(|(act, _)| is_write(act));
        let mut began: Vec<_> = writes.map(|(act, version)| (act.began, version)).collect();
        began.sort_unstable();
        began.iter_mut().rev().fold(u64::MAX, |first, (_, version)| {
            *version = first.min(*version);
            *version
        });
        Self { ended, began }
    }

    fn before(&self, moment: Moment) -> u64 {
        let next = self.ended.partition_point(|(ended, _)| *ended < moment);
        self.ended[..next].last().map_or(0, |(_, version)| *version)
    }

    fn after(&self, moment: Moment) -> u64 {
        let next = self.began.partition_point(|(began, _)| *began <= moment);
        self.began.get(next).map_or(u64::MAX, |(_, version)| *version)
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn event(kind: Kind, version: u64, value: &str) -> Event {
        Event { kind, key: "a".into(), version, uid: "u".into(), value: value.into() }
    }

    fn act(action: Action, (began, ended): (u64, u64), outcome: Outcome) -> Act {
        Act { key: "a".into(), action, began, ended, outcome }
    }

    fn create(at: (u64, u64), outcome: Outcome) -> Act {
        act(Action::Create("1".into()), at, outcome)
    }

    fn update(value: &str, base: u64, at: (u64, u64), outcome: Outcome) -> Act {
        act(Action::Update { base, value: value.into() }, at, outcome)
    }

    /// An object that is created at 5, changed at 7 and deleted at 9, and what comes on top of that.
    #[track_caller]
    fn check(more: Vec<Act>, expected: &str) {
        let events = [
            event(Kind::Added, 5, "1"),
            event(Kind::Modified, 7, "2"),
            event(Kind::Deleted, 9, "2"),
        ];
        let mut acts = vec![
            create((1, 2), Outcome::Written(5)),
            update("2", 5, (3, 6), Outcome::Written(7)),
            act(Action::Delete { base: Some(7) }, (20, 21), Outcome::Deleted("u".into())),
        ];
        acts.extend(more);
        let found = faults(&acts, &events);
        assert_eq!(found.first().map_or("", |f| f.split([',', ':']).next().unwrap()), expected);
    }

    #[test]
    fn what_can_be_is_no_fault() {
        check(vec![], "");
        let get = |at, version| act(Action::Get, at, Outcome::Read(version));
        check(vec![get((4, 5), Some(5)), get((4, 5), Some(7)), get((7, 22), None)], "");
        check(vec![update("3", 5, (4, 8), Outcome::Refused)], "");
        check(vec![act(Action::Create("3".into()), (3, 4), Outcome::Refused)], "");
        check(vec![act(Action::Patch("3".into()), (22, 23), Outcome::Refused)], "");
        let versions = [("a".to_owned(), 7)].into();
        check(vec![act(Action::List, (10, 11), Outcome::Listed { at: 8, versions })], "");
    }

    #[test]
    fn what_cannot_be_is_found() {
        let get = |at, version| act(Action::Get, at, Outcome::Read(version));
        check(vec![get((7, 8), Some(5))], "it was not as it was read");
        check(vec![get((7, 8), None)], "it was not as it was read");
        check(vec![update("3", 7, (7, 8), Outcome::Refused)], "it was at that version");
        check(vec![update("3", 7, (7, 8), Outcome::Written(8))], "it is lost");
        check(vec![act(Action::Patch("3".into()), (7, 8), Outcome::Refused)], "it was there");
        let versions = [("a".to_owned(), 5)].into();
        check(
            vec![act(Action::List, (10, 11), Outcome::Listed { at: 8, versions })],
            "no such list",
        );
        let versions = [("a".to_owned(), 5)].into();
        check(
            vec![act(Action::List, (10, 11), Outcome::Listed { at: 6, versions })],
            "no such list",
        );
    }

    #[test]
    fn a_history_that_cannot_be_is_found() {
        let first = |acts: &[Act], events: &[Event]| faults(acts, events).remove(0);
        let created = create((1, 2), Outcome::Written(5));
        let added = event(Kind::Added, 5, "1");
        let refused = create((1, 2), Outcome::Refused);
        assert!(first(&[refused], from_ref(&added)).starts_with("nobody did this"));
        let two = [added.clone(), event(Kind::Modified, 5, "2")];
        assert!(first(from_ref(&created), &two).starts_with("out of order"));
        let unknown = act(Action::Patch("2".into()), (3, 4), Outcome::Unknown);
        let late = [event(Kind::Modified, 4, "2"), added.clone()];
        assert!(first(&[created.clone(), unknown], &late).starts_with("it was not so before"));
        let swapped = [added, event(Kind::Modified, 6, "2"), event(Kind::Modified, 7, "3")];
        let both = [
            created,
            update("2", 5, (3, 9), Outcome::Written(6)),
            update("3", 5, (3, 9), Outcome::Written(7)),
        ];
        assert!(first(&both, &swapped).starts_with("it was at another version"));
    }

    /// The versions of what nobody did, though it is not known what came of some actions.
    #[track_caller]
    fn check_unknown(acts: &[Act], events: &[Event], expected: &[u64]) {
        let of = |event: &Event| format!("nobody did this: {event:?}");
        let left = events.iter().filter(|event| expected.contains(&event.version));
        assert_eq!(faults(acts, events), left.map(of).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_write_was_done_once_at_most() {
        let created = create((1, 2), Outcome::Written(5));
        let unknown = act(Action::Patch("2".into()), (3, 4), Outcome::Unknown);
        let acts = [created.clone(), unknown, update("3", 6, (5, 8), Outcome::Written(7))];
        let written = [
            event(Kind::Added, 5, "1"),
            event(Kind::Modified, 6, "2"),
            event(Kind::Modified, 7, "3"),
            event(Kind::Modified, 8, "2"),
        ];
        check_unknown(&acts, &written[..3], &[]);
        check_unknown(&acts, &written, &[8]);
        let other = update("2", 4, (3, 4), Outcome::Unknown);
        check_unknown(&[created, other], &written[..2], &[6]);
    }

    #[test]
    fn an_unknown_delete_was_done_once_at_most() {
        let delete = |base, at| act(Action::Delete { base }, at, Outcome::Unknown);
        let created = create((1, 2), Outcome::Written(5));
        let again = act(Action::Create("2".into()), (5, 6), Outcome::Written(7));
        let acts = |more: &[Act]| [&[created.clone(), again.clone()][..], more].concat();
        let events = [
            event(Kind::Added, 5, "1"),
            event(Kind::Deleted, 6, "1"),
            event(Kind::Added, 7, "2"),
            event(Kind::Deleted, 8, "2"),
        ];
        check_unknown(&acts(&[delete(None, (3, 4))]), &events[..3], &[]);
        check_unknown(&acts(&[delete(None, (3, 4))]), &events, &[8]);
        check_unknown(&acts(&[delete(None, (3, 4)), delete(Some(5), (3, 4))]), &events, &[]);
        check_unknown(&acts(&[delete(Some(5), (3, 4))]), &events, &[8]);
        check_unknown(&acts(&[delete(None, (3, 4)), delete(None, (7, 8))]), &events, &[]);
        check_unknown(&acts(&[delete(None, (7, 8)), delete(None, (7, 8))]), &events, &[6]);
    }
}
