//! The messages of Kubernetes' kinds, as `messages.txt` describes them, each knowing those of its fields.

use std::{collections::HashMap, sync::LazyLock};

/// The name of a field that its message is, instead of having it.
pub(super) const ALTERNATIVE: &str = "=";

#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: &'static str,
    /// By number: the order in which they are written.
    pub(super) fields: Vec<Field>,
    /// Whether it is one of its fields.
    pub(super) is_alternatives: bool,
    /// The fields that its JSON has, in the order in which they are written: those of messages that stand in a field's
    /// place are among them.
    pub(super) slots: Vec<Field>,
    /// The places of these, by name, whose length comes first: that is compared sooner.
    places: Vec<(&'static str, usize)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u64,
    /// Empty if the field's own fields stand in its place.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) type_: Type,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    /// Of 32 bits or 64.
    Int,
    Double,
    Text,
    /// Base64 in JSON.
    Bytes,
    Time,
    MicroTime,
    Quantity,
    Duration,
    IntOrString,
    /// A list that is a message, as maps can have no lists.
    Texts,
    /// JSON as it is.
    Raw,
    /// The place of a message among all.
    Message(usize),
}

impl Type {
    fn of(name: &str, places: &HashMap<&str, usize>) -> Self {
        match name {
            "bool" => Self::Bool,
            "int32" | "int64" => Self::Int,
            "double" => Self::Double,
            "string" => Self::Text,
            "bytes" => Self::Bytes,
            "time" => Self::Time,
            "microtime" => Self::MicroTime,
            "quantity" => Self::Quantity,
            "duration" => Self::Duration,
            "intorstring" => Self::IntOrString,
            "strings" => Self::Texts,
            "raw" => Self::Raw,
            name => Self::Message(*places.get(name).expect("every type of the table is in it")),
        }
    }
}

pub(super) static MESSAGES: LazyLock<Messages> =
    LazyLock::new(|| Messages::of(include_str!("messages.txt")));

#[derive(Debug)]
pub(super) struct Messages {
    pub(super) all: Vec<Message>,
    places: HashMap<&'static str, usize>,
}

impl Messages {
    fn of(table: &'static str) -> Self {
        let names = table.lines().filter(|line| !line.starts_with(' '));
        let places: HashMap<_, _> = names.enumerate().map(|(at, name)| (name, at)).collect();
        let mut all: Vec<Message> = Vec::with_capacity(places.len());
        for line in table.lines() {
            match (line.strip_prefix(' '), all.last_mut()) {
                (Some(line), Some(message)) => message.add(field(line, &places)),
                _ => all.push(Message::new(line)),
            }
        }
        for at in 0..all.len() {
            let slots = slots(&all, at);
            let places = &mut all[at].places;
            places.extend(slots.iter().enumerate().map(|(slot, field)| (field.name, slot)));
            places.sort_by_key(|(name, _)| (name.len(), *name));
            all[at].slots = slots;
        }
        Self { all, places }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Message> {
        self.places.get(name).map(|at| &self.all[*at])
    }
}

impl Message {
    fn new(name: &'static str) -> Self {
        let (fields, slots, places) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, fields, is_alternatives: false, slots, places }
    }

    fn add(&mut self, field: Option<Field>) {
        self.is_alternatives |= field.as_ref().is_some_and(|field| field.name == ALTERNATIVE);
        self.fields.extend(field);
    }

    pub(super) fn field(&self, number: u64) -> Option<&Field> {
        let found = self.fields.binary_search_by_key(&number, |field| field.number);
        found.ok().map(|at| &self.fields[at])
    }

    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        let wanted = (name.len(), name);
        let found = self.places.binary_search_by_key(&wanted, |(name, _)| (name.len(), *name));
        found.ok().map(|at| self.places[at].1)
    }
}

fn slots(all: &[Message], at: usize) -> Vec<Field> {
    let fields = all[at].fields.iter().flat_map(|field| match field.type_ {
        Type::Message(at) if field.name.is_empty() => slots(all, at),
        _ => vec![*field],
    });
    fields.collect()
}

fn field(line: &'static str, places: &HashMap<&str, usize>) -> Option<Field> {
    let mut words = line.split(' ');
    let (number, name, type_) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let shapes = [("*", Shape::Optional), ("[]", Shape::List), ("{}", Shape::Map)];
    let shaped = shapes.iter().find_map(|(mark, shape)| Some((*shape, type_.strip_prefix(mark)?)));
    let (shape, type_) = shaped.unwrap_or((Shape::Plain, type_));
    Some(Field { number, name: name.trim_matches('-'), shape, type_: Type::of(type_, places) })
}

/// Whether objects of this kind have a message. Those that come from data have none, whatever they are called.
pub(crate) fn is_known(api_version: &str, kind: &str) -> bool {
    own_message(api_version, kind).is_some()
}

/// The message of a kind; options are in every group.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    own_message(api_version, kind).or_else(|| MESSAGES.named(&format!("meta/v1.{kind}")))
}

fn own_message(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let short = group.split('.').next().filter(|_| is_of_kubernetes(group))?;
    let short = if short.is_empty() { "core" } else { short };
    MESSAGES.named(&format!("{short}/{version}.{kind}"))
}

/// Whether a group that begins with one of its names may be Kubernetes' own: those of others have other ends.
fn is_of_kubernetes(group: &str) -> bool {
    const OTHERS: [&str; 2] = ["flowcontrol.apiserver.k8s.io", "rbac.authorization.k8s.io"];
    match group.split_once('.') {
        None => true,
        Some((_, end)) => end == "k8s.io" || OTHERS.contains(&group),
    }
}
