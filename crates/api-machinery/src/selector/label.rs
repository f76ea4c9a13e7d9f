//! Label selectors, with the grammar and the wording of `k8s.io/apimachinery/pkg/labels`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use api_types::meta;

use super::{
    SelectorError,
    lexer::{Token, tokens},
};
use crate::names;

/// A conjunction of requirements; without any it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operator {
    DoesNotExist,
    Equals,
    DoubleEquals,
    In,
    NotEquals,
    NotIn,
    Exists,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Reads the text form: `app=web,tier in (a,b),!old`.
    ///
    /// # Errors
    /// If the text isn't of the grammar, or a key or value can't be a label's.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Parser { tokens: tokens(text), next: 0 }.selector()?;
        requirements.sort();
        Ok(Self(requirements))
    }

    /// The selector of exactly these labels.
    #[must_use]
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: BTreeSet::from([value.clone()]),
        };
        Self(labels.iter().map(equals).collect())
    }

    /// Whether the labels meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selects(|key| labels.get(key).map(String::as_str))
    }

    /// Whether labels, got by name, meet every requirement.
    pub fn selects<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| r.matches(get(&r.key)))
    }

    /// The labels that whatever is selected has.
    pub fn required(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(Requirement::required)
    }

    /// Whether there is no requirement.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<&meta::LabelSelector> for LabelSelector {
    type Error = SelectorError;

    fn try_from(selector: &meta::LabelSelector) -> Result<Self, SelectorError> {
        let mut all = Self::from_labels(selector.match_labels.as_ref().unwrap_or(&BTreeMap::new()));
        for expression in selector.match_expressions.iter().flatten() {
            let operator = expression_operator(&expression.operator)?;
            let values = expression.values.iter().flatten().cloned().collect();
            all.0.push(Requirement::new(expression.key.clone(), operator, values)?);
        }
        all.0.sort();
        Ok(all)
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl Requirement {
    fn new(
        key: String,
        operator: Operator,
        values: BTreeSet<String>,
    ) -> Result<Self, SelectorError> {
        check_key(&key, "key")?;
        check_values(operator, &values)?;
        for (i, value) in values.iter().enumerate() {
            if let Some(fault) = joined(&names::label_value(value)) {
                return Err(SelectorError(format!(
                    "values[{i}][{key}]: Invalid value: {value:?}: {fault}"
                )));
            }
        }
        Ok(Self { key, operator, values })
    }

    fn required(&self) -> Option<(&str, &str)> {
        let is_equality =
            matches!(self.operator, Operator::In | Operator::Equals | Operator::DoubleEquals);
        let value = self.values.first().filter(|_| is_equality && self.values.len() == 1)?;
        Some((&self.key, value))
    }

    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::In | Operator::Equals | Operator::DoubleEquals => {
                value.is_some_and(|v| self.values.contains(v))
            }
            Operator::NotIn | Operator::NotEquals => value.is_none_or(|v| !self.values.contains(v)),
            Operator::GreaterThan => self.compares(value, |label, wanted| label > wanted),
            Operator::LessThan => self.compares(value, |label, wanted| label < wanted),
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let label = value.and_then(|v| v.parse().ok());
        let wanted = self.values.first().and_then(|v| v.parse().ok());
        label.zip(wanted).is_some_and(|(label, wanted)| holds(label, wanted))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// Kubernetes' recursive descent over the tokens. `in` and `notin` are words that only an operator's place makes operators.
struct Parser {
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&Token::End)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => requirements.push(self.requirement()?),
                other => return expected(other, "!, identifier, or 'end of string'"),
            }
            match self.take() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") if !self.at_requirement() => {
                    return expected(self.peek(), "identifier after ','");
                }
                Token::Symbol(",") => {}
                other => return expected(&other, "',' or 'end of string'"),
            }
        }
    }

    fn at_requirement(&self) -> bool {
        matches!(self.peek(), Token::Word(_) | Token::Symbol("!"))
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let wrap =
            |e: SelectorError| SelectorError(format!("unable to parse requirement: {}", e.0));
        self.bare_requirement().map_err(wrap)
    }

    fn bare_requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = *self.peek() == Token::Symbol("!");
        if negated {
            self.take();
        }
        let key = self.word("identifier")?;
        check_key(&key, "<nil>")?;
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Requirement::new(key, operator, BTreeSet::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn word(&mut self, what: &str) -> Result<String, SelectorError> {
        match self.take() {
            Token::Word(word) => Ok(word),
            other => expected(&other, what),
        }
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let token = self.take();
        Ok(match token.text() {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            "=" => Operator::Equals,
            "==" => Operator::DoubleEquals,
            "!=" => Operator::NotEquals,
            ">" => Operator::GreaterThan,
            "<" => Operator::LessThan,
            _ => return expected(&token, "in, notin, =, ==, !=, gt, lt"),
        })
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(BTreeSet::from([String::new()]));
        }
        Ok(BTreeSet::from([self.word("identifier")?]))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.take();
        if open != Token::Symbol("(") {
            return Err(SelectorError(format!("found '{}' expected: '('", open.text())));
        }
        match self.peek() {
            Token::Word(_) | Token::Symbol("," | ")") => self.value_list(),
            other => expected(other, "',', ')' or identifier"),
        }
    }

    /// Words between commas up to the closing parenthesis; nothing between two of these is the empty value.
    fn value_list(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            match self.peek() {
                Token::Word(_) => values.insert(self.word("identifier")?),
                Token::Symbol("," | ")") => values.insert(String::new()),
                other => return expected(other, "',', or identifier"),
            };
            match self.take() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return expected(&other, "',' or ')'"),
            }
        }
    }
}

fn expected<T>(found: &Token, what: &str) -> Result<T, SelectorError> {
    Err(SelectorError(format!("found '{}', expected: {what}", found.text())))
}

fn check_key(key: &str, path: &str) -> Result<(), SelectorError> {
    match joined(&names::qualified_name(key)) {
        Some(fault) => Err(SelectorError(format!("{path}: Invalid value: {key:?}: {fault}"))),
        None => Ok(()),
    }
}

fn check_values(operator: Operator, values: &BTreeSet<String>) -> Result<(), SelectorError> {
    let fault = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            "for 'in', 'notin' operators, values set can't be empty"
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            "values set must be empty for exists and does not exist"
        }
        Operator::GreaterThan | Operator::LessThan
            if values.first().is_none_or(|v| v.parse::<i64>().is_err()) =>
        {
            "for 'Gt', 'Lt' operators, the value must be an integer"
        }
        _ => return Ok(()),
    };
    let values: Vec<_> = values.iter().map(|v| format!("{v:?}")).collect();
    Err(SelectorError(format!("values: Invalid value: []string{{{}}}: {fault}", values.join(", "))))
}

fn joined(faults: &[String]) -> Option<String> {
    (!faults.is_empty()).then(|| faults.join("; "))
}

fn expression_operator(name: &str) -> Result<Operator, SelectorError> {
    match name {
        "In" => Ok(Operator::In),
        "NotIn" => Ok(Operator::NotIn),
        "Exists" => Ok(Operator::Exists),
        "DoesNotExist" => Ok(Operator::DoesNotExist),
        other => Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use api_types::meta;
    use proptest::prelude::*;

    use super::LabelSelector;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn check(selector: &str, given: &str, expected: bool) {
        let parsed = LabelSelector::parse(selector).unwrap();
        assert_eq!(parsed.matches(&labels(given)), expected, "{selector} on {given}");
    }

    #[test]
    fn selects_as_kubernetes_does() {
        check("", "a=b", true);
        check("a=b", "a=b,c=d", true);
        check("a==b", "a=c", false);
        check("a!=b", "", true);
        check("a!=b", "a=b", false);
        check("a", "a=", true);
        check("!a", "a=1", false);
        check("a in (x, y)", "a=y", true);
        check("a in (x,)", "a=", true);
        check("a in ()", "a=", true);
        check("a in ()", "a=x", false);
        check("a notin ()", "a=", false);
        check("a notin ()", "", true);
        check("a notin (x)", "b=1", true);
        check("a notin (x)", "a=x", false);
        check("a=", "a=", true);
        check("a>5", "a=7", true);
        check("a<5", "a=x", false);
        check("example.com/in in (in,notin),b", "example.com/in=notin,b=1", true);
    }

    #[test]
    fn tells_what_it_requires() {
        let selector = LabelSelector::parse("a=b,c in (d),e in (f,g),h!=i,j,k notin (l)").unwrap();
        assert_eq!(selector.required().collect::<Vec<_>>(), [("a", "b"), ("c", "d")]);
    }

    #[test]
    fn says_what_is_wrong_in_kubernetes_words() {
        let cases = [
            ("a,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
            (
                "a>b",
                "unable to parse requirement: values: Invalid value: []string{\"b\"}: for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(LabelSelector::parse(given).unwrap_err().to_string(), expected, "{given}");
        }
        let key = LabelSelector::parse("a$=b").unwrap_err().to_string();
        assert!(
            key.starts_with(
                "unable to parse requirement: <nil>: Invalid value: \"a$\": name part must consist"
            ),
            "{key}"
        );
    }

    #[test]
    fn an_empty_value_alone_is_written_as_kubernetes_does() {
        for text in ["a in (),b notin ()", "a in (,),b notin (,)"] {
            assert_eq!(LabelSelector::parse(text).unwrap().to_string(), "a in (),b notin ()");
        }
    }

    #[test]
    fn an_expression_needs_values() {
        let expression = meta::LabelSelectorRequirement {
            key: "tier".to_owned(),
            operator: "In".to_owned(),
            values: None,
        };
        let selector =
            meta::LabelSelector { match_labels: None, match_expressions: Some(vec![expression]) };
        assert_eq!(
            LabelSelector::try_from(&selector).unwrap_err().to_string(),
            "values: Invalid value: []string{}: for 'in', 'notin' operators, values set can't be empty"
        );
    }

    #[test]
    fn joins_match_labels_and_expressions() {
        let expression = |operator: &str| meta::LabelSelectorRequirement {
            key: "tier".to_owned(),
            operator: operator.to_owned(),
            values: Some(vec!["front".to_owned()]),
        };
        let selector = |operator| meta::LabelSelector {
            match_labels: Some(labels("app=web")),
            match_expressions: Some(vec![expression(operator)]),
        };
        let parsed = LabelSelector::try_from(&selector("In")).unwrap();
        assert_eq!(parsed.to_string(), "app=web,tier in (front)");
        assert!(
            parsed.matches(&labels("app=web,tier=front")) && !parsed.matches(&labels("app=web"))
        );
        let wrong = LabelSelector::try_from(&selector("Gt")).unwrap_err();
        assert_eq!(wrong.to_string(), "\"Gt\" is not a valid label selector operator");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[ab,=!()<> inot/.é]{0,20}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn the_printed_form_selects_the_same(text in "(!?[ab]|[ab](=|!=|==)[xy]?|[ab] (in|notin) \\(([xy]?,)?[xy]?\\))(,[cd]=x)?", given in "([abcd]=[xy]?,){0,4}") {
            let once = LabelSelector::parse(&text).unwrap();
            let twice = LabelSelector::parse(&once.to_string()).unwrap();
            prop_assert_eq!(&once, &twice);
            prop_assert_eq!(once.matches(&labels(&given)), twice.matches(&labels(&given)));
        }

        #[test]
        fn in_is_the_opposite_of_notin(values in "([xy](,[xyz])?)?", given in "([ab]=[xyz],){0,2}") {
            let one = LabelSelector::parse(&format!("a in ({values})")).unwrap();
            let other = LabelSelector::parse(&format!("a notin ({values})")).unwrap();
            prop_assert_ne!(one.matches(&labels(&given)), other.matches(&labels(&given)));
        }
    }
}
