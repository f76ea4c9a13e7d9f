//! What pods store something on, as far as it says where they can run.

use std::collections::HashMap;
use std::sync::Arc;

use api_machinery::volume_matching;
use api_types::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeClaim};
use api_types::api::storage::v1::StorageClass;
use api_types::meta::ObjectMeta;
use kube::runtime::watcher::Event;
use listwatch::{Lists, News};

const LATE: &str = "WaitForFirstConsumer";
/// Volumes of such a class are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Makes directories of the node of the first pod, whatever the class says.
const OF_NODES: &str = "minik8s.io/host-path";
const ONE_POD: &str = "ReadWriteOncePod";

/// Claims, volumes and classes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    claims: Kept<Arc<PersistentVolumeClaim>>,
    volumes: Kept<Arc<PersistentVolume>>,
    classes: Kept<Class>,
}

#[derive(Clone, Copy, Debug)]
struct Class {
    /// Whether their volumes are chosen once a pod has a node.
    is_late: bool,
    /// Whether somebody makes volumes where they are needed.
    makes_volumes: bool,
}

/// By name; a claim's begins with its namespace.
#[derive(Clone, Debug)]
struct Kept<T> {
    all: HashMap<String, T>,
    /// Everything that exists has been seen once.
    complete: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { all: HashMap::new(), complete: false }
    }
}

impl<T> Kept<T> {
    fn take_in<K>(&mut self, news: News<K>, entry: impl Fn(K) -> (String, T)) {
        match news {
            News::Applied(object) => self.all.extend([entry(object)]),
            News::Deleted(object) => drop(self.all.remove(&entry(object).0)),
            News::Listed(objects) => {
                self.all = objects.into_iter().map(entry).collect();
                self.complete = true;
            }
        }
    }
}

/// What a claim means for the pods that use it.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// It does not matter where.
    Anywhere,
    /// On nodes that this selects.
    At(&'a NodeSelector),
    /// Its volume is chosen for the first pod that uses it, of these, or made anywhere.
    Late(Option<Vec<&'a PersistentVolume>>),
    /// Nowhere before it has a volume.
    Unbound,
    /// There is no such claim.
    Missing,
    /// Nowhere: it is to go.
    Going,
    /// Nowhere: the volume of this name is gone.
    Lost(&'a str),
}

impl Volumes {
    /// Whether everything that exists has been seen.
    pub(crate) fn are_known(&self) -> bool {
        self.claims.complete && self.volumes.complete && self.classes.complete
    }

    /// Where pods that use the claim of this namespace and name can run.
    pub(crate) fn place(&self, claim: &str) -> Place<'_> {
        let Some(claim) = self.claims.all.get(claim) else { return Place::Missing };
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let named = named.filter(|name| !name.is_empty());
        if phase == Some("Lost") {
            return Place::Lost(named.unwrap_or_default());
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Place::Going;
        }
        match named {
            Some(name) if phase == Some("Bound") => {
                self.volumes.all.get(name).map_or(Place::Unbound, |volume| at(volume))
            }
            // It is bound to that one whatever pods do.
            Some(_) => Place::Unbound,
            None => self.place_of_unbound(claim),
        }
    }

    /// Whether only one pod may use the claim at a time.
    pub(crate) fn is_for_one_pod(&self, claim: &str) -> bool {
        let spec = self.claims.all.get(claim).and_then(|claim| claim.spec.as_ref());
        let mut modes = spec.and_then(|spec| spec.access_modes.as_ref()).into_iter().flatten();
        modes.any(|mode| mode == ONE_POD)
    }

    fn place_of_unbound(&self, claim: &PersistentVolumeClaim) -> Place<'_> {
        let named = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let class = self.classes.all.get(volume_matching::class(&claim.metadata, named));
        let Some(class) = class.filter(|class| class.is_late) else { return Place::Unbound };
        let mut volumes = self.volumes.all.values();
        if let Some(made) = volumes.find(|it| volume_matching::is_its_own(it, claim)) {
            return at(made);
        }
        let volumes = self.volumes.all.values().map(|volume| &**volume);
        let possible = volumes.filter(|volume| volume_matching::is_possible(volume, claim));
        Place::Late((!class.makes_volumes).then(|| possible.collect()))
    }

    pub(crate) fn claim(&mut self, news: News<PersistentVolumeClaim>) {
        self.claims.take_in(news, |claim| {
            let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
            (format!("{namespace}/{}", name(&claim.metadata)), Arc::new(claim))
        });
    }

    pub(crate) fn volume(&mut self, news: News<PersistentVolume>) {
        self.volumes.take_in(news, |volume| (name(&volume.metadata), Arc::new(volume)));
    }

    pub(crate) fn class(&mut self, news: News<StorageClass>) {
        self.classes.take_in(news, |class| {
            let mode = class.volume_binding_mode.as_deref();
            let is_late = mode == Some(LATE) || class.provisioner == OF_NODES;
            let makes_volumes = class.provisioner != NO_PROVISIONER;
            (name(&class.metadata), Class { is_late, makes_volumes })
        });
    }
}

fn at(volume: &PersistentVolume) -> Place<'_> {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.map_or(Place::Anywhere, Place::At)
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

/// What a watch says of storage.
#[derive(Debug)]
pub(crate) enum VolumeEvent {
    Claim(Box<Event<PersistentVolumeClaim>>),
    Volume(Box<Event<PersistentVolume>>),
    Class(Box<Event<StorageClass>>),
}

/// The lists that are under way.
#[derive(Debug, Default)]
pub(crate) struct VolumeLists {
    claims: Lists<PersistentVolumeClaim>,
    volumes: Lists<PersistentVolume>,
    classes: Lists<StorageClass>,
}

impl VolumeLists {
    /// Whether that was news.
    pub(crate) fn take_in(&mut self, event: VolumeEvent, volumes: &mut Volumes) -> bool {
        let taken = match event {
            VolumeEvent::Claim(event) => {
                self.claims.take_in(*event).map(|news| volumes.claim(news))
            }
            VolumeEvent::Volume(event) => {
                self.volumes.take_in(*event).map(|news| volumes.volume(news))
            }
            VolumeEvent::Class(event) => {
                self.classes.take_in(*event).map(|news| volumes.class(news))
            }
        };
        taken.is_some()
    }
}
