//! Which pods of a node go, which stay, and which nobody takes away unasked (Kubernetes: `pkg/drain/filters.go`). Pure.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use crate::object::{self, text};

const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";

/// Pods that go although something of them is lost.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    /// Leave pods of DaemonSets where they are
    #[arg(long)]
    pub(super) ignore_daemonsets: bool,
    /// Pods with emptyDir volumes too, whose files are lost
    #[arg(long)]
    pub(super) delete_emptydir_data: bool,
    /// Pods without a controller too, which nobody makes again
    #[arg(long)]
    pub(super) force: bool,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes, with a warning.
    Go(Option<&'static str>),
    /// It stays, with a warning.
    Stay(Option<&'static str>),
    /// Nothing is done to any pod.
    Refuse(&'static str),
}

impl Filter {
    pub(super) fn of(self, pod: &Value) -> Verdict {
        let controller = object::list(pod, "/metadata/ownerReferences").iter();
        let controller = controller.clone().find(|owner| owner["controller"] == true);
        let is_daemon = controller.is_some_and(|owner| {
            text(owner, "/kind") == "DaemonSet" && text(owner, "/apiVersion") == "apps/v1"
        });
        let has_ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        let volumes = object::list(pod, "/spec/volumes");
        let has_files = volumes.iter().any(|volume| !volume["emptyDir"].is_null());
        match () {
            () if pod.pointer(MIRROR).is_some() => Verdict::Stay(None),
            () if has_ended => Verdict::Go(None),
            () if is_daemon && self.ignore_daemonsets => {
                Verdict::Stay(Some("ignoring DaemonSet-managed Pods"))
            }
            () if is_daemon => {
                Verdict::Refuse("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
            }
            () if has_files && !self.delete_emptydir_data => {
                Verdict::Refuse("Pods with local storage (use --delete-emptydir-data to override)")
            }
            () if controller.is_none() && !self.force => {
                Verdict::Refuse("Pods that declare no controller (use --force to override)")
            }
            () if controller.is_none() => {
                Verdict::Go(Some("deleting Pods that declare no controller"))
            }
            () if has_files => Verdict::Go(Some("deleting Pods with local storage")),
            () => Verdict::Go(None),
        }
    }
}

/// Why the node isn't drained.
pub(super) fn refusals(verdicts: &[(&Value, Verdict)]) -> Option<String> {
    let why = |verdict: &Verdict| match verdict {
        Verdict::Refuse(why) => Some(*why),
        _ => None,
    };
    let all = grouped(verdicts, why).into_iter().map(|told| format!("cannot delete {told}"));
    let all: Vec<_> = all.collect();
    match &all[..] {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(format!("[{}]", all.join(", "))),
    }
}

/// What is lost, and what stays.
pub(super) fn warnings(verdicts: &[(&Value, Verdict)]) -> Option<String> {
    let why = |verdict: &Verdict| match verdict {
        Verdict::Go(why) | Verdict::Stay(why) => *why,
        Verdict::Refuse(_) => None,
    };
    Some(grouped(verdicts, why).join("; ")).filter(|told| !told.is_empty())
}

fn grouped(
    verdicts: &[(&Value, Verdict)],
    why: impl Fn(&Verdict) -> Option<&'static str>,
) -> Vec<String> {
    let mut pods: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (pod, verdict) in verdicts {
        if let Some(why) = why(verdict) {
            let namespace = object::namespace(pod).unwrap_or_default();
            pods.entry(why).or_default().push(format!("{namespace}/{}", object::name(pod)));
        }
    }
    pods.into_iter().map(|(why, pods)| format!("{why}: {}", pods.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(more: &Value) -> Value {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        api_machinery::patch::apply_merge(&pod, more).unwrap()
    }

    fn of(kind: &str) -> Value {
        let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": "o", "controller": true});
        json!({"metadata": {"ownerReferences": [owner]}})
    }

    #[test]
    fn pods_go_stay_or_are_refused() {
        let (none, all) = (
            Filter::default(),
            Filter { ignore_daemonsets: true, delete_emptydir_data: true, force: true },
        );
        let check = |filter: Filter, more: &Value, expected: &str| {
            let pod = pod(more);
            let verdict = filter.of(&pod);
            let said = match verdict {
                Verdict::Go(None) => "go".to_owned(),
                Verdict::Stay(None) => "stay".to_owned(),
                _ => {
                    let all = [(&pod, verdict)];
                    refusals(&all).or_else(|| warnings(&all)).unwrap()
                }
            };
            assert_eq!(said, expected, "{pod}");
        };
        let set = of("ReplicaSet");
        check(none, &set, "go");
        let plain = json!({});
        check(
            none,
            &plain,
            "cannot delete Pods that declare no controller (use --force to override): n/p",
        );
        check(all, &plain, "deleting Pods that declare no controller: n/p");
        let daemon = of("DaemonSet");
        check(
            none,
            &daemon,
            "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): n/p",
        );
        check(all, &daemon, "ignoring DaemonSet-managed Pods: n/p");
        let mut files = set.clone();
        files["spec"] = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        check(
            none,
            &files,
            "cannot delete Pods with local storage (use --delete-emptydir-data to override): n/p",
        );
        check(all, &files, "deleting Pods with local storage: n/p");
        files["status"] = json!({"phase": "Succeeded"});
        check(none, &files, "go");
        check(
            none,
            &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
            "stay",
        );
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let (one, other) = (pod(&json!({})), pod(&of("DaemonSet")));
        let filter = Filter::default();
        let verdicts = [&one, &other, &one].map(|pod| (pod, filter.of(pod)));
        let expected = "[cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): n/p, cannot delete Pods that declare no controller (use --force to override): n/p, n/p]";
        assert_eq!(refusals(&verdicts).as_deref(), Some(expected));
    }
}
