//! What Kubernetes v1.36 takes expressions to cost at most, for schemas of many sorts: `estimates.txt` has each schema, and
//! below it expressions with their costs.

use expressions::{Environment, Type};
use serde_json::Value;

use super::{bounds, types};

#[test]
fn rules_are_estimated_as_kubernetes_does() {
    let mut schema = Value::Null;
    let mut wrong = Vec::new();
    for line in include_str!("estimates.txt").lines() {
        let Some((cost, rule)) =
            line.trim_start().split_once(' ').filter(|_| line.starts_with(' '))
        else {
            schema = serde_json::from_str(line).unwrap();
            continue;
        };
        let found = estimate(&schema, rule).map_or_else(|why| why, |cost| cost.to_string());
        if found != cost {
            wrong.push(format!("{schema} {rule}: {found}, not {cost}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn estimate(schema: &Value, rule: &str) -> Result<u64, String> {
    let (type_, sizes) = (types::of(schema, false).unwrap(), bounds::of(schema, false).unwrap());
    let environment = Environment::new().with("self", type_.clone()).with("oldSelf", type_);
    let program = environment.compile_as(rule, &[Type::Bool]).map_err(|why| why.to_string())?;
    Ok(sizes.estimate(&program))
}
