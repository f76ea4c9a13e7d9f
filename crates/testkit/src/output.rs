//! What two programs print, for comparing.

/// Ages such as `12s` and `3m4s` as `0s`: they move on between two commands, and with them the blanks that
/// follow.
#[must_use]
pub fn without_ages(text: &str) -> String {
    let is_age = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.ends_with(['s', 'm'])
            && word.chars().all(|c| c.is_ascii_digit() || "dhms".contains(c))
    };
    let line = |line: &str| {
        let words = line.split(' ').map(|word| if is_age(word) { "0s" } else { word });
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
