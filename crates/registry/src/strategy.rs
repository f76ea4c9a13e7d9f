//! What a kind may do differently from the others (Kubernetes: `k8s.io/apiserver/pkg/registry/rest`).

use api_machinery::FieldErrors;

/// The behaviour of a kind. Each method has the answer of a kind without behaviour.
pub trait Strategy<K>: Send + Sync + 'static {
    /// Fills in defaults, at creation and at every update.
    fn default(&self, _object: &mut K) {}

    /// Clears what a client may not set at creation (status, mostly) and sets what the server sets.
    fn prepare_create(&self, _object: &mut K) {}

    /// Clears what a client may not change with an update of the main resource.
    fn prepare_update(&self, _new: &mut K, _old: &K) {}

    /// All faults of the object by itself.
    fn validate(&self, _object: &K, _errors: &mut FieldErrors) {}

    /// The faults of a change: immutable fields.
    fn validate_update(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// The grace period in seconds a deletion leaves the object, `requested` being the client's wish.
    /// 0 removes it at once.
    fn grace_period(&self, _object: &K, _requested: Option<i64>) -> i64 {
        0
    }

    /// The fields that field selectors can name, beside `metadata.name` and `metadata.namespace`.
    fn fields(&self, _object: &K) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The strategy of a kind without behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl<K> Strategy<K> for Plain {}
