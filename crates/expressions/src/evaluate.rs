//! What comes of an expression.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    budget::{Budget, EvaluationError},
    escaping::unescaped,
    functions::{Overload, find},
    syntax::{Expr, Macro, MacroKind, Node},
    value::{Key, Value, whole},
};

type Answer = Result<Value, EvaluationError>;
/// What a macro's variables are, one after another.
type Elements<'a> = Box<dyn Iterator<Item = (Value, Option<Value>)> + 'a>;

/// Of a list, and of a map, that is made (CEL: `ListCreateBaseCost`, `MapCreateBaseCost`, `StructCreateBaseCost`).
const LIST: u64 = 10;
const MAP: u64 = 30;
const STRUCT: u64 = 40;
/// As much of a key as an error shows.
const SHOWN: usize = 100;

/// Where the values of variables come from. They may be found out only when they are asked for, out of this budget.
pub trait Variables {
    /// The value of a variable, if there is such a variable.
    fn variable(&self, name: &str, budget: &mut Budget) -> Option<Answer>;
}

impl Variables for BTreeMap<&str, Value> {
    fn variable(&self, name: &str, _: &mut Budget) -> Option<Answer> {
        self.get(name).cloned().map(Ok)
    }
}

pub(crate) fn evaluate(node: &Node, variables: &dyn Variables, budget: &mut Budget) -> Answer {
    Evaluation { variables, budget, scope: Vec::new() }.node(node)
}

struct Evaluation<'a> {
    variables: &'a dyn Variables,
    budget: &'a mut Budget,
    /// Of macros, the innermost last.
    scope: Vec<(Arc<str>, Answer)>,
}

impl Evaluation<'_> {
    fn node(&mut self, node: &Node) -> Answer {
        self.budget.enter()?;
        let answer = self.expr(&node.expr);
        self.budget.leave();
        answer
    }

    fn expr(&mut self, expr: &Expr) -> Answer {
        match expr {
            Expr::Literal(value) => Ok(value.clone()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select { of, field, is_optional } => {
                let of = self.node(of)?;
                self.select(&of, field, *is_optional)
            }
            Expr::Has { of, field } => {
                let of = self.node(of)?;
                self.has(&of, field).map(Value::Bool)
            }
            Expr::Index { of, key, is_optional } => {
                let (of, key) = (self.node(of)?, self.node(key)?);
                self.index(&of, &key, *is_optional)
            }
            Expr::And(both) => self.logic(both, false),
            Expr::Or(both) => self.logic(both, true),
            Expr::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let is_so = truth(&self.node(condition)?)?;
                self.node(if is_so { yes } else { no })
            }
            Expr::List(elements) => self.list(elements),
            Expr::Map(entries) => self.map(entries),
            Expr::Struct { name, fields } => self.made(name, fields),
            Expr::Macro(it) => self.macro_(it),
            Expr::Bind { name, value, body } => self.bind(name, value, body),
            Expr::Call { args, overloads, .. } => self.call(args, overloads),
        }
    }

    fn variable(&mut self, name: &Arc<str>) -> Answer {
        self.budget.spend(1)?;
        if let Some((_, value)) = self.scope.iter().rev().find(|(bound, _)| bound == name) {
            return value.clone();
        }
        self.variables.variable(name, self.budget).unwrap_or_else(|| {
            Err(EvaluationError::new(format_args!("no such attribute(s): {name}")))
        })
    }

    /// A field of an object or a value of a map, if it is there.
    fn field(&mut self, of: &Value, field: &Arc<str>) -> Result<Option<Value>, EvaluationError> {
        self.budget.spend_on_text(field.len().max(1))?;
        if let Value::Opaque(opaque) = of {
            return opaque.field(field, self.budget).transpose();
        }
        let Some(entries) = of.entries() else { return Err(no_overload()) };
        let found = entries.get(&Key::String(field.clone()));
        let meant = || unescaped(field).and_then(|name| entries.get(&Key::text(name)));
        Ok(found.or_else(meant).cloned())
    }

    fn select(&mut self, of: &Value, field: &Arc<str>, is_optional: bool) -> Answer {
        if let Value::Optional(inner) = of {
            let Some(inner) = inner else { return Ok(Value::Optional(None)) };
            return Ok(optional(self.field(inner, field)?));
        }
        let found = self.field(of, field)?;
        if is_optional {
            return Ok(optional(found));
        }
        found.ok_or_else(|| EvaluationError::new(format_args!("no such key: {field}")))
    }

    fn has(&mut self, of: &Value, field: &Arc<str>) -> Result<bool, EvaluationError> {
        match of {
            Value::Optional(None) => Ok(false),
            Value::Optional(Some(inner)) => Ok(self.field(inner, field)?.is_some()),
            other => Ok(self.field(other, field)?.is_some()),
        }
    }

    fn index(&mut self, of: &Value, key: &Value, is_optional: bool) -> Answer {
        self.budget.spend(1)?;
        let (of, is_optional) = match of {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, is_optional),
        };
        let found = match of {
            Value::List(items) => position(key)?.and_then(|at| items.get(at)),
            _ => {
                let entries = of.entries().ok_or_else(no_overload)?;
                key.as_paid_key(self.budget)?.and_then(|key| entries.get(&key))
            }
        };
        if is_optional {
            return Ok(optional(found.cloned()));
        }
        found.cloned().ok_or_else(|| missing(of, key))
    }

    /// Either side decides, even if the other one fails; but not if it costs too much.
    fn logic(&mut self, both: &[Node; 2], decides: bool) -> Answer {
        let [left, right] = both;
        let left = self.side(left)?;
        if left == Ok(decides) {
            return Ok(Value::Bool(decides));
        }
        let right = self.side(right)?;
        if right == Ok(decides) {
            return Ok(Value::Bool(decides));
        }
        left?;
        right.map(Value::Bool)
    }

    fn side(&mut self, node: &Node) -> Result<Result<bool, EvaluationError>, EvaluationError> {
        match self.node(node).and_then(|value| truth(&value)) {
            Err(EvaluationError::Cost) => Err(EvaluationError::Cost),
            answer => Ok(answer),
        }
    }

    fn list(&mut self, elements: &[(Node, bool)]) -> Answer {
        self.budget.spend(LIST)?;
        self.budget.spend_on(elements.len())?;
        let mut items = Vec::with_capacity(elements.len());
        for (element, is_optional) in elements {
            items.extend(present(self.node(element)?, *is_optional)?);
        }
        Ok(Value::list(items))
    }

    fn map(&mut self, entries: &[(Node, Node, bool)]) -> Answer {
        self.budget.spend(MAP)?;
        self.budget.spend_on(entries.len())?;
        let mut made = BTreeMap::new();
        for (key, value, is_optional) in entries {
            let key = self.node(key)?;
            let value = self.node(value)?;
            if let Some(value) = present(value, *is_optional)? {
                insert(&mut made, &key, value, self.budget)?;
            }
        }
        Ok(Value::Map(Arc::new(made)))
    }

    fn made(&mut self, name: &Arc<str>, fields: &[(Arc<str>, Node, bool)]) -> Answer {
        self.budget.spend(STRUCT)?;
        let mut made = BTreeMap::new();
        for (field, value, is_optional) in fields {
            let value = self.node(value)?;
            if let Some(value) = present(value, *is_optional)? {
                let field = unescaped(field).map_or_else(|| field.clone(), Arc::from);
                made.insert(Key::String(field), value);
            }
        }
        Ok(Value::Struct(name.clone(), Arc::new(made)))
    }

    fn call(&mut self, args: &[Node], overloads: &[&'static Overload]) -> Answer {
        self.budget.spend(1)?;
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.node(arg)?);
        }
        apply(overloads.iter().copied(), &values, self.budget)
    }

    /// A value that fails does so where it is used.
    fn bind(&mut self, name: &Arc<str>, value: &Node, body: &Node) -> Answer {
        self.budget.spend(LIST)?;
        let value = match self.node(value) {
            Err(EvaluationError::Cost) => return Err(EvaluationError::Cost),
            answer => answer,
        };
        self.scope.push((name.clone(), value));
        let answer = self.node(body);
        self.scope.pop();
        answer
    }

    fn macro_(&mut self, it: &Macro) -> Answer {
        let over = self.node(&it.over)?;
        if matches!(it.kind, MacroKind::OptMap | MacroKind::OptFlatMap) {
            return self.optional_macro(it, &over);
        }
        let depth = self.scope.len();
        let answer = self.loop_(it, &over);
        self.scope.truncate(depth);
        answer
    }

    fn optional_macro(&mut self, it: &Macro, over: &Value) -> Answer {
        let Value::Optional(inner) = over else { return Err(no_overload()) };
        let (Some(inner), Some(body)) = (inner, it.body.first()) else {
            return Ok(Value::Optional(None));
        };
        self.scope.push((it.variable.clone(), Ok(Value::clone(inner))));
        let answer = self.node(body);
        self.scope.pop();
        if it.kind == MacroKind::OptMap { answer.map(Value::some) } else { answer }
    }

    fn loop_(&mut self, it: &Macro, over: &Value) -> Answer {
        let mut outcome = Outcome::of(it.kind);
        let depth = self.scope.len();
        let is_map = over.entries().is_some();
        for (first, second) in elements(over, it.second.is_some())? {
            self.budget.spend(2)?;
            self.scope.truncate(depth);
            self.scope.push((it.variable.clone(), Ok(first.clone())));
            if let (Some(name), Some(second)) = (&it.second, second) {
                self.scope.push((name.clone(), Ok(second)));
            }
            if self.step(it, first, &mut outcome)? {
                break;
            }
        }
        outcome.value(self.budget, over, is_map)
    }

    /// Looks at one element; whether all is decided.
    fn step(
        &mut self,
        it: &Macro,
        element: Value,
        outcome: &mut Outcome,
    ) -> Result<bool, EvaluationError> {
        let Some((last, tests)) = it.body.split_last() else { return Err(no_overload()) };
        for test in tests {
            if !truth(&self.node(test)?)? {
                return Ok(false);
            }
        }
        match outcome {
            Outcome::Any { decides, failed, is_decided } => {
                match self.side(last)? {
                    Ok(is_so) => *is_decided = is_so == *decides,
                    Err(why) => drop(failed.get_or_insert(why)),
                }
                return Ok(*is_decided);
            }
            Outcome::Count(count) => *count += u64::from(truth(&self.node(last)?)?),
            Outcome::Kept(kept) => {
                if truth(&self.node(last)?)? {
                    kept.push(element);
                }
            }
            Outcome::Mapped(mapped) | Outcome::Keys(mapped) => mapped.push(self.node(last)?),
            Outcome::Entries(entries) => {
                let made = self.node(last)?;
                insert(entries, &element, made, self.budget)?;
            }
            Outcome::Merged(entries) => {
                let made = self.node(last)?;
                for (key, value) in made.entries().ok_or_else(no_overload)? {
                    self.budget.spend(1)?;
                    insert(entries, &Value::from(key), value.clone(), self.budget)?;
                }
            }
        }
        Ok(false)
    }
}

/// What a macro has come to so far.
enum Outcome {
    Any { decides: bool, failed: Option<EvaluationError>, is_decided: bool },
    Count(u64),
    Kept(Vec<Value>),
    Mapped(Vec<Value>),
    Keys(Vec<Value>),
    Entries(BTreeMap<Key, Value>),
    Merged(BTreeMap<Key, Value>),
}

impl Outcome {
    fn of(kind: MacroKind) -> Self {
        match kind {
            MacroKind::All => Self::Any { decides: false, failed: None, is_decided: false },
            MacroKind::Exists => Self::Any { decides: true, failed: None, is_decided: false },
            MacroKind::ExistsOne => Self::Count(0),
            MacroKind::Filter => Self::Kept(Vec::new()),
            MacroKind::SortBy => Self::Keys(Vec::new()),
            MacroKind::TransformMap => Self::Entries(BTreeMap::new()),
            MacroKind::TransformMapEntry => Self::Merged(BTreeMap::new()),
            _ => Self::Mapped(Vec::new()),
        }
    }

    fn value(self, budget: &mut Budget, over: &Value, is_map: bool) -> Answer {
        match self {
            Self::Any { decides, is_decided: true, .. } => Ok(Value::Bool(decides)),
            Self::Any { failed: Some(why), .. } => Err(why),
            Self::Any { decides, .. } => Ok(Value::Bool(!decides)),
            Self::Count(count) => Ok(Value::Bool(count == 1)),
            Self::Kept(values) | Self::Mapped(values) => Ok(Value::list(values)),
            Self::Keys(_) if is_map => Err(no_overload()),
            Self::Keys(keys) => {
                let overloads = find("@sortBy", true).into_iter().flatten();
                apply(overloads, &[over.clone(), Value::list(keys)], budget)
            }
            Self::Entries(entries) | Self::Merged(entries) => Ok(Value::Map(Arc::new(entries))),
        }
    }
}

/// What a macro's variables are, one after another: an element or a key, or with two variables its place or key before it.
fn elements(over: &Value, has_two: bool) -> Result<Elements<'_>, EvaluationError> {
    Ok(match over {
        Value::List(items) if has_two => {
            let places = (0_i64..).map(Value::Int);
            Box::new(places.zip(items.iter().cloned()).map(|(at, item)| (at, Some(item))))
        }
        Value::List(items) => Box::new(items.iter().map(|item| (item.clone(), None))),
        _ => {
            let entries = over.entries().ok_or_else(no_overload)?;
            Box::new(entries.iter().map(|(key, value)| (Value::from(key), Some(value.clone()))))
        }
    })
}

fn apply<'a>(
    mut overloads: impl Iterator<Item = &'a Overload>,
    values: &[Value],
    budget: &mut Budget,
) -> Answer {
    let fits = |overload: &&Overload| {
        overload.params.len() == values.len()
            && overload.params.iter().zip(values).all(|(param, value)| value.is_a(param))
    };
    (overloads.find(fits).ok_or_else(no_overload)?.call)(budget, values)
}

fn no_overload() -> EvaluationError {
    EvaluationError::new("no such overload")
}

fn truth(value: &Value) -> Result<bool, EvaluationError> {
    if let Value::Bool(it) = value { Ok(*it) } else { Err(no_overload()) }
}

fn optional(value: Option<Value>) -> Value {
    value.map_or(Value::Optional(None), Value::some)
}

/// What goes into a list or a map, if anything does.
fn present(value: Value, is_optional: bool) -> Result<Option<Value>, EvaluationError> {
    match value {
        value if !is_optional => Ok(Some(value)),
        Value::Optional(inner) => Ok(inner.map(|it| Value::clone(&it))),
        _ => Err(no_overload()),
    }
}

fn insert(
    entries: &mut BTreeMap<Key, Value>,
    key: &Value,
    value: Value,
    budget: &mut Budget,
) -> Result<(), EvaluationError> {
    let type_ = key.type_name();
    let key = key
        .as_paid_key(budget)?
        .ok_or_else(|| EvaluationError::new(format_args!("unsupported key type: {type_}")))?;
    match entries.entry(key) {
        Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        Entry::Occupied(place) => {
            let shown = shown(place.key());
            Err(EvaluationError::new(format_args!("insert failed: key {shown} already exists")))
        }
    }
}

fn shown(key: &Key) -> String {
    match key {
        Key::String(text) => text.chars().take(SHOWN).collect(),
        other => other.to_string(),
    }
}

/// Nothing if there can't be such a place.
fn position(key: &Value) -> Result<Option<usize>, EvaluationError> {
    match key {
        Value::Int(it) => Ok(usize::try_from(*it).ok()),
        Value::Uint(it) => Ok(usize::try_from(*it).ok()),
        Value::Double(it) => Ok(whole(*it).and_then(|it| usize::try_from(it).ok())),
        _ => Err(no_overload()),
    }
}

fn missing(of: &Value, key: &Value) -> EvaluationError {
    let shown = key.as_key().as_ref().map(shown).unwrap_or_default();
    match of {
        Value::List(_) => EvaluationError::new(format_args!("index out of bounds: {shown}")),
        _ => EvaluationError::new(format_args!("no such key: {shown}")),
    }
}
