//! How Kubernetes writes lists and names in its details.

/// `"a", "b"`; nothing is escaped.
pub(crate) fn join_quote<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = items.into_iter().map(|item| format!("\"{item}\"")).collect();
    quoted.join(", ")
}

/// The word for so many.
pub(crate) fn pluralize(
    singular: &'static str,
    plural: &'static str,
    count: usize,
) -> &'static str {
    if count == 1 { singular } else { plural }
}

/// `container "a"` or `containers "a", "b"`.
pub(crate) fn containers(names: &[&str]) -> String {
    let noun = pluralize("container", "containers", names.len());
    format!("{noun} {}", join_quote(names.iter().copied()))
}

/// A text as Go's `%q` writes it.
pub(crate) fn go_quote(text: &str) -> String {
    format!("\"{}\"", text.chars().map(go_escape).collect::<String>())
}

fn go_escape(char: char) -> String {
    match char {
        '"' | '\\' => format!("\\{char}"),
        '\x07' => r"\a".to_owned(),
        '\x08' => r"\b".to_owned(),
        '\x0c' => r"\f".to_owned(),
        '\n' => r"\n".to_owned(),
        '\r' => r"\r".to_owned(),
        '\t' => r"\t".to_owned(),
        '\x0b' => r"\v".to_owned(),
        printed if is_printed(printed) => printed.to_string(),
        '\0'..='\x1f' | '\x7f' => format!(r"\x{:02x}", u32::from(char)),
        '\0'..='\u{ffff}' => format!(r"\u{:04x}", u32::from(char)),
        _ => format!(r"\U{:08x}", u32::from(char)),
    }
}

/// Whether a character is written as it is. A mark is only behind a letter, hence the letter.
fn is_printed(char: char) -> bool {
    char == '\'' || format!("a{char}").escape_debug().count() == 2
}
