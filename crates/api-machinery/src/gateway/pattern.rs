//! Regular expressions of routes, said again so that every engine of Perl's kind takes them and means the same. They come
//! in the syntax of RE2 (which Rust's `regex` has) and from anybody: what is given back consists of letters, digits,
//! `/_-`, bytes in hexadecimal and the few signs that are written here, whatever was in them.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look, Repetition},
};

/// How long one may be, as it was given.
const MAX_GIVEN: usize = 1024;
/// How much a server may have to hold of one: engines have a limit of 64 KB, beyond which they take none.
const MAX_SIZE: u64 = 20_000;
/// How long what a server is told may be: one word of a configuration.
pub(super) const MAX_WORD: usize = 3500;
/// How deep groups are.
const MAX_DEPTH: u32 = 50;
/// What a class takes, and what a group does, at most, of such a size.
const CLASS_SIZE: u64 = 36;
const GROUP_SIZE: u64 = 16;

/// An expression that is for all of a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    /// As it was given.
    pub given: String,
    /// As engines are told.
    pub translated: String,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Why it can't be served.
    pub fn new(given: &str) -> Result<Self, String> {
        if given.len() > MAX_GIVEN {
            return Err(format!("it has more than {MAX_GIVEN} bytes"));
        }
        let mut parser =
            ParserBuilder::new().unicode(false).utf8(false).nest_limit(MAX_DEPTH).build();
        let read = parser.parse(given).map_err(|error| last_line(&error.to_string()))?;
        if size(&read) > MAX_SIZE {
            return Err("its repetitions make it too large".to_owned());
        }
        let mut translated = String::new();
        write(&read, &mut translated)?;
        if translated.len() > MAX_WORD {
            return Err("it is too long".to_owned());
        }
        Ok(Pattern { given: given.to_owned(), translated })
    }
}

/// What means these bytes and nothing else.
#[must_use]
pub fn literal(text: &str) -> String {
    text.bytes().map(byte).collect()
}

fn byte(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'_' | b'-' => {
            char::from(byte).to_string()
        }
        other => format!("\\x{other:02x}"),
    }
}

/// The others show the place, in lines of their own.
fn last_line(text: &str) -> String {
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// At most; what is repeated is held as often.
fn size(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 2,
        HirKind::Literal(literal) => 2 * u64::try_from(literal.0.len()).unwrap_or(u64::MAX),
        HirKind::Class(_) => CLASS_SIZE,
        HirKind::Repetition(Repetition { min, max, sub, .. }) => {
            let times = u64::from(max.unwrap_or(*min).max(1));
            times.saturating_mul(size(sub).saturating_add(GROUP_SIZE)).saturating_add(GROUP_SIZE)
        }
        HirKind::Capture(capture) => GROUP_SIZE.saturating_add(size(&capture.sub)),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            let sizes = all.iter().map(|sub| size(sub).saturating_add(GROUP_SIZE));
            sizes.fold(0, u64::saturating_add)
        }
    }
}

fn write(hir: &Hir, out: &mut String) -> Result<(), String> {
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(literal) => out.extend(literal.0.iter().copied().map(byte)),
        HirKind::Class(class) => out.push_str(&bracket(class)?),
        HirKind::Look(look) => out.push_str(assertion(*look)?),
        HirKind::Repetition(repetition) => repeat(repetition, out)?,
        HirKind::Capture(capture) => group(&capture.sub, out)?,
        HirKind::Concat(all) => all.iter().try_for_each(|sub| group(sub, out))?,
        HirKind::Alternation(all) => {
            for (number, sub) in all.iter().enumerate() {
                if number > 0 {
                    out.push('|');
                }
                group(sub, out)?;
            }
        }
    }
    Ok(())
}

/// Without a name, and remembered nowhere. What is one thing for itself needs none.
fn group(hir: &Hir, out: &mut String) -> Result<(), String> {
    if matches!(hir.kind(), HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_)) {
        return write(hir, out);
    }
    out.push_str("(?:");
    write(hir, out)?;
    out.push(')');
    Ok(())
}

fn repeat(repetition: &Repetition, out: &mut String) -> Result<(), String> {
    out.push_str("(?:");
    write(&repetition.sub, out)?;
    out.push(')');
    out.push_str(&match (repetition.min, repetition.max) {
        (0, Some(1)) => "?".to_owned(),
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    });
    if !repetition.greedy {
        out.push('?');
    }
    Ok(())
}

fn bracket(class: &Class) -> Result<String, String> {
    let bytes = match class {
        Class::Bytes(bytes) => Some(bytes.clone()),
        Class::Unicode(chars) => chars.to_byte_class(),
    };
    let bytes = bytes.ok_or("classes of characters beyond ASCII are not served")?;
    if bytes.ranges().is_empty() {
        return Ok("(?!)".to_owned());
    }
    let ranges = bytes.ranges().iter().map(|range| match (range.start(), range.end()) {
        (start, end) if start == end => format!("\\x{start:02x}"),
        (start, end) => format!("\\x{start:02x}-\\x{end:02x}"),
    });
    Ok(format!("[{}]", ranges.collect::<String>()))
}

fn assertion(look: Look) -> Result<&'static str, String> {
    Ok(match look {
        Look::Start => "\\A",
        Look::End => "\\z",
        Look::StartLF => "(?m:^)",
        Look::EndLF => "(?m:$)",
        Look::WordAscii => "\\b",
        Look::WordAsciiNegate => "\\B",
        _ => return Err("an assertion that it has is not served".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    fn translated(given: &str) -> String {
        Pattern::new(given).map_or_else(|why| format!("no: {why}"), |it| it.translated)
    }

    #[test]
    fn what_is_written_has_signs_of_ours_alone() {
        for (given, expected) in [
            ("/v[12]/items", "/v[\\x31-\\x32]/items"),
            ("a\";}", "a\\x22\\x3b\\x7d"),
            ("(?P<host>x)+", "(?:x)+"),
            ("^a$", "\\Aa\\z"),
            ("a|b c", "a|b\\x20c"),
            (".*?", "(?:[\\x00-\\x09\\x0b-\\xff])*?"),
            ("é", "\\xc3\\xa9"),
            ("(?i)ab", "[\\x41\\x61][\\x42\\x62]"),
            ("(?m)^x{2,3}$", "(?m:^)(?:(?:x){2,3})(?m:$)"),
            ("[a&&b]", "(?!)"),
            ("\\bx", "\\bx"),
        ] {
            assert_eq!(translated(given), expected, "{given}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_told() {
        for (given, expected) in [
            ("(", "no: unclosed group"),
            ("a{1000}{1000}", "no: its repetitions make it too large"),
            ("(?=x)", "no: look-around, including look-ahead and look-behind, is not supported"),
            ("(x)\\1", "no: backreferences are not supported"),
            ("\\pL", "no: Unicode not allowed here"),
            ("(?u)[^é]", "no: classes of characters beyond ASCII are not served"),
        ] {
            assert_eq!(translated(given), expected, "{given}");
        }
        assert_eq!(translated(&"a".repeat(1025)), "no: it has more than 1024 bytes");
        assert!(translated(&"(".repeat(60)).starts_with("no: "));
    }

    /// What is read as Rust reads it again stands for the same texts, and has nothing in it that could end a word.
    fn check(given: &str, text: &[u8]) {
        let Ok(Pattern { translated, .. }) = Pattern::new(given) else { return };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-\\[](){}?:*+,|^$!".contains(c);
        assert!(translated.chars().all(allowed), "{translated}");
        // Rust's has no way to say what is never so.
        if translated.contains("(?!)") {
            return;
        }
        let build = |pattern: &str| {
            let pattern = format!("\\A(?:{pattern})\\z");
            RegexBuilder::new(&pattern).unicode(false).build()
        };
        let (Ok(before), after) = (build(given), build(&translated).unwrap()) else { return };
        assert_eq!(before.is_match(text), after.is_match(text), "{given} {translated} {text:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_means_the_same(given in r"([ab/.\-]|\(a\|b\)|\[\^?ab?\]|\(\?:b[*+]\)|[ab][*+?]|a\{1,2\}|\^|\$|\\d|\\b){0,8}", text in r"[ab/1\n\-]{0,6}") {
            check(&given, text.as_bytes());
        }

        #[test]
        fn whatever_is_given_it_has_signs_of_ours_alone(given in "\\PC{0,20}", text in any::<Vec<u8>>()) {
            check(&given, &text);
        }
    }
}
