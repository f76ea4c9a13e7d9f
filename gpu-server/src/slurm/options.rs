//! Which options of `sbatch` a user may add.

/// What the server sets itself, or what would keep `sbatch` from giving a number at once, or what would put the job where
/// the server does not look for it.
const OWN: [&str; 14] = [
    "account",
    "array",
    "chdir",
    "clusters",
    "comment",
    "error",
    "help",
    "job-name",
    "output",
    "test-only",
    "usage",
    "version",
    "wait",
    "wrap",
];
/// The short ones of these.
const OWN_SHORT: &str = "AaDMeJohuVW";
/// Short options that have no value: another option could follow in the same word.
const SHORT_FLAGS: &str = "HskQvO";

/// Why the option cannot be added, if it cannot.
pub(super) fn refusal(option: &str) -> Option<String> {
    if option.chars().any(char::is_control) {
        return Some("has more than one line".to_owned());
    }
    // `sbatch` has rules of its own for what is quoted, and for comments.
    if option.contains(['\\', '#']) || !is_plainly_quoted(option) {
        return Some("has a backslash, a # or quotes within a word".to_owned());
    }
    let Some(words) = shlex::split(option) else {
        return Some("ends within quotes".to_owned());
    };
    if !words.first().is_some_and(|word| word.starts_with('-')) || option.starts_with(' ') {
        return Some("does not begin with an option".to_owned());
    }
    let own = words.iter().find(|word| is_own(word))?;
    Some(format!("has {own}, which is not for users to set here"))
}

/// Whether quotes are around whole words or values only.
fn is_plainly_quoted(option: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    for c in option.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if ['"', '\''].contains(&c) => {
                if before != ' ' && before != '=' {
                    return false;
                }
                quote = Some(c);
            }
            None if ['"', '\''].contains(&before) && c != ' ' => return false,
            None => {}
        }
        before = c;
    }
    true
}

/// `sbatch` knows long options by their beginnings, too.
fn is_own(word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or_default();
        return OWN.iter().any(|own| own.starts_with(name));
    }
    let Some(short) = word.strip_prefix('-') else { return false };
    let Some(first) = short.chars().next() else { return true };
    OWN_SHORT.contains(first) || (SHORT_FLAGS.contains(first) && short.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_options_may_be_added() {
        for option in [
            "--exclusive",
            "--constraint=a100",
            "--constraint=\"a100&ib\"",
            "--mail-type=END --mail-user=a@example.org",
            "-C a100",
            "--dependency=afterok:12",
            "--open-mode=append",
            "--export=NONE",
            "-H",
        ] {
            assert_eq!(refusal(option), None, "{option}");
        }
    }

    #[test]
    fn what_is_the_servers_may_not_be_whatever_its_form() {
        for option in [
            "",
            "exclusive",
            " --exclusive",
            "--exclusive\n#SBATCH --output=/tmp/x",
            "--exclusive\r--output=x",
            "--output=/tmp/x",
            "--out /tmp/x",
            "--o=/tmp/x",
            "--exclusive --job-name=x",
            "--exclusive \"--job-name=x\"",
            "-J x",
            "-Jx",
            "-so/tmp/x",
            "-D /",
            "-M other",
            "-W",
            "--wait",
            "--wrap=id",
            "--",
            "-",
            "--constraint=\"a100",
            "--exclusive=user\\ --output=/tmp/x",
            "--constraint='a\\'' --output=/tmp/x\\'",
            "--constraint=a#b --output=x",
            "--constraint=a\"b\"",
            "--constraint=\"a\"b",
        ] {
            assert!(refusal(option).is_some(), "{option}");
        }
    }
}
