//! How far the rollout of a StatefulSet is.

use serde_json::Value;

use super::progress::Progress;
use crate::{
    Failure,
    object::{number, text},
};

const ROLLING: &str = "RollingUpdate";

pub(super) fn progress(set: &Value) -> Result<Progress, Failure> {
    if text(set, "/spec/updateStrategy/type") != ROLLING {
        return Err(Failure::message(format!(
            "rollout status is only available for {ROLLING} strategy type"
        )));
    }
    let of = |count: &str| number(set, count).unwrap_or(0);
    let observed = of("/status/observedGeneration");
    if observed == 0 || of("/metadata/generation") > observed {
        let waiting = "Waiting for statefulset spec update to be observed...";
        return Ok(Progress::Going(waiting.to_owned()));
    }
    let (wanted, ready) = (of("/spec/replicas"), of("/status/readyReplicas"));
    if ready < wanted {
        let waiting = format!("Waiting for {} pods to be ready...", wanted - ready);
        return Ok(Progress::Going(waiting));
    }
    let updated = of("/status/updatedReplicas");
    if let Some(partition) = number(set, "/spec/updateStrategy/rollingUpdate/partition") {
        return Ok(partitioned(updated, wanted - partition));
    }
    let [current, update] =
        ["current", "update"].map(|it| text(set, &format!("/status/{it}Revision")));
    Ok(if current == update {
        let current_replicas = of("/status/currentReplicas");
        Progress::Done(format!(
            "statefulset rolling update complete {current_replicas} pods at revision {current}..."
        ))
    } else {
        Progress::Going(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {update}..."
        ))
    })
}

fn partitioned(updated: i64, wanted: i64) -> Progress {
    if updated < wanted {
        Progress::Going(format!(
            "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated..."
        ))
    } else {
        Progress::Done(format!(
            "partitioned roll out complete: {updated} new pods have been updated..."
        ))
    }
}
