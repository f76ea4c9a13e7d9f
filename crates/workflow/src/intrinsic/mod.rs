//! Intrinsic functions: `States.Format('{} items', $.count)`. Here is what they look like; [`functions`] does them.

mod functions;
mod lexer;

use serde_json::Value;

use crate::{error::RunError, path::Path, source::Source};
use functions::Function;
use lexer::Lexer;

/// The most calls within one another. The Amazon States Language allows ten.
const MAX_CALLS: usize = 32;

/// A path or a function's call.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Path(Path),
    /// As it was written: `\{` and `\}` mean something to `States.Format` only.
    Text(String),
    /// A number, a truth value or null.
    Literal(Value),
    Call(Function, Vec<Expression>),
}

impl Expression {
    /// What a member with `.$` says.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            return Path::parse(text).map(Expression::Path);
        }
        let mut lexer = Lexer::new(text);
        let call = Self::call(&mut lexer, 1)?;
        if lexer.is_at_end() { Ok(call) } else { Err(lexer.expected("nothing more")) }
    }

    fn call(lexer: &mut Lexer<'_>, depth: usize) -> Result<Self, String> {
        if depth > MAX_CALLS {
            return Err(format!("has calls in more than {MAX_CALLS} others"));
        }
        let name = lexer.name();
        let function = Function::named(name).ok_or_else(|| {
            format!("must be a path or an intrinsic function, {name:?} is neither")
        })?;
        lexer.take('(')?;
        let mut arguments = Vec::new();
        while !lexer.next_is(')') {
            if !arguments.is_empty() {
                lexer.take(',')?;
            }
            arguments.push(Self::argument(lexer, depth)?);
        }
        lexer.take(')')?;
        if function.takes(arguments.len()) {
            return Ok(Expression::Call(function, arguments));
        }
        Err(format!("{name} does not take {} arguments", arguments.len()))
    }

    fn argument(lexer: &mut Lexer<'_>, depth: usize) -> Result<Self, String> {
        if lexer.next_is('\'') {
            return Ok(Expression::Text(lexer.text()?));
        }
        if lexer.next_is('$') {
            return Path::parse(lexer.path()).map(Expression::Path);
        }
        if lexer.next_is('S') {
            return Self::call(lexer, depth + 1);
        }
        let literal = lexer.literal();
        let value = serde_json::from_str(literal).ok().filter(|v: &Value| !v.is_string());
        value.map(Expression::Literal).ok_or_else(|| format!("{literal:?} is no argument"))
    }

    pub(crate) fn evaluate(&self, source: &mut Source<'_>) -> Result<Value, RunError> {
        match self {
            Expression::Path(path) => source.get(path),
            Expression::Text(text) => Ok(Value::String(lexer::plain(text))),
            Expression::Literal(value) => Ok(value.clone()),
            Expression::Call(function, arguments) => {
                let values = arguments.iter().enumerate().map(|(i, argument)| match argument {
                    Expression::Text(text) if i == 0 && function.is_format() => {
                        Ok(Value::String(text.clone()))
                    }
                    argument => argument.evaluate(source),
                });
                let values = values.collect::<Result<Vec<_>, _>>()?;
                let value = function.call(&values, source.random)?;
                source.take(value)
            }
        }
    }
}
