//! What is told of objects that are taken, in `Warning` headers (Kubernetes: `WarningsOnCreate`, `WarningsOnUpdate`).

use std::{cell::Cell, time::Duration};

use registry::{AnyObject, Part};
use tokio::time::timeout;

use crate::{call::Call, objects::Objects};

/// How long a request waits for what may only be a text.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tells the sender what the kind says of this part of the object, which has no faults; `old` is what it was before. What
/// else there is, is looked up in the cache; what that does not know is looked for again once it has all that was written
/// before the call.
pub(super) async fn tell(
    objects: Objects<'_>,
    call: &Call,
    part: Part,
    new: &AnyObject,
    old: Option<&AnyObject>,
) {
    let (mut warnings, missed) = by_the_cache(objects, call, part, new, old);
    if missed && matches!(timeout(PATIENCE, objects.storage.cache().catch_up()).await, Ok(Ok(_))) {
        warnings = by_the_cache(objects, call, part, new, old).0;
    }
    warnings.into_iter().for_each(|warning| call.feedback.warn(warning));
}

/// The warnings, and whether something was looked for that is not in the cache.
fn by_the_cache(
    objects: Objects<'_>,
    call: &Call,
    part: Part,
    new: &AnyObject,
    old: Option<&AnyObject>,
) -> (Vec<String>, bool) {
    let missed = Cell::new(false);
    let exists = |[group, version, plural]: [&str; 3], name: &str| {
        let catalogue = objects.catalogue.load();
        let def = catalogue.find(group, version, plural);
        let key = def.map(|def| def.key(call.info.namespace.as_deref(), name));
        let found = key.is_some_and(|key| objects.storage.cache().get(&key).is_some());
        missed.set(missed.get() || !found);
        found
    };
    (call.info.def.warnings(part, new, old, &exists), missed.get())
}
