//! What tasks print while they run: read from their files on the login node, and printed here, once.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use crate::{
    driver::Attempt,
    remote::{Remote, RemoteFile},
    ssh::Error,
};

/// How much is read at a time.
const BLOCK: usize = 256 << 10;
/// How many blocks of a file are printed at a time: other files wait, and Slurm has to be asked.
const BLOCKS: usize = 16;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// How far the files of the tasks are printed.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// Whether lines begin with the number of their task.
    several: bool,
    files: BTreeMap<(Attempt, String), Printed>,
}

/// How far one file is printed.
#[derive(Debug, Default)]
struct Printed {
    offset: u64,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl Outputs {
    pub(crate) fn new(several: bool) -> Self {
        Self { several, files: BTreeMap::new() }
    }

    /// Prints what is new in files of a task. With `ended`, nothing more comes. Whether there was too much to print it all.
    pub(crate) async fn follow(
        &mut self,
        remote: &Remote,
        attempt: Attempt,
        (directory, files): (&str, &[RemoteFile]),
        stream: Stream,
        ended: bool,
    ) -> Result<bool, Error> {
        let mut more = false;
        for file in files {
            let prefix = self.several.then(|| format!("[{}] ", attempt.index));
            let printed = self.files.entry((attempt, file.path.clone())).or_default();
            let path = format!("{directory}/{}", file.path);
            let mut last = false;
            for _ in 0..BLOCKS {
                let block = remote.read(&path, printed.offset, BLOCK).await?;
                last = block.is_empty();
                printed.offset += block.len() as u64;
                let text = printed.text(prefix.as_deref(), &block, last && ended);
                print(stream, &text);
                if last {
                    break;
                }
            }
            more |= !last;
        }
        Ok(more)
    }

    /// The task begins anew, and its files with it.
    pub(crate) fn forget(&mut self, attempt: Attempt) {
        self.files.retain(|(of, _), _| *of != attempt);
    }
}

impl Printed {
    /// What is printed of a block: all of it, or, where lines have a prefix, those that are whole.
    fn text(&mut self, prefix: Option<&str>, block: &[u8], ended: bool) -> Vec<u8> {
        let Some(prefix) = prefix else { return block.to_vec() };
        self.begun.extend_from_slice(block);
        if ended && !self.begun.is_empty() {
            self.begun.push(b'\n');
        }
        let whole = self.begun.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        let lines = lines.split_inclusive(|&byte| byte == b'\n');
        lines.flat_map(|line| [prefix.as_bytes(), line].concat()).collect()
    }
}

/// A reader that has gone misses what is in the files nevertheless.
fn print(stream: Stream, text: &[u8]) {
    let written = match stream {
        Stream::Output => write(io::stdout().lock(), text),
        Stream::Error => write(io::stderr().lock(), text),
    };
    if let Err(error) = written {
        tracing::debug!(%error, "output that nobody reads");
    }
}

fn write(mut to: impl Write, text: &[u8]) -> io::Result<()> {
    to.write_all(text)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: Option<&str>, blocks: &[&str], expected: &str) {
        let mut printed = Printed::default();
        let mut text = Vec::new();
        for block in blocks {
            text.extend(printed.text(prefix, block.as_bytes(), false));
        }
        text.extend(printed.text(prefix, b"", true));
        assert_eq!(String::from_utf8(text).unwrap(), expected, "{blocks:?}");
    }

    #[test]
    fn lines_of_several_tasks_are_told_apart_and_those_of_one_are_as_they_are() {
        check(None, &["a\nb", "c\n", "d"], "a\nbc\nd");
        check(Some("[3] "), &["a\nb", "c\n", "d"], "[3] a\n[3] bc\n[3] d\n");
        check(Some("[3] "), &["", "a\n"], "[3] a\n");
    }
}
