//! The messages of Kubernetes' kinds, as `messages.txt` describes them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

/// The name of a field that its message is, instead of having it.
pub(super) const ALTERNATIVE: &str = "=";

/// The fields of a message by number: the order in which they are written.
pub(super) type Fields = BTreeMap<u64, Field>;

#[derive(Debug)]
pub(super) struct Field {
    /// Empty if the field's own fields stand in its place.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) type_: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Left out of JSON when zero.
    Plain,
    /// There if sent, even if zero.
    Optional,
    List,
    Map,
}

pub(super) static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&str, Fields> = HashMap::new();
    let mut current = "";
    for line in include_str!("messages.txt").lines() {
        if let Some((number, field)) = line.strip_prefix(' ').and_then(field) {
            messages.entry(current).or_default().insert(number, field);
        } else {
            current = line;
            // Some have no fields.
            messages.entry(current).or_default();
        }
    }
    messages
});

fn field(line: &'static str) -> Option<(u64, Field)> {
    let mut words = line.split(' ');
    let (number, name, type_) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let shapes = [("*", Shape::Optional), ("[]", Shape::List), ("{}", Shape::Map)];
    let shaped = shapes.iter().find_map(|(mark, shape)| Some((*shape, type_.strip_prefix(mark)?)));
    let (shape, type_) = shaped.unwrap_or((Shape::Plain, type_));
    Some((number, Field { name: name.trim_matches('-'), shape, type_ }))
}

/// Whether objects of this kind have a message. Those that come from data have none, whatever they are called.
pub(crate) fn is_known(api_version: &str, kind: &str) -> bool {
    own_message(api_version, kind).is_some()
}

/// The message of a kind; options are in every group.
pub(super) fn message_name(api_version: &str, kind: &str) -> Option<&'static str> {
    own_message(api_version, kind).or_else(|| known(&format!("meta/v1.{kind}")))
}

fn own_message(api_version: &str, kind: &str) -> Option<&'static str> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let short = group.split('.').next().filter(|_| is_of_kubernetes(group))?;
    known(&format!("{}/{version}.{kind}", if short.is_empty() { "core" } else { short }))
}

fn known(name: &str) -> Option<&'static str> {
    MESSAGES.get_key_value(name).map(|(name, _)| *name)
}

/// Whether a group that begins with one of its names may be Kubernetes' own: those of others have other ends.
fn is_of_kubernetes(group: &str) -> bool {
    const OTHERS: [&str; 2] = ["flowcontrol.apiserver.k8s.io", "rbac.authorization.k8s.io"];
    match group.split_once('.') {
        None => true,
        Some((_, end)) => end == "k8s.io" || OTHERS.contains(&group),
    }
}
