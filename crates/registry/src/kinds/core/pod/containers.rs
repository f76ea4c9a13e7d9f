//! All containers of a pod, of whatever kind.

use std::borrow::Cow;

use api_machinery::{FieldPath, ephemeral_container::as_container};
use api_types::api::core::v1::{Container, PodSpec};

/// All containers of a pod, each with its path.
pub(super) type Containers<'a> = [(FieldPath, Cow<'a, Container>)];

/// Those that start before the others first, and last those that are added later.
pub(super) fn all<'a>(spec: &'a PodSpec, path: &FieldPath) -> Vec<(FieldPath, Cow<'a, Container>)> {
    let init = spec.init_containers.iter().flatten().map(Cow::Borrowed);
    let usual = spec.containers.iter().map(Cow::Borrowed);
    let added = spec.ephemeral_containers.iter().flatten().map(|it| Cow::Owned(as_container(it)));
    let usual = with_paths(usual, path.child("containers"));
    let added = with_paths(added, path.child("ephemeralContainers"));
    with_paths(init, path.child("initContainers")).chain(usual).chain(added).collect()
}

fn with_paths<'a>(
    list: impl Iterator<Item = Cow<'a, Container>>,
    path: FieldPath,
) -> impl Iterator<Item = (FieldPath, Cow<'a, Container>)> {
    list.enumerate().map(move |(i, container)| (path.index(i), container))
}
