//! Regular expressions, which are searched for in linear time and can't grow beyond a limit. Those of late are kept.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// As long as a pattern may be: each letter of it may stand for many.
const LONGEST: usize = 10_000;
/// As large as a pattern may become. One `\w` takes a tenth of that, as it knows the letters of all languages.
const SIZE: usize = 512 << 10;
/// What a search may remember, for each thread.
const MEMORY: usize = 256 << 10;
/// As often as something may be repeated, by repeats within repeats together (RE2: `maxRepeat`).
const REPEATS: u32 = 1_000;
/// As many places of a pattern cost one for each look.
const PLACES: u64 = 4;
/// Places for a letter that need not be ASCII.
const OCTETS: u64 = 4;
const KEPT: usize = 128;

static LATELY: LazyLock<Mutex<HashMap<String, Arc<Pattern>>>> = LazyLock::new(Mutex::default);

/// One that was compiled.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// Of a look at a few letters of a text: a search may be at all its places at once.
    pub(crate) price: u64,
}

/// One that was compiled lately.
pub(crate) fn known(pattern: &str) -> Option<Arc<Pattern>> {
    LATELY.lock().get(pattern).cloned()
}

/// Compiles one, and keeps it.
pub(crate) fn compile(pattern: &str) -> Result<Arc<Pattern>, String> {
    let compiled = Pattern::compile(pattern);
    let compiled = Arc::new(compiled.map_err(|why| format!("error parsing regexp: {why}"))?);
    let mut lately = LATELY.lock();
    if lately.len() >= KEPT {
        lately.clear();
    }
    lately.insert(pattern.to_owned(), compiled.clone());
    Ok(compiled)
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > LONGEST {
            return Err(format!("longer than {LONGEST} letters"));
        }
        let read = regex_syntax::parse(pattern).map_err(|error| error.to_string())?;
        let places = places(&read, REPEATS).ok_or("invalid repeat count")?;
        let mut builder = RegexBuilder::new(pattern);
        let built = builder.size_limit(SIZE).dfa_size_limit(MEMORY).build();
        let regex = built.map_err(|error| error.to_string())?;
        let price = places.max(pattern.len() as u64).div_ceil(PLACES);
        Ok(Self { regex, price })
    }
}

/// How many places a pattern has when its repeats are written out, unless there are too many of these.
fn places(pattern: &Hir, repeats: u32) -> Option<u64> {
    match pattern.kind() {
        HirKind::Empty => Some(0),
        HirKind::Look(_) => Some(1),
        HirKind::Literal(literal) => Some(literal.0.len() as u64),
        HirKind::Class(class) if class.maximum_len() == Some(1) => Some(1),
        HirKind::Class(_) => Some(OCTETS),
        HirKind::Capture(capture) => places(&capture.sub, repeats),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(|part| places(part, repeats)).sum()
        }
        HirKind::Repetition(it) => {
            let times = it.max.unwrap_or(it.min).max(1);
            let left = Some(repeats / times).filter(|left| *left > 0)?;
            Some(places(&it.sub, left)?.saturating_mul(u64::from(times)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: Result<u64, &str>) {
        let compiled = Pattern::compile(pattern).map(|it| it.price);
        assert_eq!(compiled, expected.map_err(str::to_owned), "{pattern}");
    }

    #[test]
    fn a_pattern_costs_what_its_repeats_come_to() {
        check("^[a-z0-9-]+$", Ok(3));
        check("abcdefgh", Ok(2));
        check("[a-z]{400}", Ok(100));
        check("([ab]{10}c){20}", Ok(55));
        check("(a|b|.)?", Ok(2));
    }

    #[test]
    fn repeats_have_a_limit_within_each_other_too() {
        check("a{1000}", Ok(250));
        check("a{1001}", Err("invalid repeat count"));
        check("a{1001,}", Err("invalid repeat count"));
        check("(a{100}b){10}", Ok(253));
        check("((a{100}b){10}c){2}", Err("invalid repeat count"));
        check(&"a".repeat(10_001), Err("longer than 10000 letters"));
    }
}
