//! How much of the server requests of a priority level may have.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, LimitResponse, LimitedPriorityLevelConfiguration,
    PriorityLevelConfiguration, PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::{Value, json};

use crate::{ResourceDef, Strategy, cells, resource, rules};

const LIMITED: &str = "Limited";
const EXEMPT: &str = "Exempt";
const QUEUE: &str = "Queue";
const REJECT: &str = "Reject";
/// Of a limited level that says none.
const SHARES: i32 = 30;

pub(crate) fn definition() -> ResourceDef {
    resource::<PriorityLevelConfiguration, _>(LevelStrategy)
        .status(|level, from| level.status.clone_from(&from.status))
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
        validate_spec(level.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
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
    if spec.exempt.is_some() && spec.type_ == LIMITED {
        errors.forbidden(&path.child("exempt"), "must be nil if the type is Limited");
    }
}

fn validate_limited(
    limited: &LimitedPriorityLevelConfiguration,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let shares = path.child("nominalConcurrencyShares");
    rules::not_negative(limited.nominal_concurrency_shares, &shares, errors);
    let path = path.child("limitResponse");
    match &limited.limit_response {
        Some(response) => validate_response(response, &path, errors),
        None => errors.not_supported(&path.child("type"), "", &[QUEUE, REJECT]),
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
    rules::positive(queuing.queue_length_limit, &path.child("queueLengthLimit"), errors);
    let (hand, path) = (queuing.hand_size, path.child("handSize"));
    rules::positive(hand, &path, errors);
    let queues = queuing.queues.unwrap_or_default();
    if let Some(hand) = hand.filter(|hand| *hand > queues) {
        let why = format!("should not be greater than queues ({queues})");
        errors.invalid(&path, hand, &why);
    }
}
