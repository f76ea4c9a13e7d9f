//! Whether a `CustomResourceDefinition` gets the names that it wishes for, and is served
//! (Kubernetes: `apiextensions-apiserver/pkg/controller/{status,establish}`).

use std::collections::HashSet;

use api_types::{
    apiextensions::{
        CustomResourceDefinition,
        v1::{
            CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
            CustomResourceDefinitionStatus,
        },
    },
    jiff::Timestamp,
    meta::Time,
};

use crate::description::Names;

/// Keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The condition of a definition that is being deleted.
pub const TERMINATING: &str = "Terminating";
const NAMES_ACCEPTED: &str = "NamesAccepted";
const ESTABLISHED: &str = "Established";

/// The names that the kinds of one group have.
#[derive(Debug, Default)]
pub struct TakenNames {
    resources: HashSet<String>,
    kinds: HashSet<String>,
    /// Those among them that the program itself has: no definition keeps them, even if it was there before.
    built_in: HashSet<String>,
}

impl TakenNames {
    /// Adds those of a kind of the program's own.
    pub fn take(&mut self, names: &Names) {
        let singular_and_plural = [&names.singular, &names.plural].into_iter();
        self.resources.extend(singular_and_plural.chain(&names.short_names).cloned());
        self.kinds.extend([&names.kind, &names.list_kind].map(Clone::clone));
        self.built_in.insert(names.plural.clone());
    }

    /// Adds that of something which is no resource, but is in the store where one of this name would be.
    pub fn reserve(&mut self, plural: &str) {
        self.resources.insert(plural.to_owned());
        self.built_in.insert(plural.to_owned());
    }

    /// Whether the program itself has a resource of this name.
    #[must_use]
    pub fn is_built_in(&self, plural: &str) -> bool {
        self.built_in.contains(plural)
    }

    /// Adds those that a definition got.
    pub fn take_accepted(&mut self, names: &CustomResourceDefinitionNames) {
        let several = names.singular.iter().chain(names.short_names.iter().flatten());
        self.resources.extend(several.chain([&names.plural]).cloned());
        self.kinds.extend(names.list_kind.iter().chain([&names.kind]).cloned());
    }
}

/// A condition of a definition.
#[must_use]
pub fn condition<'a>(
    definition: &'a CustomResourceDefinition,
    type_: &str,
) -> Option<&'a CustomResourceDefinitionCondition> {
    let conditions = definition.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Sets a condition; it is as old as its status.
pub fn set_condition(
    status: &mut CustomResourceDefinitionStatus,
    [type_, value, reason, message]: [&str; 4],
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let found = conditions.iter().position(|condition| condition.type_ == type_);
    let at = found.unwrap_or_else(|| {
        conditions.push(CustomResourceDefinitionCondition::default());
        conditions.len() - 1
    });
    let condition = &mut conditions[at];
    if condition.status != value {
        condition.last_transition_time = Some(Time(now));
    }
    type_.clone_into(&mut condition.type_);
    value.clone_into(&mut condition.status);
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message.to_owned());
}

/// The status that a definition is to have, with the names that nobody else of its group has. Those that it has got once
/// stay its own until it gets others.
#[must_use]
pub fn accept(
    definition: &CustomResourceDefinition,
    taken: &TakenNames,
    now: Timestamp,
) -> CustomResourceDefinitionStatus {
    let mut status = definition.status.clone().unwrap_or_default();
    let mut accepted = status.accepted_names.clone().unwrap_or_default();
    match claim(&definition.spec.names, &mut accepted, taken) {
        None => {
            set_condition(
                &mut status,
                [NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found"],
                now,
            );
            let message = "the initial names have been accepted";
            if condition(definition, ESTABLISHED).is_none_or(|known| known.status != "True") {
                set_condition(
                    &mut status,
                    [ESTABLISHED, "True", "InitialNamesAccepted", message],
                    now,
                );
            }
        }
        Some((reason, message)) => {
            set_condition(&mut status, [NAMES_ACCEPTED, "False", reason, &message], now);
            if condition(definition, ESTABLISHED).is_none() {
                let message = "not all names are accepted";
                set_condition(&mut status, [ESTABLISHED, "False", "NotAccepted", message], now);
            }
        }
    }
    if taken.is_built_in(&definition.spec.names.plural) {
        let message = "not all names are accepted";
        set_condition(&mut status, [ESTABLISHED, "False", "NotAccepted", message], now);
    }
    status.accepted_names = Some(accepted);
    status
}

/// Whether a status says that the kind is served.
#[must_use]
pub fn is_established(status: &CustomResourceDefinitionStatus) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|known| known.type_ == ESTABLISHED && known.status == "True")
}

/// Takes over what is free of the names that are wished for; tells of what is not.
fn claim(
    wished: &CustomResourceDefinitionNames,
    accepted: &mut CustomResourceDefinitionNames,
    taken: &TakenNames,
) -> Option<(&'static str, String)> {
    let in_use = |name: &str| format!("{name:?} is already in use");
    let mut fault = None;
    let is_free =
        |name: &str, own: &str, taken: &HashSet<String>| name == own || !taken.contains(name);
    let is_lost = taken.is_built_in(&wished.plural);
    match !is_lost && is_free(&wished.plural, &accepted.plural, &taken.resources) {
        true => accepted.plural.clone_from(&wished.plural),
        false => fault = Some(("PluralConflict", in_use(&wished.plural))),
    }
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    match is_free(&text(&wished.singular), &text(&accepted.singular), &taken.resources) {
        true => accepted.singular.clone_from(&wished.singular),
        false => fault = Some(("SingularConflict", in_use(&text(&wished.singular)))),
    }
    let known = accepted.short_names.clone().unwrap_or_default();
    let wanted = wished.short_names.iter().flatten();
    let conflicts = wanted.filter(|name| !known.contains(name) && taken.resources.contains(*name));
    let conflicts: Vec<String> = conflicts.map(|name| in_use(name)).collect();
    match conflicts.as_slice() {
        [] => accepted.short_names.clone_from(&wished.short_names),
        [one] => fault = Some(("ShortNamesConflict", one.clone())),
        several => fault = Some(("ShortNamesConflict", format!("[{}]", several.join(", ")))),
    }
    match is_free(&wished.kind, &accepted.kind, &taken.kinds) {
        true => accepted.kind.clone_from(&wished.kind),
        false => fault = Some(("KindConflict", in_use(&wished.kind))),
    }
    match is_free(&text(&wished.list_kind), &text(&accepted.list_kind), &taken.kinds) {
        true => accepted.list_kind.clone_from(&wished.list_kind),
        false => fault = Some(("ListKindConflict", in_use(&text(&wished.list_kind)))),
    }
    accepted.categories.clone_from(&wished.categories);
    fault
}
