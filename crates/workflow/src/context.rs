//! The context object, `$$`: what is known of the run beside its data.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Which run it is; all steps see the same.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Unlike any other run's: `$$.Execution.Id`.
    pub id: String,
    /// `$$.Execution.Name`.
    pub name: String,
    /// `$$.StateMachine.Name`.
    pub workflow: String,
    /// `$$.Execution.StartTime`.
    pub started: Timestamp,
    /// `$$.Execution.Input`.
    pub input: Arc<Value>,
}

/// What one step sees of the context object. It is made only for who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) state: &'a str,
    pub(crate) entered: Timestamp,
    pub(crate) retries: u32,
    /// The element that the surrounding Map is at.
    pub(crate) item: Option<(usize, &'a Value)>,
}

impl Context<'_> {
    pub(crate) fn value(&self) -> Value {
        let facts = self.facts;
        let mut context = json!({
            "Execution": {
                "Id": facts.id, "Name": facts.name, "Input": *facts.input, "StartTime": facts.started.to_string(),
            },
            "State": {
                "Name": self.state, "EnteredTime": self.entered.to_string(), "RetryCount": self.retries,
            },
            "StateMachine": {"Id": facts.workflow, "Name": facts.workflow},
        });
        if let Some((index, value)) = self.item {
            context["Map"] = json!({"Item": {"Index": index, "Value": value}});
        }
        context
    }
}
