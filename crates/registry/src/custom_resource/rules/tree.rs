//! The rules of a schema, in a tree like that of the schema.

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath};
use expressions::Type;
use serde_json::Value;

use super::{
    bounds,
    costs::Costs,
    rule::{self, Findings, Place, Rule},
    types,
};

/// The rules of a schema and of what is within it, as far as there are any; compiled.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(super) own: Vec<Rule>,
    /// As the schema says it: `object`.
    pub(super) type_: String,
    pub(super) fields: BTreeMap<String, Rules>,
    pub(super) additional: Option<Box<Rules>>,
    pub(super) items: Option<Box<Rules>>,
    /// What elements of a list are known by, before and after a change, if they are.
    pub(super) keys: Option<Vec<String>>,
    /// Of the values of the whole, at the root alone.
    pub(super) values: Option<Type>,
}

impl Rules {
    /// Those of a whole schema; none if it has none.
    ///
    /// # Errors
    /// If one is no expression: all that was found.
    pub(crate) fn of(schema: &Value, path: &FieldPath) -> Result<Option<Self>, FieldErrors> {
        let mut findings = Findings::default();
        let rules = Self::found(schema, path, &mut findings);
        let values = types::of(schema, true);
        match findings.errors.is_empty() {
            true => Ok(rules.map(|rules| Self { values, ..rules })),
            false => Err(findings.errors),
        }
    }

    /// What is wrong with those of a schema that is written: what they may cost, too.
    pub(crate) fn faults(schema: &Value, path: &FieldPath) -> FieldErrors {
        let costs = Some(Costs::default());
        let mut findings = Findings { costs, ..Findings::default() };
        Self::found(schema, path, &mut findings);
        let Findings { mut errors, costs } = findings;
        costs.iter().for_each(|costs| costs.check(path, &mut errors));
        errors
    }

    fn found(schema: &Value, path: &FieldPath, findings: &mut Findings) -> Option<Self> {
        match rule::count(schema) {
            0 => None,
            count if count > rule::MOST => {
                findings.errors.forbidden(path, rule::TOO_MANY);
                None
            }
            _ => {
                let place = Place { path, is_whole: true, uncorrelated: None, most: Some(1) };
                Self::compile(schema, place, findings)
            }
        }
    }

    fn compile(schema: &Value, place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let path = place.path;
        let most = place.most.zip(bounds::factor(schema));
        let most = most.map(|(most, factor)| most.saturating_mul(factor));
        let mut fields = BTreeMap::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = path.child("properties").key(name);
            let place = Place { path: &path, is_whole: types::is_embedded(field), most, ..place };
            let rules = Self::compile(field, place, findings);
            fields.extend(rules.map(|rules| (name.clone(), rules)));
        }
        let keys = keys(schema);
        let mut one = |keyword: &str, uncorrelated| {
            let inner = schema.get(keyword).filter(|inner| inner.is_object())?;
            let (path, is_whole) = (path.child(keyword), types::is_embedded(inner));
            let place = Place { path: &path, is_whole, uncorrelated, most };
            Self::compile(inner, place, findings).map(Box::new)
        };
        let additional = one("additionalProperties", place.uncorrelated);
        // Of other lists nobody knows which element was which.
        let uncorrelated = if keys.is_some() { place.uncorrelated } else { Some(path) };
        let items = one("items", uncorrelated);
        let own = rule::compile(schema, place, findings);
        let type_ = schema["type"].as_str().unwrap_or_default().to_owned();
        let rules = Self { own, type_, fields, additional, items, keys, values: None };
        (!rules.is_empty()).then_some(rules)
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty()
            && self.fields.is_empty()
            && self.additional.is_none()
            && self.items.is_none()
    }
}

fn keys(schema: &Value) -> Option<Vec<String>> {
    let names = schema["x-kubernetes-list-map-keys"].as_array()?.iter();
    let is_map = schema["x-kubernetes-list-type"] == "map";
    is_map.then(|| names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
}
