//! What the intrinsic functions do with their arguments.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use sha2::Digest;

use crate::{error::RunError, random::Random};

/// The most elements that `States.ArrayRange` makes.
const MAX_RANGE: usize = 1000;
/// The longest text that is encoded or hashed.
const MAX_TEXT: usize = 10_000;

type Arguments<'a> = &'a [Value];
type Answer = Result<Value, RunError>;

/// A function: its name, how many arguments it takes, and what it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function(&'static Row);

#[derive(Debug)]
struct Row {
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(Arguments<'_>, &mut Random) -> Answer,
}

const fn row(
    name: &'static str,
    (least, most): (usize, usize),
    run: fn(Arguments<'_>, &mut Random) -> Answer,
) -> Row {
    Row { name, least, most, run }
}

const ANY: usize = usize::MAX;
const FORMAT: &str = "States.Format";

static FUNCTIONS: [Row; 18] = [
    row(FORMAT, (1, ANY), |a, _| format(a)),
    row("States.StringToJson", (1, 1), |a, _| string_to_json(a)),
    row("States.JsonToString", (1, 1), |a, _| Ok(Value::String(a[0].to_string()))),
    row("States.Array", (0, ANY), |a, _| Ok(Value::Array(a.to_vec()))),
    row("States.ArrayPartition", (2, 2), |a, _| partition(a)),
    row("States.ArrayContains", (2, 2), |a, _| Ok(Value::Bool(list(&a[0])?.contains(&a[1])))),
    row("States.ArrayRange", (3, 3), |a, _| range(a)),
    row("States.ArrayGetItem", (2, 2), |a, _| get_item(a)),
    row("States.ArrayLength", (1, 1), |a, _| Ok(Value::from(list(&a[0])?.len()))),
    row("States.ArrayUnique", (1, 1), |a, _| unique(a)),
    row("States.Base64Encode", (1, 1), |a, _| {
        Ok(Value::String(BASE64_STANDARD.encode(short_text(&a[0])?)))
    }),
    row("States.Base64Decode", (1, 1), |a, _| base64_decode(a)),
    row("States.Hash", (2, 2), |a, _| hash(a)),
    row("States.JsonMerge", (3, 3), |a, _| merge(a)),
    row("States.MathRandom", (2, 3), math_random),
    row("States.MathAdd", (2, 2), |a, _| math_add(a)),
    row("States.StringSplit", (2, 2), |a, _| split(a)),
    row("States.UUID", (0, 0), |_, random| {
        let uuid = uuid::Builder::from_random_bytes(random.bytes()).into_uuid();
        Ok(Value::String(uuid.to_string()))
    }),
];

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|row| row.name == name).map(Function)
    }

    pub(super) fn takes(self, arguments: usize) -> bool {
        (self.0.least..=self.0.most).contains(&arguments)
    }

    pub(super) fn is_format(self) -> bool {
        self.0.name == FORMAT
    }

    pub(super) fn call(self, arguments: &[Value], random: &mut Random) -> Answer {
        (self.0.run)(arguments, random).map_err(|error| RunError {
            cause: format!("{}: {}", self.0.name, error.cause),
            ..error
        })
    }
}

fn refused<T>(what: &str, value: &Value) -> Result<T, RunError> {
    Err(RunError::intrinsic(format!("{value} is no {what}")))
}

fn list(value: &Value) -> Result<&Vec<Value>, RunError> {
    value.as_array().map_or_else(|| refused("list", value), Ok)
}

fn text(value: &Value) -> Result<&str, RunError> {
    value.as_str().map_or_else(|| refused("text", value), Ok)
}

fn short_text(value: &Value) -> Result<&str, RunError> {
    let text = text(value)?;
    if text.chars().count() <= MAX_TEXT {
        return Ok(text);
    }
    Err(RunError::intrinsic(format!("the text has more than {MAX_TEXT} characters")))
}

fn integer(value: &Value) -> Result<i64, RunError> {
    value.as_i64().map_or_else(|| refused("whole number of 64 bits", value), Ok)
}

fn positive(value: &Value) -> Result<usize, RunError> {
    let number = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    number.map_or_else(|| refused("positive whole number", value), Ok)
}

fn json(text: &str) -> Answer {
    serde_json::from_str(text).map_err(|error| RunError::intrinsic(error.to_string()))
}

/// `{}` is the next argument; `\{`, `\}`, `\'` and `\\` are what follows the backslash.
fn format(arguments: Arguments<'_>) -> Answer {
    let (template, mut values) = (text(&arguments[0])?, arguments[1..].iter());
    let mut formatted = String::new();
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => formatted.extend(chars.next()),
            '{' if chars.as_str().starts_with('}') => {
                chars.next();
                let Some(value) = values.next() else { return Err(places(template, arguments)) };
                formatted
                    .push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            c => formatted.push(c),
        }
    }
    if values.next().is_some() {
        return Err(places(template, arguments));
    }
    Ok(Value::String(formatted))
}

fn places(template: &str, arguments: Arguments<'_>) -> RunError {
    let values = arguments.len() - 1;
    RunError::intrinsic(format!("{template:?} has not as many {{}} as there are values, {values}"))
}

fn string_to_json(arguments: Arguments<'_>) -> Answer {
    json(text(&arguments[0])?)
}

fn partition(arguments: Arguments<'_>) -> Answer {
    let (list, size) = (list(&arguments[0])?, positive(&arguments[1])?);
    Ok(list.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
}

fn range(arguments: Arguments<'_>) -> Answer {
    let (first, last) = (integer(&arguments[0])?, integer(&arguments[1])?);
    let step = integer(&arguments[2])?;
    if step == 0 {
        return refused("step", &arguments[2]);
    }
    let holds = |n: &i64| if step > 0 { *n <= last } else { *n >= last };
    let numbers = std::iter::successors(Some(first), |n| n.checked_add(step)).take_while(holds);
    let numbers: Vec<Value> = numbers.take(MAX_RANGE + 1).map(Value::from).collect();
    if numbers.len() > MAX_RANGE {
        return Err(RunError::intrinsic(format!("the range has more than {MAX_RANGE} elements")));
    }
    Ok(Value::Array(numbers))
}

fn get_item(arguments: Arguments<'_>) -> Answer {
    let (list, index) = (list(&arguments[0])?, integer(&arguments[1])?);
    let item = usize::try_from(index).ok().and_then(|index| list.get(index));
    item.cloned().ok_or_else(|| RunError::intrinsic(format!("there is no element {index}")))
}

fn unique(arguments: Arguments<'_>) -> Answer {
    let mut unique: Vec<Value> = Vec::new();
    for value in list(&arguments[0])? {
        if !unique.contains(value) {
            unique.push(value.clone());
        }
    }
    Ok(Value::Array(unique))
}

fn base64_decode(arguments: Arguments<'_>) -> Answer {
    let bytes = BASE64_STANDARD.decode(short_text(&arguments[0])?);
    let bytes = bytes.map_err(|error| RunError::intrinsic(error.to_string()))?;
    String::from_utf8(bytes)
        .map(Value::String)
        .map_err(|error| RunError::intrinsic(error.to_string()))
}

/// What is no text is hashed as its JSON.
fn hash(arguments: Arguments<'_>) -> Answer {
    let data = match &arguments[0] {
        text @ Value::String(_) => short_text(text)?.to_owned(),
        other => other.to_string(),
    };
    let digest = match text(&arguments[1])? {
        "MD5" => hex(&md5::Md5::digest(data)),
        "SHA-1" => hex(&sha1::Sha1::digest(data)),
        "SHA-256" => hex(&sha2::Sha256::digest(data)),
        "SHA-384" => hex(&sha2::Sha384::digest(data)),
        "SHA-512" => hex(&sha2::Sha512::digest(data)),
        _ => return refused("hash algorithm", &arguments[1]),
    };
    Ok(Value::String(digest))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Shallow: the Amazon States Language reserves deep merging.
fn merge(arguments: Arguments<'_>) -> Answer {
    if arguments[2] != Value::Bool(false) {
        return refused("false, and objects are merged at their top only", &arguments[2]);
    }
    let object = |value: &Value| -> Result<Map<String, Value>, RunError> {
        value.as_object().cloned().map_or_else(|| refused("object", value), Ok)
    };
    let mut merged = object(&arguments[0])?;
    merged.extend(object(&arguments[1])?);
    Ok(Value::Object(merged))
}

/// From the first number to less than the second.
fn math_random(arguments: Arguments<'_>, random: &mut Random) -> Answer {
    let (start, end) = (integer(&arguments[0])?, integer(&arguments[1])?);
    let span = end.checked_sub(start).and_then(|span| u64::try_from(span).ok());
    let Some(span) = span.filter(|span| *span > 0) else {
        return Err(RunError::intrinsic(format!(
            "there is no number from {start} to less than {end}"
        )));
    };
    let offset = match arguments.get(2) {
        Some(seed) => Random::new(integer(seed)?.cast_unsigned()).below(span),
        None => random.below(span),
    };
    Ok(Value::from(start.wrapping_add_unsigned(offset)))
}

fn math_add(arguments: Arguments<'_>) -> Answer {
    let (a, b) = (integer(&arguments[0])?, integer(&arguments[1])?);
    let sum = a.checked_add(b).ok_or_else(|| {
        RunError::intrinsic(format!("{a} and {b} are together more than 64 bits hold"))
    })?;
    Ok(Value::from(sum))
}

/// Each character of the second text ends a piece; empty pieces are left out.
fn split(arguments: Arguments<'_>) -> Answer {
    let (whole, ends) = (text(&arguments[0])?, text(&arguments[1])?);
    let pieces = whole.split(|c| ends.contains(c)).filter(|piece| !piece.is_empty());
    Ok(pieces.map(Value::from).collect())
}
