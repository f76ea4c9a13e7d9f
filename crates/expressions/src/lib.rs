//! Expressions in CEL, the language of rules in objects: compiled against the variables that there are and, where one is known,
//! a schema; evaluated over JSON, for no more than a budget allows; with the libraries that Kubernetes has
//! (`k8s.io/apiserver/pkg/cel`).
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use expressions::{Budget, Environment, EXPRESSION_LIMIT, Type, Value};
//! use serde_json::json;
//!
//! let environment = Environment::new().with("self", Type::Dyn);
//! let rule = environment.compile_as("self.replicas <= 5", &[Type::Bool]).unwrap();
//! let variables = BTreeMap::from([("self", Value::from(&json!({"replicas": 3})))]);
//! let value = rule.evaluate(&variables, &mut Budget::new(EXPRESSION_LIMIT)).unwrap();
//! assert!(matches!(value, Value::Bool(true)));
//! ```

mod budget;
mod check;
mod composed;
mod cost;
mod escaping;
mod evaluate;
mod functions;
mod json;
mod patterns;
mod program;
mod syntax;
mod time;
mod types;
mod value;

pub use budget::{Budget, EXPRESSION_LIMIT, EvaluationError, REQUEST_LIMIT};
pub use composed::Composed;
pub use cost::Bounds;
pub use escaping::RESERVED_WORDS;
pub use evaluate::Variables;
pub use functions::{AccessCheck, AccessDecision, Authorizer, authorizer, resource_check};
pub use program::{Environment, Program};
pub use syntax::CompileError;
pub use types::{ObjectType, Type};
pub use value::{Key, Opaque, Value};
