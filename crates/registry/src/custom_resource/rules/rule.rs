//! One rule: what is wrong with it, and what comes of it.

use api_machinery::{FieldErrors, FieldPath};
use expressions::{CompileError, Environment, Program, Type};
use serde_json::{Value, json};

use super::{
    bounds::{self, Sizes},
    costs::Costs,
    field_path, types,
};

/// Where a schema has its rules.
const KEYWORD: &str = "x-kubernetes-validations";
/// How many rules a schema may have in all, and how long they may be together: each is compiled, and its objects wait.
pub(super) const MOST: usize = 1_000;
pub(super) const TOO_MANY: &str = "has more than 1,000 rules, or more than 256 KiB of them";
const LONGEST: usize = 256 << 10;

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// A place in a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) path: &'a FieldPath,
    /// Whether its values are whole objects, which have a name.
    pub(super) is_whole: bool,
    /// Within what it is not known of values which they were before.
    pub(super) uncorrelated: Option<&'a FieldPath>,
    /// How many of its values an object may have, if the schema says so.
    pub(super) most: Option<u64>,
}

/// What is wrong with rules, and what they may cost, if somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: FieldErrors,
    pub(super) costs: Option<Costs>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) program: Program,
    pub(super) message_expression: Option<Program>,
    /// What is told of it if nothing else is said.
    pub(super) told: String,
    /// Its message, or else the rule itself.
    pub(super) name: String,
    pub(super) reason: String,
    /// Of a field below, whose fault it is.
    pub(super) field_path: Option<String>,
    pub(super) uses_old_self: bool,
    pub(super) is_old_optional: bool,
}

/// How many rules a schema has in all. More than may be, if they are too long.
pub(super) fn count(schema: &Value) -> usize {
    let (mut rules, mut length) = (0, 0);
    measure(schema, &mut rules, &mut length);
    if length > LONGEST { MOST + 1 } else { rules }
}

fn measure(schema: &Value, rules: &mut usize, length: &mut usize) {
    for rule in schema[KEYWORD].as_array().into_iter().flatten() {
        *rules += 1;
        *length += text(rule, "rule").len() + text(rule, "messageExpression").len();
    }
    let fields = schema["properties"].as_object().into_iter().flatten().map(|(_, field)| field);
    let others = ["additionalProperties", "items"].into_iter().filter_map(|key| schema.get(key));
    fields.chain(others).for_each(|inner| measure(inner, rules, length));
}

fn text<'a>(rule: &'a Value, field: &str) -> &'a str {
    rule[field].as_str().unwrap_or_default()
}

fn has_lines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// What is wrong with a schema's own rules before anybody compiles them.
pub(crate) fn check(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let rules = schema[KEYWORD].as_array().into_iter().flatten().enumerate();
    for (index, rule) in rules {
        let place = path.child(KEYWORD).index(index);
        check_texts(rule, &place, errors);
        let reason = rule["reason"].as_str();
        if let Some(reason) = reason.filter(|reason| !REASONS.contains(reason)) {
            errors.not_supported(&place.child("reason"), reason, &REASONS);
        }
        let (given, place) = (text(rule, "fieldPath"), place.child("fieldPath"));
        if !given.is_empty() && given.trim().is_empty() {
            errors.invalid(&place, given, "must be non-empty if specified");
        }
        if has_lines(given) {
            errors.invalid(&place, given, "must not contain line breaks");
        }
        if !given.is_empty() && field_path::of(given, schema).is_none() {
            errors.invalid(&place, given, "must be a valid path");
        }
    }
}

fn check_texts(rule: &Value, place: &FieldPath, errors: &mut FieldErrors) {
    let (source, message) = (text(rule, "rule"), text(rule, "message"));
    let at_message = place.child("message");
    if source.trim().is_empty() {
        errors.required(&place.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at_message, message, "must be non-empty if specified");
    } else if has_lines(message.trim()) {
        errors.invalid(&at_message, message, "must not contain line breaks");
    } else if has_lines(source.trim()) && message.trim().is_empty() {
        let why = "message must be specified if rule contains line breaks";
        errors.required(&at_message, why);
    }
    let expression = text(rule, "messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let why = "messageExpression must be non-empty if specified";
        errors.required(&place.child("messageExpression"), why);
    }
}

/// Compiles a schema's own rules.
pub(super) fn compile(schema: &Value, place: Place<'_>, findings: &mut Findings) -> Vec<Rule> {
    let Some(rules) = schema[KEYWORD].as_array().filter(|rules| !rules.is_empty()) else {
        return Vec::new();
    };
    let type_ = types::of(schema, place.is_whole);
    let sizes = findings.costs.as_ref().and_then(|_| bounds::of(schema, place.is_whole));
    let compiled = rules.iter().enumerate().filter_map(|(index, rule)| {
        let path = place.path.child(KEYWORD).index(index);
        let Some(type_) = &type_ else {
            let why = "values that expressions do not see can't have rules";
            findings.errors.forbidden(&path, why);
            return None;
        };
        let compiled = Rule::compile(rule, schema, type_, &path, &mut findings.errors)?;
        if let Some(sizes) = &sizes {
            compiled.add_costs(sizes, place.most, &path, findings);
        }
        if let Some(within) = place.uncorrelated.filter(|_| compiled.uses_old_self) {
            let why = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {within}"
            );
            findings.errors.invalid(&path.child("rule"), text(rule, "rule"), &why);
        }
        Some(compiled)
    });
    compiled.collect()
}

impl Rule {
    fn compile(
        rule: &Value,
        schema: &Value,
        type_: &Type,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        let (source, message) = (text(rule, "rule"), text(rule, "message").trim());
        let is_old_optional = rule["optionalOldSelf"] == true;
        let old = if is_old_optional { Type::optional(type_.clone()) } else { type_.clone() };
        let alone = Environment::new().with("self", type_.clone());
        let both = alone.clone().with("oldSelf", old);
        let compiled = typed(&both, source, &Type::Bool).map_err(|why| match why {
            None => "cel expression must evaluate to a bool".to_owned(),
            Some(why) => format!("compilation failed: {why}"),
        });
        let refuse = |why: String| {
            errors.invalid(&path.child("rule"), format_args!("{}", shown(rule)), &why)
        };
        let program = compiled.map_err(refuse).ok()?;
        let uses_old_self = alone.compile(source).is_err();
        if let Some(given) = rule["optionalOldSelf"].as_bool().filter(|_| !uses_old_self) {
            let why = "may not be set if oldSelf is not used in rule";
            errors.invalid(&path.child("optionalOldSelf"), given, why);
        }
        let name = if message.is_empty() { source.trim() } else { message }.to_owned();
        Some(Self {
            program,
            message_expression: message_expression(rule, &both, path, errors),
            told: if message.is_empty() { format!("failed rule: {name}") } else { name.clone() },
            name,
            reason: text(rule, "reason").to_owned(),
            field_path: field_path::of(text(rule, "fieldPath"), schema),
            uses_old_self,
            is_old_optional,
        })
    }

    /// What it may cost over all values of an object, and what its message may.
    fn add_costs(&self, sizes: &Sizes, most: Option<u64>, path: &FieldPath, to: &mut Findings) {
        let Some(costs) = &mut to.costs else { return };
        let most = most.unwrap_or_else(|| sizes.most_values());
        let cost = sizes.estimate(&self.program).saturating_mul(most);
        costs.add("rule", cost, &path.child("rule"), &mut to.errors);
        if let Some(message) = &self.message_expression {
            let cost = sizes.estimate(message);
            costs.add("messageExpression", cost, &path.child("messageExpression"), &mut to.errors);
        }
    }
}

fn message_expression(
    rule: &Value,
    environment: &Environment,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<Program> {
    let source = text(rule, "messageExpression");
    if source.is_empty() {
        return None;
    }
    let compiled = typed(environment, source, &Type::String).map_err(|why| match why {
        None => "messageExpression must evaluate to a string".to_owned(),
        Some(why) => format!("messageExpression compilation failed: {why}"),
    });
    let refuse = |why: String| {
        errors.invalid(&path.child("messageExpression"), format_args!("{}", shown(rule)), &why)
    };
    compiled.map_err(refuse).ok()
}

/// An expression of which a value of this type comes; or why it is none, if not merely another one comes of it.
fn typed(
    environment: &Environment,
    source: &str,
    wanted: &Type,
) -> Result<Program, Option<CompileError>> {
    let program = environment.compile(source).map_err(Some)?;
    if program.result() == wanted { Ok(program) } else { Err(None) }
}

/// As Kubernetes shows a rule.
fn shown(rule: &Value) -> String {
    let given = |field: &str| rule[field].as_str().unwrap_or_default();
    let fields = [
        ("Rule", json!(given("rule"))),
        ("Message", json!(given("message"))),
        ("MessageExpression", json!(given("messageExpression"))),
        ("Reason", rule["reason"].clone()),
        ("FieldPath", json!(given("fieldPath"))),
        ("OptionalOldSelf", rule["optionalOldSelf"].clone()),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
