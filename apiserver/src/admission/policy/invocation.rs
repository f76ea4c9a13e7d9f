//! For which policies, bindings and parameters a request is to be looked at, and what their expressions see.

use std::{collections::BTreeMap, sync::Arc};

use api_machinery::ApiError;
use expressions::{Composed, Value as CelValue};
use registry::admission_expression;
use serde_json::Value;

use super::{
    configured::{Binding, Parts, Policy},
    params,
};
use crate::{
    admission::{Attributes, matching::Seen, variables},
    authorizer::Authorizer,
    catalogue::{Catalogue, InForce},
    objects::Objects,
    storage::Storage,
};

/// What policies need.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
    pub(super) authorizer: Arc<Authorizer>,
}

/// What is wrong with the configuration, of a policy or of its binding.
#[derive(Debug)]
pub(super) struct Misconfigured<'a> {
    pub(super) binding: Option<&'a Binding>,
    pub(super) why: String,
}

/// A look at the request for a binding and a parameter.
#[derive(Debug)]
pub(super) struct Invocation<'a> {
    pub(super) binding: &'a Binding,
    pub(super) params: Value,
}

impl Surroundings {
    /// Where objects are looked for.
    pub(super) fn objects(&self) -> Objects<'_> {
        Objects { catalogue: &self.catalogue, storage: &self.storage }
    }

    /// What a policy is to see of a request, if it is to see it.
    pub(super) async fn seen<'a, R>(
        &self,
        policy: &Policy<R>,
        catalogue: &'a Catalogue,
        attributes: &Attributes<'a>,
        objects: (&'a Value, &'a Value),
    ) -> Result<Option<Seen<'a>>, ApiError> {
        policy.criteria.seen(self.objects(), catalogue, attributes, objects).await
    }

    /// The bindings that are for the request, each with each of its parameters.
    pub(super) async fn invocations<'p, R>(
        &self,
        policy: &'p Policy<R>,
        catalogue: &Catalogue,
        attributes: &Attributes<'_>,
        objects: (&Value, &Value),
    ) -> (Vec<Invocation<'p>>, Vec<Misconfigured<'p>>) {
        let (mut invocations, mut misconfigured) = (Vec::new(), Vec::new());
        for binding in &policy.bindings {
            let found = self.of_binding(policy, binding, catalogue, attributes, objects).await;
            match found {
                Ok(params) => invocations
                    .extend(params.into_iter().map(|params| Invocation { binding, params })),
                Err(why) => misconfigured.push(Misconfigured { binding: Some(binding), why }),
            }
        }
        (invocations, misconfigured)
    }

    async fn of_binding<R>(
        &self,
        policy: &Policy<R>,
        binding: &Binding,
        catalogue: &Catalogue,
        attributes: &Attributes<'_>,
        objects: (&Value, &Value),
    ) -> Result<Vec<Value>, String> {
        if let Some(criteria) = &binding.criteria {
            let seen = criteria.seen(self.objects(), catalogue, attributes, objects).await;
            if seen.map_err(|error| error.to_string())?.is_none() {
                return Ok(Vec::new());
            }
        }
        let wanted = (policy.param_kind.as_ref(), binding.params.as_ref());
        params::collect(wanted, catalogue, &self.storage, attributes).await
    }

    /// What all expressions about a request see, whatever the parameters.
    pub(super) async fn given(
        &self,
        attributes: &Attributes<'_>,
        seen: &Seen<'_>,
    ) -> Result<BTreeMap<&'static str, CelValue>, ApiError> {
        let mut given = variables::of(attributes, seen, &self.authorizer);
        let name = attributes.at.namespace.filter(|_| !attributes.at.def.is_core("namespaces"));
        if let Some(name) = name {
            let namespace: Option<Value> = self.objects().find("namespaces", None, name).await?;
            let namespace = namespace.ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
            let namespace = CelValue::typed(&namespace, &admission_expression::namespace());
            given.insert("namespaceObject", namespace);
        }
        Ok(given)
    }
}

/// What the expressions of a policy see with a parameter.
pub(super) fn input<R>(
    parts: &Parts<R>,
    given: &BTreeMap<&'static str, CelValue>,
    params: &Value,
) -> Composed {
    let mut given = given.clone();
    given.insert("params", CelValue::from(params));
    Composed::new(given, parts.variables.clone())
}
