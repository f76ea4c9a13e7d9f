//! A pod's priority is what its PriorityClass says, or the default one; of these there is one at most (Kubernetes:
//! `plugin/pkg/admission/priority`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::{
    core::v1::{Pod, PodSpec},
    scheduling::v1::PriorityClass,
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};
use crate::{catalogue::InForce, objects::Objects, storage::Storage};

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
/// Of pods that name no class where none is the default.
const PREEMPTS: &str = "PreemptLowerPriority";

/// See the module.
#[derive(Debug)]
pub(super) struct Priority {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

/// What a class says of pods.
struct Wanted {
    class: Option<String>,
    priority: i32,
    preemption: Option<String>,
}

impl From<PriorityClass> for Wanted {
    fn from(class: PriorityClass) -> Self {
        let PriorityClass { metadata, value, preemption_policy, .. } = class;
        Self {
            class: metadata.name,
            priority: value.unwrap_or_default(),
            preemption: preemption_policy,
        }
    }
}

#[async_trait]
impl Plugin for Priority {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let pod = object.filter(|_| attributes.is_core("pods")).and_then(AnyObject::get_mut::<Pod>);
        let Some(spec) = pod.and_then(|pod| pod.spec.as_mut()) else { return Ok(Vec::new()) };
        match attributes.operation {
            Operation::Create => {
                let wanted = self.wanted(attributes, spec).await?;
                complete(spec, wanted).map_err(|why| attributes.forbidden(&why))?;
            }
            Operation::Update => keep(spec, attributes.old),
            Operation::Delete | Operation::Connect => {}
        }
        Ok(Vec::new())
    }

    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let Some(class) = object.and_then(AnyObject::get::<PriorityClass>) else { return Ok(()) };
        let own = &class.metadata.name;
        let is_new = attributes.operation == Operation::Create;
        let other = self.default_class().filter(|other| is_new || other.metadata.name != *own);
        match other.filter(|_| class.global_default == Some(true)) {
            Some(other) => Err(attributes.forbidden(&format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                other.metadata.name.unwrap_or_default()
            ))),
            None => Ok(()),
        }
    }
}

impl Priority {
    fn objects(&self) -> Objects<'_> {
        Objects { catalogue: &self.catalogue, storage: &self.storage }
    }

    async fn wanted(
        &self,
        attributes: &Attributes<'_>,
        spec: &PodSpec,
    ) -> Result<Wanted, ApiError> {
        if let Some(name) = spec.priority_class_name.as_deref().filter(|name| !name.is_empty()) {
            let class: Option<PriorityClass> =
                self.objects().find_of((GROUP, CLASSES), None, name).await?;
            let missing = || format!("no PriorityClass with name {name} was found");
            return class.map(Wanted::from).ok_or_else(|| attributes.forbidden(&missing()));
        }
        let none = Wanted { class: None, priority: 0, preemption: Some(PREEMPTS.to_owned()) };
        Ok(self.default_class().map_or(none, Wanted::from))
    }

    /// If there are several, since they came at once, that of the lowest value.
    fn default_class(&self) -> Option<PriorityClass> {
        let all = self.objects().all::<PriorityClass>(GROUP, CLASSES).into_iter();
        all.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
    }
}

fn complete(spec: &mut PodSpec, wanted: Wanted) -> Result<(), String> {
    let Wanted { class, priority, preemption } = wanted;
    if let Some(given) = spec.priority.filter(|given| *given != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        ));
    }
    if let (Some(given), Some(preemption)) = (&spec.preemption_policy, &preemption)
        && given != preemption
    {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {preemption} from the given PriorityClass name"
        ));
    }
    (spec.priority_class_name, spec.priority) = (class, Some(priority));
    spec.preemption_policy = preemption.or(spec.preemption_policy.take());
    Ok(())
}

/// Who does not say what was made out at creation does not change it.
fn keep(spec: &mut PodSpec, old: Option<&AnyObject>) {
    let Some(old) = old.and_then(AnyObject::get::<Pod>).and_then(|pod| pod.spec.as_ref()) else {
        return;
    };
    spec.priority = spec.priority.or(old.priority);
    if spec.preemption_policy.is_none() {
        spec.preemption_policy.clone_from(&old.preemption_policy);
    }
}
