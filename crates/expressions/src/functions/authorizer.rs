//! What somebody may do (Kubernetes: `cel/library/authz.go`).

use std::{fmt, sync::Arc};

use super::{
    arguments::{opaque, text},
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    value::{Opaque, Value},
};

/// Of one question (Kubernetes: `DefaultAuthorizerCheckCost`).
const QUESTION: u64 = 350_000;

pub(super) const ROWS: &[Row] = &[
    (
        "(kubernetes.authorization.Authorizer).path(string): kubernetes.authorization.PathCheck",
        |_, a| {
            let (authorizer, path) = (opaque::<Principal>(a, 0)?, text(a, 1)?);
            if path.is_empty() {
                return Err(EvaluationError::new("path must not be empty"));
            }
            let check = AccessCheck { path: path.to_string(), ..AccessCheck::default() };
            Ok(Value::opaque(Path(Pending { principal: authorizer.clone(), check })))
        },
    ),
    (
        "(kubernetes.authorization.Authorizer).group(string): kubernetes.authorization.GroupCheck",
        |_, a| {
            let check = AccessCheck { group: text(a, 1)?.to_string(), ..AccessCheck::default() };
            let principal = opaque::<Principal>(a, 0)?.clone();
            Ok(Value::opaque(Group(Pending { principal, check })))
        },
    ),
    (
        "(kubernetes.authorization.Authorizer).serviceAccount(string, string): kubernetes.authorization.Authorizer",
        |_, a| {
            let principal = opaque::<Principal>(a, 0)?;
            let account = Some((text(a, 1)?.to_string(), text(a, 2)?.to_string()));
            Ok(Value::opaque(Principal { account, ..principal.clone() }))
        },
    ),
    (
        "(kubernetes.authorization.GroupCheck).resource(string): kubernetes.authorization.ResourceCheck",
        |_, a| {
            let Group(pending) = opaque(a, 0)?;
            let mut pending = pending.clone();
            pending.check.resource = text(a, 1)?.to_string();
            Ok(Value::opaque(pending))
        },
    ),
    (
        "(kubernetes.authorization.ResourceCheck).subresource(string): kubernetes.authorization.ResourceCheck",
        |_, a| with(a, |check, text| check.subresource = text),
    ),
    (
        "(kubernetes.authorization.ResourceCheck).namespace(string): kubernetes.authorization.ResourceCheck",
        |_, a| with(a, |check, text| check.namespace = text),
    ),
    (
        "(kubernetes.authorization.ResourceCheck).name(string): kubernetes.authorization.ResourceCheck",
        |_, a| with(a, |check, text| check.name = text),
    ),
    (
        "(kubernetes.authorization.ResourceCheck).fieldSelector(string): kubernetes.authorization.ResourceCheck",
        |_, a| with(a, |check, text| check.field_selector = text),
    ),
    (
        "(kubernetes.authorization.ResourceCheck).labelSelector(string): kubernetes.authorization.ResourceCheck",
        |_, a| with(a, |check, text| check.label_selector = text),
    ),
    (
        "(kubernetes.authorization.PathCheck).check(string): kubernetes.authorization.Decision",
        |b, a| {
            let Path(pending) = opaque(a, 0)?;
            pending.ask(b, text(a, 1)?)
        },
    ),
    (
        "(kubernetes.authorization.ResourceCheck).check(string): kubernetes.authorization.Decision",
        |b, a| opaque::<Pending>(a, 0)?.ask(b, text(a, 1)?),
    ),
    ("(kubernetes.authorization.Decision).allowed(): bool", |_, a| {
        Ok(Value::Bool(opaque::<AccessDecision>(a, 0)?.is_allowed))
    }),
    ("(kubernetes.authorization.Decision).reason(): string", |_, a| {
        Ok(Value::text(&opaque::<AccessDecision>(a, 0)?.reason))
    }),
    ("(kubernetes.authorization.Decision).errored(): bool", |_, a| {
        Ok(Value::Bool(!opaque::<AccessDecision>(a, 0)?.error.is_empty()))
    }),
    ("(kubernetes.authorization.Decision).error(): string", |_, a| {
        Ok(Value::text(&opaque::<AccessDecision>(a, 0)?.error))
    }),
];

/// What is asked for. What is empty is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessCheck {
    /// Of HTTP for a path, of the API for a resource.
    pub verb: String,
    /// A path that is no resource.
    pub path: String,
    /// The API group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// As in `pods/log`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// What a list is limited to.
    pub field_selector: String,
    /// What a list is limited to.
    pub label_selector: String,
}

/// What the answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessDecision {
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong, if anything did.
    pub error: String,
}

/// Who decides: about the sender of a request, or the account (by namespace and name) that an expression names.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// The decision.
    fn decide(&self, account: Option<(&str, &str)>, check: &AccessCheck) -> AccessDecision;
}

/// The variable `authorizer`.
#[must_use]
pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Value {
    Value::opaque(Principal { authorizer, account: None })
}

/// The variable `authorizer.requestResource`.
#[must_use]
pub fn resource_check(authorizer: Arc<dyn Authorizer>, check: AccessCheck) -> Value {
    Value::opaque(Pending { principal: Principal { authorizer, account: None }, check })
}

#[derive(Clone, Debug)]
struct Principal {
    authorizer: Arc<dyn Authorizer>,
    account: Option<(String, String)>,
}

/// A check of a resource.
#[derive(Clone, Debug)]
struct Pending {
    principal: Principal,
    check: AccessCheck,
}

#[derive(Debug)]
struct Path(Pending);

#[derive(Debug)]
struct Group(Pending);

impl Pending {
    fn ask(&self, budget: &mut Budget, verb: &str) -> Answer {
        budget.spend(QUESTION)?;
        let check = AccessCheck { verb: verb.to_owned(), ..self.check.clone() };
        let account = &self.principal.account;
        let account = account.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        Ok(Value::opaque(self.principal.authorizer.decide(account, &check)))
    }
}

fn with(args: &[Value], set: fn(&mut AccessCheck, String)) -> Answer {
    let mut pending = opaque::<Pending>(args, 0)?.clone();
    set(&mut pending.check, text(args, 1)?.to_string());
    Ok(Value::opaque(pending))
}

/// None of them is the same as another one.
macro_rules! opaque_types {
    ($($type:ty: $name:literal),*) => {
        $(impl Opaque for $type {
            fn type_name(&self) -> &str {
                concat!("kubernetes.authorization.", $name)
            }

            fn equals(&self, _: &dyn Opaque) -> bool {
                false
            }
        })*
    };
}

opaque_types!(
    Principal: "Authorizer", Path: "PathCheck", Group: "GroupCheck", Pending: "ResourceCheck",
    AccessDecision: "Decision"
);
