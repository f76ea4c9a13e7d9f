//! Field selectors, with the grammar and the wording of `k8s.io/apimachinery/pkg/fields`.

use std::{fmt, str::FromStr};

use super::SelectorError;

/// A conjunction of requirements on fields; without any it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

impl FieldSelector {
    /// Reads the text form: `spec.nodeName=n1,status.phase!=Running`.
    ///
    /// # Errors
    /// If a term has no operator or a backslash escapes something that needs none.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let terms = split(text).into_iter().filter(|t| !t.is_empty());
        terms.map(|t| term(text, t)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the fields, got by name, meet every requirement. A field that isn't there is empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|t| (get(&t.field).unwrap_or_default() == t.value) == t.equal)
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|t| t.field.as_str())
    }

    /// The value that the field must have, if there is one.
    #[must_use]
    pub fn requires(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let term = |t: &Term| {
            format!("{}{}{}", t.field, if t.equal { "=" } else { "!=" }, escaped(&t.value))
        };
        f.write_str(&self.0.iter().map(term).collect::<Vec<_>>().join(","))
    }
}

/// Splits at commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        if c == ',' && !escaped {
            parts.push(&text[start..i]);
            start = i + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}

fn term(selector: &str, text: &str) -> Result<Term, SelectorError> {
    let misunderstood =
        || SelectorError(format!("invalid selector: '{selector}'; can't understand '{text}'"));
    for (i, _) in text.char_indices() {
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = text[i..].strip_prefix(operator) {
                let value = unescaped(value)?;
                return Ok(Term { field: text[..i].to_owned(), value, equal });
            }
        }
    }
    Err(misunderstood())
}

fn unescaped(value: &str) -> Result<String, SelectorError> {
    let (mut plain, mut chars) = (String::new(), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => plain.push(next),
                Some(next) => {
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: \\{next}"
                    )));
                }
                None => {
                    return Err(SelectorError(
                        "invalid field selector: invalid escape sequence: \\".to_owned(),
                    ));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: '{c}'"
                )));
            }
            c => plain.push(c),
        }
    }
    Ok(plain)
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::FieldSelector;

    fn check(selector: &str, phase: &str, expected: bool) {
        let get = |f: &str| (f == "status.phase").then_some(phase);
        assert_eq!(FieldSelector::parse(selector).unwrap().matches(get), expected, "{selector}");
    }

    #[test]
    fn selects_by_value() {
        check("", "Running", true);
        check("status.phase=Running", "Running", true);
        check("status.phase==Running,", "Running", true);
        check("status.phase!=Running", "Running", false);
        check("status.phase!=Running,spec.nodeName=", "Failed", true);
        check("spec.nodeName=n1", "Running", false);
    }

    #[test]
    fn tells_what_it_requires() {
        let selector = FieldSelector::parse("metadata.name=a,spec.nodeName!=n").unwrap();
        assert_eq!(selector.requires("metadata.name"), Some("a"));
        assert_eq!(selector.requires("spec.nodeName"), None);
        assert_eq!(selector.fields().collect::<Vec<_>>(), ["metadata.name", "spec.nodeName"]);
    }

    #[test]
    fn refuses_a_term_without_operator() {
        let error = FieldSelector::parse("a=b,c").unwrap_err().to_string();
        assert_eq!(error, "invalid selector: 'a=b,c'; can't understand 'c'");
    }

    proptest! {
        #[test]
        fn any_value_survives_its_printed_form(value in r"[a,=\\! ]{0,6}") {
            let selector = FieldSelector(vec![super::Term { field: "f".to_owned(), value: value.clone(), equal: true }]);
            let again = FieldSelector::parse(&selector.to_string()).unwrap();
            prop_assert_eq!(again.requires("f"), Some(value.as_str()));
        }
    }
}
