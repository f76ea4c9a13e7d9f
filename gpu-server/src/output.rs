//! What tasks print while they run: read from their files on the login node, and printed here, once.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use crate::{driver::Attempt, remote::Remote, ssh::Error};

/// How much is read at a time.
const BLOCK: usize = 256 << 10;
/// How many blocks of a file are printed at a time: other files wait, and Slurm has to be asked.
const BLOCKS: usize = 16;
/// A line of one of several tasks that is longer is printed in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// A file on the login node that a task prints into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) attempt: Attempt,
    pub(crate) stream: Stream,
    pub(crate) path: String,
}

/// What has come of looking into a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Something was printed.
    pub(crate) some: bool,
    /// There was too much to print it all.
    pub(crate) more: bool,
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

    /// Prints what is new in a file of this size. Without one, its task has ended: all that is there, as no more comes.
    pub(crate) async fn follow(
        &mut self,
        remote: &Remote,
        source: &Source,
        size: Option<u64>,
    ) -> Result<Progress, Error> {
        let Source { attempt, stream, path } = source;
        let prefix = self.several.then(|| format!("[{}] ", attempt.index));
        let printed = self.files.entry((*attempt, path.clone())).or_default();
        printed.see(size);
        let begin = printed.offset;
        for _ in 0..BLOCKS {
            if size.is_some_and(|size| size <= printed.offset) {
                return Ok(Progress { some: printed.offset > begin, more: false });
            }
            let block = remote.read(path, printed.offset, BLOCK).await?;
            let last = block.is_empty();
            printed.offset += block.len() as u64;
            let text = printed.text(prefix.as_deref(), &block, last && size.is_none());
            print(*stream, &text);
            if last {
                return Ok(Progress { some: printed.offset > begin, more: false });
            }
        }
        Ok(Progress { some: true, more: true })
    }

    /// The task begins anew, and its files with it.
    pub(crate) fn forget(&mut self, attempt: Attempt) {
        self.files.retain(|(of, _), _| *of != attempt);
    }
}

impl Printed {
    /// A file that has become shorter was begun anew.
    fn see(&mut self, size: Option<u64>) {
        if size.is_some_and(|size| size < self.offset) {
            *self = Self::default();
        }
    }

    /// What is printed of a block: all of it, or, where lines have a prefix, those that are whole. What comes of a line that
    /// is too long has an end of its own.
    fn text(&mut self, prefix: Option<&str>, block: &[u8], ended: bool) -> Vec<u8> {
        let Some(prefix) = prefix else { return block.to_vec() };
        let whole = block.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let (whole, begun) = block.split_at(whole);
        let mut lines = Vec::new();
        if !whole.is_empty() {
            lines.append(&mut self.begun);
            lines.extend_from_slice(whole);
        }
        self.begun.extend_from_slice(begun);
        if self.begun.len() > LONGEST_LINE || (ended && !self.begun.is_empty()) {
            lines.append(&mut self.begun);
            lines.push(b'\n');
        }
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
        check(Some("[3] "), &["a", "b", "c\nd"], "[3] abc\n[3] d\n");
    }

    #[test]
    fn a_line_without_an_end_is_printed_in_pieces_and_not_kept() {
        let mut printed = Printed::default();
        let block = vec![b'x'; LONGEST_LINE / 4];
        let mut text = Vec::new();
        for _ in 0..40 {
            text.extend(printed.text(Some("[3] "), &block, false));
            assert!(printed.begun.len() <= LONGEST_LINE, "{}", printed.begun.len());
        }
        let lines: Vec<_> = text.split_inclusive(|&byte| byte == b'\n').collect();
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.starts_with(b"[3] x") && line.ends_with(b"x\n")));
    }

    #[test]
    fn a_file_that_is_shorter_than_what_was_printed_of_it_is_printed_from_its_beginning() {
        let mut printed = Printed { offset: 7, begun: b"x".to_vec() };
        printed.see(Some(7));
        printed.see(None);
        assert_eq!((printed.offset, printed.begun.len()), (7, 1));
        printed.see(Some(6));
        assert_eq!((printed.offset, printed.begun.len()), (0, 0));
    }
}
