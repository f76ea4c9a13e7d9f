//! Fields whose names are no identifiers of CEL (Kubernetes: `cel/escaping.go`).

/// No identifiers: the language keeps them for itself (its specification, "Syntax").
pub const RESERVED_WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const SIGNS: [(&str, &str); 4] =
    [("underscores", "__"), ("dot", "."), ("dash", "-"), ("slash", "/")];

/// The name that is meant, if this is one that had to be written differently: `foo__dash__bar`.
pub(crate) fn unescaped(name: &str) -> Option<String> {
    let word = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word.filter(|word| RESERVED_WORDS.contains(word)) {
        return Some(word.to_owned());
    }
    let mut meant = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("__") {
        let (word, after) = after.split_once("__")?;
        let (_, sign) = SIGNS.into_iter().find(|(known, _)| *known == word)?;
        meant.push_str(before);
        meant.push_str(sign);
        rest = after;
    }
    (rest.len() < name.len()).then(|| meant + rest)
}
