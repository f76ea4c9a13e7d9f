//! The taints of a node.
//!
//! A node that is not Ready counts as tainted from the moment its condition says so: the taint itself
//! is written by the node controller, a moment later, and a pod should not slip through in between.

use std::sync::Arc;

use api_types::api::core::v1::{Node, Taint};

/// The taints of a node, by what they do to a pod that does not tolerate them.
#[derive(Clone, Debug)]
pub struct Taints {
    /// They keep it away; with the one that the node's Ready condition will bring.
    pub repelling: Vec<Repelling>,
    /// They make it go elsewhere if it can.
    pub discouraging: Vec<Taint>,
}

/// A taint that keeps pods away, with its text as users read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Repelling {
    /// The taint.
    pub taint: Taint,
    /// `{key: value}`.
    pub text: Arc<str>,
}

impl Taints {
    /// Sorts the taints of a node.
    pub(crate) fn of(node: &Node) -> Self {
        let all = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten().cloned());
        let repelling = all().filter(repels).chain(implied(node)).map(Repelling::from).collect();
        Self { repelling, discouraging: all().filter(discourages).collect() }
    }
}

fn repels(taint: &Taint) -> bool {
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
}

fn discourages(taint: &Taint) -> bool {
    taint.effect == "PreferNoSchedule"
}
fn implied(node: &Node) -> Option<Taint> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let key = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => return None,
        Some("Unknown") => "node.kubernetes.io/unreachable",
        _ => "node.kubernetes.io/not-ready",
    };
    Some(Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() })
}

impl From<Taint> for Repelling {
    fn from(taint: Taint) -> Self {
        let value = taint.value.as_deref().unwrap_or_default();
        let text = format!("{{{}: {value}}}", taint.key).into();
        Self { taint, text }
    }
}
