//! How large something is, at least and at most: the letters of a text, the elements of a list, the entries of a map.

use crate::types::Type;

/// Of a look at a text, for each of its letters (CEL: `StringTraversalCostFactor`).
pub(super) const LETTER: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Size {
    pub(super) const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    pub(super) const ONE: Self = Self { min: 1, max: 1 };

    pub(super) fn exactly(size: u64) -> Self {
        Self { min: size, max: size }
    }

    pub(super) fn up_to(max: u64) -> Self {
        Self { min: 0, max }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Of what is either.
    pub(super) fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// Of values of a type whose size doesn't depend on the value.
    pub(super) fn of_type(type_: &Type) -> Option<Self> {
        match type_ {
            Type::Bool
            | Type::Double
            | Type::Duration
            | Type::Int
            | Type::Timestamp
            | Type::Uint => Some(Self::ONE),
            Type::Optional(of) => Self::of_type(of),
            _ => None,
        }
    }
}

/// What it costs to do something for each of so many, at most.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "as CEL does, to the unit; what is too large saturates"
)]
pub(super) fn scaled(count: u64, factor: f64) -> u64 {
    (count as f64 * factor).ceil() as u64
}

/// The sizes of what a list or a map has, as far as an expression says what that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) is_list: bool,
    pub(super) key: Size,
    pub(super) value: Size,
}

impl Entry {
    pub(super) fn of_list(value: Size) -> Self {
        Self { is_list: true, key: Size::ONE, value }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self { key: self.key.or(other.key), value: self.value.or(other.value), ..self }
    }
}

/// Of several things, what encompasses all their sizes; of none, nothing.
pub(super) fn all(sizes: impl Iterator<Item = Size>) -> Size {
    sizes.reduce(Size::or).unwrap_or(Size::up_to(0))
}
