//! Addresses of mail that Go's `mail.ParseAddress` takes: `a@b.example`, `A B <a@b.example>`, with comments after them.

use std::net::IpAddr;

pub(super) fn is_email(text: &str) -> bool {
    let rest = after_address(text).or_else(|| after_named(text));
    rest.and_then(after_comments).is_some_and(str::is_empty)
}

/// What follows an address with a name before it, or without.
fn after_named(text: &str) -> Option<&str> {
    let text = skipped(text);
    let rest = if text.starts_with('<') { text } else { after_phrase(text)? };
    after_address(skipped(rest).strip_prefix('<')?)?.strip_prefix('>')
}

/// What follows the words of a name.
fn after_phrase(text: &str) -> Option<&str> {
    let mut rest = after_word(text)?;
    loop {
        rest = skipped(after_comments(rest)?);
        match after_word(rest) {
            Some(after) => rest = after,
            None => return Some(rest),
        }
    }
}

fn after_word(text: &str) -> Option<&str> {
    match text.strip_prefix('"') {
        Some(quoted) => after_quoted(quoted),
        None => Some(atom(text).1).filter(|rest| rest.len() < text.len()),
    }
}

fn after_address(text: &str) -> Option<&str> {
    let text = skipped(text);
    let after = match text.strip_prefix('"') {
        Some(quoted) if quoted.starts_with('"') => return None,
        Some(quoted) => after_quoted(quoted)?,
        None => after_dotted(text)?,
    };
    let domain = skipped(after.strip_prefix('@')?);
    match domain.strip_prefix('[') {
        Some(literal) => {
            let (address, after) = literal.split_once(']')?;
            address.parse::<IpAddr>().ok().map(|_| after)
        }
        None => after_dotted(domain),
    }
}

/// What follows words with single dots between them.
fn after_dotted(text: &str) -> Option<&str> {
    let (atom, after) = atom(text);
    atom.split('.').all(|word| !word.is_empty()).then_some(after)
}

fn atom(text: &str) -> (&str, &str) {
    let is_special = |c: char| "()<>[]:;@\\,\"".contains(c) || !is_visible(c);
    text.split_at(text.find(is_special).unwrap_or(text.len()))
}

/// What follows the second quote.
fn after_quoted(text: &str) -> Option<&str> {
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some(rest.as_str()),
            '\\' if rest.next().is_some_and(is_quotable) => {}
            c if c != '\\' && is_quotable(c) => {}
            _ => return None,
        }
    }
}

/// What follows blanks and comments, which may be within each other; nothing if one does not end.
fn after_comments(text: &str) -> Option<&str> {
    let mut rest = skipped(text);
    while let Some(comment) = rest.strip_prefix('(') {
        let (mut depth, mut letters) = (1_usize, comment.chars());
        while depth > 0 {
            match letters.next()? {
                '\\' => {
                    letters.next()?;
                }
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
        }
        rest = skipped(letters.as_str());
    }
    Some(rest)
}

fn skipped(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_quotable(c: char) -> bool {
    is_visible(c) || is_blank(c)
}

fn is_visible(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_graphic()
}
