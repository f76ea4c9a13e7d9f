//! What objects say, taken together: which levels there are with how many seats, and which requests are whose
//! (Kubernetes: `util/flowcontrol/apf_controller.go`, `cfgMeal`).

use std::{cmp::Reverse, collections::BTreeMap};

use api_types::{
    api::flowcontrol::v1::{
        FlowSchema, PolicyRulesWithSubjects, PriorityLevelConfiguration,
        PriorityLevelConfigurationSpec,
    },
    meta::ObjectMeta,
};

use super::{defaults, queue_set::Shape, shuffle};

/// The level, and the schema, that ask nobody to wait; and those for what is left over.
const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";
/// A request gets at most this part of its level.
const WIDEST_PERCENT: u64 = 15;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) levels: BTreeMap<String, LevelPlan>,
    /// In the order in which they are asked. The last is for whom none else is.
    pub(super) schemas: Vec<SchemaPlan>,
    /// The FlowSchemas that there are, and whether their level is.
    pub(super) references: Vec<Reference>,
}

/// A level and its seats.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelPlan {
    pub(super) uid: String,
    /// None if nobody waits.
    pub(super) shape: Option<Shape>,
    pub(super) nominal: u32,
    pub(super) min: u32,
    pub(super) max: u32,
    /// How many seats a request may have.
    pub(super) widest: u32,
}

/// Which requests are of a level.
#[derive(Clone, Debug)]
pub(super) struct SchemaPlan {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) level: String,
    pub(super) distinguisher: Option<Distinguisher>,
    pub(super) rules: Vec<PolicyRulesWithSubjects>,
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distinguisher {
    User,
    Namespace,
}

/// A FlowSchema's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) schema: String,
    pub(crate) level: String,
    pub(crate) is_found: bool,
}

/// Plans for this many seats. What no server can go by is as if it were not there.
pub(super) fn plan(
    seats: u32,
    mut levels: Vec<PriorityLevelConfiguration>,
    mut schemas: Vec<FlowSchema>,
) -> Plan {
    let (more_levels, more_schemas) = defaults::mandatory();
    restore(&mut levels, &more_levels);
    for schema in &mut schemas {
        if let Some(fixed) = more_schemas.iter().find(|it| has_name(&it.metadata, &schema.metadata))
        {
            schema.spec.clone_from(&fixed.spec);
        }
    }
    levels
        .retain(|level| level.spec.as_ref().is_some_and(|it| is_whole(name(&level.metadata), it)));
    let is_there = |name: &str, all: &[PriorityLevelConfiguration]| {
        all.iter().any(|level| self::name(&level.metadata) == name)
    };
    let reference = |schema: &FlowSchema| {
        let level = level_of(schema).to_owned();
        let is_found = is_there(&level, &levels);
        Reference { schema: name(&schema.metadata).to_owned(), level, is_found }
    };
    let references: Vec<_> = schemas.iter().map(reference).collect();
    schemas.retain(|schema| is_there(level_of(schema), &levels));
    for level in more_levels {
        if !is_there(name(&level.metadata), &levels) {
            levels.push(level);
        }
    }
    for schema in more_schemas {
        if !schemas.iter().any(|it| has_name(&it.metadata, &schema.metadata)) {
            schemas.push(schema);
        }
    }
    schemas.sort_by_cached_key(order);
    let schemas = schemas.into_iter().filter_map(schema_plan).collect();
    Plan { levels: shared(seats, &levels), schemas, references }
}

/// Has those levels that must be as they are say so, whatever their objects do: an edit of them must not keep everybody out.
/// How much is lent of the exempt one is for administrators to say.
fn restore(levels: &mut [PriorityLevelConfiguration], mandatory: &[PriorityLevelConfiguration]) {
    for level in levels {
        let Some(fixed) = mandatory.iter().find(|it| has_name(&it.metadata, &level.metadata))
        else {
            continue;
        };
        let tuned = level.spec.take().and_then(|spec| spec.exempt);
        level.spec.clone_from(&fixed.spec);
        let exempt = level.spec.as_mut().and_then(|spec| spec.exempt.as_mut());
        if let (Some(exempt), Some(tuned)) = (exempt, tuned) {
            *exempt = tuned;
        }
    }
}

fn has_name(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    name(one) == name(other)
}

/// The mandatory ones are at the ends, whatever names others have.
fn order(schema: &FlowSchema) -> (i32, bool, Reverse<bool>, String) {
    let name = name(&schema.metadata);
    let precedence = schema.spec.as_ref().and_then(|spec| spec.matching_precedence);
    (precedence.unwrap_or_default(), name == CATCH_ALL, Reverse(name == EXEMPT), name.to_owned())
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

fn level_of(schema: &FlowSchema) -> &str {
    let spec = schema.spec.as_ref();
    spec.map_or("", |spec| &spec.priority_level_configuration.name)
}

/// Whether there is sense in it: the level of that name alone is exempt.
fn is_whole(name: &str, spec: &PriorityLevelConfigurationSpec) -> bool {
    let response = spec.limited.as_ref().map(|it| it.limit_response.as_ref());
    match (spec.type_.as_str(), response) {
        ("Exempt", None) => name == EXEMPT,
        ("Limited", Some(Some(response))) => {
            let queues = |it| shuffle::can_be_dealt(shape(it).queues, shape(it).hand);
            let fits = match &response.queuing {
                Some(queuing) => response.type_ == "Queue" && queues(queuing),
                None => response.type_ == "Reject",
            };
            name != EXEMPT && fits
        }
        _ => false,
    }
}

fn shape(queuing: &api_types::api::flowcontrol::v1::QueuingConfiguration) -> Shape {
    let number = |it: Option<i32>| it.and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    Shape {
        queues: number(queuing.queues),
        hand: number(queuing.hand_size),
        longest: number(queuing.queue_length_limit),
    }
}

fn schema_plan(schema: FlowSchema) -> Option<SchemaPlan> {
    let spec = schema.spec?;
    let distinguisher = match spec.distinguisher_method.as_ref().map(|it| it.type_.as_str()) {
        Some("ByUser") => Some(Distinguisher::User),
        Some("ByNamespace") => Some(Distinguisher::Namespace),
        _ => None,
    };
    Some(SchemaPlan {
        name: schema.metadata.name.unwrap_or_default(),
        uid: schema.metadata.uid.unwrap_or_default(),
        level: spec.priority_level_configuration.name,
        distinguisher,
        rules: spec.rules.unwrap_or_default(),
    })
}

/// Shares, and which part of what comes of them is lent and borrowed, in percent.
struct Shares {
    own: u32,
    lent: u32,
    borrowed: Option<u32>,
}

fn shares(spec: &PriorityLevelConfigurationSpec) -> Shares {
    let number = |it: Option<i32>| it.and_then(|it| u32::try_from(it).ok());
    let or_none = |it: Option<i32>| number(it).unwrap_or_default();
    match (&spec.limited, &spec.exempt) {
        (Some(it), _) => Shares {
            own: or_none(it.nominal_concurrency_shares),
            lent: or_none(it.lendable_percent),
            borrowed: number(it.borrowing_limit_percent),
        },
        (None, Some(it)) => Shares {
            own: or_none(it.nominal_concurrency_shares),
            lent: or_none(it.lendable_percent),
            borrowed: None,
        },
        (None, None) => Shares { own: 0, lent: 0, borrowed: None },
    }
}

fn shared(seats: u32, levels: &[PriorityLevelConfiguration]) -> BTreeMap<String, LevelPlan> {
    let specs = || levels.iter().filter_map(|level| Some((level, level.spec.as_ref()?)));
    let sum: u64 = specs().map(|(_, spec)| u64::from(shares(spec).own)).sum();
    let plan = |(level, spec): (&PriorityLevelConfiguration, &PriorityLevelConfigurationSpec)| {
        let Shares { own, lent, borrowed } = shares(spec);
        // They may come to a little more than there are.
        let nominal = (u64::from(seats) * u64::from(own)).div_ceil(sum.max(1));
        let nominal = u32::try_from(nominal).unwrap_or(seats);
        let percent = |percent: u32| {
            let part = (u64::from(nominal) * u64::from(percent) + 50) / 100;
            u32::try_from(part).unwrap_or(u32::MAX)
        };
        let limited = spec.limited.as_ref();
        let queuing = limited.and_then(|it| it.limit_response.as_ref()?.queuing.as_ref());
        let shape = limited.map(|_| queuing.map(shape).unwrap_or_default());
        let widest = shape.filter(|shape| shape.queues > 0).map_or(u32::MAX, |shape| {
            let hand = u32::try_from(shape.hand).unwrap_or(u32::MAX).max(1);
            let part = (u64::from(nominal) * WIDEST_PERCENT).div_ceil(100);
            u32::try_from(part).unwrap_or(u32::MAX).min(nominal / hand).max(1)
        });
        let plan = LevelPlan {
            uid: level.metadata.uid.clone().unwrap_or_default(),
            shape,
            nominal,
            min: nominal.saturating_sub(percent(lent)),
            max: nominal.saturating_add(borrowed.map_or(seats, percent)),
            widest,
        };
        (name(&level.metadata).to_owned(), plan)
    };
    specs().map(plan).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(kind: &str) -> Vec<T> {
        let all = defaults::all().iter().map(|it| it.object.clone());
        all.filter(|it| it["kind"] == kind).map(|it| serde_json::from_value(it).unwrap()).collect()
    }

    fn level(name: &str, spec: &Value) -> PriorityLevelConfiguration {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": "u"}, "spec": spec}))
            .unwrap()
    }

    fn schema(name: &str, precedence: i32, level: &str) -> FlowSchema {
        let level = json!({"name": level});
        let spec = json!({"priorityLevelConfiguration": level, "matchingPrecedence": precedence});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn seats_are_shared_as_kubernetes_shares_them() {
        let plan = plan(600, read("PriorityLevelConfiguration"), read("FlowSchema"));
        let seats = |name: &str| {
            let level = &plan.levels[name];
            (level.nominal, level.min, level.max, level.widest)
        };
        // What a kube-apiserver with its usual flags says in its metrics.
        assert_eq!(seats("catch-all"), (13, 13, 613, u32::MAX));
        assert_eq!(seats("system"), (74, 50, 674, 12));
        assert_eq!(seats("workload-low"), (245, 24, 845, 37));
        assert_eq!(seats("leader-election"), (25, 25, 625, 4));
        assert_eq!(seats("exempt"), (0, 0, 600, u32::MAX));
        assert_eq!(plan.levels["exempt"].shape, None);
        assert_eq!(plan.levels["catch-all"].shape, Some(Shape::default()));
        let order: Vec<_> = plan.schemas.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(order[..2], ["exempt", "probes"]);
        assert_eq!(order[order.len() - 2..], ["global-default", "catch-all"]);
        assert!(plan.references.iter().all(|it| it.is_found));
        let ours = plan.schemas.iter().find(|it| it.name == "minik8s-programs").unwrap();
        assert_eq!(ours.level, "workload-high");
    }

    #[test]
    fn without_objects_everybody_but_masters_shares_a_level() {
        let plan = plan(10, Vec::new(), Vec::new());
        assert_eq!(plan.levels["catch-all"].nominal, 10);
        let names: Vec<_> = plan.schemas.iter().map(|it| (&*it.name, &*it.level)).collect();
        assert_eq!(names, [("exempt", "exempt"), ("catch-all", "catch-all")]);
    }

    #[test]
    fn a_schema_whose_level_is_not_there_or_broken_counts_for_nothing() {
        let exempt = level("mine", &json!({"type": "Exempt"}));
        let queuing = json!({"queues": 1024, "handSize": 7, "queueLengthLimit": 1});
        let response = json!({"type": "Queue", "queuing": queuing});
        let wide =
            level("wide", &json!({"type": "Limited", "limited": {"limitResponse": response}}));
        let all = vec![schema("a", 5, "mine"), schema("b", 6, "none"), schema("c", 7, "wide")];
        let plan = plan(10, vec![exempt, wide], all);
        let found: Vec<_> = plan.references.iter().map(|it| it.is_found).collect();
        assert_eq!(found, [false, false, false]);
        assert_eq!((plan.schemas.len(), plan.levels.len()), (2, 2));
    }

    #[test]
    fn of_equals_the_name_decides_and_exempt_goes_first() {
        let limited = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 1,
            "limitResponse": {"type": "Reject"}, "borrowingLimitPercent": 50}});
        let all = vec![schema("z", 7, "l"), schema("a", 7, "l"), schema("last", 10_000, "l")];
        let plan = plan(10, vec![level("l", &limited)], all);
        let names: Vec<_> = plan.schemas.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["exempt", "a", "z", "last", "catch-all"]);
        // 1 of 6 shares, rounded up; half of it may be borrowed.
        assert_eq!((plan.levels["l"].nominal, plan.levels["l"].max), (2, 3));
        assert_eq!(plan.levels["l"].uid, "u");
    }

    #[test]
    fn mandatory_objects_say_what_they_must_whatever_somebody_has_made_of_them() {
        let limited = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 90,
            "limitResponse": {"type": "Reject"}}});
        let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 5}});
        let catch_all = || level("catch-all", &limited);
        let broken = vec![schema("exempt", 9000, "l"), schema("catch-all", 2, "none")];
        let plan = plan(10, vec![catch_all(), level("exempt", &exempt)], broken);
        let names: Vec<_> = plan.schemas.iter().map(|it| (&*it.name, &*it.level)).collect();
        assert_eq!(names, [("exempt", "exempt"), ("catch-all", "catch-all")]);
        assert!(plan.schemas.iter().all(|it| !it.rules.is_empty()));
        assert!(plan.references.iter().all(|it| it.is_found));
        // 5 of 10 shares each: those of the exempt one may be tuned.
        let seats = |name: &str| (plan.levels[name].nominal, &*plan.levels[name].uid);
        assert_eq!((seats("exempt"), seats("catch-all")), ((5, "u"), (5, "u")));
        let barred = self::plan(10, vec![level("exempt", &limited)], Vec::new());
        assert_eq!(barred.levels["exempt"].shape, None);
        assert_eq!(barred.levels["exempt"].uid, "u");
    }
}
