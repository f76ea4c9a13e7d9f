//! Which requests are of which priority level.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec};
use serde_json::json;

use super::{
    mandatory::{self, EXEMPT},
    policy_rules,
};
use crate::{ResourceDef, Strategy, cells, resource, rules};

/// Of what says none.
const PRECEDENCE: i32 = 1000;
const MAX_PRECEDENCE: i32 = 10_000;

pub(crate) fn definition() -> ResourceDef {
    resource::<FlowSchema, _>(FlowSchemaStrategy)
        .generation(|new, old| new.spec != old.spec)
        .status_alone(|schema, from| schema.status.clone_from(&from.status))
        .column("PriorityLevel", "string", 0, |schema, _| {
            json!(schema.spec.as_ref().map(|s| &s.priority_level_configuration.name))
        })
        .column("MatchingPrecedence", "string", 0, |schema, _| {
            json!(schema.spec.as_ref().and_then(|s| s.matching_precedence).unwrap_or(0))
        })
        .column("DistinguisherMethod", "string", 0, |schema, _| json!(method(schema)))
        .age()
        .column("MissingPL", "string", 0, |schema, _| json!(dangling(schema)))
        .build()
}

fn method(schema: &FlowSchema) -> &str {
    let method = schema.spec.as_ref().and_then(|spec| spec.distinguisher_method.as_ref());
    method.map_or(cells::NONE, |method| &method.type_)
}

fn dangling(schema: &FlowSchema) -> &str {
    let conditions = schema.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut dangling = conditions.filter(|c| c.type_.as_deref() == Some("Dangling"));
    dangling.next().and_then(|condition| condition.status.as_deref()).unwrap_or("?")
}

struct FlowSchemaStrategy;

impl Strategy<FlowSchema> for FlowSchemaStrategy {
    fn default(&self, schema: &mut FlowSchema) {
        if let Some(spec) = &mut schema.spec {
            spec.matching_precedence = spec.matching_precedence.filter(|p| *p != 0);
            spec.matching_precedence.get_or_insert(PRECEDENCE);
        }
    }

    fn validate(&self, schema: &FlowSchema, errors: &mut FieldErrors) {
        let none = FlowSchemaSpec::default();
        let (spec, path) = (schema.spec.as_ref().unwrap_or(&none), FieldPath::new("spec"));
        if spec.matching_precedence == Some(1) && schema.metadata.name.as_deref() != Some(EXEMPT) {
            let why = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.invalid(&path.child("matchingPrecedence"), 1, why);
        }
        validate_spec(spec, &path, errors);
        for (index, rule) in spec.rules.iter().flatten().enumerate() {
            policy_rules::validate(rule, &path.child("rules").index(index), errors);
        }
        let name = schema.metadata.name.as_deref().unwrap_or_default();
        if mandatory::schema(name).is_some_and(|fixed| fixed != *spec) {
            let why = format!("spec of '{name}' must equal the fixed value");
            errors.invalid(&path, format_args!("{}", json!(spec)), &why);
        }
    }
}

fn validate_spec(spec: &FlowSchemaSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let precedence = spec.matching_precedence.unwrap_or_default();
    let at = path.child("matchingPrecedence");
    if precedence <= 0 {
        errors.invalid(&at, precedence, "must be a positive value");
    }
    if precedence > MAX_PRECEDENCE {
        let why = format!("must not be greater than {MAX_PRECEDENCE}");
        errors.invalid(&at, precedence, &why);
    }
    if let Some(method) = &spec.distinguisher_method {
        let path = path.child("distinguisherMethod").child("type");
        rules::one_of(Some(&method.type_), &["ByNamespace", "ByUser"], &path, errors);
    }
    let path = path.child("priorityLevelConfiguration").child("name");
    let level = &spec.priority_level_configuration.name;
    rules::named(level, names::dns1123_subdomain, &path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mandatory_ones_say_what_they_must_and_nothing_else() {
        for name in [EXEMPT, "catch-all"] {
            let mut schema = FlowSchema { spec: mandatory::schema(name), ..FlowSchema::default() };
            schema.metadata.name = Some(name.to_owned());
            let faults = |schema: &FlowSchema| {
                let mut errors = FieldErrors::default();
                FlowSchemaStrategy.validate(schema, &mut errors);
                if errors.is_empty() { String::new() } else { errors.to_string() }
            };
            assert_eq!(faults(&schema), "");
            schema.spec.as_mut().unwrap().rules = None;
            let why = format!("spec of '{name}' must equal the fixed value");
            assert!(faults(&schema).contains(&why), "{}", faults(&schema));
            schema.metadata.name = Some("other".to_owned());
            assert!(!faults(&schema).contains("fixed value"));
        }
    }
}
