//! Building a definition: the chain of calls that reads like a table's row.

use std::{any::type_name, fmt, marker::PhantomData, sync::OnceLock};

use api_machinery::table::age;
use api_types::jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    conversion::Conversion,
    definition::ResourceDef,
    description::{Column, Names, Subresource},
    erased::{Cell, Generation, Status, Typed},
    fields,
    object::{KnownScope, Object},
    scale::ScalePaths,
    strategy::Strategy,
};

/// A definition in the making.
#[must_use]
pub struct Builder<K, S> {
    short_names: Vec<&'static str>,
    categories: Vec<&'static str>,
    subresources: Vec<Subresource>,
    columns: Vec<(Column, Cell<K>)>,
    standard_columns: bool,
    status: Option<Status<K>>,
    generation: Option<Generation<K>>,
    trigger: &'static str,
    is_review: bool,
    is_computed: bool,
    replaces_by_version: bool,
    is_created_by_put: bool,
    is_shown_when_deleted: bool,
    conversion: Option<Box<dyn Conversion>>,
    collection: Option<&'static str>,
    deprecation: Option<&'static str>,
    strategy: S,
    kind: PhantomData<fn() -> K>,
}

impl<K, S> fmt::Debug for Builder<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("kind", &type_name::<K>()).finish_non_exhaustive()
    }
}

/// Begins the definition of the kind `K`.
pub fn resource<K, S>(strategy: S) -> Builder<K, S>
where
    K: Object,
    K::Scope: KnownScope,
    S: Strategy<K>,
{
    Builder {
        short_names: Vec::new(),
        categories: Vec::new(),
        subresources: Vec::new(),
        columns: Vec::new(),
        standard_columns: true,
        status: None,
        generation: None,
        trigger: "metadata.name",
        is_review: false,
        is_computed: false,
        replaces_by_version: false,
        is_created_by_put: false,
        is_shown_when_deleted: false,
        conversion: None,
        collection: None,
        deprecation: None,
        strategy,
        kind: PhantomData,
    }
}

impl<K, S> Builder<K, S>
where
    K: Object,
    K::Scope: KnownScope,
    S: Strategy<K>,
{
    /// What a command line may say instead of the plural.
    pub fn short_names(mut self, names: &[&'static str]) -> Self {
        self.short_names = names.to_vec();
        self
    }

    /// The groups of resources it belongs to.
    pub fn categories(mut self, names: &[&'static str]) -> Self {
        self.categories = names.to_vec();
        self
    }

    /// A status that only its subresource writes: creation drops it, updates leave it. `copy` gives an object the
    /// status of another.
    pub fn status(self, copy: fn(&mut K, &K)) -> Self {
        self.with_status(Status { copy, is_kept_at_creation: false, has_metadata: true })
    }

    /// As `status`, but a status given at creation is kept (nodes register with one).
    pub fn status_from_creation(self, copy: fn(&mut K, &K)) -> Self {
        self.with_status(Status { copy, is_kept_at_creation: true, has_metadata: true })
    }

    /// As `status`, but an update of the status changes nothing else. So it is with the kinds that are defined by a
    /// `CustomResourceDefinition` in Kubernetes, and with some of its own; with the others, metadata are changed too.
    pub fn status_alone(self, copy: fn(&mut K, &K)) -> Self {
        self.with_status(Status { copy, is_kept_at_creation: false, has_metadata: false })
    }

    fn with_status(mut self, status: Status<K>) -> Self {
        self.status = Some(status);
        self.subresource(Subresource::Status)
    }

    /// Objects whose changes are counted (`metadata.generation`), from 1 on: those that `is_raised` tells of, beside the
    /// mark that an object is being deleted.
    pub fn generation(mut self, is_raised: fn(&K, &K) -> bool) -> Self {
        self.generation = Some(Generation { first: Some(1), is_raised });
        self
    }

    /// As `generation`, but an object has none before its first change.
    pub fn generation_from_first_change(mut self, is_raised: fn(&K, &K) -> bool) -> Self {
        self.generation = Some(Generation { first: None, is_raised });
        self
    }

    /// The field that most watches of a part of the objects select by, if that is not the name.
    pub fn watched_by(mut self, field: &'static str) -> Self {
        self.trigger = field;
        self
    }

    /// Objects that are but asked for an answer, and not kept.
    pub fn review(mut self) -> Self {
        self.is_review = true;
        self
    }

    /// Objects that are made when they are read, and not kept. They go by the names of other objects, and have no
    /// singular of their own.
    pub fn computed(mut self) -> Self {
        self.is_computed = true;
        self
    }

    /// Objects that are replaced only by who says which version.
    pub fn replaced_by_version(mut self) -> Self {
        self.replaces_by_version = true;
        self
    }

    /// Objects that a PUT creates.
    pub fn created_by_put(mut self) -> Self {
        self.is_created_by_put = true;
        self
    }

    /// Objects that whoever deletes them is answered with, where a `Status` is all that is said of others
    /// (Kubernetes: `ReturnDeletedObject`).
    pub fn shown_when_deleted(mut self) -> Self {
        self.is_shown_when_deleted = true;
        self
    }

    /// A version that is not the one that is stored.
    pub fn converted(mut self, conversion: impl Conversion) -> Self {
        self.conversion = Some(Box::new(conversion));
        self
    }

    /// Where in the store the objects are, if not below the group and the plural. Kinds that are kept at the same place show
    /// the same objects.
    pub fn kept_at(mut self, collection: &'static str) -> Self {
        self.collection = Some(collection);
        self
    }

    /// A version that is not to be used any more, and what whoever asks for it is told.
    pub fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecation = Some(warning);
        self
    }

    /// A path below the objects.
    pub fn subresource(mut self, subresource: Subresource) -> Self {
        self.subresources.push(subresource);
        self
    }

    /// A column after those there are.
    pub fn column(
        mut self,
        name: &'static str,
        type_: &'static str,
        priority: i32,
        cell: impl Fn(&K, Timestamp) -> Value + Send + Sync + 'static,
    ) -> Self {
        self.columns.push((Column::new(name, type_, priority), Box::new(cell)));
        self
    }

    /// The OpenAPI format of the last column.
    pub fn format(mut self, format: &'static str) -> Self {
        if let Some((column, _)) = self.columns.last_mut() {
            format.clone_into(&mut column.format);
        }
        self
    }

    /// The place of the Age column, if it isn't after the other columns of priority 0.
    pub fn age(self) -> Self {
        self.column("Age", "string", 0, |object, now| {
            let created = object.metadata().creation_timestamp.as_ref();
            json!(age(created.map(|t| t.0), now))
        })
    }

    /// No Name and Age columns but those given.
    pub fn only_own_columns(mut self) -> Self {
        self.standard_columns = false;
        self
    }

    /// The definition.
    #[must_use]
    pub fn build(self) -> ResourceDef {
        let this = if self.standard_columns { self.with_standard_columns() } else { self };
        let (columns, cells): (Vec<_>, Vec<_>) = this.columns.into_iter().unzip();
        let kind = Typed::new(this.strategy, cells, this.status, this.generation);
        let names = Names {
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            plural: K::URL_PATH_SEGMENT.to_owned(),
            singular: if this.is_computed { String::new() } else { K::KIND.to_lowercase() },
            list_kind: format!("{}List", K::KIND),
            short_names: owned(&this.short_names),
            categories: owned(&this.categories),
        };
        ResourceDef {
            collection: this.collection.map_or_else(|| names.collection(), str::to_owned),
            names,
            scope: K::Scope::SCOPE,
            subresources: this.subresources,
            columns,
            trigger: this.trigger.to_owned(),
            fields: fields::names(&kind, K::Scope::SCOPE),
            scale: ScalePaths::default(),
            is_review: this.is_review,
            is_computed: this.is_computed,
            replaces_by_version: this.replaces_by_version,
            is_created_by_put: this.is_created_by_put,
            is_shown_when_deleted: this.is_shown_when_deleted,
            is_served: true,
            shapes: OnceLock::new(),
            deprecation_warning: this.deprecation.map(str::to_owned),
            webhook: None,
            conversion: this.conversion,
            kind: Box::new(kind),
        }
    }

    /// Name first; Age, unless it has its place, after the last column that is always shown.
    fn with_standard_columns(mut self) -> Self {
        let cell: Cell<K> = Box::new(|object, _| json!(object.metadata().name));
        self.columns.insert(0, (Column::name(), cell));
        if self.columns.iter().all(|(c, _)| c.name != "Age") {
            let place =
                self.columns.iter().rposition(|(c, _)| c.priority == 0).map_or(0, |i| i + 1);
            self = self.age();
            if let Some(age) = self.columns.pop() {
                self.columns.insert(place, age);
            }
        }
        self
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
