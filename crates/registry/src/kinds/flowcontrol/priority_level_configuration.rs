//! How much of the server requests of a priority level may have.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, LimitResponse, LimitedPriorityLevelConfiguration,
    PriorityLevelConfiguration, PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::{Value, json};

use super::mandatory;
use crate::{ResourceDef, Strategy, cells, resource, rules};

const LIMITED: &str = "Limited";
const EXEMPT: &str = "Exempt";
const QUEUE: &str = "Queue";
const REJECT: &str = "Reject";
/// Of a limited level that says none.
const SHARES: i32 = 30;
const MOST_QUEUES: i32 = 10_000_000;
/// How many bits of a request's hash choose its queues (Kubernetes: `shufflesharding.MaxHashBits`).
const HASH_BITS: i32 = 60;

pub(crate) fn definition() -> ResourceDef {
    resource::<PriorityLevelConfiguration, _>(LevelStrategy)
        .generation(|new, old| new.spec != old.spec)
        .status_alone(|level, from| level.status.clone_from(&from.status))
        .column("Type", "string", 0, |level, _| json!(level.spec.as_ref().map(|s| &s.type_)))
        .column("NominalConcurrencyShares", "string", 0, |level, _| {
            or_none(level, |limited| limited.nominal_concurrency_shares)
        })
        .column("Queues", "string", 0, |level, _| or_none(level, |l| queuing(l)?.queues))
        .column("HandSize", "string", 0, |level, _| or_none(level, |l| queuing(l)?.hand_size))
        .column("QueueLengthLimit", "string", 0, |level, _| {
            or_none(level, |l| queuing(l)?.queue_length_limit)
        })
        .build()
}

fn or_none(
    level: &PriorityLevelConfiguration,
    number: impl Fn(&LimitedPriorityLevelConfiguration) -> Option<i32>,
) -> Value {
    let limited = level.spec.as_ref().and_then(|spec| spec.limited.as_ref());
    limited.and_then(number).map_or_else(|| json!(cells::NONE), |number| json!(number))
}

fn queuing(limited: &LimitedPriorityLevelConfiguration) -> Option<&QueuingConfiguration> {
    limited.limit_response.as_ref()?.queuing.as_ref()
}

struct LevelStrategy;

impl Strategy<PriorityLevelConfiguration> for LevelStrategy {
    fn default(&self, level: &mut PriorityLevelConfiguration) {
        let Some(spec) = &mut level.spec else { return };
        if spec.type_ == EXEMPT {
            default_exempt(spec.exempt.get_or_insert_default());
        }
        if let Some(limited) = &mut spec.limited {
            default_limited(limited);
        }
    }

    fn validate(&self, level: &PriorityLevelConfiguration, errors: &mut FieldErrors) {
        let none = PriorityLevelConfigurationSpec::default();
        let (spec, path) = (level.spec.as_ref().unwrap_or(&none), FieldPath::new("spec"));
        let name = level.metadata.name.as_deref().unwrap_or_default();
        if (name == mandatory::EXEMPT) != (spec.type_ == EXEMPT) {
            let why = "must be 'Exempt' if and only if `name` is 'exempt'";
            errors.invalid(&path.child("type"), &spec.type_, why);
        }
        validate_spec(spec, &path, errors);
        validate_fixed(name, spec, &path, errors);
    }
}

fn default_exempt(exempt: &mut ExemptPriorityLevelConfiguration) {
    exempt.nominal_concurrency_shares.get_or_insert(0);
    exempt.lendable_percent.get_or_insert(0);
}

fn default_limited(limited: &mut LimitedPriorityLevelConfiguration) {
    limited.nominal_concurrency_shares.get_or_insert(SHARES);
    limited.lendable_percent.get_or_insert(0);
    let queuing = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut());
    if let Some(queuing) = queuing {
        queuing.queues.get_or_insert(64);
        queuing.hand_size.get_or_insert(8);
        queuing.queue_length_limit.get_or_insert(50);
    }
}

fn validate_spec(
    spec: &PriorityLevelConfigurationSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if !matches!(spec.type_.as_str(), EXEMPT | LIMITED) {
        errors.not_supported(&path.child("type"), &spec.type_, &[EXEMPT, LIMITED]);
    }
    let at = path.child("limited");
    match (&spec.limited, spec.type_.as_str()) {
        (None, LIMITED) => errors.required(&at, "must not be empty when type is Limited"),
        (Some(_), EXEMPT) => errors.forbidden(&at, "must be nil if the type is not Limited"),
        (Some(limited), _) => validate_limited(limited, &at, errors),
        _ => {}
    }
    let path = path.child("exempt");
    match (&spec.exempt, spec.type_.as_str()) {
        (Some(_), LIMITED) => errors.forbidden(&path, "must be nil if the type is Limited"),
        (Some(exempt), _) => {
            let shares = path.child("nominalConcurrencyShares");
            rules::not_negative(exempt.nominal_concurrency_shares, &shares, errors);
            validate_lent(exempt.lendable_percent, &path, errors);
        }
        _ => {}
    }
}

/// Whoever changed what all servers rely on could keep everybody out.
fn validate_fixed(
    name: &str,
    spec: &PriorityLevelConfigurationSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(fixed) = mandatory::level(name) else { return };
    let is_exempt = name == mandatory::EXEMPT;
    let exempt = spec.exempt.clone().filter(|_| is_exempt);
    if *spec != (PriorityLevelConfigurationSpec { exempt, ..fixed }) {
        let but = if is_exempt { " except the 'spec.exempt' field" } else { "" };
        let why = format!("spec of '{name}'{but} must equal the fixed value");
        errors.invalid(path, format_args!("{}", json!(spec)), &why);
    }
}

fn validate_limited(
    limited: &LimitedPriorityLevelConfiguration,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let shares = path.child("nominalConcurrencyShares");
    rules::not_negative(limited.nominal_concurrency_shares, &shares, errors);
    validate_lent(limited.lendable_percent, path, errors);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.invalid(&path.child("borrowingLimitPercent"), percent, why);
    }
    let path = path.child("limitResponse");
    match &limited.limit_response {
        Some(response) => validate_response(response, &path, errors),
        None => errors.not_supported(&path.child("type"), "", &[QUEUE, REJECT]),
    }
}

fn validate_lent(percent: Option<i32>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        let why = "must be between 0 and 100, inclusive";
        errors.invalid(&path.child("lendablePercent"), percent, why);
    }
}

fn validate_response(response: &LimitResponse, path: &FieldPath, errors: &mut FieldErrors) {
    if !matches!(response.type_.as_str(), QUEUE | REJECT) {
        errors.not_supported(&path.child("type"), &response.type_, &[QUEUE, REJECT]);
    }
    let path = path.child("queuing");
    match (&response.queuing, response.type_.as_str()) {
        (None, QUEUE) => errors.required(&path, "must not be empty if limited.type is Queue"),
        (Some(_), REJECT) => {
            errors.forbidden(&path, "must be nil if limited.limitResponse.type is not Limited");
        }
        (Some(queuing), _) => validate_queuing(queuing, &path, errors),
        _ => {}
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, path: &FieldPath, errors: &mut FieldErrors) {
    rules::positive(queuing.queues, &path.child("queues"), errors);
    if let Some(queues) = queuing.queues.filter(|queues| *queues > MOST_QUEUES) {
        let why = format!("must not be greater than {MOST_QUEUES}");
        errors.invalid(&path.child("queues"), queues, &why);
    }
    rules::positive(queuing.queue_length_limit, &path.child("queueLengthLimit"), errors);
    let (hand, path) = (queuing.hand_size, path.child("handSize"));
    rules::positive(hand, &path, errors);
    let queues = queuing.queues.unwrap_or_default();
    let Some(hand) = hand.filter(|hand| *hand > 0) else { return };
    if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        errors.invalid(&path, hand, &why);
    } else if (f64::from(queues).log2() * f64::from(hand)).ceil() > f64::from(HASH_BITS) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&path, hand, &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, spec: &Value) -> String {
        let level = json!({ "metadata": { "name": name }, "spec": spec });
        let mut level: PriorityLevelConfiguration = serde_json::from_value(level).unwrap();
        LevelStrategy.default(&mut level);
        let mut errors = FieldErrors::default();
        LevelStrategy.validate(&level, &mut errors);
        if errors.is_empty() { String::new() } else { errors.to_string() }
    }

    #[track_caller]
    fn refused(name: &str, spec: &Value, expected: &str) {
        let why = faults(name, spec);
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn mandatory_ones_say_what_they_must_but_for_the_share_of_exempt() {
        let limited = |shares: i32| {
            let limited = json!({ "nominalConcurrencyShares": shares, "limitResponse": { "type": "Reject" } });
            json!({ "type": "Limited", "limited": limited })
        };
        assert_eq!(faults("catch-all", &limited(5)), "");
        refused("catch-all", &limited(6), "spec of 'catch-all' must equal the fixed value");
        assert_eq!(faults("other", &limited(6)), "");
        let tuned = json!({ "nominalConcurrencyShares": 9, "lendablePercent": 50 });
        assert_eq!(faults("exempt", &json!({ "type": "Exempt", "exempt": tuned })), "");
        assert_eq!(faults("exempt", &json!({ "type": "Exempt" })), "");
        let why = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value";
        refused("exempt", &limited(5), why);
    }

    #[test]
    fn one_level_is_exempt_and_what_is_lent_is_a_part() {
        let exempt = json!({ "type": "Exempt" });
        let why = "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'";
        refused("other", &exempt, why);
        let tuned = json!({ "type": "Exempt", "exempt": { "lendablePercent": 101 } });
        let why =
            "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive";
        refused("exempt", &tuned, why);
        let limited = json!({ "limitResponse": { "type": "Reject" }, "lendablePercent": -1,
            "borrowingLimitPercent": -1 });
        let limited = json!({ "type": "Limited", "limited": limited });
        refused("other", &limited, "spec.limited.lendablePercent: Invalid value: -1");
        refused("other", &limited, "spec.limited.borrowingLimitPercent: Invalid value: -1");
    }

    #[test]
    fn a_hash_is_enough_to_deal_the_hands() {
        let queued = |queues: i32, hand: i32| {
            let queuing = json!({ "queues": queues, "handSize": hand });
            let limited = json!({ "limitResponse": { "type": "Queue", "queuing": queuing } });
            json!({ "type": "Limited", "limited": limited })
        };
        assert_eq!(faults("other", &queued(128, 6)), "");
        assert_eq!(faults("other", &queued(10_000_000, 2)), "");
        refused("other", &queued(10_000_001, 1), "queues: Invalid value: 10000001: must not be");
        refused("other", &queued(4, 5), "handSize: Invalid value: 5: should not be greater");
        let why =
            "required entropy bits of deckSize 1024 and handSize 7 should not be greater than 60";
        refused("other", &queued(1024, 7), why);
    }
}
