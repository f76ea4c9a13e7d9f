//! What is to be done about a claim, and about a volume. Pure.

use std::sync::Arc;

use api_machinery::volume_matching as matching;
use api_types::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use api_types::api::storage::v1::StorageClass;

/// Who has made a volume.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Who makes directories of nodes into volumes: this controller.
pub(super) const PROVISIONER: &str = "minik8s.io/host-path";
const LATE: &str = "WaitForFirstConsumer";

/// What is known about a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    pub(super) claim: &'a PersistentVolumeClaim,
    pub(super) class: Option<&'a StorageClass>,
    pub(super) volumes: &'a [Arc<PersistentVolume>],
    /// That of the first pod that uses it.
    pub(super) node: Option<&'a Node>,
}

/// What is to be done about a claim.
#[derive(Debug, PartialEq)]
pub(super) enum Action<'a> {
    /// It has this volume, or is to have it.
    Bind(&'a Arc<PersistentVolume>),
    /// A volume is to be made for it at the node.
    Provision(&'a Node),
    /// Its volume is gone, or another's.
    Lost { reason: &'static str, message: &'static str },
    /// There is nothing to be done before something changes, of which an event tells.
    Wait { reason: &'static str, message: String },
    /// The same, and there is nothing to tell.
    Nothing,
}

impl<'a> Known<'a> {
    pub(super) fn action(&self) -> Action<'a> {
        let spec = self.claim.spec.as_ref();
        let named = spec.and_then(|spec| spec.volume_name.as_deref());
        match named.filter(|name| !name.is_empty()) {
            Some(name) => self.named(name),
            None => self.unnamed(),
        }
    }

    fn named(&self, name: &str) -> Action<'a> {
        let volume = self.volumes.iter().find(|it| it.metadata.name.as_deref() == Some(name));
        let phase = self.claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let had_it = matches!(phase, Some("Bound" | "Lost"));
        match volume {
            Some(volume) if matching::is_for(volume, self.claim) => Action::Bind(volume),
            Some(volume) if matching::reference(volume).is_none() => {
                let fits = had_it || matching::fits(self.claim, volume, None);
                if fits { Action::Bind(volume) } else { mismatch(name) }
            }
            Some(_) if had_it => Action::Lost {
                reason: "ClaimMisbound",
                message: "Two claims are bound to the same volume, this one is bound incorrectly",
            },
            None if had_it => Action::Lost {
                reason: "ClaimLost",
                message: "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
            },
            _ => Action::Nothing,
        }
    }

    fn unnamed(&self) -> Action<'a> {
        // Whichever node is asked about by now: there will be no other.
        if let Some(volume) = self.volumes.iter().find(|it| matching::is_its_own(it, self.claim)) {
            return Action::Bind(volume);
        }
        let is_late = self.class.is_some_and(is_late);
        let made_for_it = self.volumes.iter().find(|volume| matching::is_for(volume, self.claim));
        if is_late && self.node.is_none() && made_for_it.is_none() {
            return Action::Wait {
                reason: LATE,
                message: "waiting for first consumer to be created before binding".to_owned(),
            };
        }
        if let Some(volume) =
            matching::best(self.claim, self.volumes, self.node.filter(|_| is_late))
        {
            return Action::Bind(volume);
        }
        match (self.class, self.node) {
            (None, _) => Action::Wait {
                reason: "FailedBinding",
                message:
                    "no persistent volumes available for this claim and no storage class is set"
                        .to_owned(),
            },
            (Some(class), Some(node)) if class.provisioner == PROVISIONER => {
                Action::Provision(node)
            }
            (Some(class), _) => waits_for(class),
        }
    }
}

/// Directories are always made at the node of a pod, whatever the class says.
fn is_late(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some(LATE) || class.provisioner == PROVISIONER
}

fn mismatch(name: &str) -> Action<'static> {
    let message = format!(
        "Cannot bind to requested volume {name:?}: it does not have what the claim asks for"
    );
    Action::Wait { reason: "VolumeMismatch", message }
}

fn waits_for(class: &StorageClass) -> Action<'static> {
    let provisioner = &class.provisioner;
    match provisioner.as_str() {
        PROVISIONER => Action::Wait {
            reason: LATE,
            message: "waiting for first consumer to be created before binding".to_owned(),
        },
        "kubernetes.io/no-provisioner" => Action::Nothing,
        _ => Action::Wait {
            reason: "ExternalProvisioning",
            message: format!(
                "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
            ),
        },
    }
}

/// What is to be done about a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in this phase.
    Phase(&'static str),
    /// Its claim is gone, or has another, and so it is to go.
    Delete,
    /// Its claim has another: it is free again.
    Unbind,
}

/// By the claim of the name that it says, if there is one.
pub(super) fn fate(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Fate {
    let Some(reference) = matching::reference(volume) else { return Fate::Phase("Available") };
    if reference.uid.as_ref().is_none_or(String::is_empty) {
        return Fate::Phase("Available");
    }
    let claim = claim.filter(|claim| claim.metadata.uid == reference.uid);
    if claim.is_some_and(|claim| !has_another(claim, volume)) {
        return Fate::Phase("Bound");
    }
    let policy = volume.spec.as_ref().and_then(|it| it.persistent_volume_reclaim_policy.as_deref());
    match policy {
        Some("Delete") if is_ours(volume) => Fate::Delete,
        _ if claim.is_some() => Fate::Unbind,
        _ => Fate::Phase("Released"),
    }
}

/// Which a claim that has one keeps.
fn has_another(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    named.is_some_and(|name| !name.is_empty() && volume.metadata.name.as_deref() != Some(name))
}

/// Whether it was made by this controller.
fn is_ours(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(PROVISIONED_BY)).map(String::as_str) == Some(PROVISIONER)
}
