//! What the audit log is told of a webhook that was asked (Kubernetes: `webhookAnnotator` in
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`).

use serde::Serialize;
use serde_json::value::RawValue;

use super::{super::Attributes, configured::Hook};

/// A webhook whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'h> {
    pub(super) hook: &'h Hook,
    /// 0, or 1 when it sees again what others have changed since.
    pub(super) round: usize,
    /// The how manieth it is.
    pub(super) index: usize,
}

#[derive(Serialize)]
struct Mutation<'a> {
    configuration: &'a str,
    webhook: &'a str,
    mutated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Patch<'a> {
    configuration: &'a str,
    webhook: &'a str,
    patch: &'a RawValue,
    patch_type: &'a str,
}

impl Turn<'_> {
    /// It has changed the object, or not, or could not be asked.
    pub(super) fn tell_mutation(self, attributes: &Attributes<'_>, mutated: bool) {
        let Hook { configuration, name: webhook, .. } = self.hook;
        let told = serde_json::to_string(&Mutation { configuration, webhook, mutated });
        if let (Some(sender), Ok(told)) = (attributes.sender, told) {
            sender.feedback.annotate(self.key("mutation."), told);
        }
    }

    /// How it has changed it.
    pub(super) fn tell_patch(self, attributes: &Attributes<'_>, patch: &[u8]) {
        let Hook { configuration, name: webhook, .. } = self.hook;
        let Ok(patch) = serde_json::from_slice(patch) else { return };
        let told = Patch { configuration, webhook, patch, patch_type: "JSONPatch" };
        if let (Some(sender), Ok(told)) = (attributes.sender, serde_json::to_string(&told)) {
            sender.feedback.annotate_with_content(self.key("patch."), told);
        }
    }

    /// It could not be asked, and the request goes on.
    pub(super) fn tell_failed_open(self, attributes: &Attributes<'_>) {
        let may_patch = self.hook.expected.may_patch;
        let kind = if may_patch { "failed-open.mutation." } else { "failed-open.validating." };
        if let Some(sender) = attributes.sender {
            sender.feedback.annotate(self.key(kind), self.hook.name.clone());
        }
    }

    fn key(self, what: &str) -> String {
        let Self { round, index, .. } = self;
        format!("{what}webhook.admission.k8s.io/round_{round}_index_{index}")
    }
}
