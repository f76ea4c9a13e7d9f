//! How large values may be, as a schema says it.

use std::collections::BTreeMap;

use super::size::Size;
use crate::escaping::unescaped;

/// How large the values at a place may be, and what is within them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// As many letters of a text, elements of a list or entries of a map; of any other value none.
    pub most: u64,
    /// Of a map's keys.
    pub keys: Option<Box<Bounds>>,
    /// Of a list's elements, or a map's values.
    pub elements: Option<Box<Bounds>>,
    /// Of an object's fields.
    pub fields: BTreeMap<String, Bounds>,
    /// Of the fields beside them.
    pub other_fields: Option<Box<Bounds>>,
}

impl Bounds {
    fn field(&self, name: &str) -> Option<&Self> {
        let meant = || unescaped(name).and_then(|name| self.fields.get(&name));
        self.fields.get(name).or_else(meant).or(self.other_fields.as_deref())
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// An expression has made it.
    Nowhere,
    /// From somewhere of which this is known.
    At(Option<&'a Bounds>),
}

/// Into a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'s> {
    Field(&'s str),
    Elements,
    Keys,
    Indices,
}

impl<'a> Place<'a> {
    /// CEL takes the first step of a path for a variable's name: what is within values that an expression has made is taken
    /// for a variable of that name.
    pub(super) fn step(self, step: Step<'_>, unnamed: Option<&'a Bounds>) -> Self {
        let Self::At(at) = self else { return Self::At(unnamed) };
        Self::At(at.and_then(|at| match step {
            Step::Field(name) => at.field(name),
            Step::Elements => at.elements.as_deref(),
            Step::Keys => at.keys.as_deref(),
            Step::Indices => None,
        }))
    }

    pub(super) fn size(self) -> Option<Size> {
        match self {
            Self::At(Some(bounds)) => Some(Size::up_to(bounds.most)),
            Self::At(None) | Self::Nowhere => None,
        }
    }
}
