//! All functions, by name.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use super::{
    authorizer, conversions, format, ip, lists, moments, operators, optional, quantity, regexes,
    semantic_version, sets,
    signature::{self, Overload, Row},
    strings, urls,
};

type Table = HashMap<(&'static str, bool), Vec<Overload>>;

const LIBRARIES: [&[Row]; 15] = [
    operators::ARITHMETIC,
    operators::RELATIONS,
    conversions::ROWS,
    strings::ROWS,
    lists::ROWS,
    moments::ROWS,
    optional::ROWS,
    sets::ROWS,
    regexes::ROWS,
    urls::ROWS,
    quantity::ROWS,
    ip::ROWS,
    format::ROWS,
    semantic_version::ROWS,
    authorizer::ROWS,
];

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    for row in LIBRARIES.into_iter().flatten() {
        let (name, is_member, overload) = signature::read(row);
        table.entry((name, is_member)).or_default().push(overload);
    }
    table
});

static NAMESPACES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let names = TABLE.keys().filter(|(name, _)| name.starts_with(char::is_alphabetic));
    names.filter_map(|(name, _)| Some(name.split_once('.')?.0)).collect()
});

/// A function's overloads, if there is such a function.
pub(crate) fn find(name: &str, is_member: bool) -> Option<&'static [Overload]> {
    // The key borrows its name for as long as the table lives, which a look need not.
    TABLE
        .iter()
        .find(|((known, member), _)| *known == name && *member == is_member)
        .map(|(_, it)| &**it)
}

/// Whether functions' names begin with it: `sets.contains`.
pub(crate) fn is_namespace(name: &str) -> bool {
    NAMESPACES.contains(name)
}
