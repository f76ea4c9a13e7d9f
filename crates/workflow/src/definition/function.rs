//! Which function a Task calls, and how it is told.

use api_machinery::names::function_name;
use serde_json::{Value, json};

use crate::{error::RunError, template::Template};

/// The resource of AWS that calls the function named in the parameters.
const INVOKE: &str = "arn:aws:states:::lambda:invoke";

/// A function's name.
type FunctionName = String;

#[derive(Clone, Debug)]
pub(crate) enum Invocation {
    /// The function is given the state's input.
    Function(FunctionName),
    /// The function is `FunctionName` of the input and is given its `Payload`; its result is the `Payload` of the
    /// state's.
    Invoke,
}

impl Invocation {
    /// A name, the ARN of a function, or that of the resource that invokes one.
    pub(crate) fn parse(resource: &str) -> Result<Self, String> {
        if resource == INVOKE {
            return Ok(Invocation::Invoke);
        }
        name(resource).map(Invocation::Function).ok_or_else(|| {
            "must be a function's name, `arn:…:function:NAME` or `arn:aws:states:::lambda:invoke`"
                .to_owned()
        })
    }

    /// The name, if it is the same for every run.
    pub(crate) fn known(&self, parameters: Option<&Template>) -> Option<FunctionName> {
        match self {
            Invocation::Function(name) => Some(name.clone()),
            Invocation::Invoke => parameters?.fixed("FunctionName")?.as_str().and_then(name),
        }
    }

    /// The function and what it is given.
    pub(crate) fn call(&self, mut input: Value) -> Result<(FunctionName, Value), RunError> {
        match self {
            Invocation::Function(function) => Ok((function.clone(), input)),
            Invocation::Invoke => {
                let function = input["FunctionName"].as_str().and_then(name).ok_or_else(|| {
                    RunError::runtime("`FunctionName` of the parameters is no function's name")
                })?;
                let payload = input.get_mut("Payload").map(Value::take);
                Ok((function, payload.unwrap_or_else(|| json!({}))))
            }
        }
    }

    /// The state's result.
    pub(crate) fn result(&self, returned: Value) -> Value {
        match self {
            Invocation::Function(_) => returned,
            Invocation::Invoke => json!({"StatusCode": 200, "Payload": returned}),
        }
    }
}

fn name(resource: &str) -> Option<FunctionName> {
    last_part(resource).filter(|name| !name.contains([':', '/', ' '])).map(function_name)
}

/// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, with or without a version or an alias.
fn last_part(resource: &str) -> Option<&str> {
    let name = match resource.split_once(":function:") {
        Some((_, name)) => name.split(':').next().unwrap_or_default(),
        None => resource,
    };
    Some(name).filter(|name| !name.is_empty())
}
