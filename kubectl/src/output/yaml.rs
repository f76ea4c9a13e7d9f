//! YAML as kubectl writes it (Go's yaml.v2): sorted keys, lists not indented, the same quotes.

use std::fmt::Write;

use serde_json::Value;

/// Where a long text is folded.
const BEST_WIDTH: usize = 80;

/// The document's text, ending in a line break.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(&mut text, value, 0),
        scalar => {
            inline(&mut text, scalar, 0);
            text.push('\n');
        }
    }
    text
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// A map's or list's lines, each at this indentation.
fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                pad(text, indent);
                entry(text, key, value, indent);
            }
        }
        Value::Array(list) => {
            for item in list {
                pad(text, indent);
                text.push_str("- ");
                list_item(text, item, indent);
            }
        }
        _ => {}
    }
}

/// A key with its value; a list stays at the key's indentation.
fn entry(text: &mut String, key: &str, value: &Value, indent: usize) {
    let _ = write!(text, "{}:", quoted(key));
    match value {
        Value::Object(_) if !is_empty(value) => {
            text.push('\n');
            block(text, value, indent + 2);
        }
        Value::Array(_) if !is_empty(value) => {
            text.push('\n');
            block(text, value, indent);
        }
        scalar => {
            text.push(' ');
            inline(text, scalar, indent);
            text.push('\n');
        }
    }
}

/// What follows `- `: the first line of a map or list stands on the dash's line.
fn list_item(text: &mut String, item: &Value, indent: usize) {
    if matches!(item, Value::Object(_) | Value::Array(_)) && !is_empty(item) {
        let mut inner = String::new();
        block(&mut inner, item, indent + 2);
        text.push_str(&inner[indent + 2..]);
        return;
    }
    inline(text, item, indent);
    text.push('\n');
}

/// A scalar, or a collection with nothing in it; `indent` is that of its key or dash.
fn inline(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(s) if s.contains('\n') && literal_allowed(s) => literal(text, s, indent + 2),
        Value::String(s) => folded(text, &quoted(s), indent + 2),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// A long text goes on in the next line, at the first single space after the best width.
fn folded(text: &mut String, shown: &str, indent: usize) {
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    let mut column = text[line_start..].chars().count();
    let chars: Vec<char> = shown.chars().collect();
    let is_space = |at: usize| chars.get(at) == Some(&' ');
    for (at, c) in chars.iter().enumerate() {
        let inside = at > 1 && at + 2 < chars.len();
        if *c == ' ' && inside && column > BEST_WIDTH && !is_space(at - 1) && !is_space(at + 1) {
            text.push('\n');
            pad(text, indent);
            column = indent;
        } else {
            text.push(*c);
            column += 1;
        }
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn literal_allowed(s: &str) -> bool {
    let special = |c: char| (c.is_control() && c != '\n') || c == '\u{feff}';
    !s.contains(special) && !s.contains(" \n") && !s.ends_with(' ')
}

/// A block of lines; the sign after `|` says how many line breaks end it.
fn literal(text: &mut String, s: &str, indent: usize) {
    text.push('|');
    if s.starts_with([' ', '\n']) {
        text.push('2');
    }
    match s.len() - s.trim_end_matches('\n').len() {
        0 => text.push('-'),
        1 => {}
        _ => text.push('+'),
    }
    for line in s.strip_suffix('\n').unwrap_or(s).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            pad(text, indent);
            text.push_str(line);
        }
    }
}

/// A text on one line: plain if it can be read back as a text, else in the quotes Go would take.
fn quoted(s: &str) -> String {
    if s.chars().any(char::is_control) || s.contains('\u{feff}') {
        return double_quoted(s);
    }
    if resolves_to_another_type(s) {
        return double_quoted(s);
    }
    if plain_allowed(s) { s.to_owned() } else { format!("'{}'", s.replace('\'', "''")) }
}

fn double_quoted(s: &str) -> String {
    let mut text = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\u{1b}' => text.push_str("\\e"),
            '\0' => text.push_str("\\0"),
            c if c.is_control() => {
                let _ = write!(text, "\\x{:02X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text + "\""
}

/// Texts that a YAML 1.1 reader would take for null, a boolean, a number or a time.
fn resolves_to_another_type(s: &str) -> bool {
    const WORDS: [&str; 12] =
        ["", "~", "null", "y", "yes", "n", "no", "true", "false", "on", "off", "<<"];
    let lower = s.to_lowercase();
    let one_case = s == lower || s == s.to_uppercase() || is_capitalised(s);
    (one_case && WORDS.contains(&lower.as_str())) || is_number(s) || is_time(s) || is_base60(s)
}

fn is_capitalised(s: &str) -> bool {
    let mut chars = s.chars();
    chars.next().is_some_and(char::is_uppercase) && chars.all(|c| !c.is_uppercase())
}

fn is_number(s: &str) -> bool {
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
    let plain = unsigned.replace('_', "");
    let radix = |prefix: &str, radix| {
        plain.strip_prefix(prefix).is_some_and(|d| u64::from_str_radix(d, radix).is_ok())
    };
    let special =
        matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(s, ".nan" | ".NaN" | ".NAN");
    let starts = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let decimal =
        plain.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    special
        || radix("0x", 16)
        || radix("0b", 2)
        || radix("0o", 8)
        || (starts && decimal && plain.parse::<f64>().is_ok())
}

/// `2026-01-31`, alone or with a time of day.
fn is_time(s: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        s.get(range).is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit()))
    };
    let date = digits(0..4)
        && s.get(4..5) == Some("-")
        && digits(5..7)
        && s.get(7..8) == Some("-")
        && digits(8..10);
    let rest = s.get(10..).unwrap_or_default();
    let time = rest.starts_with(['T', 't', ' '])
        && rest.len() >= 9
        && digits(11..13)
        && digits(14..16)
        && digits(17..19);
    date && (rest.is_empty() || time)
}

/// `1:20`: sixty-based in YAML 1.1.
fn is_base60(s: &str) -> bool {
    let unsigned = s.strip_prefix(['+', '-']).unwrap_or(s);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<_> = parts.collect();
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let below_sixty = |t: &&str| {
        let whole = t.split('.').next().unwrap_or_default();
        matches!(whole.len(), 1 | 2) && whole.parse::<u8>().is_ok_and(|n| n < 60)
    };
    digits(first) && !rest.is_empty() && rest.iter().all(below_sixty)
}

fn plain_allowed(s: &str) -> bool {
    let mut chars = s.chars();
    let first = chars.next().unwrap_or(' ');
    let second = chars.next();
    let bad_start = "#,[]{}&*!|>'\"%@`".contains(first)
        || ("-?:".contains(first) && second.is_none_or(|c| c == ' '));
    !(bad_start
        || s.starts_with([' ', '\t'])
        || s.ends_with([' ', '\t', ':'])
        || s.starts_with("---")
        || s.starts_with("...")
        || s.contains(": ")
        || s.contains(" #"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_lists_and_empty_collections_look_like_kubectls() {
        let value =
            json!({"a": {"b": [1, {"c": "x", "d": []}, ["y", "z"]], "e": {}}, "n": null, "f": 1.5});
        let expected = "a:\n  b:\n  - 1\n  - c: x\n    d: []\n  - - \"y\"\n    - z\n  e: {}\nf: 1.5\n\"n\": null\n";
        assert_eq!(to_yaml(&value), expected);
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(to_yaml(&json!({"k": text})), format!("k: {expected}\n"));
    }

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        check("plain text", "plain text");
        check("", "\"\"");
        check("true", "\"true\"");
        check("Yes", "\"Yes\"");
        check("yEs", "yEs");
        check("123", "\"123\"");
        check("1e3", "\"1e3\"");
        check("10.96.0.1", "10.96.0.1");
        check("0x1f", "\"0x1f\"");
        check("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\"");
        check("12:30", "\"12:30\"");
        check("a: b", "'a: b'");
        check("it's: x", "'it''s: x'");
        check("- x", "'- x'");
        check("-x", "-x");
        check("{}", "'{}'");
        check("a #b", "'a #b'");
        check("tab\there", "\"tab\\there\"");
    }

    #[test]
    fn several_lines_become_a_block() {
        check("a\nb\n", "|\n  a\n  b");
        check("a\n\nb", "|-\n  a\n\n  b");
        check("a \nb", "\"a \\nb\"");
        check("a\tb\nc", "\"a\\tb\\nc\"");
        check(" a\nb", "|2-\n   a\n  b");
    }

    #[test]
    fn long_texts_are_folded_after_eighty_columns() {
        let (word, line) = ("word ".repeat(30), "word ".repeat(16));
        let expected = format!("{}\n  {}", line.trim_end(), "word ".repeat(14).trim_end());
        check(word.trim_end(), &expected);
    }
}
