//! What an expression may cost at most, before there is a value to evaluate it over: by how large a schema lets values be
//! (CEL: `checker/cost.go`). Where CEL is odd so is this, as rules that Kubernetes takes are to be taken.

mod bounds;
mod calls;
mod repeat;
mod size;

use std::sync::Arc;

pub use bounds::Bounds;

use self::{
    bounds::{Place, Step},
    calls::{Argument, Call},
    repeat::{LIST, Loop, MAP, Repeated},
    size::{Entry, Size, all},
};
use crate::{
    syntax::{Expr, Macro, MacroKind, Node},
    types::Type,
    value::Value,
};

/// Of an object that is made.
const STRUCT: u64 = 40;

/// What an expression costs at most, over values of these bounds.
pub(crate) fn estimate(node: &Node, variables: &Bounds, unnamed: Option<&Bounds>) -> u64 {
    Estimation { variables, unnamed, scope: Vec::new() }.node(node).cost
}

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
struct Estimate<'a> {
    cost: u64,
    size: Option<Size>,
    place: Place<'a>,
    entry: Option<Entry>,
}

/// A variable of a macro.
#[derive(Clone, Copy, Debug)]
struct Local<'a> {
    place: Place<'a>,
    size: Option<Size>,
    entry: Option<Entry>,
}

struct Estimation<'a> {
    variables: &'a Bounds,
    unnamed: Option<&'a Bounds>,
    /// Of macros, the innermost last.
    scope: Vec<(Arc<str>, Local<'a>)>,
}

impl Estimate<'_> {
    fn size(&self) -> Size {
        self.size.unwrap_or(Size::UNKNOWN)
    }
}

impl<'a> Estimation<'a> {
    fn node(&mut self, node: &Node) -> Estimate<'a> {
        let type_ = &node.type_;
        match &node.expr {
            // The name of a type is a variable to CEL.
            Expr::Literal(Value::Type(_)) => self.at(1, Place::At(self.unnamed), type_),
            Expr::Literal(value) => Estimate { size: of_literal(value), ..made(0, type_) },
            Expr::Ident(name) => self.ident(name, type_),
            Expr::Select { of, is_optional: true, .. } => {
                let of = self.node(of);
                made(of.cost.saturating_add(1), type_)
            }
            Expr::Select { of, field, .. } => {
                let cost = u64::from(matches!(
                    of.type_,
                    Type::Map(..) | Type::Object(_) | Type::Named(_) | Type::Param(_)
                ));
                let of = self.node(of);
                let place = of.place.step(Step::Field(field), self.unnamed);
                self.at(of.cost.saturating_add(cost), place, type_)
            }
            Expr::Has { of, .. } => {
                let of = self.node(of);
                made(of.cost, type_)
            }
            Expr::Index { of, key, is_optional } => self.index((of, key), *is_optional, type_),
            Expr::And(both) | Expr::Or(both) => {
                let [a, b] = both.each_ref().map(|side| self.node(side).cost);
                made(a.saturating_add(b), type_)
            }
            Expr::Conditional(parts) => {
                let [condition, yes, no] = parts.each_ref().map(|part| self.node(part));
                let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
                let entry = yes.entry.zip(no.entry).map(|(yes, no)| yes.or(no));
                let size = Some(yes.size().or(no.size()));
                Estimate { size, entry, ..made(cost, type_) }
            }
            Expr::List(elements) => {
                let elements: Vec<_> = elements.iter().map(|(it, _)| self.node(it)).collect();
                let entry = Some(Entry::of_list(all(elements.iter().map(Estimate::size))));
                let size = Some(Size::exactly(elements.len() as u64));
                Estimate { size, entry, ..made(sum(LIST, &elements), type_) }
            }
            Expr::Map(entries) => self.map(entries, type_),
            Expr::Struct { fields, .. } => {
                let fields: Vec<_> = fields.iter().map(|(_, it, _)| self.node(it)).collect();
                made(sum(STRUCT, &fields), type_)
            }
            Expr::Macro(it) => self.macro_(it, type_),
            Expr::Bind { name, value, body } => made(self.bind(name, value, body), type_),
            Expr::Call { name, is_member, args, .. } if name == "dyn" && !is_member => {
                let it = args.first().map_or(made(0, type_), |arg| self.node(arg));
                Estimate { cost: it.cost.saturating_add(1), place: Place::Nowhere, ..it }
            }
            Expr::Call { .. } => self.call(node),
        }
    }

    /// Of a value from somewhere.
    fn at(&self, cost: u64, place: Place<'a>, type_: &Type) -> Estimate<'a> {
        let size = place.size().or_else(|| Size::of_type(type_));
        Estimate { cost, size, place, entry: None }
    }

    fn ident(&self, name: &str, type_: &Type) -> Estimate<'a> {
        let local = self.scope.iter().rev().find(|(bound, _)| **bound == *name);
        let Some((_, local)) = local else {
            return self.at(1, Place::At(Some(self.variables)), type_);
        };
        let found = self.at(1, local.place, type_);
        Estimate { size: found.size.or(local.size), entry: local.entry, ..found }
    }

    fn index(
        &mut self,
        (of, key): (&Node, &Node),
        is_optional: bool,
        type_: &Type,
    ) -> Estimate<'a> {
        let is_known = !is_optional && !matches!(of.type_, Type::Optional(_));
        let (of, key) = (self.node(of), self.node(key));
        let cost = of.cost.saturating_add(key.cost).saturating_add(1);
        if !is_known {
            return made(cost, type_);
        }
        let found = self.at(cost, of.place.step(Step::Elements, self.unnamed), type_);
        Estimate { size: of.entry.map(|entry| entry.value).or(found.size), ..found }
    }

    fn map(&mut self, entries: &[(Node, Node, bool)], type_: &Type) -> Estimate<'a> {
        let keys: Vec<_> = entries.iter().map(|(key, ..)| self.node(key)).collect();
        let values: Vec<_> = entries.iter().map(|(_, value, _)| self.node(value)).collect();
        let entry = Entry {
            is_list: false,
            key: all(keys.iter().map(Estimate::size)),
            value: all(values.iter().map(Estimate::size)),
        };
        let size = Some(Size::exactly(entries.len() as u64));
        let cost = sum(sum(MAP, &keys), &values);
        Estimate { size, entry: Some(entry), ..made(cost, type_) }
    }

    /// What any of the overloads that may be meant costs.
    fn call(&mut self, node: &Node) -> Estimate<'a> {
        let Expr::Call { name, is_member, args, overloads } = &node.expr else {
            return made(0, &node.type_);
        };
        let found: Vec<_> = args.iter().map(|arg| self.node(arg)).collect();
        let known: Vec<_> = args.iter().zip(&found).map(argument).collect();
        let (target, args) = match known.split_first() {
            Some((target, args)) if *is_member => (Some(*target), args),
            _ => (None, known.as_slice()),
        };
        let (mut cost, mut size, mut entry) = (0, None::<Size>, None);
        for overload in overloads {
            let called = calls::estimate(&Call { name, overload, target, args });
            cost = cost.max(called.cost);
            size = match (size, called.size) {
                (Some(before), Some(now)) => Some(before.or(now)),
                (before, now) => before.or(now).or_else(|| Size::of_type(&node.type_)),
            };
            entry = called.entry.or(entry);
        }
        Estimate { size, entry, ..made(sum(cost, &found), &node.type_) }
    }

    /// To CEL it is a loop over an empty list.
    fn bind(&mut self, name: &Arc<str>, value: &Node, body: &Node) -> u64 {
        let it = self.node(value);
        let local = Local { place: it.place, size: it.size, entry: it.entry };
        self.scope.push((name.clone(), local));
        let body = self.node(body);
        self.scope.pop();
        sum(LIST, &[it, body])
    }

    fn macro_(&mut self, it: &Macro, type_: &Type) -> Estimate<'a> {
        let over = self.node(&it.over);
        match it.kind {
            MacroKind::OptMap | MacroKind::OptFlatMap => self.optional(it, over, type_),
            MacroKind::SortBy => self.sort_by(it, over, type_),
            kind => {
                let (repeated, _) = self.repeat(it, kind, &over);
                let cost = over.cost.saturating_add(repeated.cost);
                Estimate { size: Some(repeated.size), entry: repeated.entry, ..made(cost, type_) }
            }
        }
    }

    /// The turns of a loop, and the type of what each makes.
    fn repeat<'n>(
        &mut self,
        it: &'n Macro,
        kind: MacroKind,
        over: &Estimate<'a>,
    ) -> (Repeated, Option<&'n Type>) {
        let depth = self.scope.len();
        self.enter(it, over);
        let body: Vec<_> = it.body.iter().map(|part| self.node(part)).collect();
        // An element that is kept costs what a variable does, which the loop knows.
        let kept = match kind {
            MacroKind::Filter => self.scope.get(depth).map(|(_, kept)| *kept),
            _ => None,
        };
        self.scope.truncate(depth);
        let is_test = matches!(
            kind,
            MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne | MacroKind::Filter
        );
        let made = body.last().filter(|_| !is_test);
        let conditions = &body[..body.len() - usize::from(made.is_some())];
        let result = match kept {
            Some(local) => local.place.size().or(local.size).unwrap_or(Size::UNKNOWN),
            None => made.map_or(Size::UNKNOWN, Estimate::size),
        };
        let turns = Loop {
            kind,
            turns: over.size(),
            result,
            condition: sum(0, conditions),
            made: made.map_or(0, |made| made.cost),
        };
        (turns.estimate(), it.body.last().map(|part| &part.type_))
    }

    /// What a macro's variables are.
    fn enter(&mut self, it: &Macro, over: &Estimate<'a>) {
        let is_list = match over.entry {
            Some(entry) => entry.is_list,
            None => matches!(it.over.type_, Type::List(_)),
        };
        let value = Local {
            place: over.place.step(Step::Elements, self.unnamed),
            size: over.entry.map(|entry| entry.value),
            entry: None,
        };
        let step = if is_list { Step::Indices } else { Step::Keys };
        let key = Local {
            place: over.place.step(step, self.unnamed),
            size: over.entry.map(|entry| entry.key),
            entry: None,
        };
        let first = if is_list && it.second.is_none() { value } else { key };
        self.scope.push((it.variable.clone(), first));
        self.scope.extend(it.second.iter().map(|name| (name.clone(), value)));
    }

    /// `x.hasValue() ? optional.of(made of x.value()) : optional.none()`.
    fn optional(&mut self, it: &Macro, over: Estimate<'a>, type_: &Type) -> Estimate<'a> {
        let inner = if let Type::Optional(of) = &it.over.type_ { of } else { &Type::Dyn };
        let local = Local { place: Place::Nowhere, size: Size::of_type(inner), entry: None };
        self.scope.push((it.variable.clone(), local));
        let body: Vec<_> = it.body.iter().map(|part| self.node(part)).collect();
        self.scope.pop();
        let is_flat = it.kind == MacroKind::OptFlatMap;
        let around = 1 + LIST + 1 + u64::from(!is_flat);
        let cost = sum(around, &body).saturating_add(over.cost.saturating_mul(2));
        let none = Size::of_type(type_).unwrap_or(Size::UNKNOWN);
        let size = match body.last() {
            Some(made) if is_flat => made.size().or(none),
            _ => none,
        };
        Estimate { size: Some(size), ..made(cost, type_) }
    }

    /// A list by the keys that are made of its elements.
    fn sort_by(&mut self, it: &Macro, over: Estimate<'a>, type_: &Type) -> Estimate<'a> {
        let (keys, key_type) = self.repeat(it, MacroKind::Map, &over);
        let key_type = Type::list(key_type.cloned().unwrap_or(Type::Dyn));
        let sorted = calls::sorted(&Argument {
            type_: &key_type,
            known: Some(keys.size),
            place: Place::Nowhere,
            entry: keys.entry,
            number: None,
        });
        // The list is a variable, which is named twice.
        let cost = over.cost.saturating_add(keys.cost).saturating_add(sorted.cost);
        Estimate { size: sorted.size, ..made(cost.saturating_add(LIST + 2), type_) }
    }
}

/// Of a value that the expression makes.
fn made<'a>(cost: u64, type_: &Type) -> Estimate<'a> {
    Estimate { cost, size: Size::of_type(type_), place: Place::Nowhere, entry: None }
}

fn sum(cost: u64, of: &[Estimate<'_>]) -> u64 {
    of.iter().fold(cost, |sum, it| sum.saturating_add(it.cost))
}

fn argument<'n>((node, found): (&'n Node, &Estimate<'n>)) -> Argument<'n> {
    let number = match &node.expr {
        Expr::Literal(Value::Int(number)) => Some(*number),
        _ => None,
    };
    Argument {
        type_: &node.type_,
        known: found.size,
        place: found.place,
        entry: found.entry,
        number,
    }
}

fn of_literal(value: &Value) -> Option<Size> {
    Some(Size::exactly(match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Bytes(octets) => octets.len() as u64,
        _ => 1,
    }))
}
