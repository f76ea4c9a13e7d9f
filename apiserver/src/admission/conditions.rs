//! Conditions as expressions, all of which have to hold before somebody is asked at all
//! (Kubernetes: `pkg/admission/plugin/webhook/matchconditions`).

use api_types::api::admissionregistration::v1::MatchCondition;
use expressions::{Budget, Program, Type, Value, Variables};
use registry::admission_expression::{Given, environment};

/// What all may cost together (Kubernetes: `RuntimeCELCostBudgetMatchConditions`).
const LIMIT: u64 = 2_500_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conditions(Vec<(String, Result<Program, String>)>);

impl Conditions {
    /// Those that were stored; of parameters only a policy's speak.
    pub(super) fn of(conditions: Option<&[MatchCondition]>, params: bool) -> Self {
        let conditions = conditions.unwrap_or_default();
        if conditions.is_empty() {
            return Self::default();
        }
        let environment = environment(Given { params, authorizer: true, patches: false });
        let compiled = conditions.iter().map(|condition| {
            let program = environment.compile_as(condition.expression.trim(), &[Type::Bool]);
            (condition.expression.clone(), program.map_err(|why| why.to_string()))
        });
        Self(compiled.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not decides, whatever others fail; else fails with why some of them have no value.
    pub(super) fn hold(&self, input: &dyn Variables) -> Result<bool, String> {
        let mut budget = Budget::new(LIMIT);
        let mut failed = Vec::new();
        for (source, program) in &self.0 {
            match program {
                Ok(program) => match program.evaluate_out_of(input, &mut budget) {
                    Ok(Value::Bool(true)) => {}
                    Ok(Value::Bool(false)) => return Ok(false),
                    Ok(other) => {
                        let type_ = other.type_name();
                        failed
                            .push(format!("expression '{source}' came to a value of type {type_}"));
                    }
                    Err(why) => {
                        failed.push(format!("expression '{source}' resulted in error: {why}"));
                    }
                },
                Err(why) => failed.push(format!("compilation error: {why}")),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(sources: &[&str], expected: Result<bool, &str>) {
        let conditions: Vec<_> = sources
            .iter()
            .map(|source| MatchCondition { name: "a".to_owned(), expression: (*source).to_owned() })
            .collect();
        let input = BTreeMap::from([("object", Value::from(&json!({"a": 1})))]);
        let held = Conditions::of(Some(&conditions), false).hold(&input);
        assert_eq!(held, expected.map_err(str::to_owned), "{sources:?}");
    }

    #[test]
    fn all_have_to_hold_and_one_that_does_not_decides() {
        check(&[], Ok(true));
        check(&["object.a == 1", "true"], Ok(true));
        check(&["object.a == 1", "object.a == 2"], Ok(false));
        check(&["object.b == 1", "false"], Ok(false));
        let why = "expression 'object.b == 1' resulted in error: no such key: b";
        check(&["object.b == 1", "true"], Err(why));
    }
}
