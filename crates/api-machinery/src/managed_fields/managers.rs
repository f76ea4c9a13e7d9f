//! `metadata.managedFields`: who manages which fields, by which operation.

use std::collections::BTreeMap;

use api_types::{
    jiff::Timestamp,
    meta::{FieldsV1, ManagedFieldsEntry, Time},
};

use super::field_set::FieldSet;

/// Kubernetes: `DefaultMaxUpdateManagers`.
const MOST_UPDATERS: usize = 10;
/// Whom the fields of older updaters are given to beyond that.
const ANCIENT: &str = "ancient-changes";

/// Who manages fields. Each is told apart from the same name by another operation, version or subresource; who applies in
/// another version is the same from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// The field manager's name: `kubectl`.
    pub name: String,
    /// Whether by server-side apply; by any other write otherwise.
    pub applies: bool,
    /// The version in which the fields are named: `apps/v1`.
    pub api_version: String,
    /// `status`, `scale`; empty for the object itself.
    pub subresource: String,
}

/// The managers of an object's fields, and since when each has its latest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managers(BTreeMap<Manager, (FieldSet, Option<Time>)>);

impl Managers {
    /// Those of an object. `None` if one of them can't be read.
    #[must_use]
    pub fn of(entries: &[ManagedFieldsEntry]) -> Option<Self> {
        let read = |entry: &ManagedFieldsEntry| {
            let manager = Manager {
                name: entry.manager.clone().unwrap_or_default(),
                applies: match entry.operation.as_deref()? {
                    "Apply" => true,
                    "Update" => false,
                    _ => return None,
                },
                api_version: entry.api_version.clone()?,
                subresource: entry.subresource.clone().unwrap_or_default(),
            };
            entry.fields_type.as_deref().filter(|type_| *type_ == "FieldsV1")?;
            let set = FieldSet::of_fields_v1(&entry.fields_v1.as_ref()?.0)?;
            Some((manager, (set, entry.time.clone())))
        };
        entries.iter().map(read).collect::<Option<_>>().map(Self)
    }

    /// As the object has them: appliers first, then by time.
    #[must_use]
    pub fn entries(&self) -> Vec<ManagedFieldsEntry> {
        let mut managers: Vec<_> = self.0.iter().collect();
        let order = |(manager, (_, time)): &(&Manager, &(FieldSet, Option<Time>))| {
            (!manager.applies, time.as_ref().map(|time| time.0.as_second()), (*manager).clone())
        };
        managers.sort_by_key(order);
        let entry = |(manager, (set, time)): (&Manager, &(FieldSet, Option<Time>))| {
            let some = |text: &String| (!text.is_empty()).then(|| text.clone());
            ManagedFieldsEntry {
                manager: some(&manager.name),
                operation: Some(if manager.applies { "Apply" } else { "Update" }.to_owned()),
                api_version: some(&manager.api_version),
                time: time.clone(),
                fields_type: Some("FieldsV1".to_owned()),
                fields_v1: Some(FieldsV1(set.to_fields_v1())),
                subresource: some(&manager.subresource),
            }
        };
        managers.into_iter().map(entry).collect()
    }

    /// Whether nobody manages anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a manager has.
    #[must_use]
    pub fn get(&self, manager: &Manager) -> Option<&FieldSet> {
        self.0.get(manager).map(|(set, _)| set)
    }

    /// All but this one.
    pub fn others<'m>(
        &'m self,
        manager: &'m Manager,
    ) -> impl Iterator<Item = (&'m Manager, &'m FieldSet)> {
        self.0.iter().filter(move |(other, _)| *other != manager).map(|(m, (set, _))| (m, set))
    }

    /// Since when a manager has the latest of its fields.
    #[must_use]
    pub fn time(&self, manager: &Manager) -> Option<Timestamp> {
        self.0.get(manager)?.1.as_ref().map(|time| time.0)
    }

    /// Gives a manager these fields; none end it. Its time is `now` if they are others than before.
    pub fn set(&mut self, manager: Manager, set: FieldSet, now: Timestamp) {
        match self.0.get_mut(&manager) {
            _ if set.is_empty() => drop(self.0.remove(&manager)),
            Some((there, _)) if *there == set => {}
            Some(there) => *there = (set, Some(Time(now))),
            None => drop(self.0.insert(manager, (set, Some(Time(now))))),
        }
    }

    /// Takes these fields from a manager, which leaves its time as it is.
    pub(super) fn take(&mut self, manager: &Manager, fields: &FieldSet) {
        if let Some((set, _)) = self.0.get_mut(manager) {
            *set = set.difference(fields);
            if set.is_empty() {
                self.0.remove(manager);
            }
        }
    }

    /// Gives what one manager has to another, but for these fields, which are nobody's then.
    pub fn hand_over(&mut self, from: &Manager, to: &Manager, but: &FieldSet) {
        let Some((set, time)) = self.0.remove(from) else { return };
        let entry = self.0.entry(to.clone()).or_insert_with(|| (FieldSet::default(), time));
        entry.0.extend(set.difference(but));
        if entry.0.is_empty() {
            self.0.remove(to);
        }
    }

    /// Gives an applier what it has in other versions of the kind: in all of them it is the same
    /// (Kubernetes: `BuildManagerIdentifier`).
    pub(super) fn unite(&mut self, applier: &Manager) {
        let is_it = |other: &&Manager| {
            let is_named = other.name == applier.name && other.subresource == applier.subresource;
            is_named && other.applies && *other != applier
        };
        let others: Vec<Manager> = self.0.keys().filter(is_it).cloned().collect();
        for other in others {
            self.hand_over(&other, applier, &FieldSet::default());
        }
    }

    /// Gives the fields of the oldest updaters to one manager of each version, when there are too many.
    pub(super) fn cap(&mut self) {
        let updaters = self.0.iter().filter(|(manager, _)| !manager.applies);
        let mut updaters: Vec<_> =
            updaters.map(|(m, (_, t))| (t.as_ref().map(|t| t.0), m)).collect();
        let Some(excess) = updaters.len().checked_sub(MOST_UPDATERS).filter(|excess| *excess > 0)
        else {
            return;
        };
        updaters.sort();
        let others = updaters.into_iter().filter(|(_, manager)| manager.name != ANCIENT);
        // One more, if they become one of their own.
        let is_new = self.0.keys().all(|manager| manager.name != ANCIENT);
        let count = excess + usize::from(is_new);
        let oldest: Vec<Manager> = others.take(count).map(|(_, m)| m.clone()).collect();
        for manager in oldest {
            let Some((set, time)) = self.0.remove(&manager) else { continue };
            let ancient = Manager {
                name: ANCIENT.to_owned(),
                applies: false,
                api_version: manager.api_version,
                subresource: String::new(),
            };
            let entry = self.0.entry(ancient).or_default();
            entry.0.extend(set);
            entry.1 = time;
        }
    }
}
