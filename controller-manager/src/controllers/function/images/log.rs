//! What a build prints: as much as is kept of it, and what it tells of a failure.

/// As much is kept, from its end.
const KEPT: usize = 4096;

/// The end of what was printed so far.
#[derive(Debug, Default)]
pub(super) struct Log(String);

impl Log {
    pub(super) fn push(&mut self, text: &str) {
        self.0.push_str(&without_colours(text));
        if self.0.len() > 2 * KEPT {
            self.0 = end(&self.0).to_owned();
        }
    }

    /// The last lines.
    pub(super) fn end(&self) -> String {
        end(&self.0).to_owned()
    }

    /// The last line that is not Docker's own.
    pub(super) fn last_words(&self) -> Option<&str> {
        let of_docker = |line: &str| {
            ["Step ", "---> ", "Removing intermediate container"]
                .iter()
                .any(|o| line.starts_with(o))
        };
        let mut lines = self.0.lines().rev().map(str::trim);
        lines.find(|line| !line.is_empty() && !of_docker(line))
    }
}

fn end(log: &str) -> &str {
    let mut start = log.len().saturating_sub(KEPT);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    let cut = &log[start..];
    match cut.split_once('\n') {
        Some((_, rest)) if start > 0 => rest,
        _ => cut,
    }
}

/// Docker shows what went to standard error in red.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, shown)| shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(end("a\nb"), "a\nb");
        let mut log = Log::default();
        for _ in 0..1000 {
            log.push("0123456789ä\n");
            assert!(log.0.len() <= 2 * KEPT);
        }
        let kept = log.end();
        assert!(kept.len() <= KEPT && kept.len() > KEPT - 13, "{}", kept.len());
        assert!(kept.lines().all(|line| line == "0123456789ä"));
        assert_eq!(end(&"x".repeat(5000)).len(), KEPT);
    }

    #[test]
    fn the_last_words_are_those_of_what_failed() {
        let mut log = Log::default();
        assert_eq!(log.last_words(), None);
        log.push("Step 2/3 : RUN pip\n ---> Running in 0\n");
        assert_eq!(log.last_words(), None);
        log.push("Looking\n\u{1b}[91mERROR: no such package\u{1b}[0m\n\n");
        log.push("Removing intermediate container 0\n");
        assert_eq!(log.last_words(), Some("ERROR: no such package"));
        assert!(!log.end().contains('\u{1b}'));
    }
}
