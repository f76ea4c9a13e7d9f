//! The files that were the log before: their names, for how long they are kept, and that they may be compressed
//! (Kubernetes: lumberjack).

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use api_types::jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use flate2::{Compression, write::GzEncoder};

use super::log_file::LogFile;

/// As the names of old files have the time.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";
/// What the names of compressed files end with.
const COMPRESSED: &str = ".gz";

/// Looks after old files on a thread of its own: no event waits while a file is compressed.
pub(super) struct Mill(SyncSender<()>);

impl Mill {
    /// Begins with what is there.
    pub(super) fn of(file: LogFile) -> Self {
        let (sender, wanted) = sync_channel(1);
        let work = move || {
            while wanted.recv().is_ok() {
                if let Err(error) = tidy(&file, Timestamp::now()) {
                    tracing::error!(%error, "an old audit log stays as it is");
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("audit-backups".to_owned()).spawn(work) {
            tracing::error!(%error, "nobody looks after old audit logs");
        }
        let mill = Self(sender);
        mill.want();
        mill
    }

    /// There is another old file.
    pub(super) fn want(&self) {
        // One that waits will see what there is now, too.
        let _ = self.0.try_send(());
    }
}

/// Removes and compresses all that can be; fails with the last fault.
fn tidy(file: &LogFile, now: Timestamp) -> io::Result<()> {
    let Some(folder) = file.path.parent() else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names: Vec<String> = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let Chores { remove, compress } = chores(file, &names, now);
    let mut done = Ok(());
    for name in remove {
        done = fs::remove_file(folder.join(name)).map_err(|error| of(name, &error)).and(done);
    }
    for name in compress {
        let compressed = replace_by_compressed(&folder.join(name));
        done = compressed.map_err(|error| of(name, &error)).and(done);
    }
    done
}

fn of(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// A compressed file of which a stop has left a part is written anew: what it is made of goes last.
fn replace_by_compressed(path: &Path) -> io::Result<()> {
    let compressed = compressed_name(path);
    if let Err(error) = compress(path, &compressed) {
        let _ = fs::remove_file(compressed);
        return Err(error);
    }
    fs::remove_file(path)
}

fn compress(path: &Path, into: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut options = OpenOptions::new();
    let into = options.write(true).create(true).truncate(true).mode(mode).open(into)?;
    let mut encoder = GzEncoder::new(into, Compression::default());
    io::copy(&mut file, &mut encoder)?;
    encoder.finish()?.sync_all()
}

/// The name of an old file; no two have the same, however fast they fill up.
pub(super) fn free_name(path: &Path, now: Timestamp) -> PathBuf {
    let mut time = now;
    loop {
        let name = old_name(path, time);
        // In this order: one that is being compressed always has one of the names.
        if !name.exists() && !compressed_name(&name).exists() {
            return name;
        }
        time += SignedDuration::from_millis(1);
    }
}

/// `audit-2026-01-02T03-04-05.678.log`
pub(super) fn old_name(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", now.strftime(STAMP)))
}

fn compressed_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    name.into()
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&OsStr>| part.map(|it| it.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|it| format!(".{it}")).unwrap_or_default();
    (text(path.file_stem()).unwrap_or_default(), extension)
}

/// What is to be done about files of the folder.
#[derive(Debug)]
struct Chores<'a> {
    remove: Vec<&'a str>,
    compress: Vec<&'a str>,
}

/// Old files go when they are too many or too old.
fn chores<'a>(file: &LogFile, names: &'a [String], now: Timestamp) -> Chores<'a> {
    let old = backups(&file.path, names);
    // With a compressed file there may be what it is made of, which is one old file all the same.
    let mut times: Vec<_> = old.iter().map(|(time, _)| *time).collect();
    times.dedup();
    let most = if file.max_backups == 0 { usize::MAX } else { file.max_backups };
    let too_many = times.get(most).copied();
    let age = SignedDuration::from_hours(24 * i64::from(file.max_age));
    let is_over = |time: Timestamp| {
        too_many.is_some_and(|last| time <= last)
            || (file.max_age > 0 && now.duration_since(time) > age)
    };
    let (expired, kept): (Vec<_>, Vec<_>) = old.into_iter().partition(|(time, _)| is_over(*time));
    let is_wanted = |name: &&str| file.compress && !name.ends_with(COMPRESSED);
    Chores {
        remove: expired.into_iter().map(|(_, name)| name).collect(),
        compress: kept.into_iter().map(|(_, name)| name).filter(is_wanted).collect(),
    }
}

/// The old ones of these files of the folder, the newest first.
fn backups<'a>(path: &Path, names: &'a [String]) -> Vec<(Timestamp, &'a str)> {
    let (stem, extension) = parts(path);
    let prefix = format!("{stem}-");
    let time = |name: &str| {
        let stamp = name.strip_prefix(&*prefix)?.strip_suffix(&*extension)?;
        let time = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?;
        // More can be read than is written, such as times without milliseconds: that is somebody's own file.
        (time.strftime(STAMP).to_string() == stamp).then_some(time.timestamp())
    };
    let of_name = |name: &'a String| {
        let found = time(name).or_else(|| time(name.strip_suffix(COMPRESSED)?))?;
        Some((found, name.as_str()))
    };
    let mut old: Vec<_> = names.iter().filter_map(of_name).collect();
    old.sort_unstable_by(|one, other| other.cmp(one));
    old
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn file(path: &Path) -> LogFile {
        LogFile {
            path: path.to_owned(),
            max_size: 1,
            max_backups: 2,
            max_age: 3,
            compress: true,
            truncation: None,
        }
    }

    fn now() -> Timestamp {
        "2026-01-10T00:00:00Z".parse().unwrap()
    }

    fn name(day: u8) -> String {
        format!("audit-2026-01-{day:02}T01-02-03.456.log")
    }

    #[test]
    fn old_files_go_when_they_are_too_many_or_too_old_and_others_are_compressed() {
        let compressed = |day: u8| format!("{}.gz", name(day));
        let names = [
            name(9),
            compressed(2),
            name(8),
            compressed(8),
            name(7),
            "audit.log".to_owned(),
            "audit-x.log".to_owned(),
            "audit-x.log.gz".to_owned(),
            "audit-2026-01-01T01-02-03.log".to_owned(),
            "audit-2026-1-1T1-2-3.456.log.gz".to_owned(),
        ];
        let check = |file: &LogFile, removed: &[String], compressed: &[String]| {
            let Chores { mut remove, mut compress } = chores(file, &names, now());
            remove.sort_unstable();
            compress.sort_unstable();
            assert_eq!((&*remove, &*compress), (&*texts(removed), &*texts(compressed)));
        };
        let file = file(Path::new("/var/log/audit.log"));
        check(&file, &[compressed(2), name(7)], &[name(8), name(9)]);
        check(
            &LogFile { max_backups: 1, ..file.clone() },
            &[compressed(2), name(7), name(8), compressed(8)],
            &[name(9)],
        );
        let all = LogFile { max_backups: 0, ..file.clone() };
        check(&all, &[compressed(2)], &[name(7), name(8), name(9)]);
        check(&LogFile { max_age: 0, ..all }, &[], &[name(7), name(8), name(9)]);
        check(&LogFile { compress: false, ..file.clone() }, &[compressed(2), name(7)], &[]);
        let moved = old_name(&file.path, "2026-01-09T01:02:03.456789Z".parse().unwrap());
        assert_eq!(moved, Path::new("/var/log").join(name(9)));
    }

    fn texts(names: &[String]) -> Vec<&str> {
        names.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_compressed_file_is_what_the_old_one_was_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.log"), folder.path().join(name(9)));
        fs::write(&old, "one\ntwo\n").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
        tidy(&file(&path), now()).unwrap();
        assert!(!old.exists());
        let compressed = File::open(compressed_name(&old)).unwrap();
        assert_eq!(compressed.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut text = String::new();
        GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
        assert_ne!(free_name(&path, "2026-01-09T01:02:03.456Z".parse().unwrap()), old);
    }

    #[test]
    fn what_a_stop_has_left_in_part_is_compressed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let old = folder.path().join(name(9));
        fs::write(&old, "one\n").unwrap();
        fs::write(compressed_name(&old), [0_u8; 1000]).unwrap();
        tidy(&file(&folder.path().join("audit.log")), now()).unwrap();
        let mut text = String::new();
        let compressed = File::open(compressed_name(&old)).unwrap();
        assert!(compressed.metadata().unwrap().len() < 100);
        GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
        assert_eq!((&*text, old.exists()), ("one\n", false));
    }

    #[test]
    fn one_that_cannot_be_removed_or_compressed_does_not_matter_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let at = |day: u8| folder.path().join(name(day));
        for day in [1, 8, 9] {
            fs::write(at(day), "").unwrap();
        }
        for path in [at(2), compressed_name(&at(9))] {
            fs::create_dir(path).unwrap();
        }
        let error = tidy(&file(&folder.path().join("audit.log")), now()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{}: ", name(9))), "{error}");
        assert!(at(9).exists() && at(2).exists() && !at(1).exists());
        assert!(!at(8).exists() && compressed_name(&at(8)).exists());
    }
}
