//! What a path calls. Pure.

/// The first segment that is not a namespace: what follows it are workflows.
const RESERVED: &str = "workflows";

/// A function, and the path that its instance is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) function: &'a str,
    /// Begins with a slash.
    pub(crate) rest: &'a str,
}

impl<'a> Route<'a> {
    /// `/<function>` or `/<namespace>/<function>/…`; nothing if the path is neither.
    pub(crate) fn of(path: &'a str, default_namespace: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let (first, more) = path.split_once('/').unwrap_or((path, ""));
        let (function, rest) = match more.find('/') {
            Some(slash) => more.split_at(slash),
            None => (more, "/"),
        };
        if first.is_empty() || (function.is_empty() && rest != "/") {
            return None;
        }
        if function.is_empty() {
            return Some(Route { namespace: default_namespace, function: first, rest });
        }
        (first != RESERVED).then_some(Route { namespace: first, function, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<(&str, &str, &str)>) {
        let expected =
            expected.map(|(namespace, function, rest)| Route { namespace, function, rest });
        assert_eq!(Route::of(path, "mine"), expected, "{path}");
    }

    #[test]
    fn one_segment_is_a_function_of_the_default_namespace() {
        check("/add", Some(("mine", "add", "/")));
        check("/add/", Some(("mine", "add", "/")));
        check("/workflows", Some(("mine", "workflows", "/")));
    }

    #[test]
    fn two_segments_are_namespace_and_function_and_the_rest_is_for_the_instance() {
        check("/team/add", Some(("team", "add", "/")));
        check("/team/add/", Some(("team", "add", "/")));
        check("/team/add/v1/x%20y//z/", Some(("team", "add", "/v1/x%20y//z/")));
    }

    #[test]
    fn workflows_are_no_functions() {
        check("/workflows/team/hello", None);
        check("/workflows/hello", None);
    }

    #[test]
    fn a_path_without_a_name_calls_nothing() {
        for path in ["", "/", "//", "//add", "/team//add"] {
            check(path, None);
        }
    }
}
