//! Rules over an object.

use std::{cell::OnceCell, collections::BTreeMap};

use api_machinery::{FieldErrors, FieldPath};
use expressions::{Budget, EvaluationError, Key, REQUEST_LIMIT, Type, Value, Variables};
use serde_json::Value as Json;

use super::{rule::Rule, tree::Rules, types};

/// How many faults are told of, and with how much.
const MOST_FAULTS: usize = 100;
const MOST_TOLD: usize = 1 << 20;
/// As long as what an expression says may be (Kubernetes: `MaxEvaluatedMessageExpressionSizeBytes`).
const LONGEST_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Rules {
    /// Adds the faults of an object. What is as in `old` is none, unless a rule compares both.
    pub(crate) fn check(&self, object: &Json, old: Option<&Json>, errors: &mut FieldErrors) {
        let type_ = self.values.as_ref().unwrap_or(&Type::Dyn);
        let _ended = Check::new(errors).whole(self, (object, old), type_, &FieldPath::default());
    }

    /// Adds the faults of the defaults that a schema has, whose rules these are.
    pub(crate) fn check_defaults(&self, schema: &Json, path: &FieldPath, errors: &mut FieldErrors) {
        let _ended = Check::new(errors).defaults(self, schema, path);
    }
}

/// A value in one of its states, as JSON and as expressions see it.
#[derive(Clone, Copy)]
struct State<'a> {
    json: &'a Json,
    value: &'a Value,
}

/// A value that is looked at.
struct Node<'a> {
    now: State<'a>,
    /// What it was, if that is known.
    old: Option<State<'a>>,
    /// The nearest of which it is known what it was.
    compared: &'a Compared<'a>,
}

/// A value beside what it was.
struct Compared<'a> {
    now: &'a Json,
    old: Option<&'a Json>,
    is_same: OnceCell<bool>,
}

impl<'a> Compared<'a> {
    fn of(now: &'a Json, old: Option<State<'a>>) -> Self {
        Self { now, old: old.map(|old| old.json), is_same: OnceCell::new() }
    }

    fn is_same(&self) -> bool {
        *self.is_same.get_or_init(|| self.old == Some(self.now))
    }
}

/// Nothing more is looked at.
struct Ended;

struct Check<'a> {
    errors: &'a mut FieldErrors,
    budget: Budget,
    told: usize,
    room: usize,
}

impl<'a> Check<'a> {
    fn new(errors: &'a mut FieldErrors) -> Self {
        Self { errors, budget: Budget::new(REQUEST_LIMIT), told: 0, room: MOST_TOLD }
    }

    fn whole(
        &mut self,
        rules: &Rules,
        (object, old): (&Json, Option<&Json>),
        type_: &Type,
        path: &FieldPath,
    ) -> Result<(), Ended> {
        let (value, old_value) =
            (Value::typed(object, type_), old.map(|old| Value::typed(old, type_)));
        let now = State { json: object, value: &value };
        let old = old.zip(old_value.as_ref()).map(|(json, value)| State { json, value });
        let compared = Compared::of(object, old);
        self.value(rules, &Node { now, old, compared: &compared }, path)
    }

    /// All together may cost what an object may.
    fn defaults(&mut self, rules: &Rules, schema: &Json, path: &FieldPath) -> Result<(), Ended> {
        if let Some(default) = schema.get("default") {
            let type_ = types::of(schema, types::is_embedded(schema)).unwrap_or(Type::Dyn);
            self.whole(rules, (default, None), &type_, &path.child("default"))?;
        }
        for (name, rules) in &rules.fields {
            let path = path.child("properties").key(name);
            self.defaults(rules, &schema["properties"][name], &path)?;
        }
        for (keyword, rules) in
            [("additionalProperties", &rules.additional), ("items", &rules.items)]
        {
            if let Some(rules) = rules {
                self.defaults(rules, &schema[keyword], &path.child(keyword))?;
            }
        }
        Ok(())
    }

    fn value(&mut self, rules: &Rules, node: &Node<'_>, path: &FieldPath) -> Result<(), Ended> {
        if node.now.json.is_null() {
            return Ok(());
        }
        for rule in &rules.own {
            self.rule(rules, rule, node, path)?;
        }
        match node.now.json {
            Json::Object(fields) => {
                for (name, json) in fields {
                    let (rules, path) = match (rules.fields.get(name), &rules.additional) {
                        (Some(rules), _) => (rules, path.child(name)),
                        (None, Some(rules)) => (&**rules, path.key(name)),
                        (None, None) => continue,
                    };
                    let Some(now) = field(node.now, name, json) else { continue };
                    let old = node.old.and_then(|old| field(old, name, old.json.get(name)?));
                    // As a value that is null has no rules, it is none that there was before.
                    let old = old.filter(|old| !old.json.is_null());
                    let compared = Compared::of(json, old);
                    self.value(rules, &Node { now, old, compared: &compared }, &path)?;
                }
            }
            Json::Array(_) => self.list(rules, node, path)?,
            _ => {}
        }
        Ok(())
    }

    /// Elements of a list are what they were if they have keys by which to know.
    fn list(&mut self, rules: &Rules, node: &Node<'_>, path: &FieldPath) -> Result<(), Ended> {
        let Some(items) = &rules.items else { return Ok(()) };
        let before = rules.keys.as_ref().zip(node.old).map(|(keys, old)| (keys, by_key(keys, old)));
        for (index, now) in elements(node.now).enumerate() {
            let path = path.index(index);
            let Some((keys, before)) = &before else {
                self.value(items, &Node { now, old: None, compared: node.compared }, &path)?;
                continue;
            };
            let old = before.get(&key(keys, now.json)).copied();
            let compared = Compared::of(now.json, old);
            self.value(items, &Node { now, old, compared: &compared }, &path)?;
        }
        Ok(())
    }

    fn rule(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        node: &Node<'_>,
        path: &FieldPath,
    ) -> Result<(), Ended> {
        if self.budget.left() == 0 {
            return Err(self.end(rules, path, OUT_OF_BUDGET));
        }
        if rule.uses_old_self && node.old.is_none() && !rule.is_old_optional {
            return Ok(());
        }
        let variables = Selves { node, is_old_optional: rule.is_old_optional };
        match rule.program.evaluate_out_of(&variables, &mut self.budget) {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(error) => return self.failed(rules, rule, &error, path),
        }
        if !rule.uses_old_self && node.compared.is_same() {
            return Ok(());
        }
        let message = self.message(rules, rule, node, path)?;
        let below = rule.field_path.as_ref().map(|field| path.child(field));
        self.refuse(rules, rule, node, (below.as_ref().unwrap_or(path), &message))
    }

    /// A rule that could not be evaluated.
    fn failed(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        error: &EvaluationError,
        path: &FieldPath,
    ) -> Result<(), Ended> {
        let name = &rule.name;
        let why = match error {
            _ if self.budget.left() == 0 => OUT_OF_BUDGET.to_owned(),
            EvaluationError::Cost => format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"
            ),
            EvaluationError::Other(why) if why.starts_with("no such overload") => format!(
                "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {name}"
            ),
            EvaluationError::Other(why) => format!("{why} evaluating rule: {name}"),
        };
        if self.is_over(error) {
            return Err(self.end(rules, path, &why));
        }
        self.tell(path, |errors, path| errors.invalid(path, &rules.type_, &why))
    }

    fn refuse(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        node: &Node<'_>,
        (path, message): (&FieldPath, &str),
    ) -> Result<(), Ended> {
        let is_whole = ["object", "array"].contains(&rules.type_.as_str());
        let shown = if is_whole { String::new() } else { node.now.json.to_string() };
        self.room = self.room.saturating_sub(shown.len() + message.len());
        self.tell(path, |errors, path| match rule.reason.as_str() {
            "FieldValueForbidden" => errors.forbidden(path, message),
            "FieldValueRequired" => errors.required(path, message),
            "FieldValueDuplicate" => errors.duplicate(path, format_args!("{}", node.now.json)),
            _ if is_whole => errors.wrong(path, message),
            _ => errors.invalid(path, format_args!("{shown}"), message),
        })
    }

    /// What is told of a value that breaks a rule.
    fn message(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        node: &Node<'_>,
        path: &FieldPath,
    ) -> Result<String, Ended> {
        let Some(expression) = &rule.message_expression else { return Ok(rule.told.clone()) };
        let variables = Selves { node, is_old_optional: rule.is_old_optional };
        match expression.evaluate_out_of(&variables, &mut self.budget) {
            Ok(Value::String(text)) => {
                let text = text.trim();
                let is_fit =
                    !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
                Ok(if is_fit { text.to_owned() } else { rule.told.clone() })
            }
            Err(error) if self.is_over(&error) => {
                let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
                Err(self.end(rules, path, why))
            }
            _ => Ok(rule.told.clone()),
        }
    }

    /// Whether nothing more is to be evaluated.
    fn is_over(&self, error: &EvaluationError) -> bool {
        *error == EvaluationError::Cost || self.budget.left() == 0
    }

    fn end(&mut self, rules: &Rules, path: &FieldPath, why: &str) -> Ended {
        let told = self.tell(path, |errors, path| errors.invalid(path, &rules.type_, why));
        told.err().unwrap_or(Ended)
    }

    fn tell(
        &mut self,
        path: &FieldPath,
        tell: impl FnOnce(&mut FieldErrors, &FieldPath),
    ) -> Result<(), Ended> {
        let root = FieldPath::new("<nil>");
        tell(self.errors, if *path == FieldPath::default() { &root } else { path });
        self.told += 1;
        if self.told >= MOST_FAULTS || self.room == 0 { Err(Ended) } else { Ok(()) }
    }
}

/// What rules may refer to.
struct Selves<'a> {
    node: &'a Node<'a>,
    is_old_optional: bool,
}

impl Variables for Selves<'_> {
    fn variable(&self, name: &str, _: &mut Budget) -> Option<Result<Value, EvaluationError>> {
        let old = || self.node.old.map(|old| old.value.clone());
        match name {
            "self" => Some(Ok(self.node.now.value.clone())),
            "oldSelf" if self.is_old_optional => {
                Some(Ok(old().map_or(Value::Optional(None), Value::some)))
            }
            "oldSelf" => old().map(Ok),
            _ => None,
        }
    }
}

fn field<'a>(of: State<'a>, name: &str, json: &'a Json) -> Option<State<'a>> {
    let value = of.value.entries()?.get(&Key::String(name.into()))?;
    Some(State { json, value })
}

fn elements(of: State<'_>) -> impl Iterator<Item = State<'_>> {
    let values: &[Value] = if let Value::List(values) = of.value { values } else { &[] };
    let all = of.json.as_array().into_iter().flatten();
    all.zip(values).map(|(json, value)| State { json, value })
}

/// The elements of a list by what they are known by.
fn by_key<'a>(keys: &[String], list: State<'a>) -> BTreeMap<String, State<'a>> {
    elements(list).map(|element| (key(keys, element.json), element)).collect()
}

fn key(keys: &[String], element: &Json) -> String {
    let values: Vec<&Json> = keys.iter().map(|name| &element[name]).collect();
    serde_json::to_string(&values).unwrap_or_default()
}
