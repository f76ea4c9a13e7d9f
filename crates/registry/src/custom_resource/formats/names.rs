//! Names of hosts, and those of Kubernetes' objects.

/// How long a label is at most, and a name.
const LABEL: usize = 63;
const HOST_NAME: usize = 255;
const LONG_NAME: usize = 253;

/// What Go's pattern of `strfmt` takes: labels and a domain of letters at the end; or a label alone, in which only the
/// second character is a dash.
pub(super) fn is_host_name(text: &str) -> bool {
    let fits = text.len() <= HOST_NAME && text.split('.').all(|label| label.len() <= LABEL);
    fits && match text.rsplit_once('.') {
        Some((labels, domain)) => labels.split('.').all(is_label) && is_domain(domain),
        None => is_label_alone(text),
    }
}

pub(super) fn is_short(text: &str) -> bool {
    text.len() <= LABEL && is_segment(text)
}

pub(super) fn is_long(text: &str) -> bool {
    text.len() <= LONG_NAME && text.split('.').all(is_segment)
}

fn is_segment(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && !begins_or_ends_with_dash(text) && text.bytes().all(is_inner)
}

fn is_label(text: &str) -> bool {
    let is_inner = |c: char| is_word(c) || c == '-';
    !text.is_empty() && !begins_or_ends_with_dash(text) && text.chars().all(is_inner)
}

fn is_label_alone(text: &str) -> bool {
    let mut rest = text.chars();
    rest.next().is_some_and(is_word) && {
        let rest = rest.as_str();
        rest.strip_prefix('-').unwrap_or(rest).chars().all(is_word)
    }
}

fn is_domain(text: &str) -> bool {
    text.chars().count() >= 2 && text.chars().all(char::is_alphabetic)
}

fn begins_or_ends_with_dash(text: &str) -> bool {
    text.starts_with('-') || text.ends_with('-')
}

/// Letters, digits and symbols; beyond ASCII whatever is seen.
fn is_word(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "$+<=>^`|~".contains(c),
        false => !c.is_control() && !c.is_whitespace(),
    }
}
