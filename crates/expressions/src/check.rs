//! What can be said of an expression before it is evaluated: what it refers to, and of which type everything is. The overloads
//! that may be meant are found here, once.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    escaping::unescaped,
    functions::{Overload, find, is_namespace},
    syntax::{self, Expr, Macro, MacroKind, Node},
    types::Type,
    value::Value,
};

/// Names that are types, by the name of the type's values.
const TYPES: [(&str, &str); 12] = [
    ("bool", "bool"),
    ("int", "int"),
    ("uint", "uint"),
    ("double", "double"),
    ("string", "string"),
    ("bytes", "bytes"),
    ("list", "list"),
    ("map", "map"),
    ("null_type", "null_type"),
    ("type", "type"),
    ("google.protobuf.Timestamp", "google.protobuf.Timestamp"),
    ("google.protobuf.Duration", "google.protobuf.Duration"),
];

/// Of what is not there: whatever type it is wanted to be.
const ANY: Type = Type::Param('?');

/// What an expression may refer to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) variables: BTreeMap<String, Type>,
    /// Types of objects that expressions may make: these, and what begins with one of them and a dot.
    pub(crate) structs: Vec<&'static str>,
    /// Whether there is `cel.bind`.
    pub(crate) binds: bool,
}

/// Checks, and tells the type of what will come of it.
pub(crate) fn check(
    source: &str,
    node: &mut Node,
    declared: &Declared,
) -> Result<Type, syntax::CompileError> {
    let mut checker = Checker { source, declared, scope: Vec::new(), faults: Vec::new() };
    let result = checker.node(node);
    match checker.faults.is_empty() {
        true => Ok(result),
        false => Err(syntax::CompileError(checker.faults.join("\n"))),
    }
}

struct Checker<'a> {
    source: &'a str,
    declared: &'a Declared,
    /// Of macros, the innermost last.
    scope: Vec<(Arc<str>, Type)>,
    faults: Vec<String>,
}

impl Checker<'_> {
    /// Notes what is wrong; anything may come of it.
    fn fault(&mut self, at: usize, why: &str) -> Type {
        if self.faults.len() < syntax::MOST_FAULTS {
            self.faults.push(syntax::error(self.source, at, why).to_string());
        }
        Type::Dyn
    }

    fn node(&mut self, node: &mut Node) -> Type {
        let type_ = self.type_of(node);
        node.type_ = type_.clone();
        type_
    }

    fn type_of(&mut self, node: &mut Node) -> Type {
        self.resolve_names(node);
        let at = node.at;
        match &mut node.expr {
            Expr::Literal(value) => of_literal(value),
            Expr::Ident(name) => {
                let name = name.clone();
                self.variable(&name).unwrap_or_else(|| {
                    self.fault(at, &format!("undeclared reference to '{name}' (in container '')"))
                })
            }
            Expr::Select { of, field, is_optional } => {
                let of = self.node(of);
                let type_ = self.field(at, &of, field);
                if *is_optional && !matches!(type_, Type::Optional(_)) {
                    Type::optional(type_)
                } else {
                    type_
                }
            }
            Expr::Has { of, field } => {
                let of = self.node(of);
                self.field(at, &of, field);
                Type::Bool
            }
            Expr::Index { of, key, is_optional } => {
                let (of, key) = (self.node(of), self.node(key));
                let type_ = self.element(at, &of, &key);
                if *is_optional && !matches!(type_, Type::Optional(_)) {
                    Type::optional(type_)
                } else {
                    type_
                }
            }
            Expr::And(both) => self.logic("_&&_", at, both),
            Expr::Or(both) => self.logic("_||_", at, both),
            Expr::Conditional(parts) => self.conditional(at, parts),
            Expr::List(elements) => self.list(elements),
            Expr::Map(entries) => self.map(entries),
            Expr::Struct { name, fields } => {
                let name = name.clone();
                for (_, value, _) in fields {
                    self.node(value);
                }
                self.made(at, &name)
            }
            Expr::Macro(it) => self.macro_(at, it),
            Expr::Bind { name, value, body } => self.bind(name, value, body),
            Expr::Call { name, is_member, args, overloads } => {
                let is_format = *is_member && name == "format";
                let types: Vec<Type> = args
                    .iter_mut()
                    .map(|arg| match &mut arg.expr {
                        Expr::List(elements) if is_format => {
                            arg.type_ = self.mixed(elements);
                            arg.type_.clone()
                        }
                        _ => self.node(arg),
                    })
                    .collect();
                let (type_, found) = self.call(at, name, *is_member, &types);
                *overloads = found;
                type_
            }
        }
    }

    /// Names with dots look like fields and members: `authorizer.requestResource`, `sets.contains(…)`.
    fn resolve_names(&self, node: &mut Node) {
        let is_free = |name: &str| !self.scope.iter().any(|(bound, _)| **bound == *name);
        match &mut node.expr {
            Expr::Select { .. } => {
                let Some(name) = dotted(node) else { return };
                let root = name.split('.').next().unwrap_or_default();
                if is_free(root) && self.declared.variables.contains_key(&name) {
                    node.expr = Expr::Ident(name.into());
                } else if is_free(root) && TYPES.iter().any(|(known, _)| *known == name) {
                    node.expr = Expr::Literal(Value::Type(name.into()));
                }
            }
            Expr::Ident(name) if self.variable(name).is_none() => {
                if let Some((_, of)) = TYPES.iter().find(|(known, _)| **known == **name) {
                    node.expr = Expr::Literal(Value::Type(Arc::from(*of)));
                }
            }
            Expr::Call { name, is_member, args, .. } if *is_member => {
                let Some(Expr::Ident(namespace)) = args.first().map(|it| &it.expr) else { return };
                let whole = format!("{namespace}.{name}");
                if is_namespace(namespace)
                    && self.variable(namespace).is_none()
                    && find(&whole, false).is_some()
                {
                    *name = whole;
                    *is_member = false;
                    args.remove(0);
                }
            }
            _ => {}
        }
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let bound = self.scope.iter().rev().find(|(bound, _)| **bound == *name);
        bound.map(|(_, type_)| type_).or_else(|| self.declared.variables.get(name)).cloned()
    }

    fn field(&mut self, at: usize, of: &Type, field: &str) -> Type {
        match of {
            Type::Dyn | Type::Param(_) => Type::Dyn,
            Type::Map(_, value) => Type::clone(value),
            Type::Optional(of) => Type::optional(self.field(at, of, field)),
            Type::Object(object) => {
                let found = object.fields.get(field);
                let meant = || unescaped(field).and_then(|name| object.fields.get(&name));
                match found.or_else(meant) {
                    Some(type_) => type_.clone(),
                    None => self.fault(at, &format!("undefined field '{field}'")),
                }
            }
            Type::Named(name) if self.is_made(name) => Type::Dyn,
            other => self.fault(at, &format!("type '{other}' does not support field selection")),
        }
    }

    fn element(&mut self, at: usize, of: &Type, key: &Type) -> Type {
        let takes = |wanted: &Type| key.is_dynamic() || wanted.is_dynamic() || wanted == key;
        let is_number = matches!(key, Type::Int | Type::Uint | Type::Double);
        match of {
            Type::Dyn | Type::Param(_) => Type::Dyn,
            Type::List(of) if key.is_dynamic() || is_number => Type::clone(of),
            Type::Map(wanted, value) if takes(wanted) => Type::clone(value),
            Type::Optional(of) => Type::optional(self.element(at, of, key)),
            _ => self.fault(
                at,
                &format!("found no matching overload for '_[_]' applied to '({of}, {key})'"),
            ),
        }
    }

    fn logic(&mut self, name: &str, at: usize, both: &mut [Node; 2]) -> Type {
        let [a, b] = both.each_mut().map(|side| self.node(side));
        let is_bool = |type_: &Type| *type_ == Type::Bool || type_.is_dynamic();
        if !is_bool(&a) || !is_bool(&b) {
            let why = format!("found no matching overload for '{name}' applied to '({a}, {b})'");
            self.fault(at, &why);
        }
        Type::Bool
    }

    fn conditional(&mut self, at: usize, parts: &mut [Node; 3]) -> Type {
        let [condition, yes, no] = parts.each_mut().map(|part| self.node(part));
        let is_bool = condition == Type::Bool || condition.is_dynamic();
        match joined(&yes, &no) {
            Some(type_) if is_bool => type_,
            _ => self.fault(
                at,
                &format!(
                    "found no matching overload for '_?_:_' applied to '({condition}, {yes}, {no})'"
                ),
            ),
        }
    }

    /// All of one type (Kubernetes: `HomogeneousAggregateLiterals`).
    fn same(&mut self, common: Option<Type>, at: usize, next: &Type) -> Option<Type> {
        let Some(common) = common else { return Some(next.clone()) };
        let type_ = joined(&common, next);
        if type_.is_none() {
            self.fault(at, &format!("expected type '{common}' but found '{next}'"));
        }
        Some(type_.unwrap_or(common))
    }

    fn list(&mut self, elements: &mut [(Node, bool)]) -> Type {
        let mut common = None;
        for (element, is_optional) in elements {
            let type_ = self.node(element);
            let type_ = if *is_optional { inside(type_) } else { type_ };
            common = self.same(common, element.at, &type_);
        }
        Type::list(common.unwrap_or(ANY))
    }

    /// What is formatted is of any type.
    fn mixed(&mut self, elements: &mut [(Node, bool)]) -> Type {
        for (element, _) in elements {
            self.node(element);
        }
        Type::list(Type::Dyn)
    }

    fn map(&mut self, entries: &mut [(Node, Node, bool)]) -> Type {
        let (mut keys, mut values) = (None, None);
        for (key, value, is_optional) in entries {
            let (key_type, type_) = (self.node(key), self.node(value));
            let type_ = if *is_optional { inside(type_) } else { type_ };
            keys = self.same(keys, key.at, &key_type);
            values = self.same(values, value.at, &type_);
        }
        Type::map(keys.unwrap_or(ANY), values.unwrap_or(ANY))
    }

    fn is_made(&self, name: &str) -> bool {
        self.declared.structs.iter().any(|known| {
            name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn made(&mut self, at: usize, name: &Arc<str>) -> Type {
        if self.is_made(name) {
            return Type::Named(name.clone());
        }
        self.fault(at, &format!("undeclared reference to '{name}' (in container '')"))
    }

    fn bind(&mut self, name: &Arc<str>, value: &mut Node, body: &mut Node) -> Type {
        let value = self.node(value);
        self.scope.push((name.clone(), value));
        let body = self.node(body);
        self.scope.pop();
        body
    }

    fn macro_(&mut self, at: usize, it: &mut Macro) -> Type {
        let over = self.node(&mut it.over);
        let (first, second) = match (&over, it.kind) {
            (Type::Optional(of), MacroKind::OptMap | MacroKind::OptFlatMap) => {
                (Type::clone(of), Type::Dyn)
            }
            (other, MacroKind::OptMap | MacroKind::OptFlatMap) if !other.is_dynamic() => {
                let name = if it.kind == MacroKind::OptMap { "optMap" } else { "optFlatMap" };
                let why =
                    format!("found no matching overload for '{name}' applied to '{other}.()'");
                (self.fault(at, &why), Type::Dyn)
            }
            (Type::List(of), _) if it.second.is_some() => (Type::Int, Type::clone(of)),
            (Type::List(of), _) => (Type::clone(of), Type::Dyn),
            (Type::Map(key, value), _) => (Type::clone(key), Type::clone(value)),
            (other, _) if other.is_dynamic() => (Type::Dyn, Type::Dyn),
            (other, _) => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.fault(it.over.at, &why), Type::Dyn)
            }
        };
        let depth = self.scope.len();
        self.scope.push((it.variable.clone(), first.clone()));
        if let Some(name) = &it.second {
            self.scope.push((name.clone(), second));
        }
        let body: Vec<Type> = it.body.iter_mut().map(|part| self.node(part)).collect();
        self.scope.truncate(depth);
        self.macro_result(it, &over, first, &body)
    }

    fn macro_result(&mut self, it: &Macro, over: &Type, element: Type, body: &[Type]) -> Type {
        let result = body.last().cloned().unwrap_or(Type::Dyn);
        let tests = match it.kind {
            MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne | MacroKind::Filter => {
                body.len()
            }
            _ => body.len().saturating_sub(1),
        };
        for (i, type_) in body.iter().enumerate().take(tests) {
            if *type_ != Type::Bool && !type_.is_dynamic() {
                let at = it.body.get(i).map_or(0, |part| part.at);
                self.fault(at, &format!("expected type 'bool' but found '{type_}'"));
            }
        }
        if let Some(wanted) = unmet(it.kind, &result) {
            let at = it.body.last().map_or(0, |part| part.at);
            self.fault(at, &format!("expected type '{wanted}' but found '{result}'"));
        }
        match it.kind {
            MacroKind::All | MacroKind::Exists | MacroKind::ExistsOne => Type::Bool,
            MacroKind::Filter => Type::list(element),
            MacroKind::Map | MacroKind::TransformList => Type::list(result),
            MacroKind::SortBy => over.clone(),
            MacroKind::OptMap => Type::optional(result),
            MacroKind::OptFlatMap => result,
            MacroKind::TransformMap => match over {
                Type::Map(key, _) => Type::map(Type::clone(key), result),
                Type::List(_) => Type::map(Type::Int, result),
                _ => Type::map(Type::Dyn, result),
            },
            MacroKind::TransformMapEntry => result,
        }
    }

    fn call(
        &mut self,
        at: usize,
        name: &str,
        is_member: bool,
        args: &[Type],
    ) -> (Type, Vec<&'static Overload>) {
        let Some(all) = find(name, is_member) else {
            let why = format!("undeclared reference to '{name}' (in container '')");
            return (self.fault(at, &why), Vec::new());
        };
        let mut result: Option<Type> = None;
        let mut found = Vec::new();
        for overload in all {
            let Some(type_) = applied(overload, args) else { continue };
            found.push(overload);
            result = match result {
                None => Some(type_),
                Some(before) if before == type_ => Some(before),
                Some(_) => Some(Type::Dyn),
            };
        }
        let Some(result) = result else {
            let listed = |types: &[Type]| {
                types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let applied = match args.split_first() {
                Some((receiver, args)) if is_member => format!("{receiver}.({})", listed(args)),
                _ => format!("({})", listed(args)),
            };
            let why = format!("found no matching overload for '{name}' applied to '{applied}'");
            return (self.fault(at, &why), Vec::new());
        };
        (result, found)
    }
}

/// What a macro needs to come of what it does with each element, if something else comes of it.
fn unmet(kind: MacroKind, result: &Type) -> Option<Type> {
    match (kind, result) {
        (MacroKind::OptFlatMap, Type::Optional(_))
        | (MacroKind::TransformMapEntry, Type::Map(..)) => None,
        _ if result.is_dynamic() => None,
        (MacroKind::OptFlatMap, _) => Some(Type::optional(Type::Dyn)),
        (MacroKind::TransformMapEntry, _) => Some(Type::map(Type::Dyn, Type::Dyn)),
        _ => None,
    }
}

/// `a.b.c`, if that is all it is.
fn dotted(node: &Node) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.to_string()),
        Expr::Select { of, field, is_optional: false } => Some(format!("{}.{field}", dotted(of)?)),
        _ => None,
    }
}

fn of_literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        Value::Type(_) => Type::Type,
        _ => Type::Dyn,
    }
}

fn inside(type_: Type) -> Type {
    if let Type::Optional(of) = type_ { Type::clone(&of) } else { type_ }
}

/// The type of what is either, unless they have nothing in common.
fn joined(a: &Type, b: &Type) -> Option<Type> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Type::Param(_), other) | (other, Type::Param(_)) => Some(other.clone()),
        _ if a.is_dynamic() || b.is_dynamic() => Some(Type::Dyn),
        (Type::Null, other) | (other, Type::Null) if is_nullable(other) => Some(other.clone()),
        (Type::List(a), Type::List(b)) => Some(Type::list(joined(a, b)?)),
        (Type::Optional(a), Type::Optional(b)) => Some(Type::optional(joined(a, b)?)),
        (Type::Map(a_key, a), Type::Map(b_key, b)) => {
            Some(Type::map(joined(a_key, b_key)?, joined(a, b)?))
        }
        _ => None,
    }
}

fn is_nullable(type_: &Type) -> bool {
    matches!(type_, Type::Object(_) | Type::Named(_) | Type::Timestamp | Type::Duration)
}

/// What an overload makes of such arguments, if it takes them.
fn applied(overload: &Overload, args: &[Type]) -> Option<Type> {
    let mut bound = BTreeMap::new();
    let fits = overload.params.len() == args.len()
        && overload.params.iter().zip(args).all(|(param, arg)| takes(param, arg, &mut bound));
    fits.then(|| filled(&overload.result, &bound))
}

fn takes(param: &Type, arg: &Type, bound: &mut BTreeMap<char, Type>) -> bool {
    match (param, arg) {
        (Type::Param(name), arg) => match bound.get(name) {
            None => {
                bound.insert(*name, arg.clone());
                true
            }
            Some(before) => joined(before, arg).is_some_and(|type_| {
                bound.insert(*name, type_);
                true
            }),
        },
        (param, arg) if arg.is_dynamic() => {
            open(param, bound);
            true
        }
        (Type::Dyn, _) => true,
        (Type::List(param), Type::List(arg)) | (Type::Optional(param), Type::Optional(arg)) => {
            takes(param, arg, bound)
        }
        (Type::Map(param_key, param), Type::Map(key, arg)) => {
            takes(param_key, key, bound) && takes(param, arg, bound)
        }
        (Type::Map(..), Type::Object(_)) => false,
        (param, arg) => param == arg,
    }
}

/// Of what is within something unknown, nothing is known.
fn open(param: &Type, bound: &mut BTreeMap<char, Type>) {
    match param {
        Type::Param(name) => drop(bound.entry(*name).or_insert(Type::Dyn)),
        Type::List(of) | Type::Optional(of) => open(of, bound),
        Type::Map(key, value) => {
            open(key, bound);
            open(value, bound);
        }
        _ => {}
    }
}

fn filled(type_: &Type, bound: &BTreeMap<char, Type>) -> Type {
    match type_ {
        Type::Param(name) => bound.get(name).cloned().unwrap_or(ANY),
        Type::List(of) => Type::list(filled(of, bound)),
        Type::Optional(of) => Type::optional(filled(of, bound)),
        Type::Map(key, value) => Type::map(filled(key, bound), filled(value, bound)),
        other => other.clone(),
    }
}
