//! How many seats a request is worth: a list as many as what it reads (Kubernetes: `request/list_work_estimator.go`).

use crate::{
    query::Query,
    request::{Target, Verb},
    storage::Storage,
};

/// So many objects are worth a seat.
const OBJECTS: usize = 100;
/// No list is worth more.
const WIDEST: u32 = 10;

/// What a request is worth. Whoever reads one object by its name, or writes one, is worth one seat.
pub(crate) fn width(target: &Target, query: &Query, storage: &Storage) -> u32 {
    let Target::Resource(info) = target else { return 1 };
    let reads = match info.verb {
        Verb::List => true,
        Verb::Watch => sends_all(query),
        _ => false,
    };
    let is_stored = reads && info.def.is_kept();
    if !is_stored || names_one(query) {
        return 1;
    }
    let prefix = info.def.prefix(info.namespace.as_deref());
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|it| *it > 0);
    let objects = storage.cache().list(&prefix).items.len().min(limit.unwrap_or(usize::MAX));
    of_objects(objects)
}

/// Whether a watch begins with all that there is.
fn sends_all(query: &Query) -> bool {
    let initial = matches!(query.get("sendInitialEvents"), Some("true" | "1"));
    initial || matches!(query.get("resourceVersion"), None | Some("0"))
}

fn names_one(query: &Query) -> bool {
    query.get("fieldSelector").is_some_and(|selector| selector.starts_with("metadata.name="))
}

fn of_objects(objects: usize) -> u32 {
    u32::try_from(objects.div_ceil(OBJECTS)).unwrap_or(WIDEST).clamp(1, WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().unwrap()).unwrap()
    }

    #[test]
    fn a_seat_is_a_hundred_objects_and_ten_are_the_most() {
        let found = [0, 1, 100, 101, 999, 5000].map(of_objects);
        assert_eq!(found, [1, 1, 1, 2, 10, 10]);
    }

    #[test]
    fn a_watch_that_goes_on_from_a_version_reads_nothing() {
        assert!(sends_all(&query("")) && sends_all(&query("resourceVersion=0")));
        assert!(sends_all(&query("resourceVersion=7&sendInitialEvents=true")));
        assert!(!sends_all(&query("resourceVersion=7")));
        assert!(names_one(&query("fieldSelector=metadata.name%3Dx")));
        assert!(!names_one(&query("fieldSelector=spec.nodeName%3Dx")));
    }
}
