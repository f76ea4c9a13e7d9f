//! Which image, and whether to pull it. Pure.

use api_types::api::core::v1::Container;

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before each start.
    Always,
    /// If it is missing.
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

/// The container's policy; by default `Always` for the tag `latest`, else `IfNotPresent`.
pub fn pull_policy(container: &Container) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ if is_latest(container.image.as_deref().unwrap_or_default()) => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

fn is_latest(reference: &str) -> bool {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    !last.contains([':', '@']) || last.ends_with(":latest")
}

/// What is wrong with an image's name, if something is.
pub fn fault(reference: &str) -> Option<String> {
    let complaint = |why| Some(format!("couldn't parse image name {reference:?}: {why}"));
    let (path, digest) = reference.split_once('@').unwrap_or((reference, ""));
    if path.is_empty() || path.chars().any(char::is_whitespace) {
        return complaint("invalid reference format");
    }
    if !digest.is_empty() && !is_digest(digest) {
        return complaint("invalid reference format");
    }
    let slash = path.rfind('/').map_or(0, |at| at + 1);
    let (last, tag) = match path[slash..].split_once(':') {
        Some((last, tag)) => (last, Some(tag)),
        None => (&path[slash..], None),
    };
    // The first part may be a registry's host, which has other rules.
    let repository = match path[..slash].split_once('/') {
        Some((host, _)) if !is_host(host) => return complaint("invalid reference format"),
        Some((_, rest)) => format!("{rest}{last}"),
        None => last.to_owned(),
    };
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return complaint("repository name must be lowercase");
    }
    let parts_ok = repository.split('/').all(is_component);
    let tag_ok = tag.is_none_or(is_tag);
    if parts_ok && tag_ok { None } else { complaint("invalid reference format") }
}

fn is_host(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
}

fn is_digest(part: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    part.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.split(['+', '.', '_', '-']).all(word) && word(hex)
    })
}

fn is_component(part: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(good)
        && part.ends_with(good)
        && part.chars().all(|c| good(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.starts_with(word) && tag.len() <= 128 && tag.chars().all(|c| word(c) || ".-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["nginx", "minik8s/nginx:0.1", "localhost:5000/a/b_c:V1", "x@sha256:00"] {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "Nginx",
            "a b",
            "nginx:",
            "host/A",
            "nginx:a:b",
            "-x",
            "a//b",
            "x@y",
            "../a",
            "../b/a",
            "a@b:c?d",
            "a?b/c",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn the_tag_decides_the_policy() {
        let policy = |image: &str| {
            pull_policy(&Container { image: Some(image.to_owned()), ..Container::default() })
        };
        assert_eq!(policy("nginx"), PullPolicy::Always);
        assert_eq!(policy("host:5000/nginx"), PullPolicy::Always);
        assert_eq!(policy("nginx:latest"), PullPolicy::Always);
        assert_eq!(policy("nginx:1.27"), PullPolicy::IfNotPresent);
    }
}
