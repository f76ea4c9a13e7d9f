//! The flags of Kubernetes' programs as those of ours: what has no counterpart here is left out, and told.

use std::ffi::OsString;

use clap::Command;

/// A command line for a program of ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) words: Vec<OsString>,
    /// The names of flags that have no effect.
    pub(super) ignored: Vec<String>,
}

/// What becomes of a flag: another line's words, or its own.
pub(super) enum Meaning {
    Own,
    Other(Vec<String>),
    Nothing,
}

/// The line that means the same as this one to the program with this command. Words after a flag are its value, as is what
/// follows an equals sign.
pub(super) fn translate(
    given: impl Iterator<Item = OsString>,
    command: &Command,
    meaning: impl Fn(&str, &str) -> Meaning,
) -> Line {
    let mut line = Line::default();
    let mut given = given.peekable();
    line.words.extend(given.next());
    while let Some(word) = given.next() {
        let word = word.to_string_lossy().into_owned();
        let Some(flag) = word.strip_prefix("--") else {
            // Such as -v=4, the verbosity.
            match ["-h", "-V"].contains(&word.as_str()) {
                true => line.words.push(word.into()),
                false => line.ignored.push(word),
            }
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (
                flag,
                given
                    .next_if(|next| !next.to_string_lossy().starts_with('-'))
                    .map(|value| value.to_string_lossy().into_owned()),
            ),
        };
        let is_known = is_known(command, name);
        match meaning(name, value.as_deref().unwrap_or_default()) {
            Meaning::Other(words) => line.words.extend(words.into_iter().map(OsString::from)),
            Meaning::Own if is_known => {
                let value = value.map(|value| format!("={value}")).unwrap_or_default();
                line.words.push(format!("--{name}{value}").into());
            }
            Meaning::Own | Meaning::Nothing => line.ignored.push(format!("--{name}")),
        }
    }
    line
}

fn is_known(command: &Command, name: &str) -> bool {
    ["help", "version"].contains(&name)
        || command.get_arguments().any(|argument| argument.get_long() == Some(name))
}

impl Line {
    /// Says which flags have no effect, to who reads the program's output.
    pub(super) fn warn(&self, program: &str) {
        if !self.ignored.is_empty() {
            let ignored = self.ignored.join(", ");
            eprintln!("{program}: these flags have no effect here: {ignored}");
        }
    }
}
