//! Expressions as trees. The parser is the crate `cel`'s, without its macros: those are nodes here, whose cost is counted like
//! that of any other.

use std::{fmt::Write, sync::Arc, thread};

use cel::{
    Env, ParseErrors,
    common::ast::{
        CallExpr, EntryExpr, Expr as Parsed, IdedExpr, LiteralValue, SourceInfo, operators,
    },
};

use crate::{functions::Overload, types::Type, value::Value};

/// As long as an expression may be.
const LENGTH: usize = 100_000;
/// As many operators, dots and brackets may be in it: each may nest what follows.
const OPERATORS: usize = 10_000;
/// As deep as an expression may nest.
const DEPTH: usize = 200;
/// As many faults are told of one expression.
pub(crate) const MOST_FAULTS: usize = 100;
/// As many letters of a line are shown before the place of a fault, and from there on.
const AROUND: usize = 150;
/// As long as what is said of a fault may be: it may name what the expression names.
const LONGEST_FAULT: usize = 2_000;
/// For a parser that recurses, on a text within these limits.
const STACK: usize = 512 << 20;

/// An expression that can't be, in CEL's words, with the place where it goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub(crate) String);

/// An expression, where it begins, and the type of what comes of it, once it was checked.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) expr: Expr,
    pub(crate) type_: Type,
}

#[derive(Debug)]
pub(crate) enum Expr {
    Literal(Value),
    Ident(Arc<str>),
    Select {
        of: Box<Node>,
        field: Arc<str>,
        is_optional: bool,
    },
    Has {
        of: Box<Node>,
        field: Arc<str>,
    },
    Index {
        of: Box<Node>,
        key: Box<Node>,
        is_optional: bool,
    },
    /// The receiver of a member is the first argument. Those whose types do are found when the expression is checked.
    Call {
        name: String,
        is_member: bool,
        args: Vec<Node>,
        overloads: Vec<&'static Overload>,
    },
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    /// Elements, and whether one is left out if it is none.
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Struct {
        name: Arc<str>,
        fields: Vec<(Arc<str>, Node, bool)>,
    },
    Macro(Box<Macro>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: Arc<str>,
        value: Box<Node>,
        body: Box<Node>,
    },
}

/// What is done once for each element of a list or entry of a map, or for the value of an optional.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) kind: MacroKind,
    pub(crate) over: Node,
    pub(crate) variable: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    /// One, or a filter and one.
    pub(crate) body: Vec<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    SortBy,
    OptMap,
    OptFlatMap,
    TransformList,
    TransformMap,
    TransformMapEntry,
}

/// By name, how many arguments there may be, how many of which are variables.
const MACROS: [(&str, usize, usize, MacroKind); 19] = [
    ("all", 2, 1, MacroKind::All),
    ("all", 3, 2, MacroKind::All),
    ("exists", 2, 1, MacroKind::Exists),
    ("exists", 3, 2, MacroKind::Exists),
    ("exists_one", 2, 1, MacroKind::ExistsOne),
    ("existsOne", 2, 1, MacroKind::ExistsOne),
    ("existsOne", 3, 2, MacroKind::ExistsOne),
    ("filter", 2, 1, MacroKind::Filter),
    ("map", 2, 1, MacroKind::Map),
    ("map", 3, 1, MacroKind::Map),
    ("sortBy", 2, 1, MacroKind::SortBy),
    ("optMap", 2, 1, MacroKind::OptMap),
    ("optFlatMap", 2, 1, MacroKind::OptFlatMap),
    ("transformList", 3, 2, MacroKind::TransformList),
    ("transformList", 4, 2, MacroKind::TransformList),
    ("transformMap", 3, 2, MacroKind::TransformMap),
    ("transformMap", 4, 2, MacroKind::TransformMap),
    ("transformMapEntry", 3, 2, MacroKind::TransformMapEntry),
    ("transformMapEntry", 4, 2, MacroKind::TransformMapEntry),
];

/// Reads an expression. The parser gets a stack of its own, so that what nests deeply ends with an error and not with the
/// process. `binds`: whether there is `cel.bind`.
pub(crate) fn parse(source: &str, binds: bool) -> Result<Node, CompileError> {
    if source.len() > LENGTH {
        let why = format!(
            "expression code point size exceeds limit: size: {}, limit {LENGTH}",
            source.len()
        );
        return Err(error(source, 0, &why));
    }
    if source.matches(|c: char| !c.is_alphanumeric() && c != ' ').count() > OPERATORS {
        return Err(error(source, 0, "expression is too complex"));
    }
    let parsed = thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK);
        let parser = builder.spawn_scoped(scope, || parse_here(source, binds));
        parser.map(|parser| parser.join())
    });
    match parsed {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) => Err(error(source, 0, "Syntax error: the parser has given up")),
        Err(why) => Err(error(source, 0, &format!("no parser: {why}"))),
    }
}

fn parse_here(source: &str, binds: bool) -> Result<Node, CompileError> {
    let parser = Env::default().parser().enable_ident_escape_syntax(true);
    let (parsed, info) = parser.parse_with_source_info(source).map_err(|e| syntax(source, &e))?;
    Reader { source, info: &info, binds }.node(parsed, 0)
}

fn syntax(source: &str, errors: &ParseErrors) -> CompileError {
    let mut text = String::new();
    for (i, error) in errors.errors.iter().take(MOST_FAULTS).enumerate() {
        let separator = if i == 0 { "" } else { "\n" };
        let line = usize::try_from(error.pos.0).unwrap_or(1);
        let column = usize::try_from(error.pos.1).unwrap_or(1);
        let _ = write!(text, "{separator}{}", snippet(source, line, column, &error.msg));
    }
    CompileError(text)
}

/// What is wrong at a place.
pub(crate) fn error(source: &str, at: usize, why: &str) -> CompileError {
    let before: String = source.chars().take(at).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    CompileError(snippet(source, line, column, why))
}

/// As cel-go shows it, but of a long line what is around the place.
fn snippet(source: &str, line: usize, column: usize, why: &str) -> String {
    let before = column.saturating_sub(1);
    let left_out = before.saturating_sub(AROUND);
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let text: String = text.chars().skip(left_out).take(2 * AROUND).collect();
    let dots = ".".repeat(before - left_out);
    let why: String = why.chars().take(LONGEST_FAULT).collect();
    format!("ERROR: <input>:{line}:{column}: {why}\n | {text}\n | {dots}^")
}

/// Reads what the parser has made.
struct Reader<'a> {
    source: &'a str,
    info: &'a SourceInfo,
    binds: bool,
}

impl Reader<'_> {
    fn node(&self, parsed: IdedExpr, depth: usize) -> Result<Node, CompileError> {
        let at = self.info.offset_for(parsed.id).map_or(0, |(start, _)| start as usize);
        if depth > DEPTH {
            return Err(error(self.source, at, "expression nests too deeply"));
        }
        let depth = depth + 1;
        let expr = match parsed.expr {
            Parsed::Literal(literal) => Expr::Literal(value(&literal)),
            Parsed::Ident(name) => Expr::Ident(name.trim_start_matches('.').into()),
            Parsed::Select(select) => Expr::Select {
                of: self.boxed(*select.operand, depth)?,
                field: select.field.into(),
                is_optional: false,
            },
            Parsed::Call(call) => self.call(at, call, depth)?,
            Parsed::List(list) => {
                let is_optional = |i| list.optional_indices.contains(&i);
                let elements = list.elements.into_iter().enumerate();
                let read = elements.map(|(i, it)| Ok((self.node(it, depth)?, is_optional(i))));
                Expr::List(read.collect::<Result<_, CompileError>>()?)
            }
            Parsed::Map(map) => {
                let mut entries = Vec::new();
                for entry in map.entries {
                    let EntryExpr::MapEntry(it) = entry.expr else { continue };
                    entries.push((
                        self.node(it.key, depth)?,
                        self.node(it.value, depth)?,
                        it.optional,
                    ));
                }
                Expr::Map(entries)
            }
            Parsed::Struct(it) => {
                let mut fields = Vec::new();
                for entry in it.entries {
                    let EntryExpr::StructField(it) = entry.expr else { continue };
                    fields.push((it.field.into(), self.node(it.value, depth)?, it.optional));
                }
                Expr::Struct { name: it.type_name.trim_start_matches('.').into(), fields }
            }
            Parsed::Comprehension(_) | Parsed::Unspecified => {
                return Err(error(self.source, at, "unsupported expression"));
            }
        };
        Ok(Node { at, expr, type_: Type::Dyn })
    }

    fn boxed(&self, parsed: IdedExpr, depth: usize) -> Result<Box<Node>, CompileError> {
        self.node(parsed, depth).map(Box::new)
    }

    fn call(&self, at: usize, call: CallExpr, depth: usize) -> Result<Expr, CompileError> {
        let CallExpr { func_name: name, target, args } = call;
        let Some(target) = target else { return self.global(at, name, args, depth) };
        let kind = MACROS.iter().find(|(known, count, variables, _)| {
            *known == name && *count == args.len() && self.are_variables(&args[..*variables])
        });
        if let Some((.., variables, kind)) = kind {
            return self.macro_(*kind, *variables, *target, args, depth);
        }
        if self.binds
            && name == "bind"
            && matches!(&target.expr, Parsed::Ident(cel) if cel == "cel")
        {
            return self.bind(at, args, depth);
        }
        let mut read = vec![self.node(*target, depth)?];
        for arg in args {
            read.push(self.node(arg, depth)?);
        }
        Ok(Expr::Call { name, is_member: true, args: read, overloads: Vec::new() })
    }

    fn bind(&self, at: usize, args: Vec<IdedExpr>, depth: usize) -> Result<Expr, CompileError> {
        let mut args = args.into_iter();
        let name = match args.next().map(|variable| variable.expr) {
            Some(Parsed::Ident(name)) if !name.starts_with('.') => name.into(),
            _ => {
                let why = "cel.bind() variable names must be simple identifiers";
                return Err(error(self.source, at, why));
            }
        };
        let read: Result<_, _> = args.map(|arg| self.boxed(arg, depth)).collect();
        let [value, body] = self.exactly(at, read?)?;
        Ok(Expr::Bind { name, value, body })
    }

    fn are_variables(&self, args: &[IdedExpr]) -> bool {
        args.iter().all(|arg| matches!(&arg.expr, Parsed::Ident(name) if !name.starts_with('.')))
    }

    fn macro_(
        &self,
        kind: MacroKind,
        variables: usize,
        over: IdedExpr,
        args: Vec<IdedExpr>,
        depth: usize,
    ) -> Result<Expr, CompileError> {
        let mut names = Vec::new();
        let mut body = Vec::new();
        for (i, arg) in args.into_iter().enumerate() {
            match arg.expr {
                Parsed::Ident(name) if i < variables => names.push(Arc::from(name)),
                _ => body.push(self.node(arg, depth)?),
            }
        }
        let mut names = names.into_iter();
        let variable = names.next().unwrap_or_else(|| Arc::from(""));
        let over = self.node(over, depth)?;
        Ok(Expr::Macro(Box::new(Macro { kind, over, variable, second: names.next(), body })))
    }

    fn global(
        &self,
        at: usize,
        name: String,
        args: Vec<IdedExpr>,
        depth: usize,
    ) -> Result<Expr, CompileError> {
        let mut read = Vec::new();
        for arg in args {
            read.push(self.node(arg, depth)?);
        }
        let call = |name, args| Expr::Call { name, is_member: false, args, overloads: Vec::new() };
        let (is_index, is_optional) = (name == operators::INDEX, name == operators::OPT_INDEX);
        if is_index || is_optional {
            let [of, key] = self.exactly(at, read)?;
            return Ok(Expr::Index { of: Box::new(of), key: Box::new(key), is_optional });
        }
        Ok(match name.as_str() {
            operators::OPT_SELECT => {
                let [of, field] = self.exactly(at, read)?;
                let Expr::Literal(Value::String(field)) = field.expr else {
                    return Err(error(self.source, at, "unsupported optional field selection"));
                };
                Expr::Select { of: Box::new(of), field, is_optional: true }
            }
            operators::LOGICAL_AND => Expr::And(Box::new(self.exactly(at, read)?)),
            operators::LOGICAL_OR => Expr::Or(Box::new(self.exactly(at, read)?)),
            operators::CONDITIONAL => Expr::Conditional(Box::new(self.exactly(at, read)?)),
            operators::HAS if read.len() == 1 => {
                let [node] = self.exactly(at, read)?;
                match node.expr {
                    Expr::Select { of, field, is_optional: false } => Expr::Has { of, field },
                    _ => return Err(error(self.source, at, "invalid argument to has() macro")),
                }
            }
            _ => call(name, read),
        })
    }

    fn exactly<T, const N: usize>(&self, at: usize, args: Vec<T>) -> Result<[T; N], CompileError> {
        args.try_into().map_err(|_| error(self.source, at, "unsupported number of arguments"))
    }
}

fn value(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(it) => Value::Bool(*it.inner()),
        LiteralValue::Bytes(it) => Value::Bytes(Arc::from(it.inner())),
        LiteralValue::Double(it) => Value::Double(*it.inner()),
        LiteralValue::Int(it) => Value::Int(*it.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(it) => Value::text(it.inner()),
        LiteralValue::UInt(it) => Value::Uint(*it.inner()),
    }
}
