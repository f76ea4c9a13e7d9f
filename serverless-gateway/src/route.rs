//! What a path calls. Pure.

/// The first segment that is not a namespace: what follows it are workflows.
const RESERVED: &str = "workflows";
/// What is below it in an instance is for the control plane, and no call.
const INTERNAL: &str = "/_minik8s";

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
        let is_internal =
            rest.strip_prefix(INTERNAL).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        if first.is_empty() || is_internal || (function.is_empty() && rest != "/") {
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
    fn what_only_the_control_plane_asks_of_an_instance_is_no_call() {
        for path in ["/team/add/_minik8s/load", "/team/add/_minik8s/", "/team/add/_minik8s"] {
            check(path, None);
        }
        let rest = "/_minik8s-too/load";
        check("/team/add/_minik8s-too/load", Some(("team", "add", rest)));
    }

    #[test]
    fn a_path_without_a_name_calls_nothing() {
        for path in ["", "/", "//", "//add", "/team//add"] {
            check(path, None);
        }
    }
}
