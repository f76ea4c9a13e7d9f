//! Variables that expressions define: each is evaluated when it is first asked for, once, and may refer to those before it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{
    budget::{Budget, EvaluationError},
    evaluate::Variables,
    program::Program,
    value::{Opaque, Value},
};

/// As deep as a variable's value may nest: each may have the one before it inside.
const DEPTH: usize = 500;

type Answer = Result<Value, EvaluationError>;

/// What expressions see: the values that were given, and `variables`.
#[derive(Debug)]
pub struct Composed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    given: BTreeMap<&'static str, Value>,
    defined: Arc<BTreeMap<String, Result<Program, String>>>,
    found: Mutex<BTreeMap<String, Answer>>,
}

/// The variable whose fields they are. It doesn't keep them, as one of them may have it inside.
#[derive(Debug)]
struct Fields(Weak<Inner>);

impl Composed {
    /// Given values, and variables by name, those that can't be with what is wrong with them.
    #[must_use]
    pub fn new(
        given: BTreeMap<&'static str, Value>,
        defined: Arc<BTreeMap<String, Result<Program, String>>>,
    ) -> Self {
        Self(Arc::new(Inner { given, defined, found: Mutex::default() }))
    }
}

impl Variables for Composed {
    fn variable(&self, name: &str, _: &mut Budget) -> Option<Answer> {
        Inner::variable(&self.0, name)
    }
}

impl Variables for Arc<Inner> {
    fn variable(&self, name: &str, _: &mut Budget) -> Option<Answer> {
        Inner::variable(self, name)
    }
}

impl Inner {
    fn variable(self: &Arc<Self>, name: &str) -> Option<Answer> {
        if name == "variables" {
            return Some(Ok(Value::opaque(Fields(Arc::downgrade(self)))));
        }
        self.given.get(name).cloned().map(Ok)
    }

    fn field(self: &Arc<Self>, name: &str, budget: &mut Budget) -> Option<Answer> {
        if let Some(found) = self.found.lock().get(name) {
            return Some(found.clone());
        }
        let program = self.defined.get(name)?;
        let evaluated = match program {
            Ok(program) => program.evaluate(self, budget).and_then(|value| shallow(value, budget)),
            Err(why) => Err(EvaluationError::new(why)),
        };
        let answer = evaluated.map_err(|why| match why {
            EvaluationError::Cost => EvaluationError::Cost,
            EvaluationError::Other(why) => EvaluationError::new(format_args!(
                "composited variable {name:?} fails to evaluate: {why}"
            )),
        });
        // What was too expensive for one expression need not be for the next.
        if !matches!(answer, Err(EvaluationError::Cost)) {
            self.found.lock().insert(name.to_owned(), answer.clone());
        }
        Some(answer)
    }
}

impl Opaque for Fields {
    fn type_name(&self) -> &str {
        "kubernetes.variables"
    }

    fn equals(&self, _: &dyn Opaque) -> bool {
        false
    }

    fn field(&self, name: &str, budget: &mut Budget) -> Option<Answer> {
        self.0.upgrade()?.field(name, budget)
    }
}

/// The value, if it does not nest too deeply.
fn shallow(value: Value, budget: &mut Budget) -> Answer {
    check(&value, DEPTH, budget)?;
    Ok(value)
}

fn check(value: &Value, depth: usize, budget: &mut Budget) -> Result<(), EvaluationError> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(EvaluationError::new("value nests too deeply"));
    };
    match value {
        Value::List(items) => {
            budget.spend_on(items.len())?;
            items.iter().try_for_each(|item| check(item, deeper, budget))
        }
        Value::Map(entries) | Value::Struct(_, entries) => {
            budget.spend_on(entries.len())?;
            entries.values().try_for_each(|value| check(value, deeper, budget))
        }
        Value::Optional(Some(inner)) => check(inner, deeper, budget),
        _ => Ok(()),
    }
}
