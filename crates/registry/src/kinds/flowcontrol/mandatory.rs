//! What those objects say that no server can do without: whoever changed them could keep everybody out, administrators and the
//! server too (Kubernetes: `pkg/apis/flowcontrol/internalbootstrap`). The server writes them when it starts, so that it
//! finds out if it has other ones.

use api_types::api::flowcontrol::v1::{FlowSchemaSpec, PriorityLevelConfigurationSpec};
use serde_json::{Value, json};

/// The schema, and the level, that go before all others.
pub(super) const EXEMPT: &str = "exempt";
const CATCH_ALL: &str = "catch-all";

/// What the FlowSchema of that name must say.
pub(super) fn schema(name: &str) -> Option<FlowSchemaSpec> {
    let (precedence, groups): (i32, &[&str]) = match name {
        EXEMPT => (1, &["system:masters"]),
        CATCH_ALL => (10_000, &["system:unauthenticated", "system:authenticated"]),
        _ => return None,
    };
    let group = |name: &&str| json!({ "kind": "Group", "group": { "name": name } });
    let subjects: Vec<Value> = groups.iter().map(group).collect();
    let mut spec = json!({
        "priorityLevelConfiguration": { "name": name },
        "matchingPrecedence": precedence,
        "rules": [{
            "subjects": subjects,
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                "clusterScope": true,
            }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
        }],
    });
    if name == CATCH_ALL {
        spec["distinguisherMethod"] = json!({ "type": "ByUser" });
    }
    Some(serde_json::from_value(spec).expect("tests read it"))
}

/// What the PriorityLevelConfiguration of that name must say; of `exempt`, its part of that name is for administrators.
pub(super) fn level(name: &str) -> Option<PriorityLevelConfigurationSpec> {
    let spec = match name {
        EXEMPT => json!({ "type": "Exempt" }),
        CATCH_ALL => json!({ "type": "Limited", "limited": {
            "nominalConcurrencyShares": 5,
            "lendablePercent": 0,
            "limitResponse": { "type": "Reject" },
        }}),
        _ => return None,
    };
    Some(serde_json::from_value(spec).expect("tests read it"))
}
