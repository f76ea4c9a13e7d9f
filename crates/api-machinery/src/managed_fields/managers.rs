//! `metadata.managedFields`: who manages which fields, by which operation.

use std::{collections::BTreeMap, sync::OnceLock};

use api_types::{jiff::Timestamp, meta::Time};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::field_set::FieldSet;

/// Kubernetes: `DefaultMaxUpdateManagers`.
const MOST_UPDATERS: usize = 10;
/// So many fields are looked for in a text: to look for more takes longer than to read it.
const FEW: usize = 64;
const FIELDS_TYPE: &str = "FieldsV1";
const APPLY: &str = "Apply";
const UPDATE: &str = "Update";
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

impl Manager {
    /// Whether it is another whose fields have the same names: those of another version may have others.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self != other && self.api_version == other.api_version
    }
}

/// The managers of an object's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managers(BTreeMap<Manager, Share>);

/// What a manager has, and since when it has the latest of it. Most of what an object says of its managers is written again as it
/// was read: nobody has to know the fields.
#[derive(Clone, Debug, Default)]
struct Share {
    /// As it was read.
    text: Option<Box<RawValue>>,
    fields: OnceLock<FieldSet>,
    time: Option<Time>,
}

impl Share {
    fn new(fields: FieldSet, time: Option<Time>) -> Self {
        Self { text: None, fields: fields.into(), time }
    }

    /// What can't be read is nothing.
    fn fields(&self) -> &FieldSet {
        let read = || self.text.as_deref().and_then(read).unwrap_or_default();
        self.fields.get_or_init(read)
    }

    fn fields_mut(&mut self) -> &mut FieldSet {
        let fields = self.fields.take().or_else(|| self.text.as_deref().and_then(read));
        self.text = None;
        self.fields = fields.unwrap_or_default().into();
        self.fields.get_mut().expect("it was just set")
    }

    /// Whether it may have one of these fields: each that it has is in its text.
    fn may_have(&self, fields: &FieldSet) -> bool {
        let Some(text) = &self.text else { return true };
        fields.count(FEW) > FEW || fields.is_mentioned_in(text.get())
    }

    fn text(&self) -> Box<RawValue> {
        self.text.clone().unwrap_or_else(|| self.fields().to_fields_v1())
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields() && self.time == other.time
    }
}

fn read(fields: &RawValue) -> Option<FieldSet> {
    serde_json::from_str(fields.get()).ok()
}

/// A manager in `metadata.managedFields`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    api_version: String,
    fields_type: String,
    fields_v1: Box<RawValue>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    manager: String,
    operation: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subresource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Time>,
}

impl Managers {
    /// What an object says of its managers. `None` if that can't be read.
    #[must_use]
    pub fn of(entries: &RawValue) -> Option<Self> {
        let entries: Vec<Entry> = serde_json::from_str(entries.get()).ok()?;
        entries.into_iter().map(Entry::read).collect::<Option<_>>().map(Self)
    }

    /// What somebody wants it to say. `None` if that, or the fields of one of them, can't be read.
    #[must_use]
    pub fn given(entries: &RawValue) -> Option<Self> {
        let mut managers = Self::of(entries)?;
        for share in managers.0.values_mut() {
            *share = Share::new(read(share.text.as_deref()?)?, share.time.take());
        }
        Some(managers)
    }

    /// As the object says it, appliers first, then by time. `None` without any.
    #[must_use]
    pub fn entries(&self) -> Option<Box<RawValue>> {
        let mut managers: Vec<_> = self.0.iter().collect();
        let order = |(manager, share): &(&Manager, &Share)| {
            let since = share.time.as_ref().map(|time| time.0.as_second());
            (!manager.applies, since, (*manager).clone())
        };
        managers.sort_by_cached_key(order);
        let entries = managers.into_iter().map(|(manager, share)| Entry::of(manager, share));
        let entries: Vec<Entry> = entries.collect();
        (!entries.is_empty()).then(|| to_raw_value(&entries).ok()).flatten()
    }

    /// One manager that has these fields, given as `FieldsV1`.
    #[must_use]
    pub fn only(manager: Manager, fields: Box<RawValue>, now: Timestamp) -> Self {
        let share = Share { text: Some(fields), fields: OnceLock::new(), time: Some(Time(now)) };
        Self(BTreeMap::from([(manager, share)]))
    }

    /// Whether nobody manages anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a manager has.
    #[must_use]
    pub fn get(&self, manager: &Manager) -> Option<&FieldSet> {
        self.0.get(manager).map(Share::fields)
    }

    /// All but this one.
    pub fn others<'m>(
        &'m self,
        manager: &'m Manager,
    ) -> impl Iterator<Item = (&'m Manager, &'m FieldSet)> {
        let others = self.0.iter().filter(move |(other, _)| *other != manager);
        others.map(|(manager, share)| (manager, share.fields()))
    }

    /// Since when a manager has the latest of its fields.
    #[must_use]
    pub fn time(&self, manager: &Manager) -> Option<Timestamp> {
        self.0.get(manager)?.time.as_ref().map(|time| time.0)
    }

    /// Gives a manager these fields; none end it. Its time is `now` if they are others than before.
    pub fn set(&mut self, manager: Manager, set: FieldSet, now: Timestamp) {
        match self.0.get_mut(&manager) {
            _ if set.is_empty() => drop(self.0.remove(&manager)),
            Some(there) if *there.fields() == set => {}
            Some(there) => *there = Share::new(set, Some(Time(now))),
            None => drop(self.0.insert(manager, Share::new(set, Some(Time(now))))),
        }
    }

    /// Gives a manager fields beside those that it has, and takes others from all of its version. Its time is `now` if it has written any.
    pub(super) fn write(
        &mut self,
        manager: &Manager,
        (changed, removed): (FieldSet, &FieldSet),
        now: Timestamp,
    ) {
        self.take_from_others(manager, &changed.union(removed));
        self.take(manager, removed);
        if changed.is_empty() {
            return;
        }
        let share = self.0.entry(manager.clone()).or_default();
        share.time = Some(Time(now));
        if !changed.difference(share.fields()).is_empty() {
            share.fields_mut().extend(changed);
        }
    }

    /// Takes these fields from all others of a manager's version.
    pub(super) fn take_from_others(&mut self, manager: &Manager, fields: &FieldSet) {
        let is_other = |other: &&Manager| other.is_comparable(manager);
        let others: Vec<Manager> = self.0.keys().filter(is_other).cloned().collect();
        others.iter().for_each(|other| self.take(other, fields));
    }

    /// Takes these fields from a manager, which leaves its time as it is.
    fn take(&mut self, manager: &Manager, fields: &FieldSet) {
        let Some(share) = self.0.get_mut(manager).filter(|share| share.may_have(fields)) else {
            return;
        };
        let left = share.fields().difference(fields);
        match left.is_empty() {
            true => drop(self.0.remove(manager)),
            false => *share = Share::new(left, share.time.take()),
        }
    }

    /// Gives what one manager has to another, but for these fields, which are nobody's then.
    pub fn hand_over(&mut self, from: &Manager, to: &Manager, but: &FieldSet) {
        let Some(share) = self.0.remove(from) else { return };
        let fields = share.fields().difference(but);
        let entry = self.0.entry(to.clone());
        let entry = entry.or_insert_with(|| Share::new(FieldSet::default(), share.time));
        entry.fields_mut().extend(fields);
        if entry.fields().is_empty() {
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
            updaters.map(|(m, share)| (share.time.as_ref().map(|t| t.0), m)).collect();
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
            let Some(share) = self.0.remove(&manager) else { continue };
            let ancient = Manager {
                name: ANCIENT.to_owned(),
                applies: false,
                api_version: manager.api_version,
                subresource: String::new(),
            };
            let entry = self.0.entry(ancient).or_default();
            entry.fields_mut().extend(share.fields().clone());
            entry.time = share.time;
        }
    }
}

impl Entry {
    fn of(manager: &Manager, share: &Share) -> Self {
        Self {
            api_version: manager.api_version.clone(),
            fields_type: FIELDS_TYPE.to_owned(),
            fields_v1: share.text(),
            manager: manager.name.clone(),
            operation: if manager.applies { APPLY } else { UPDATE }.to_owned(),
            subresource: manager.subresource.clone(),
            time: share.time.clone(),
        }
    }

    fn read(self) -> Option<(Manager, Share)> {
        let manager = Manager {
            name: self.manager,
            applies: match &*self.operation {
                APPLY => true,
                UPDATE => false,
                _ => return None,
            },
            api_version: self.api_version,
            subresource: self.subresource,
        };
        let share = Share { text: Some(self.fields_v1), fields: OnceLock::new(), time: self.time };
        (self.fields_type == FIELDS_TYPE).then_some((manager, share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_fields::PathElement;

    #[test]
    fn many_fields_are_not_looked_for_one_by_one() {
        let share = Share { text: Some(FieldSet::default().to_fields_v1()), ..Share::default() };
        let may_have = |count: usize| {
            let mut below = FieldSet::default();
            (0..count).for_each(|number| below.insert(PathElement::Field(number.to_string())));
            let mut fields = FieldSet::default();
            fields.insert_below(PathElement::Field("data".to_owned()), below);
            share.may_have(&fields)
        };
        assert_eq!([1, FEW, FEW + 1].map(may_have), [false, false, true]);
    }
}
