//! What anybody may have written, in words of nginx.

/// Whether nginx takes it for a host's name, and not for a regular expression: with another one it would take no
/// configuration at all.
pub(super) fn is_name(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name).split('.');
    let is_of_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    labels.into_iter().all(|label| !label.is_empty() && label.chars().all(is_of_label))
}

/// One word where nginx looks for variables.
pub(super) fn value(text: &str) -> String {
    quoted(text).replace('$', "${dollar}")
}

/// One word for nginx, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The variable of a request's header.
pub(super) fn header(name: &str) -> String {
    format!("$http_{}", name.to_ascii_lowercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_may_have_written_stays_one_word() {
        assert_eq!(quoted("/a b;}"), "\"/a b;}\"");
        assert_eq!(quoted("x\"; return 200 \"\n"), "\"x\\\"; return 200 \\\"\"");
        assert_eq!(quoted("a\\"), "\"a\\\\\"");
        assert_eq!(quoted("~x"), "\"~x\"");
    }
}
