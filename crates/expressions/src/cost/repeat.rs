//! What macros cost that do something for each element: as the loops that CEL makes of them, which cost for each turn what
//! they do to the result so far.

use super::size::{Entry, Size};
use crate::syntax::MacroKind;

/// Of a list and of a map that are made.
pub(super) const LIST: u64 = 10;
pub(super) const MAP: u64 = 30;
/// Of a call, of a variable.
const ONE: u64 = 1;

/// What is known of a loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loop {
    pub(super) kind: MacroKind,
    /// How many turns there are.
    pub(super) turns: Size,
    /// What comes of a turn, or of an element if that is what is kept.
    pub(super) result: Size,
    /// What a turn costs: of a condition, and of what it makes.
    pub(super) condition: u64,
    pub(super) made: u64,
}

/// What comes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    pub(super) cost: u64,
    pub(super) size: Size,
    pub(super) entry: Option<Entry>,
}

impl Loop {
    pub(super) fn estimate(&self) -> Repeated {
        // `so far + [made]`, `so far with made`
        let (list, entry) = (ONE + LIST + ONE, Entry::of_list(Size::up_to(self.result.max)));
        let (around, turn, size, entry) = match self.kind {
            // As long as the result so far is not false: `so far && condition`.
            MacroKind::All => (ONE, 2 + ONE, Size::ONE, None),
            MacroKind::Exists => (ONE, 3 + ONE, Size::ONE, None),
            // `condition ? so far + 1 : so far`, and at last whether that is one.
            MacroKind::ExistsOne => (2, 2, Size::ONE, None),
            MacroKind::Filter => (LIST + ONE, list + ONE, self.turns, Some(entry)),
            MacroKind::TransformMap => (MAP + ONE, 3, self.turns, None),
            MacroKind::TransformMapEntry => (MAP + ONE, 2, self.turns, None),
            _ => (LIST + ONE, list, self.turns, Some(entry)),
        };
        let turn = self.condition.saturating_add(self.made).saturating_add(turn);
        let cost = self.turns.max.saturating_mul(turn).saturating_add(around);
        Repeated { cost, size, entry }
    }
}
