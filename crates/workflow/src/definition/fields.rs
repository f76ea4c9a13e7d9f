//! The members of an object, each read once; what nobody read is a fault.

use std::time::Duration;

use api_machinery::FieldPath;
use serde_json::{Map, Value};

use super::selection::Selection;
use crate::{faults::Faults, path::Path, template::Template};

/// The longest time that may be asked for, about three years.
const MAX_SECONDS: u64 = 99_999_999;

pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    pub(super) path: FieldPath,
    read: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value, path: &FieldPath, faults: &mut Faults) -> Option<Self> {
        let Value::Object(object) = value else {
            faults.invalid(path, value, "must be an object");
            return None;
        };
        Some(Self { object, path: path.clone(), read: Vec::new() })
    }

    /// Faults are told for what was not read.
    pub(super) fn end(self, whose: &str, faults: &mut Faults) {
        for name in self.object.keys().filter(|name| !self.read.contains(&name.as_str())) {
            faults.errors.forbidden(&self.path.child(name), &format!("no field of {whose}"));
        }
    }

    pub(super) fn at(&self, name: &str) -> FieldPath {
        self.path.child(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.read.push(name);
        self.object.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.object.keys()
    }

    pub(super) fn text(&mut self, name: &'static str, faults: &mut Faults) -> Option<&'a str> {
        self.typed(name, Value::as_str, "must be a string", faults)
    }

    pub(super) fn required_text(&mut self, name: &'static str, faults: &mut Faults) -> &'a str {
        if !self.object.get(name).is_some_and(|value| !value.is_null() && value != "") {
            self.read.push(name);
            faults.errors.required(&self.at(name), "");
            return "";
        }
        self.text(name, faults).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, name: &'static str, faults: &mut Faults) -> Option<bool> {
        self.typed(name, Value::as_bool, "must be true or false", faults)
    }

    pub(super) fn list(&mut self, name: &'static str, faults: &mut Faults) -> &'a [Value] {
        self.typed(name, Value::as_array, "must be a list", faults).map_or(&[], Vec::as_slice)
    }

    /// A list that has an element.
    pub(super) fn required_list(&mut self, name: &'static str, faults: &mut Faults) -> &'a [Value] {
        if self.object.get(name).is_none_or(|value| value.as_array().is_some_and(Vec::is_empty)) {
            faults.errors.required(&self.at(name), "");
        }
        self.list(name, faults)
    }

    /// A whole number of at least `least`.
    pub(super) fn count(
        &mut self,
        name: &'static str,
        least: u64,
        faults: &mut Faults,
    ) -> Option<u64> {
        let why = format!("must be a whole number of at least {least}");
        let number = |value: &Value| value.as_u64().filter(|n| (least..=MAX_SECONDS).contains(n));
        self.typed(name, number, &why, faults)
    }

    pub(super) fn seconds(
        &mut self,
        name: &'static str,
        least: u64,
        faults: &mut Faults,
    ) -> Option<Duration> {
        self.count(name, least, faults).map(Duration::from_secs)
    }

    pub(super) fn path(&mut self, name: &'static str, faults: &mut Faults) -> Option<Path> {
        let text = self.text(name, faults)?;
        Path::parse(text).map_err(|why| faults.errors.invalid(&self.at(name), text, &why)).ok()
    }

    pub(super) fn selection(&mut self, name: &'static str, faults: &mut Faults) -> Selection {
        match self.object.get(name) {
            None => Selection::All,
            Some(Value::Null) => {
                self.read.push(name);
                Selection::Nothing
            }
            Some(_) => self.path(name, faults).map_or(Selection::All, Selection::Path),
        }
    }

    pub(super) fn template(&mut self, name: &'static str, faults: &mut Faults) -> Option<Template> {
        let value = self.value(name)?;
        Some(Template::parse(value, &self.at(name), faults))
    }

    /// At most one of them may be given.
    pub(super) fn at_most_one(&self, names: &[&str], faults: &mut Faults) {
        let given: Vec<_> = names.iter().filter(|name| self.has(name)).collect();
        if let [first, second, ..] = given.as_slice() {
            let why = format!("may not be set with `{first}`");
            faults.errors.forbidden(&self.at(second), &why);
        }
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        get: impl Fn(&'a Value) -> Option<T>,
        why: &str,
        faults: &mut Faults,
    ) -> Option<T> {
        let value = self.value(name)?;
        let typed = get(value);
        if typed.is_none() {
            faults.invalid(&self.at(name), value, why);
        }
        typed
    }
}
