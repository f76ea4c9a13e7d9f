//! What single pods and containers of a namespace may ask for, and what they get that ask for nothing.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{
    FieldErrors, FieldPath, Quantity,
    amounts::{self, Amounts},
    names,
};
use api_types::{
    Quantity as GivenQuantity,
    api::core::v1::{LimitRange, LimitRangeItem},
};
use serde_json::json;

use super::{pod::requirements, resource_names};
use crate::{ResourceDef, Strategy, resource};

type Given = BTreeMap<String, GivenQuantity>;

const POD: &str = "Pod";
const CONTAINER: &str = "Container";
const CLAIM: &str = "PersistentVolumeClaim";

pub(crate) fn definition() -> ResourceDef {
    resource::<LimitRange, _>(LimitRangeStrategy)
        .created_by_put()
        .short_names(&["limits"])
        .only_own_columns()
        .column("Name", "string", 0, |range, _| json!(range.metadata.name))
        .format("name")
        .column("Created At", "date", 0, |range, _| json!(range.metadata.creation_timestamp))
        .build()
}

struct LimitRangeStrategy;

impl Strategy<LimitRange> for LimitRangeStrategy {
    /// A container's limit is the maximum where nothing is said, its request the limit, or else the minimum.
    fn default(&self, range: &mut LimitRange) {
        let limits = range.spec.iter_mut().flat_map(|spec| &mut spec.limits);
        for limit in limits.filter(|limit| limit.type_ == CONTAINER) {
            let fill = |to: &mut Option<Given>, from: &Option<Given>| {
                let to = to.get_or_insert_default();
                for (name, amount) in from.iter().flatten() {
                    to.entry(name.clone()).or_insert_with(|| amount.clone());
                }
            };
            fill(&mut limit.default, &limit.max);
            fill(&mut limit.default_request, &limit.default);
            fill(&mut limit.default_request, &limit.min);
            // An empty one is none.
            for filled in [&mut limit.default, &mut limit.default_request] {
                *filled = filled.take().filter(|filled| !filled.is_empty());
            }
        }
    }

    fn validate(&self, range: &LimitRange, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec").child("limits");
        let mut types = BTreeSet::new();
        let limits = range.spec.iter().flat_map(|spec| &spec.limits);
        for (index, limit) in limits.enumerate() {
            let path = path.index(index);
            validate_type(&limit.type_, &path.child("type"), errors);
            if !types.insert(&limit.type_) {
                errors.duplicate(&path.child("type"), &limit.type_);
            }
            validate_limit(limit, &path, errors);
        }
    }
}

fn validate_type(type_: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let faults = names::qualified_name(type_);
    faults.iter().for_each(|fault| errors.invalid(path, type_, fault));
    if faults.is_empty() && !type_.contains('/') && ![POD, CONTAINER, CLAIM].contains(&type_) {
        errors.invalid(path, type_, "must be a standard limit type or fully qualified");
    }
}

/// The amounts of a limit.
struct Bounds {
    min: Amounts,
    max: Amounts,
    default: Amounts,
    default_request: Amounts,
    ratio: Amounts,
}

fn validate_limit(limit: &LimitRangeItem, path: &FieldPath, errors: &mut FieldErrors) {
    let read = |field: &str, given: &Option<Given>, errors: &mut FieldErrors| {
        for name in given.iter().flatten().map(|(name, _)| name) {
            validate_name(&limit.type_, name, &path.child(field).key(name), errors);
        }
        amounts::read(given.as_ref())
    };
    let (max, min) = (read("max", &limit.max, errors), read("min", &limit.min, errors));
    let mut bounds = Bounds {
        min,
        max,
        default: Amounts::new(),
        default_request: Amounts::new(),
        ratio: Amounts::new(),
    };
    if limit.type_ == POD {
        for (field, given) in
            [("default", &limit.default), ("defaultRequest", &limit.default_request)]
        {
            if given.as_ref().is_some_and(|given| !given.is_empty()) {
                errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
            }
        }
    } else {
        bounds.default = read("default", &limit.default, errors);
        bounds.default_request = read("defaultRequest", &limit.default_request, errors);
    }
    let is_bounded = [&bounds.min, &bounds.max].iter().any(|it| it.contains_key("storage"));
    if limit.type_ == CLAIM && !is_bounded {
        let why = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), why);
    }
    bounds.ratio = read("maxLimitRequestRatio", &limit.max_limit_request_ratio, errors);
    let all = [&bounds.min, &bounds.max, &bounds.default, &bounds.default_request, &bounds.ratio];
    let names: BTreeSet<&String> = all.into_iter().flat_map(|amounts| amounts.keys()).collect();
    for name in names {
        bounds.validate(name, path, errors);
    }
}

fn validate_name(type_: &str, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match type_ {
        POD | CONTAINER => requirements::name(name, path, errors),
        _ => resource_names::validate(name, path, errors),
    }
}

impl Bounds {
    /// Whether what is said of one resource goes together.
    fn validate(&self, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
        let (min, max) = (self.min.get(name), self.max.get(name));
        let (default, request) = (self.default.get(name), self.default_request.get(name));
        let minimum = ("min", min, "min value");
        let maximum = ("max", max, "max value");
        let requested = ("defaultRequest", request, "default request value");
        let limited = ("default", default, "default value");
        let limit = ("default", default, "default limit value");
        for (lower, higher, field, shown) in [
            (minimum, maximum, "min", min),
            (minimum, requested, "defaultRequest", request),
            (requested, maximum, "defaultRequest", request),
            (requested, limit, "defaultRequest", request),
            (minimum, limited, "default", min),
            (limited, maximum, "default", default),
        ] {
            let (Some(low), Some(high), Some(shown)) = (lower.1, higher.1, shown) else { continue };
            if low.compare(*high).is_gt() {
                let why = format!("{} {low} is greater than {} {high}", lower.2, higher.2);
                errors.invalid(&path.child(field).key(name), shown.to_string(), &why);
            }
        }
        self.validate_ratio(name, path, errors);
        let (Some(default), Some(request)) = (default, request) else { return };
        if !resource_names::is_overcommitted(name) && default.compare(*request).is_ne() {
            let why = format!(
                "default value {default} must equal to defaultRequest value {request} in {name}"
            );
            errors.invalid(&path.child("defaultRequest").key(name), request.to_string(), &why);
        }
    }

    fn validate_ratio(&self, name: &str, path: &FieldPath, errors: &mut FieldErrors) {
        let Some(ratio) = self.ratio.get(name) else { return };
        let path = path.child("maxLimitRequestRatio").key(name);
        if ratio.compare(Quantity::from_units(1)).is_lt() {
            errors.invalid(&path, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        let (Some(min), Some(max)) = (self.min.get(name), self.max.get(name)) else { return };
        if max.compare_product(*ratio, *min).is_lt() {
            let most = max.to_f64() / min.to_f64();
            let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.invalid(&path, ratio.to_string(), &why);
        }
    }
}
