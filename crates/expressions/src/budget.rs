//! What an evaluation may cost. Everything that takes time or memory is paid for before it is done, so that the budget bounds
//! both (Kubernetes: `PerCallLimit`, `RuntimeCELCostBudget`).

use std::{fmt, sync::Arc};

use crate::patterns::{self, Pattern};

/// What one expression may cost.
pub const EXPRESSION_LIMIT: u64 = 1_000_000;
/// What all expressions of a policy, or of an object's schema, may cost together for a request.
pub const REQUEST_LIMIT: u64 = 10_000_000;
/// As many characters are looked at for the price of one.
const CHARACTERS: u64 = 10;
/// So that a thread's stack is enough.
const DEPTH: u32 = 400;
/// Of a pattern that nobody has had lately, and of each of its letters.
const PATTERN: u64 = 20_000;
const PATTERN_LETTER: u64 = 20;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// It costs too much. `&&` and `||` don't get round it.
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    /// Anything else, in CEL's words.
    #[error("{0}")]
    Other(String),
}

impl EvaluationError {
    /// Another reason than the cost.
    pub fn new(why: impl fmt::Display) -> Self {
        Self::Other(why.to_string())
    }
}

/// What is left to be spent.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    /// How many expressions are within each other at the moment, those of variables included.
    depth: u32,
}

impl Budget {
    /// So much.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { left: limit, depth: 0 }
    }

    /// What is left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Pays, or fails for want of it; then nothing is left.
    pub(crate) fn spend(&mut self, cost: u64) -> Result<(), EvaluationError> {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or_default();
        left.map(drop).ok_or(EvaluationError::Cost)
    }

    /// Pays for values, one each.
    pub(crate) fn spend_on(&mut self, values: usize) -> Result<(), EvaluationError> {
        self.spend(values as u64)
    }

    /// Pays for a look at text, or for a copy.
    pub(crate) fn spend_on_text(&mut self, length: usize) -> Result<(), EvaluationError> {
        self.spend((length as u64).div_ceil(CHARACTERS))
    }

    /// Takes what an expression may cost out of what all may.
    #[must_use]
    pub fn portion(&self, limit: u64) -> Self {
        Self { left: limit.min(self.left), depth: self.depth }
    }

    /// Pays for what a portion has spent.
    pub fn settle(&mut self, limit: u64, portion: &Self) {
        let given = limit.min(self.left);
        self.left -= given.saturating_sub(portion.left).min(given);
    }

    /// Into an expression, if it is not too deep within others.
    pub(crate) fn enter(&mut self) -> Result<(), EvaluationError> {
        if self.depth >= DEPTH {
            return Err(EvaluationError::Cost);
        }
        self.depth += 1;
        Ok(())
    }

    /// Out of it again.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The pattern, and the price of a search of such a text.
    pub(crate) fn pattern(
        &mut self,
        pattern: &str,
        text: &str,
    ) -> Result<Arc<Pattern>, EvaluationError> {
        self.spend_on_text(pattern.len())?;
        let pattern = match patterns::known(pattern) {
            Some(known) => known,
            None => {
                let letters = pattern.len() as u64;
                self.spend(PATTERN.saturating_add(letters.saturating_mul(PATTERN_LETTER)))?;
                patterns::compile(pattern).map_err(EvaluationError::new)?
            }
        };
        let text_cost = (text.len() as u64 + 1).div_ceil(CHARACTERS);
        self.spend(pattern.price.saturating_mul(text_cost))?;
        Ok(pattern)
    }
}
