//! What the gateways have to do for functions, as they tell whoever scales them: over Redis, and in an
//! annotation of the Lease that each gateway holds for as long as it lives.

use std::collections::BTreeMap;

use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::{ListWatch, topics};

/// The namespace of the gateways' Leases.
pub const LEASE_NAMESPACE: &str = "kube-system";
/// The beginning of a Lease's name; the gateway's identity follows.
pub const LEASE_PREFIX: &str = "serverless-gateway-";
/// The label by which the gateways' Leases are found, and its value.
pub const LEASE_LABEL: (&str, &str) = ("minik8s.io/component", "serverless-gateway");
/// The annotation of a Lease with the same JSON as the messages.
pub const ANNOTATION: &str = "minik8s.io/demand";
/// A gateway whose Lease was renewed longer ago is gone, and has no demand.
pub const LEASE_SECONDS: i32 = 40;

/// The calls that a gateway has in hand, as of one moment. What it says replaces what it said before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demand {
    /// Which gateway says so; a new one after each start.
    pub gateway: String,
    /// By `namespace/name`. One that was told before and is not here any more has no calls.
    pub functions: BTreeMap<String, FunctionDemand>,
}

/// The calls of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionDemand {
    /// That wait for an instance.
    pub queued: u32,
    /// That an instance is working on.
    pub in_flight: u32,
    /// Since when the following are counted, in milliseconds of the Unix epoch: a function that is made anew begins anew.
    pub began: u64,
    /// That have come, or were about to: it grows to have an instance woken or kept.
    pub arrived: u64,
    /// That have come and were given a place or told to wait, or would have been had there not been too many.
    pub calls: u64,
    /// For how long calls were in hand, all taken together: what comes and goes between two
    /// messages is in it.
    pub in_hand_milliseconds: u64,
}

impl FunctionDemand {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.queued == 0 && self.in_flight == 0
    }
}

impl ListWatch {
    /// Tells what a gateway has to do, if Redis is there.
    pub fn announce_demand(&self, demand: &Demand) {
        self.announce(topics::FUNCTION_DEMAND, demand);
    }

    /// What the gateways have to do, as they tell it; `None` without Redis.
    pub fn demand(&self) -> Option<impl Stream<Item = Demand> + Send + 'static + use<>> {
        self.follow(topics::FUNCTION_DEMAND)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_message_names_functions_with_their_namespaces() {
        let add = FunctionDemand {
            queued: 3,
            in_flight: 2,
            began: 1000,
            arrived: 17,
            calls: 16,
            in_hand_milliseconds: 2500,
        };
        let demand = Demand {
            gateway: "host-1".to_owned(),
            functions: BTreeMap::from([("default/add".to_owned(), add)]),
        };
        let message = json!({
            "gateway": "host-1",
            "functions": {"default/add": {"queued": 3, "inFlight": 2, "began": 1000, "arrived": 17,
                "calls": 16, "inHandMilliseconds": 2500}},
        });
        assert_eq!(serde_json::to_value(&demand).unwrap(), message);
        assert_eq!(serde_json::from_value::<Demand>(message).unwrap(), demand);
    }
}
