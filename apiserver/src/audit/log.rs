//! A file with a line for each event, which becomes another one when it is long (Kubernetes: lumberjack).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use api_types::jiff::{SignedDuration, Timestamp};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::sink::Events;

/// How many events are written at once, at most.
const BATCH: usize = 512;
/// For how long events are collected after a write: a write for each would take more time than the requests.
const PAUSE: Duration = Duration::from_millis(10);
/// As the names of old files have the time.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// Where events are written to.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The file; `-` is the standard output.
    pub path: PathBuf,
    /// After how many megabytes another file is begun; 0: never.
    pub max_size: u64,
    /// How many old files are kept; 0: all.
    pub max_backups: usize,
    /// For how many days old files are kept; 0: for ever.
    pub max_age: u32,
}

impl LogFile {
    fn is_standard_output(&self) -> bool {
        self.path == Path::new("-")
    }

    fn limit(&self) -> u64 {
        if self.max_size == 0 { u64::MAX } else { self.max_size << 20 }
    }
}

/// Writes all events, until there are no more.
pub(super) async fn write(
    file: LogFile,
    mut events: Events,
    lost: Counter,
    closing: CancellationToken,
) {
    let mut writer = Some(Writer { file, open: None });
    loop {
        let batch = events.next(BATCH, &closing).await;
        if batch.is_empty() {
            return;
        }
        let Some(mut taken) = writer.take() else { return };
        let (count, is_full) = (batch.len() as u64, batch.len() == BATCH);
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
            Err(error) => tracing::error!(%error, "audit events can't be written any more"),
        }
        if !is_full {
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
}

impl Writer {
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
        fs::rename(&self.file.path, free_name(&self.file.path, now))?;
        if let Err(error) = remove_expired(&self.file, now) {
            tracing::error!(%error, path = %self.file.path.display(), "old audit logs stay");
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

/// All that can be removed; fails with the last fault.
fn remove_expired(file: &LogFile, now: Timestamp) -> io::Result<()> {
    let Some(folder) = file.path.parent() else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let mut removed = Ok(());
    for name in expired(file, &names, now) {
        removed = fs::remove_file(folder.join(name)).and(removed);
    }
    removed
}

/// The name of an old file; no two have the same, however fast they fill up.
fn free_name(path: &Path, now: Timestamp) -> PathBuf {
    let mut time = now;
    loop {
        let name = old_name(path, time);
        if !name.exists() {
            return name;
        }
        time += SignedDuration::from_millis(1);
    }
}

/// `audit-2026-01-02T03-04-05.678.log`
fn old_name(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", now.strftime(STAMP)))
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|it| it.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|it| format!(".{it}")).unwrap_or_default();
    (text(path.file_stem()).unwrap_or_default(), extension)
}

/// Of these files of the folder, the old ones that are too many or too old.
fn expired<'a>(file: &LogFile, names: &'a [String], now: Timestamp) -> Vec<&'a str> {
    let (stem, extension) = parts(&file.path);
    let prefix = format!("{stem}-");
    let of_name = |name: &'a String| {
        let stamp = name.strip_prefix(&*prefix)?.strip_suffix(&*extension)?;
        let time = api_types::jiff::civil::DateTime::strptime(STAMP, stamp).ok()?;
        let time = time.to_zoned(api_types::jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some((time, name.as_str()))
    };
    let mut old: Vec<_> = names.iter().filter_map(of_name).collect();
    old.sort_unstable_by(|one, other| other.cmp(one));
    let most = if file.max_backups == 0 { usize::MAX } else { file.max_backups };
    let age = SignedDuration::from_hours(24 * i64::from(file.max_age));
    let is_over = |time: Timestamp| file.max_age > 0 && now.duration_since(time) > age;
    let gone = old.iter().enumerate().filter(|(i, (time, _))| *i >= most || is_over(*time));
    gone.map(|(_, (_, name))| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path) -> LogFile {
        LogFile { path: path.to_owned(), max_size: 1, max_backups: 2, max_age: 3 }
    }

    #[test]
    fn old_files_go_when_they_are_too_many_or_too_old() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let name = |day: u8| format!("audit-2026-01-{day:02}T01-02-03.456.log");
        let names =
            [name(9), name(2), name(8), name(7), "audit.log".to_owned(), "audit-x.log".to_owned()];
        let expired = |file: &LogFile| {
            let mut found = expired(file, &names, now);
            found.sort_unstable();
            found.join(" ")
        };
        let file = file(Path::new("/var/log/audit.log"));
        assert_eq!(expired(&file), format!("{} {}", name(2), name(7)));
        assert_eq!(expired(&LogFile { max_backups: 0, ..file.clone() }), name(2));
        assert_eq!(expired(&LogFile { max_backups: 0, max_age: 0, ..file.clone() }), "");
        let moved = old_name(&file.path, "2026-01-09T01:02:03.456789Z".parse().unwrap());
        assert_eq!(moved, Path::new("/var/log").join(name(9)));
    }

    #[test]
    fn a_file_that_is_long_becomes_an_old_one_and_no_event_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/audit.log");
        let line = |byte: u8| Bytes::from([vec![byte; 600 << 10], b"\n".to_vec()].concat());
        let mut writer = Writer { file: file(&path), open: None };
        writer.write(&[line(b'a'), line(b'b')]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), line(b'b'));
        // Begun anew, it goes on with what is there.
        let mut writer = Writer { file: file(&path), open: None };
        writer.write(&[Bytes::from_static(b"c\n")]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [&line(b'b')[..], b"c\n"].concat());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_that_fill_up_at_once_are_all_kept_and_one_that_cannot_be_removed_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let long_ago = old_name(&path, "2025-01-10T00:00:00Z".parse().unwrap());
        fs::create_dir_all(&long_ago).unwrap();
        let file = LogFile { max_backups: 0, ..file(&path) };
        let mut writer = Writer { file, open: None };
        for line in ["a\n", "b\n", "c\n"] {
            writer.write(&[Bytes::from_static(line.as_bytes())]).unwrap();
            writer.rotate(now).unwrap();
        }
        assert!(long_ago.exists(), "a folder is no file");
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
        let mut writer = Writer { file: file(&path), open: None };
        writer.write(&[Bytes::from_static(b"a\n")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"kind\na\n");
    }
}
