//! Claims: a pod runs where its volumes can be used. A volume that is chosen for the first pod that uses it is so once that
//! pod has a node.

use std::sync::Arc;

use api_machinery::{node_affinity, volume_matching};
use api_types::api::core::v1::{NodeSelector, PersistentVolume};

use super::{Plugin, Questions, Reason};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Place, Snapshot};

const CONFLICT: &str = "node(s) had volume node affinity conflict";
const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";
const NONE_HERE: &str = "node(s) didn't find available persistent volumes to bind";
/// Kubernetes' plugin VolumeRestrictions says so.
const USED: &str =
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
const UNKNOWN: &str = "the cluster's volumes are not known yet";

pub(super) struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, cluster: &'a Snapshot) -> Questions<'a> {
        let mut claims = pod.claims().peekable();
        if claims.peek().is_none() {
            return Questions::default();
        }
        if !cluster.volumes().are_known() {
            return refuse(Reason::Plain(UNKNOWN));
        }
        let demands = claims.filter_map(|claim| Demand::of(claim, pod, cluster).transpose());
        let demands = match demands.collect::<Result<Vec<_>, _>>() {
            Ok(demands) => demands,
            Err(why) => return refuse(why),
        };
        Questions::filter(move |node, against| {
            let refusal = demands.iter().find_map(|demand| demand.refusal(node));
            against.extend(refusal.map(Reason::Plain));
        })
    }

    fn turned_by(&self) -> Changes {
        // A pod that goes may have been the one whose node is that of a claim.
        Changes::ADDED | Changes::LABELS | Changes::VOLUMES | Changes::RESOURCES
    }
}

/// What a claim asks of a node.
enum Demand<'a> {
    /// That this selects it.
    Selected(&'a NodeSelector),
    /// That it has a pod which uses this claim: its volume is chosen for that one.
    Beside(String),
    /// That one of these can be used there.
    OneOf(Vec<&'a PersistentVolume>),
}

impl<'a> Demand<'a> {
    /// None: it can be any.
    fn of(claim: &str, pod: &PodInfo, cluster: &'a Snapshot) -> Result<Option<Self>, Reason> {
        let (key, volumes) = (pod.claim_key(claim), cluster.volumes());
        let is_used = || cluster.nodes().any(|node| node.uses_claim(&key));
        let told = |why: String| Err(Reason::Told(Arc::from(why)));
        if volumes.is_for_one_pod(&key) && is_used() {
            return Err(Reason::Plain(USED));
        }
        match volumes.place(&key) {
            Place::Anywhere => Ok(None),
            Place::At(selector) => Ok(Some(Self::Selected(selector))),
            Place::Late(_) if is_used() => Ok(Some(Self::Beside(key))),
            Place::Late(possible) => Ok(possible.map(Self::OneOf)),
            Place::Unbound => Err(Reason::Plain(UNBOUND)),
            Place::Missing => told(format!("persistentvolumeclaim {claim:?} not found")),
            Place::Going => told(format!("persistentvolumeclaim {claim:?} is being deleted")),
            Place::Lost(volume) => told(format!(
                "persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}"
            )),
        }
    }

    fn refusal(&self, node: &NodeInfo) -> Option<&'static str> {
        let (holds, why) = match self {
            Self::Selected(selector) => (selects(selector, node), CONFLICT),
            Self::Beside(claim) => (node.uses_claim(claim), CONFLICT),
            Self::OneOf(volumes) => {
                (volumes.iter().any(|it| volume_matching::is_at(it, &node.node)), NONE_HERE)
            }
        };
        (!holds).then_some(why)
    }
}

fn refuse<'a>(why: Reason) -> Questions<'a> {
    Questions::filter(move |_, against| against.push(why.clone()))
}

fn selects(selector: &NodeSelector, node: &NodeInfo) -> bool {
    let terms = &selector.node_selector_terms;
    let name = node.name.as_str();
    terms.iter().any(|term| node_affinity::term_matches(term, node.labels(), name))
}

#[cfg(test)]
mod tests {
    use listwatch::News;
    use serde_json::{Value, json};

    use super::super::tests::{node, pod};
    use super::*;
    use crate::snapshot::{NodeName, Share, Shares};

    /// Objects of whatever kind is asked for.
    macro_rules! listed {
        ($objects:expr) => {
            News::Listed(serde_json::from_value($objects).unwrap())
        };
    }

    /// A cluster with a volume at `n1`, one for all nodes, and claims to them and to none.
    fn cluster() -> Snapshot {
        let mut cluster = Snapshot::default();
        let here = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
        let affinity = json!({"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}});
        let claim = |name: &str, volume: Value, class: &str, phase: &str| {
            json!({"metadata": {"namespace": "default", "name": name}, "status": {"phase": phase},
                   "spec": {"volumeName": volume, "storageClassName": class}})
        };
        cluster.volumes_mut().class(listed!(json!([
            {"metadata": {"name": "late"}, "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"},
            {"metadata": {"name": "now"}, "provisioner": "p", "volumeBindingMode": "Immediate"},
            {"metadata": {"name": "by-hand"}, "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"},
            {"metadata": {"name": "ours"}, "provisioner": "minik8s.io/host-path", "volumeBindingMode": "Immediate"},
        ])));
        cluster.volumes_mut().volume(listed!(json!([
            {"metadata": {"name": "local"}, "spec": {"nodeAffinity": affinity}},
            {"metadata": {"name": "shared"}, "spec": {}},
            {"metadata": {"name": "disk"}, "spec": {"nodeAffinity": affinity, "storageClassName": "by-hand"}},
        ])));
        let mut going = claim("going", json!("shared"), "", "Bound");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut alone = claim("alone", json!("shared"), "", "Bound");
        alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
        cluster.volumes_mut().claim(listed!(json!([
            claim("local", json!("local"), "", "Bound"),
            claim("shared", json!("shared"), "", "Bound"),
            claim("late", json!(null), "late", "Pending"),
            claim("now", json!(null), "now", "Pending"),
            claim("named", json!("local"), "now", "Pending"),
            claim("named-late", json!("local"), "late", "Pending"),
            claim("by-hand", json!(null), "by-hand", "Pending"),
            claim("ours", json!(null), "ours", "Pending"),
            claim("lost", json!("local"), "", "Lost"),
            going,
            alone,
        ])));
        cluster
    }

    fn user(claims: &[&str]) -> PodInfo {
        let volume =
            |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        pod(json!({"volumes": claims.iter().map(volume).collect::<Vec<_>>()}))
    }

    fn check(cluster: &Snapshot, claims: &[&str], on: &str, expected: &[&str]) {
        let pod = user(claims);
        let (empty, mut against) = (node(json!({"metadata": {"name": on}})), Vec::new());
        let node = cluster.get(&NodeName::from(on)).unwrap_or(&empty);
        if let Some(filter) = VolumeBinding.questions(&pod, cluster).filter {
            filter(node, &mut against);
        }
        let reasons: Vec<String> = against.iter().map(Reason::to_string).collect();
        assert_eq!(reasons, expected, "{claims:?} on {on}");
    }

    #[test]
    fn a_pod_runs_where_its_volumes_are() {
        let cluster = cluster();
        let check =
            |claims: &[&str], on: &str, expected: &[&str]| check(&cluster, claims, on, expected);
        check(&[], "n2", &[]);
        check(&["shared", "late"], "n2", &[]);
        check(&["local", "shared"], "n1", &[]);
        check(&["local", "shared"], "n2", &[CONFLICT]);
        check(&["now"], "n1", &[UNBOUND]);
        check(&["named"], "n1", &[UNBOUND]);
        check(&["named-late"], "n1", &[UNBOUND]);
        check(&["by-hand"], "n1", &[]);
        check(&["by-hand"], "n2", &[NONE_HERE]);
        check(&["ours"], "n2", &[]);
        check(&["none"], "n1", &["persistentvolumeclaim \"none\" not found"]);
        check(&["going"], "n1", &["persistentvolumeclaim \"going\" is being deleted"]);
        let lost =
            "persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"local\"";
        check(&["lost"], "n1", &[lost]);
    }

    #[test]
    fn a_pod_goes_to_the_one_for_which_a_claims_volume_is_chosen() {
        let mut cluster = cluster();
        let other = user(&["late", "alone"]);
        let shares = Shares::from([(other.uid.clone(), Share::from(&other))]);
        cluster.add(node(json!({"metadata": {"name": "n1"}})).node, shares);
        check(&cluster, &["late"], "n1", &[]);
        check(&cluster, &["late"], "n2", &[CONFLICT]);
        check(&cluster, &["shared"], "n2", &[]);
        check(&cluster, &["alone"], "n1", &[USED]);
        check(&cluster, &["alone"], "n2", &[USED]);
        cluster.displace(&NodeName::from("n1"), &other.uid);
        check(&cluster, &["late", "alone"], "n2", &[]);
    }

    #[test]
    fn before_volumes_are_known_pods_without_any_are_scheduled() {
        let cluster = Snapshot::default();
        check(&cluster, &[], "n1", &[]);
        check(&cluster, &["late"], "n1", &[UNKNOWN]);
    }
}
