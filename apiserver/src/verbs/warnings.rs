//! What is told of objects that are taken, in `Warning` headers (Kubernetes: `WarningsOnCreate`, `WarningsOnUpdate`).

use registry::AnyObject;

use crate::{call::Call, state::State};

/// What the kind says of the object as it was brought. What else there is, is looked up in the cache: it is no promise.
pub(super) fn of(state: &State, call: &Call, object: &AnyObject) -> Vec<String> {
    if call.info.subresource.is_some() {
        return Vec::new();
    }
    let exists = |[group, version, plural]: [&str; 3], name: &str| {
        let catalogue = state.catalogue.load();
        let def = catalogue.find(group, version, plural);
        let key = def.map(|def| def.key(call.info.namespace.as_deref(), name));
        key.is_some_and(|key| state.storage.cache().get(&key).is_some())
    };
    call.info.def.warnings(object, &exists)
}
