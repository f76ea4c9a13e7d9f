//! A file with a line for each event, which becomes another one when it is long (Kubernetes: lumberjack).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use api_types::jiff::Timestamp;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::{
    backups::{self, Mill},
    log_file::LogFile,
    sink::{Events, Room},
};

/// How many events are written at once, at most.
const BATCH: usize = 512;
/// For how long events are collected after a write: a write for each would take more time than the requests.
const PAUSE: Duration = Duration::from_millis(10);

/// Writes all events, until there are no more.
pub(super) async fn write(
    file: LogFile,
    mut events: Events,
    lost: Counter,
    closing: CancellationToken,
) {
    let room = Room::new(BATCH, file.truncation);
    let mut writer = Some(Writer::new(file));
    loop {
        let batch = events.next(room, &closing).await;
        if batch.is_empty() {
            return;
        }
        let Some(mut taken) = writer.take() else { return };
        let count = batch.len() as u64;
        let work = tokio::task::spawn_blocking(move || {
            let written = taken.write(&batch);
            (taken, written)
        });
        match work.await {
            Ok((taken, written)) => {
                if let Err(error) = written {
                    lost.inc_by(count);
                    tracing::error!(%error, path = %taken.file.path.display(), "audit events can't be written");
                }
                writer = Some(taken);
            }
            Err(error) => {
                lost.inc_by(count);
                tracing::error!(%error, "audit events can't be written any more");
            }
        }
        if !events.has_more() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = closing.cancelled() => {}
            }
        }
    }
}

struct Writer {
    file: LogFile,
    /// With how long it is.
    open: Option<(File, u64)>,
    /// Once a file has been opened.
    mill: Option<Mill>,
}

impl Writer {
    fn new(file: LogFile) -> Self {
        Self { file, open: None, mill: None }
    }

    fn write(&mut self, events: &[Bytes]) -> io::Result<()> {
        if self.file.is_standard_output() {
            let mut out = io::stdout().lock();
            events.iter().try_for_each(|event| out.write_all(event))?;
            return out.flush();
        }
        let mut lines = Vec::new();
        for event in events {
            let length = self.length()? + lines.len() as u64;
            if length > 0 && length + event.len() as u64 > self.file.limit() {
                self.append(&std::mem::take(&mut lines))?;
                self.rotate(Timestamp::now())?;
            }
            lines.extend_from_slice(event);
        }
        self.append(&lines)
    }

    fn length(&mut self) -> io::Result<u64> {
        if let Some((_, length)) = &self.open {
            return Ok(*length);
        }
        if let Some(folder) = self.file.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&self.file.path)?;
        let mut length = file.metadata()?.len();
        if ends_within_a_line(&self.file.path, length) {
            (&file).write_all(b"\n")?;
            length += 1;
        }
        self.open = Some((file, length));
        self.mill.get_or_insert_with(|| Mill::of(self.file.clone()));
        Ok(length)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.length()?;
        let Some((mut file, length)) = self.open.take() else { return Ok(()) };
        // Opened again after a failure: who knows how much of it is there.
        file.write_all(lines)?;
        self.open = Some((file, length + lines.len() as u64));
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        self.open = None;
        fs::rename(&self.file.path, backups::free_name(&self.file.path, now))?;
        if let Some(mill) = &self.mill {
            mill.want();
        }
        Ok(())
    }
}

/// Whether somebody was stopped while writing.
fn ends_within_a_line(path: &Path, length: u64) -> bool {
    let mut last = [b'\n'];
    let Some(at) = length.checked_sub(1) else { return false };
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, at));
    read.is_ok() && last != [b'\n']
}

#[cfg(test)]
mod tests {
    use api_types::jiff::SignedDuration;
    use testkit::wait;

    use super::{backups::old_name, *};

    fn file(path: &Path) -> LogFile {
        LogFile {
            path: path.to_owned(),
            max_size: 1,
            max_backups: 2,
            max_age: 0,
            compress: false,
            truncation: None,
        }
    }

    fn line(byte: u8) -> Bytes {
        Bytes::from([vec![byte; 600 << 10], b"\n".to_vec()].concat())
    }

    #[test]
    fn a_file_that_is_long_becomes_an_old_one_and_no_event_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/audit.log");
        let mut writer = Writer::new(file(&path));
        writer.write(&[line(b'a'), line(b'b')]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), line(b'b'));
        // Begun anew, it goes on with what is there.
        let mut writer = Writer::new(file(&path));
        writer.write(&[Bytes::from_static(b"c\n")]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [&line(b'b')[..], b"c\n"].concat());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn an_old_file_is_compressed_when_another_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut writer = Writer::new(LogFile { compress: true, ..file(&path) });
        writer.write(&[line(b'a'), line(b'b')]).unwrap();
        wait::until("the old file is compressed", async || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort_unstable();
            let is_done = names.len() == 2 && names[0].to_string_lossy().ends_with(".log.gz");
            if is_done { Ok(()) } else { Err(names) }
        })
        .await;
        assert_eq!(fs::read(&path).unwrap(), line(b'b'));
    }

    #[test]
    fn files_that_fill_up_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let mut writer = Writer::new(LogFile { max_backups: 0, ..file(&path) });
        for line in ["a\n", "b\n", "c\n"] {
            writer.write(&[Bytes::from_static(line.as_bytes())]).unwrap();
            writer.rotate(now).unwrap();
        }
        for (millis, line) in [(0, "a\n"), (1, "b\n"), (2, "c\n")] {
            let name = old_name(&path, now + SignedDuration::from_millis(millis));
            assert_eq!(fs::read_to_string(name).unwrap(), line);
        }
    }

    #[test]
    fn an_event_of_which_a_part_was_written_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "{\"kind").unwrap();
        let mut writer = Writer::new(file(&path));
        writer.write(&[Bytes::from_static(b"a\n")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"kind\na\n");
    }
}
