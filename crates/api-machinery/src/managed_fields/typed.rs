//! What is done with values of known shapes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use serde_json::{Map, Value};

use super::{
    field_set::{FieldSet, PathElement},
    shape::{Kind, Shape},
};

/// Why a value can't be a configuration of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Misfit {
    /// Where: `.spec.containers[name="web"].imag`.
    pub path: String,
    /// What is wrong there.
    pub why: String,
}

impl Misfit {
    fn new(why: impl Into<String>) -> Self {
        Self { path: String::new(), why: why.into() }
    }

    fn below(self, element: &PathElement) -> Self {
        Self { path: format!("{element}{}", self.path), ..self }
    }
}

/// Fails if the value has what its kind doesn't, or elements of lists that can't be told apart.
///
/// # Errors
/// The first such place.
pub fn check(value: &Value, shape: Shape<'_>) -> Result<(), Misfit> {
    match value {
        _ if shape.is_whole(value) => Ok(()),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let element = PathElement::Field(name.clone());
            let checked = match shape.lacks(name) {
                true => Err(Misfit::new("field not declared in schema")),
                false => check(field, shape.of(&element)),
            };
            checked.map_err(|misfit| misfit.below(&element))
        }),
        Value::Array(list) => {
            let mut seen = HashSet::new();
            list.iter().enumerate().try_for_each(|(at, item)| {
                let element = shape.element(item).ok_or_else(|| {
                    let key = first_key(shape);
                    Misfit::new(format!("element {at}: associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"))
                })?;
                check(item, shape.of(&element)).map_err(|misfit| misfit.below(&element))?;
                match seen.insert(element.clone()) {
                    true => Ok(()),
                    false => Err(Misfit::new(format!("duplicate entries for key {element}"))),
                }
            })
        }
        _ => Ok(()),
    }
}

fn first_key(shape: Shape<'_>) -> String {
    match shape.kind() {
        Kind::List(keys, _) => keys.first().map(|key| key.name.clone()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The steps below a value that is not owned as a whole, each with what is there. Of elements that can't be told apart
/// only the first counts.
fn steps<'v>(value: &'v Value, shape: Shape<'_>) -> BTreeMap<PathElement, &'v Value> {
    let mut steps = BTreeMap::new();
    match value {
        Value::Object(fields) => {
            let field = |(name, field)| (PathElement::Field(String::clone(name)), field);
            steps.extend(fields.iter().map(field));
        }
        Value::Array(list) => {
            for (element, item) in list.iter().filter_map(|item| Some((shape.element(item)?, item)))
            {
                steps.entry(element).or_insert(item);
            }
        }
        _ => {}
    }
    steps
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// The fields that a configuration speaks of.
#[must_use]
pub fn set_of(value: &Value, shape: Shape<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    for (element, inner) in steps(value, shape) {
        let below = shape.of(&element);
        // Of a structure's fields those that have nothing below; keys of maps and elements of lists always.
        let is_named = matches!(&element, PathElement::Field(name) if shape.names(name));
        if below.is_whole(inner) || !is_named || is_empty(inner) {
            set.insert(element.clone());
        }
        if !below.is_whole(inner) {
            set.insert_below(element, set_of(inner, below));
        }
    }
    set
}

/// A set with the fields of structures that only have members below them: who owns `spec.replicas` owns `spec`, too, as
/// far as removal is concerned, but who owns one label does not own `labels`.
pub(super) fn with_named_fields(set: &FieldSet, shape: Shape<'_>) -> FieldSet {
    let mut all = set.clone();
    for (element, below) in set.children() {
        if matches!(element, PathElement::Field(name) if shape.names(name)) {
            all.insert(element.clone());
        }
        all.insert_below(element.clone(), with_named_fields(below, shape.of(element)));
    }
    all
}

/// The fields in which two values differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Only the second has them.
    pub added: FieldSet,
    /// Both have them, otherwise.
    pub modified: FieldSet,
    /// Only the first has them.
    pub removed: FieldSet,
}

impl Comparison {
    /// What the second value says that the first doesn't.
    #[must_use]
    pub fn changed(&self) -> FieldSet {
        self.added.union(&self.modified)
    }

    fn note(&mut self, element: &PathElement, old: Option<&Value>, new: Option<&Value>) {
        let set = match (old, new) {
            (None, _) => &mut self.added,
            (_, None) => &mut self.removed,
            _ => &mut self.modified,
        };
        set.insert(element.clone());
    }

    fn note_below(&mut self, element: &PathElement, below: Self) {
        self.added.insert_below(element.clone(), below.added);
        self.modified.insert_below(element.clone(), below.modified);
        self.removed.insert_below(element.clone(), below.removed);
    }
}

/// Compares two values of a shape.
#[must_use]
pub fn compare(old: &Value, new: &Value, shape: Shape<'_>) -> Comparison {
    let there = |value: &Value| value.is_object().then_some(&*EMPTY);
    let empty = [there(old), there(new)];
    // What is null in a new value is said; in an old one it is nothing.
    let (mut old, new) = (steps(old, shape), steps(new, shape));
    old.retain(|_, inner| !inner.is_null());
    let mut comparison = Comparison::default();
    for element in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let is_part = matches!(element, PathElement::Field(name) if shape.contains(name));
        let or_empty = |value: Option<_>, at: usize| value.or(empty[at].filter(|_| is_part));
        let old = or_empty(old.get(element).copied(), 0);
        let new = or_empty(new.get(element).copied(), 1);
        compare_below(&mut comparison, element, (old, new), shape.of(element));
    }
    comparison
}

/// A structure of which nothing is said.
static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

fn compare_below(
    comparison: &mut Comparison,
    element: &PathElement,
    (old, new): (Option<&Value>, Option<&Value>),
    shape: Shape<'_>,
) {
    if old == new {
        return;
    }
    let is_whole = |value: Option<&Value>| value.is_some_and(|v| shape.is_whole(v));
    let are_empty = old.is_none_or(is_empty) && new.is_none_or(is_empty);
    if is_whole(old) || is_whole(new) || are_empty || old.is_none() || new.is_none() {
        comparison.note(element, old, new);
    }
    if !is_whole(old) && !is_whole(new) {
        let [old, new] = [old, new].map(|value| value.unwrap_or(&Value::Null));
        comparison.note_below(element, compare(old, new, shape));
    }
}

/// What a value is with a configuration laid over it.
#[must_use]
pub fn merge(live: &Value, config: &Value, shape: Shape<'_>) -> Value {
    if shape.is_whole(live) || shape.is_whole(config) {
        return config.clone();
    }
    match (live, config) {
        (Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, given) in config {
                let below = shape.of(&PathElement::Field(name.clone()));
                match merged.get_mut(name) {
                    // It says nothing of what others have below.
                    Some(there)
                        if given.is_null() && !below.is_whole(there) && !is_empty(there) => {}
                    Some(there) => *there = merge(there, given, below),
                    None => drop(merged.insert(name.clone(), given.clone())),
                }
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(config)) => {
            Value::Array(merge_lists(live, config, shape))
        }
        _ => config.clone(),
    }
}

/// In the configuration's order; what only the live list has stays before what it was before (Kubernetes:
/// `mergeListItems`).
fn merge_lists(live: &[Value], config: &[Value], shape: Shape<'_>) -> Vec<Value> {
    let named = |list: &[Value]| list.iter().map(|item| shape.element(item)).collect::<Vec<_>>();
    let (live_names, config_names) = (named(live), named(config));
    let (of_live, of_config) = (positions(&live_names), positions(&config_names));
    let mut shared = config_names.iter().flatten().filter(|n| of_live.contains_key(n)).peekable();
    let (mut lives, mut configs, mut merged) = (0, 0, Vec::new());
    loop {
        match (live_names.get(lives), config_names.get(configs)) {
            (None, None) => return merged,
            (Some(name), _) if name.as_ref().is_none_or(|name| !of_config.contains_key(name)) => {
                merged.push(live[lives].clone());
                lives += 1;
            }
            // It comes, or came, where the configuration has it.
            (Some(Some(name)), given)
                if shared.peek() != Some(&name) && given != Some(&Some(name.clone())) =>
            {
                lives += 1
            }
            (at, Some(name)) => {
                let there = name.as_ref().and_then(|name| of_live.get(name)).map(|at| &live[*at]);
                let given = &config[configs];
                merged.push(match (there, name) {
                    (Some(there), Some(element)) => merge(there, given, shape.of(element)),
                    _ => given.clone(),
                });
                lives += usize::from(at == Some(name));
                shared.next_if(|next| Some(*next) == name.as_ref());
                configs += 1;
            }
            (Some(_), None) => lives += 1,
        }
    }
}

/// Where each element is first.
fn positions(names: &[Option<PathElement>]) -> HashMap<&PathElement, usize> {
    let named = names.iter().enumerate().rev();
    named.filter_map(|(at, name)| Some((name.as_ref()?, at))).collect()
}

/// A value without the fields of a set. What becomes empty by that stays, empty.
#[must_use]
pub fn without(value: &Value, set: &FieldSet, shape: Shape<'_>) -> Value {
    let left = |element: &PathElement, inner: &Value| {
        if set.has(element) {
            return None;
        }
        match set.below(element) {
            Some(below) => Some(without(inner, below, shape.of(element))),
            None => Some(inner.clone()),
        }
    };
    match value {
        _ if shape.is_whole(value) => value.clone(),
        Value::Object(fields) => {
            let left = fields.iter().filter_map(|(name, field)| {
                Some((name.clone(), left(&PathElement::Field(name.clone()), field)?))
            });
            Value::Object(left.collect())
        }
        Value::Array(list) => {
            let left = list.iter().filter_map(|item| match shape.element(item) {
                Some(element) => left(&element, item),
                None => Some(item.clone()),
            });
            Value::Array(left.collect())
        }
        other => other.clone(),
    }
}
