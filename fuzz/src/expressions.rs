//! Expressions in CEL: JSON that is `self` on the first line, then the expression.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use expressions::{Bounds, Budget, EXPRESSION_LIMIT, Environment, Type, Value};

/// What an expression may take whose budget is the usual one, on a machine with other things to do.
const LONGEST: Duration = Duration::from_secs(20);

/// Each ends within its budget, and in time, and may be estimated before.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Some((object, expression)) = text.split_once('\n') else { return };
    let Ok(object) = api_machinery::decode::json(object.as_bytes()) else { return };
    let began = Instant::now();
    let environment = Environment::new().with("self", Type::Dyn).with("oldSelf", Type::Dyn);
    let environment = environment.with_bindings();
    if let Ok(program) = environment.compile(expression) {
        let _ = program.estimate(&Bounds::default(), None);
        let object = Value::from(&object.value);
        let variables = BTreeMap::from([("self", object.clone()), ("oldSelf", object)]);
        let mut budget = Budget::new(EXPRESSION_LIMIT);
        if let Ok(value) = program.evaluate(&variables, &mut budget) {
            let _ = value.to_json(&mut budget);
        }
    }
    assert!(began.elapsed() < LONGEST, "{expression}");
}
