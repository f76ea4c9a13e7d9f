//! What calls of functions cost besides their arguments (CEL: `checker/cost.go`, `ext`; Kubernetes: `pkg/cel/library/cost.go`).
//! A rule that was accepted once is to be accepted again: these figures are part of the API.

use super::{
    bounds::{Place, Step},
    repeat::LIST,
    size::{Entry, LETTER, Size, scaled},
};
use crate::{functions::Overload, types::Type};

/// Of the letters of a pattern (CEL: `RegexStringLengthCostFactor`).
const PATTERN: f64 = 0.25;
/// Of a question whether somebody may do something.
const QUESTION: u64 = 350_000;
/// As long as the pattern of a named format is (Kubernetes: `MaxNameFormatRegexSize`), and a format itself.
const FORMAT_PATTERN: f64 = 128.0;
const FORMAT: u64 = 64;
/// Of a comparison of elements with each other: both ways.
const COMPARED: f64 = 2.0;
/// The octets of an address.
const ADDRESS: u64 = 16;
/// As many of a selector's letters are a requirement, and what that costs.
const REQUIREMENTS: f64 = 0.5;
const REQUIREMENT: f64 = 50.0;

/// An argument, or the receiver of a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Argument<'a> {
    pub(super) type_: &'a Type,
    pub(super) known: Option<Size>,
    pub(super) place: Place<'a>,
    pub(super) entry: Option<Entry>,
    /// If it is a number that the expression says.
    pub(super) number: Option<i64>,
}

/// A call of one of a function's overloads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) overload: &'a Overload,
    pub(super) target: Option<Argument<'a>>,
    pub(super) args: &'a [Argument<'a>],
}

impl Call<'_> {
    fn takes(&self, at: usize, type_: &Type) -> bool {
        self.overload.params.get(at) == Some(type_)
    }

    fn is_of_texts(&self) -> bool {
        self.overload.params.first().is_some_and(is_text)
    }
}

/// What it costs, and how large what comes of it is, if that is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    pub(super) cost: u64,
    pub(super) size: Option<Size>,
    pub(super) entry: Option<Entry>,
}

impl Called {
    fn costs(cost: u64) -> Self {
        Self { cost, size: None, entry: None }
    }

    fn makes(cost: u64, size: Size) -> Self {
        Self { cost, size: Some(size), entry: None }
    }

    /// A list, with the call itself.
    fn makes_list(factor: f64, size: Size) -> Self {
        Self::makes(scaled(size.max, factor).saturating_add(1 + LIST), size)
    }
}

impl Argument<'_> {
    pub(super) fn size(&self) -> Size {
        self.known.unwrap_or(Size::UNKNOWN)
    }

    fn letters(&self) -> u64 {
        scaled(self.size().max, LETTER)
    }

    /// The type and size of a list's elements; none if it is not known to be one.
    fn elements(&self) -> Option<(&Type, Size)> {
        let Type::List(of) = self.type_ else { return None };
        let size = match self.place {
            Place::At(Some(_)) => self.place.step(Step::Elements, None).size(),
            Place::At(None) | Place::Nowhere => None,
        };
        Some((of, size.unwrap_or(Size::UNKNOWN)))
    }

    fn number_or(&self, other: u64) -> u64 {
        self.number.map_or(other, |number| u64::try_from(number).unwrap_or(0))
    }
}

/// Of a call.
pub(super) fn estimate(call: &Call<'_>) -> Called {
    let found = of_lists(call).or_else(|| of_library(call)).or_else(|| of_language(call));
    found.unwrap_or(Called::costs(1))
}

fn is_text(type_: &Type) -> bool {
    matches!(type_, Type::String | Type::Bytes)
}

/// CEL's extensions for lists and sets.
fn of_lists(call: &Call<'_>) -> Option<Called> {
    Some(match (call.name, call.target, call.args) {
        ("slice", Some(list), [start, end]) => {
            let count = end.number_or(list.size().max).wrapping_sub(start.number_or(0));
            Called::makes_list(1.0, Size::exactly(count))
        }
        ("lists.range", None, [count]) => {
            Called::makes_list(1.0, Size::exactly(count.number_or(u64::MAX)))
        }
        ("reverse", Some(list), []) => Called::makes_list(1.0, list.size()),
        ("flatten", Some(list), depth) => {
            let depth = depth.first().map_or(1, |depth| depth.number_or(u64::MAX));
            let cost = times(list.size().max, depth).saturating_add(1 + LIST);
            Called::makes(cost, list.size())
        }
        ("distinct", Some(list), []) => {
            Called::makes_list(COMPARED, list.size().times(list.size()))
        }
        ("sort", Some(list), []) => sorted(&list),
        ("@sortBy", Some(_), [keys]) => sorted(keys),
        ("sets.contains" | "sets.intersects", None, [a, b]) => {
            Called::costs(a.size().times(b.size()).max.saturating_add(1))
        }
        ("sets.equivalent", None, [a, b]) => {
            Called::costs(scaled(a.size().times(b.size()).max, COMPARED).saturating_add(1))
        }
        _ => return None,
    })
}

#[allow(clippy::cast_precision_loss, reason = "as CEL does, to the unit")]
fn times(count: u64, factor: u64) -> u64 {
    scaled(count, factor as f64)
}

/// By keys, which are compared with each other.
pub(super) fn sorted(keys: &Argument<'_>) -> Called {
    let of_texts = match keys.type_ {
        Type::List(of) => is_text(of) || of.is_dynamic(),
        _ => true,
    };
    let factor = if of_texts { COMPARED + LETTER } else { COMPARED };
    Called::makes_list(factor, keys.size().times(keys.size()))
}

/// Kubernetes' libraries, and what they say of CEL's functions for texts.
fn of_library(call: &Call<'_>) -> Option<Called> {
    Some(match (call.name, call.target, call.args) {
        ("check", ..) => Called::costs(QUESTION),
        ("fieldSelector" | "labelSelector", _, [selector]) => {
            let requirements = scaled(selector.size().max, REQUIREMENTS);
            let requirements = scaled(requirements, REQUIREMENT);
            Called::costs(LIST.saturating_add(selector.letters()).saturating_add(requirements))
        }
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(it), _) => {
            looked_through(&it)
        }
        ("url" | "jsonpatch.escapeKey", None, [text]) => Called::makes(text.letters(), text.size()),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
            Called::makes(text.letters(), text.size())
        }
        ("replace", Some(text), [from, to, ..]) => Called::makes(
            scaled(text.size().max, 2.0 * LETTER),
            replaced(text.size(), from.size(), to.size()),
        ),
        ("split", Some(text), args) => {
            let most = args.get(1).and_then(|most| most.number);
            // As CEL has it: a number that says "all" is an endless list.
            let most = most.map_or(text.size().max, i64::cast_unsigned);
            Called::makes(scaled(text.size().max, 2.0 * LETTER), Size::up_to(most))
        }
        ("join", Some(list), args) => {
            let size = joined(&list, args.first());
            Called::makes(scaled(size.max, LETTER), size)
        }
        ("find" | "findAll", Some(text), [pattern, ..]) => {
            Called::makes(searched(&text, pattern), Size::up_to(text.size().max))
        }
        (
            "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver",
            None,
            [text, ..],
        )
        | ("ip", None, [text]) => Called::costs(text.letters()),
        ("ip.isCanonical", None, [text]) => Called::costs(scaled(text.size().max, 2.0 * LETTER)),
        ("containsIP" | "containsCIDR", Some(_), [other]) => {
            let letters = if call.takes(1, &Type::String) { other.letters() } else { 0 };
            within(call.name, letters)
        }
        ("validate", Some(_), [text]) => {
            Called::costs(scaled(text.letters(), FORMAT_PATTERN * PATTERN))
        }
        ("_==_", None, [a, b]) if a.type_ == b.type_ => return same(a.type_, b.known),
        _ => return None,
    })
}

/// Each element is compared with another one.
fn looked_through(it: &Argument<'_>) -> Called {
    let Some((type_, size)) = it.elements() else { return Called::costs(it.letters()) };
    let letters = if is_text(type_) { scaled(size.max, LETTER) } else { 0 };
    Called::costs(it.size().max.saturating_mul(letters.saturating_add(1)))
}

/// How large a text is in which others stand in some places.
fn replaced(text: Size, from: Size, to: Size) -> Size {
    let side = |text: u64, from: u64, to: u64, is_kept: bool| match from {
        // It comes between all letters.
        0 => text.saturating_add(1).saturating_mul(to).saturating_add(text),
        _ if is_kept => text,
        from => share(text, from).saturating_mul(to),
    };
    Size {
        min: side(text.min, from.max, to.min, from.max <= to.min),
        max: side(text.max, from.min, to.max, to.max <= from.min),
    }
}

#[allow(clippy::cast_precision_loss, reason = "as CEL does, to the unit")]
fn share(count: u64, of: u64) -> u64 {
    scaled(1, count as f64 / of as f64)
}

fn joined(list: &Argument<'_>, separator: Option<&Argument<'_>>) -> Size {
    let texts = list.elements().map_or(Size::up_to(0), |(_, size)| list.size().times(size));
    let gaps =
        Size { min: list.size().min.saturating_sub(1), max: list.size().max.saturating_sub(1) };
    separator.map_or(texts, |it| texts.plus(it.size().times(gaps)))
}

/// The letter more is there so that an empty text is not free, whatever the pattern.
fn searched(text: &Argument<'_>, pattern: &Argument<'_>) -> u64 {
    let text = scaled(text.size().max.saturating_add(1), LETTER);
    text.saturating_mul(scaled(pattern.size().max, PATTERN))
}

/// Whether an address, or a range, is of a range: octets are compared, and those of a range masked before.
fn within(name: &str, letters: u64) -> Called {
    let mut cost = scaled(2 * ADDRESS, LETTER);
    if name == "containsCIDR" {
        cost += scaled(ADDRESS, LETTER) + 1;
    }
    Called::costs(cost.saturating_add(letters))
}

/// Whether two values of a library's type are the same.
fn same(type_: &Type, size: Option<Size>) -> Option<Called> {
    let Type::Named(name) = type_ else { return None };
    Some(Called::costs(match &**name {
        "kubernetes.NamedFormat" => scaled(FORMAT, LETTER),
        "kubernetes.URL" => scaled(size.map_or(1, |size| size.max), LETTER),
        "net.IP" | "net.CIDR" | "kubernetes.Quantity" | "kubernetes.Semver" => 1,
        name if name.starts_with("kubernetes.authorization.") => 1,
        _ => return None,
    }))
}

/// CEL's own functions, as far as they cost more than a call.
fn of_language(call: &Call<'_>) -> Option<Called> {
    Some(match (call.name, call.target, call.args) {
        ("format", Some(text), _) => Called::costs(text.letters()),
        ("bytes", None, [text]) if call.takes(0, &Type::String) => Called::makes(
            text.letters(),
            Size { max: text.size().max.saturating_mul(4), ..text.size() },
        ),
        ("string", None, [octets]) if call.takes(0, &Type::Bytes) => {
            Called::makes(octets.letters(), Size { min: octets.size().min / 4, ..octets.size() })
        }
        ("strings.quote", None, [text]) => Called::makes(
            text.letters(),
            text.size().plus(Size { max: text.size().max, min: 0 }).plus(Size::exactly(2)),
        ),
        ("startsWith" | "endsWith", Some(_), [text]) => Called::costs(text.letters()),
        ("@in", None, [_, list]) if matches!(call.overload.params.get(1), Some(Type::List(_))) => {
            Called::costs(list.size().max)
        }
        ("matches", Some(text), [pattern]) => Called::costs(searched(&text, pattern)),
        ("contains", Some(text), [part]) => {
            Called::costs(text.letters().saturating_mul(part.letters()))
        }
        ("_+_", None, [a, b]) => return added(a, b, call),
        ("_<_" | "_<=_" | "_>_" | "_>=_", None, [a, b]) if call.is_of_texts() => compared(a, b),
        ("_==_" | "_!=_", None, [a, b]) => compared(a, b),
        _ => return None,
    })
}

fn added(a: &Argument<'_>, b: &Argument<'_>, call: &Call<'_>) -> Option<Called> {
    let size = a.size().plus(b.size());
    let cost = match call.overload.params.first() {
        Some(Type::List(_)) => 1,
        Some(type_) if is_text(type_) => scaled(size.max, LETTER),
        _ => return None,
    };
    let entry = a.entry.zip(b.entry).map(|(a, b)| a.or(b));
    Some(Called { cost, size: Some(size), entry })
}

/// As far as the shorter one goes.
fn compared(a: &Argument<'_>, b: &Argument<'_>) -> Called {
    Called::costs(scaled(a.size().max.min(b.size().max), LETTER))
}
