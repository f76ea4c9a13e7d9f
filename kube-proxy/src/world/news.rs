//! Of which Services the API server has said something new, and which slices are whose.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use api_types::api::{core::v1::Service, discovery::v1::EndpointSlice};
use ipnet::IpNet;
use kube::runtime::reflector::ObjectRef;

use crate::{plan, wake::Wake};

/// For which Services something may be new.
#[derive(Debug)]
pub enum Changed {
    /// A list is complete.
    All,
    /// For these.
    Only(HashSet<ObjectRef<Service>>),
}

/// What is known beside the objects themselves.
#[derive(Debug)]
pub(super) struct News {
    pub(super) index: Index,
    pub(super) changed: Changed,
    pub(super) services_listed: bool,
    pub(super) slices_listed: bool,
    pub(super) hosts_changed: bool,
    pub(super) hosts_listed: bool,
    pub(super) gateways_changed: bool,
    /// The networks of clients whose addresses nginx may keep.
    pub(super) kept: BTreeSet<IpNet>,
    pub(super) wakes: Vec<Arc<Wake>>,
}

impl Default for News {
    fn default() -> Self {
        News {
            index: Index::default(),
            changed: Changed::All,
            services_listed: false,
            slices_listed: false,
            hosts_changed: false,
            hosts_listed: false,
            gateways_changed: true,
            kept: BTreeSet::new(),
            wakes: Vec::new(),
        }
    }
}

impl Changed {
    /// Whether something may be new for this one.
    pub(crate) fn concerns(&self, service: &ObjectRef<Service>) -> bool {
        match self {
            Changed::All => true,
            Changed::Only(names) => names.contains(service),
        }
    }

    pub(super) fn add(&mut self, more: Changed) {
        match (&mut *self, more) {
            (Changed::All, _) => {}
            (_, Changed::All) => *self = Changed::All,
            (Changed::Only(names), Changed::Only(more)) => names.extend(more),
        }
    }
}

/// Which slices are whose.
#[derive(Debug, Default)]
pub(super) struct Index {
    owners: HashMap<ObjectRef<EndpointSlice>, ObjectRef<Service>>,
    slices: HashMap<ObjectRef<Service>, HashSet<ObjectRef<EndpointSlice>>>,
}

impl Index {
    pub(super) fn slices_of(&self, service: &ObjectRef<Service>) -> Vec<ObjectRef<EndpointSlice>> {
        self.slices.get(service).into_iter().flatten().cloned().collect()
    }

    /// Gives those of which it is and was one.
    pub(super) fn put(&mut self, slice: &EndpointSlice) -> Vec<ObjectRef<Service>> {
        let name = ObjectRef::from_obj(slice);
        let before = self.remove(&name);
        let owner = plan::owner(&slice.metadata)
            .map(|(namespace, service)| ObjectRef::new(service).within(namespace));
        if let Some(owner) = owner.clone() {
            self.slices.entry(owner.clone()).or_default().insert(name.clone());
            self.owners.insert(name, owner);
        }
        before.into_iter().chain(owner).collect()
    }

    /// Gives the one of which it was.
    pub(super) fn remove(
        &mut self,
        slice: &ObjectRef<EndpointSlice>,
    ) -> Option<ObjectRef<Service>> {
        let owner = self.owners.remove(slice)?;
        if let Some(slices) = self.slices.get_mut(&owner) {
            slices.remove(slice);
            if slices.is_empty() {
                self.slices.remove(&owner);
            }
        }
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use api_types::meta::ObjectMeta;

    use super::*;

    fn slice(name: &str, service: Option<&str>) -> EndpointSlice {
        let label = |service: &str| ("kubernetes.io/service-name".to_owned(), service.to_owned());
        EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                labels: service.map(|service| [label(service)].into()),
                ..ObjectMeta::default()
            },
            ..EndpointSlice::default()
        }
    }

    fn names(services: &[ObjectRef<Service>]) -> Vec<&str> {
        services.iter().map(|service| service.name.as_str()).collect()
    }

    #[test]
    fn a_slice_that_changes_its_service_concerns_both() {
        let mut index = Index::default();
        assert_eq!(names(&index.put(&slice("s", Some("a")))), ["a"]);
        assert_eq!(names(&index.put(&slice("s", Some("b")))), ["a", "b"]);
        assert_eq!(names(&index.put(&slice("s", None))), ["b"]);
        assert_eq!(index.remove(&ObjectRef::from_obj(&slice("s", None))), None);
        assert!(index.slices.is_empty() && index.owners.is_empty());
    }

    #[test]
    fn a_service_has_the_slices_that_name_it() {
        let mut index = Index::default();
        for (name, service) in [("s1", "a"), ("s2", "a"), ("s3", "b")] {
            index.put(&slice(name, Some(service)));
        }
        let of = |index: &Index| {
            let slices = index.slices_of(&ObjectRef::new("a").within("default"));
            slices.into_iter().map(|slice| slice.name).collect::<BTreeSet<_>>()
        };
        assert_eq!(of(&index), ["s1".to_owned(), "s2".to_owned()].into());
        index.remove(&ObjectRef::from_obj(&slice("s1", None)));
        assert_eq!(of(&index), ["s2".to_owned()].into());
    }
}
