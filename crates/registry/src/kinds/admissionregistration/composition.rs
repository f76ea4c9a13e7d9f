//! The variables of a policy, and of what kind its parameters are.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::admissionregistration::v1::{ParamKind, Variable};
use expressions::{Environment, Program, RESERVED_WORDS, Type};

use super::expression::{Given, environment};
use crate::rules;

/// As many variables: their values may be within each other.
const MAX_VARIABLES: usize = 1_000;

/// A policy's variables, compiled in their order: each may refer to those before it.
#[derive(Debug, Default)]
pub struct Composition {
    types: Vec<(String, Type)>,
    /// What is known of what is given.
    known: Vec<(&'static str, Type)>,
}

/// Where a variable of the policy's is known.
const VARIABLES: &str = "variables";

impl Composition {
    /// Where it is known of some of the given variables what they are.
    #[must_use]
    pub fn knowing(known: Vec<(&'static str, Type)>) -> Self {
        Self { known, ..Self::default() }
    }

    /// With what the variables so far are.
    #[must_use]
    pub fn environment(&self, given: Given) -> Environment {
        let known = self.known.iter();
        let given =
            known.fold(environment(given), |all, (name, type_)| all.with(name, type_.clone()));
        given.with_fields(VARIABLES, "kubernetes.variables", self.types.iter().cloned())
    }

    /// Adds a variable.
    ///
    /// # Errors
    ///
    /// What is wrong with its expression; then others may still refer to it.
    pub fn add(&mut self, variable: &Variable, given: Given) -> Result<Program, String> {
        let given = Given { authorizer: true, ..given };
        let compiled = self.environment(given).compile(&variable.expression);
        let type_ = compiled.as_ref().map_or(Type::Dyn, |program| program.result().clone());
        self.types.push((variable.name.clone(), type_));
        compiled.map_err(|why| format!("compilation failed: {why}"))
    }
}

/// The variables of a policy; what they are for who refers to them.
pub(super) fn variables(
    variables: Option<&[Variable]>,
    given: Given,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Composition {
    let variables = variables.unwrap_or_default();
    let mut composition = Composition::default();
    if variables.len() > MAX_VARIABLES {
        errors.too_many(path, variables.len(), MAX_VARIABLES);
    }
    for (i, variable) in variables.iter().take(MAX_VARIABLES).enumerate() {
        let path = path.index(i);
        let at = path.child("name");
        if variable.name.trim().is_empty() {
            errors.required(&at, "name is not specified");
        } else if !is_identifier(&variable.name) {
            errors.invalid(&at, &variable.name, "must be a valid CEL identifier");
        }
        let at = path.child("expression");
        if variable.expression.trim().is_empty() {
            errors.required(&at, "expression is not specified");
        } else if let Err(why) = composition.add(variable, given) {
            errors.invalid(&at, &variable.expression, &why);
        }
    }
    composition
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED_WORDS.contains(&name)
}

/// What kind a policy's parameters are of (Kubernetes: `validateParamKind`).
pub(super) fn param_kind(kind: &ParamKind, path: &FieldPath, errors: &mut FieldErrors) {
    let given = rules::text(kind.api_version.as_ref());
    let at = path.child("apiVersion");
    let (group, version) = given.split_once('/').unwrap_or(("", given));
    if given.is_empty() {
        errors.required(&at, "");
    } else if version.contains('/') {
        errors.invalid(&at, given, &format!("unexpected GroupVersion string: {given}"));
    } else {
        if !group.is_empty() {
            rules::follows(group, names::dns1123_subdomain, &at, errors);
        }
        if version.is_empty() {
            errors.invalid(&at, given, "version must be specified");
        } else {
            rules::follows(version, names::dns1035_label, &at, errors);
        }
    }
    let (given, at) = (rules::text(kind.kind.as_ref()), path.child("kind"));
    if given.is_empty() {
        return errors.required(&at, "");
    }
    let faults = names::dns1035_label(&given.to_lowercase());
    if !faults.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", faults.join(", "));
        errors.invalid(&at, given, &why);
    }
}
