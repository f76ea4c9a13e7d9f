//! What is told of objects that are taken, in `Warning` headers (Kubernetes: `WarningsOnCreate`, `WarningsOnUpdate`).

use std::{cell::Cell, time::Duration};

use registry::AnyObject;
use tokio::time::timeout;

use crate::{call::Call, objects::Objects};

/// How long a request waits for what may only be a text.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the kind says of the object as it was brought. What else there is, is looked up in the cache; what that does
/// not know is looked for again once it has all that was written before the call.
pub(super) async fn of(objects: Objects<'_>, call: &Call, object: &AnyObject) -> Vec<String> {
    if call.info.subresource.is_some() {
        return Vec::new();
    }
    let (warnings, missed) = by_the_cache(objects, call, object);
    let caught_up = timeout(PATIENCE, objects.storage.cache().catch_up());
    if missed && matches!(caught_up.await, Ok(Ok(_))) {
        return by_the_cache(objects, call, object).0;
    }
    warnings
}

/// The warnings, and whether something was looked for that is not in the cache.
fn by_the_cache(objects: Objects<'_>, call: &Call, object: &AnyObject) -> (Vec<String>, bool) {
    let missed = Cell::new(false);
    let exists = |[group, version, plural]: [&str; 3], name: &str| {
        let catalogue = objects.catalogue.load();
        let def = catalogue.find(group, version, plural);
        let key = def.map(|def| def.key(call.info.namespace.as_deref(), name));
        let found = key.is_some_and(|key| objects.storage.cache().get(&key).is_some());
        missed.set(missed.get() || !found);
        found
    };
    (call.info.def.warnings(object, &exists), missed.get())
}
