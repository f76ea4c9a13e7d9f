//! What a kind may do differently from the others (Kubernetes: `k8s.io/apiserver/pkg/registry/rest`).

use api_machinery::{FieldErrors, names};

/// The faults of a name, in Kubernetes' words.
pub type NameRule = fn(&str) -> Vec<String>;

/// The behaviour of a kind. Each method has the answer of a kind without behaviour.
pub trait Strategy<K>: Send + Sync + 'static {
    /// What the object's name must be like.
    fn name_rule(&self) -> NameRule {
        names::dns1123_subdomain
    }

    /// Fills in defaults, at creation and at every update.
    fn default(&self, _object: &mut K) {}

    /// Clears what a client may not set at creation and sets what the server sets. A kind with a status
    /// subresource comes without status here.
    fn prepare_create(&self, _object: &mut K) {}

    /// Clears what a client may not change with an update of the main resource. The status is `old`'s already.
    fn prepare_update(&self, _new: &mut K, _old: &K) {}

    /// Clears what a client may not change with an update of the status. All but the status and the metadata is
    /// `old`'s already, and so is what nobody may change of the metadata.
    fn prepare_status_update(&self, _new: &mut K, _old: &K) {}

    /// Takes over the kind's own finalizers from an object that was given to the subresource `finalize`.
    fn finalize(&self, _object: &mut K, _given: &K) {}

    /// Takes over what the subresource `approval` is about from an object that was given to it.
    fn approve(&self, _object: &mut K, _given: &K) {}

    /// Takes over what the subresource `ephemeralcontainers` is about from an object that was given to it.
    fn add_containers(&self, _object: &mut K, _given: &K) {}

    /// Takes over what the subresource `resize` is about from an object that was given to it.
    fn resize(&self, _object: &mut K, _given: &K) {}

    /// Changes the object when its deletion begins.
    fn prepare_delete(&self, _object: &mut K) {}

    /// All faults of the object by itself.
    fn validate(&self, _object: &K, _errors: &mut FieldErrors) {}

    /// The faults that only a new object is told of.
    fn validate_create(&self, _object: &K, _errors: &mut FieldErrors) {}

    /// The same, apart from others.
    fn faults(&self, object: &K) -> FieldErrors {
        let mut faults = FieldErrors::default();
        self.validate(object, &mut faults);
        faults
    }

    /// The faults of an object by itself that a change of it may leave: what was taken once, by earlier rules.
    fn lasting(&self, _new: &K, _old: &K) -> FieldErrors {
        FieldErrors::default()
    }

    /// The faults of a change: immutable fields.
    fn validate_update(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// The faults of a change of the status.
    fn validate_status(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// The faults of a change by the subresource `approval`.
    fn validate_approval(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// The faults of a change by the subresource `ephemeralcontainers`.
    fn validate_added_containers(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// The faults of a change by the subresource `resize`.
    fn validate_resize(&self, _new: &K, _old: &K, _errors: &mut FieldErrors) {}

    /// What whoever brings an object is to be told though it is taken, e.g. that it names something that is not there;
    /// `old` is what it was before.
    fn warnings(&self, _new: &K, _old: Option<&K>, _exists: &Exists<'_>) -> Vec<String> {
        Vec::new()
    }

    /// The same of whoever brings its status.
    fn status_warnings(&self, _object: &K) -> Vec<String> {
        Vec::new()
    }

    /// The grace period in seconds a deletion leaves the object, `requested` being the client's wish.
    /// 0 removes it at once.
    fn grace_period(&self, _object: &K, _requested: Option<i64>) -> i64 {
        0
    }

    /// Whether something of the kind's own, beside `metadata.finalizers`, keeps an object that is being deleted.
    fn is_held(&self, _object: &K) -> bool {
        false
    }

    /// Whether its dependents stay when it is deleted and nothing is said of them (Kubernetes:
    /// `DefaultGarbageCollectionPolicy`).
    fn orphans(&self) -> bool {
        false
    }

    /// What whoever deletes it and says nothing of its dependents is to be told.
    fn deletion_warning(&self) -> Option<&'static str> {
        None
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

/// Whether there is an object of a resource (group, version, plural), of a name, in the namespace of the object that names it.
pub type Exists<'a> = dyn Fn([&str; 3], &str) -> bool + 'a;
