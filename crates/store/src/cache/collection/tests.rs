//! Lists by label against a look at every object, over whatever may happen to them.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};

use super::*;

const PODS: &str = "/registry/core/pods/";

/// Labels `x=1 y=2`, or `?` for what can't be read.
#[derive(Clone, Debug, PartialEq)]
struct Labelled(String);

impl Object for Labelled {
    fn weight(&self) -> usize {
        self.0.len()
    }

    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        let words = self.0.split(' ').skip(1);
        (self.0 != "?").then(|| words.filter_map(|word| word.split_once('=')))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(String, String),
    Delete(String),
    Reload,
    /// A list that is looked at in the end, when others have written.
    Keep,
}

fn key() -> impl Strategy<Value = String> {
    let names = prop_oneof!["[ab]/[a-e]{1,3}", "b/0[0-5][0-9]{2}"];
    names.prop_map(|name| format!("{PODS}{name}"))
}

fn text() -> impl Strategy<Value = String> {
    let values = select(vec!["", " x=1", " x=2"]);
    let others = select(vec!["", " y=1", " y=1 z=1"]);
    let readable = ("[0-9]", values, others);
    prop_oneof![
        60 => readable.prop_map(|(status, x, y)| format!("{status}{x}{y}")),
        1 => Just("?".to_owned()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (key(), text()).prop_map(|(key, text)| Step::Put(key, text)),
        20 => key().prop_map(Step::Delete),
        1 => Just(Step::Reload),
        1 => Just(Step::Keep),
    ]
}

type Model = BTreeMap<String, Labelled>;

const PREFIXES: [&str; 3] = [PODS, "/registry/core/pods/a/", "/registry/core/pods/c/"];
const SELECTORS: [&[(&str, &str)]; 6] = [
    &[],
    &[("x", "1")],
    &[("x", "2")],
    &[("x", "1"), ("y", "1")],
    &[("y", "1"), ("z", "1")],
    &[("none", "1")],
];

/// What `list` gave for each prefix and selector, in the order of [`expected`].
fn listed(collection: &Collection<Labelled>) -> Vec<Listed<Labelled>> {
    let list = |(prefix, labels): (&str, &[(&str, &str)])| {
        collection.list(prefix, labels.iter().copied(), || Revision(0)).items
    };
    queries().map(list).collect()
}

fn queries() -> impl Iterator<Item = (&'static str, &'static [(&'static str, &'static str)])> {
    PREFIXES.into_iter().flat_map(|prefix| SELECTORS.into_iter().map(move |s| (prefix, s)))
}

fn has(object: &Labelled, label: (&str, &str)) -> bool {
    object.labels().is_none_or(|mut labels| labels.any(|its| its == label))
}

/// Every object has been looked at. Of several labels, a list may go by one.
fn check(lists: &[Listed<Labelled>], model: &Model) -> Result<(), TestCaseError> {
    let is_readable = model.values().all(|object| object.labels().is_some());
    for (list, (prefix, labels)) in lists.iter().zip(queries()) {
        let found: Vec<_> = list.iter().map(|item| (&*item.key, &item.object)).collect();
        prop_assert_eq!((list.len(), list.is_empty()), (found.len(), found.is_empty()));
        let below = || model.iter().filter(|(key, _)| key.starts_with(prefix));
        let by = |wanted: &[(&str, &str)]| {
            let all = below().filter(|(_, object)| wanted.iter().all(|&label| has(object, label)));
            all.map(|(key, object)| (key.as_str(), object)).collect::<Vec<_>>()
        };
        let selected = found.iter().filter(|(_, o)| labels.iter().all(|&label| has(o, label)));
        prop_assert_eq!(selected.copied().collect::<Vec<_>>(), by(labels), "{:?}", labels);
        let mut enough = labels.iter().map(|&label| by(&[label])).collect::<Vec<_>>();
        enough.push(by(&[]));
        prop_assert!(!is_readable || labels.is_empty() || enough[..labels.len()].contains(&found));
        prop_assert!(enough.contains(&found));
    }
    Ok(())
}

/// Chunks hold more than a few hundred keys only if many objects are there to begin with.
fn crowd() -> Model {
    let names = (0..600).map(|number| (format!("{PODS}b/{number:04}"), number));
    names.map(|(key, n)| (key, Labelled(format!("0 x={} w={}", n % 3, n % 100)))).collect()
}

struct Rig {
    collection: Collection<Labelled>,
    model: Model,
    revision: u64,
}

impl Rig {
    fn of(model: Model) -> Self {
        let collection = Collection::new(Revision(0), &Options::default());
        let mut rig = Self { collection, model, revision: 0 };
        rig.reload();
        rig
    }

    fn reload(&mut self) {
        let item = |(key, object): (&String, &Labelled)| item(key, self.revision, object);
        let items = self.model.iter().map(item).collect();
        self.collection.reload(items, Revision(self.revision));
    }

    fn apply(&mut self, key: &str, object: Option<Labelled>) {
        self.revision += 1;
        let new = object.as_ref().map(|object| item(key, self.revision, object));
        self.collection.apply(&key.into(), Revision(self.revision), new);
        match object {
            Some(object) => drop(self.model.insert(key.to_owned(), object)),
            None => drop(self.model.remove(key)),
        }
    }
}

fn item(key: &str, revision: u64, object: &Labelled) -> Arc<Item<Labelled>> {
    Arc::new(Item { key: key.into(), revision: Revision(revision), object: object.clone() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_list_by_labels_is_what_a_look_at_all_finds(
        crowded in any::<bool>(),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut rig = Rig::of(if crowded { crowd() } else { Model::new() });
        let mut kept = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(key, text) => rig.apply(&key, Some(Labelled(text))),
                Step::Delete(key) => rig.apply(&key, None),
                Step::Reload => rig.reload(),
                Step::Keep => kept.push((listed(&rig.collection), rig.model.clone())),
            }
            if number % 25 == 0 {
                check(&listed(&rig.collection), &rig.model)?;
            }
        }
        kept.push((listed(&rig.collection), rig.model));
        for (lists, model) in &kept {
            check(lists, model)?;
        }
    }
}

#[test]
fn what_could_not_be_read_is_mended_in_its_place() {
    let collection = Collection::new(Revision(0), &Options::default());
    let key = format!("{PODS}a/a");
    let of = |revision, text: &str| item(&key, revision, &Labelled(text.to_owned()));
    collection.apply(&key.as_str().into(), Revision(1), Some(of(1, "?")));
    assert!(!collection.mend(&of(2, "0 x=2")));
    assert!(collection.mend(&of(1, "0 x=1")));
    let list = |value| collection.list(PODS, [("x", value)].into_iter(), || Revision(1)).items;
    assert_eq!((list("1").len(), list("2").len()), (1, 0));
    assert_eq!(collection.latest(), Revision(1));
}
