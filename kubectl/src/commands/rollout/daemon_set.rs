//! How far the rollout of a DaemonSet is.

use serde_json::Value;

use super::progress::Progress;
use crate::{
    Failure,
    object::{name, number, text},
};

const ROLLING: &str = "RollingUpdate";

pub(super) fn progress(set: &Value) -> Result<Progress, Failure> {
    if text(set, "/spec/updateStrategy/type") != ROLLING {
        return Err(Failure::message(format!(
            "rollout status is only available for {ROLLING} strategy type"
        )));
    }
    let of = |count: &str| number(set, count).unwrap_or(0);
    if of("/metadata/generation") > of("/status/observedGeneration") {
        let waiting = "Waiting for daemon set spec update to be observed...";
        return Ok(Progress::Going(waiting.to_owned()));
    }
    let wanted = of("/status/desiredNumberScheduled");
    let (updated, available) =
        (of("/status/updatedNumberScheduled"), of("/status/numberAvailable"));
    let name = name(set);
    let waiting = if updated < wanted {
        format!("{updated} out of {wanted} new pods have been updated...")
    } else if available < wanted {
        format!("{available} of {wanted} updated pods are available...")
    } else {
        return Ok(Progress::Done(format!("daemon set {name:?} successfully rolled out")));
    };
    Ok(Progress::Going(format!("Waiting for daemon set {name:?} rollout to finish: {waiting}")))
}
