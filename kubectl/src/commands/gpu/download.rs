//! Downloads of results: what is there of an earlier one is not asked for again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::{HeaderMap, HeaderName, StatusCode, header, response::Parts};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::results::{Results, as_folder, printable};
use crate::{
    Failure, Io,
    patience::{Patience, in_time},
};

/// What the names of files end with that are not whole yet.
const PARTIAL: &str = "partial";

impl Results<'_> {
    /// Downloads a file, or a folder with all that is in it, into `to`.
    pub(super) async fn download(&self, name: &str, to: &Path) -> Result<(), Failure> {
        let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if name.is_empty() || !last.is_empty() && !is_plain(last) {
            return Err(Failure::message(format!("{name:?} is the name of no file")));
        }
        if name.ends_with('/') {
            return self.folder(name, &to.join(last)).await;
        }
        match self.file(name, &to.join(last)).await {
            // What is there is a folder.
            Err(failure) if matches!(failure.code(), Some(301..=308)) => {
                self.folder(name, &to.join(last)).await
            }
            result => result,
        }
    }

    async fn folder(&self, name: &str, to: &Path) -> Result<(), Failure> {
        let mut left = vec![(as_folder(name), to.to_owned())];
        while let Some((folder, to)) = left.pop() {
            let mut patience = Patience::new(&self.session.io);
            let entries = loop {
                match in_time(self.list(&folder)).await {
                    Err(failure) => patience.bear(failure).await?,
                    Ok(entries) => break entries,
                }
            };
            fs::create_dir_all(&to).map_err(|error| at(&to, &error))?;
            for entry in entries {
                let (name, to) = (format!("{folder}{}", entry.name), to.join(&entry.name));
                // It is the job that says what its files are called.
                if !is_plain(&entry.name) {
                    let name = &entry.name;
                    self.session.io.note(format_args!("Warning: {name:?} is no name for a file"));
                } else if entry.is_folder() {
                    left.push((format!("{name}/"), to));
                } else if to.extension().is_none_or(|extension| extension != PARTIAL) {
                    self.file(&name, &to).await?;
                }
            }
        }
        Ok(())
    }

    async fn file(&self, name: &str, to: &Path) -> Result<(), Failure> {
        let io = &self.session.io;
        let mut patience = Patience::new(io);
        let written = loop {
            match self.rest_of(name, to, &mut patience).await {
                Err(failure) => patience.bear(failure).await?,
                Ok(written) => break written,
            }
        };
        Ok(io.line(format_args!("{} ({written} bytes)", printable(&to.to_string_lossy())))?)
    }

    /// What is not there of a file yet; its length.
    async fn rest_of(
        &self,
        name: &str,
        to: &Path,
        patience: &mut Patience<'_>,
    ) -> Result<u64, Failure> {
        let (head, parts) = self.open(name, None).await?;
        let (tag, size) = (text(&head.headers, &header::ETAG), length(&head.headers));
        let tag = tag.filter(|tag| !tag.starts_with("W/"));
        let folder = to.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
        let partial = partial(to, tag.as_deref());
        // Without a tag nobody can say whether it is of the same version.
        let begun = tag.as_ref().and_then(|_| fs::metadata(&partial).ok());
        let begun = begun.map_or(0, |file| file.len());
        let progress = progress(&self.session.io, name, size);
        let goes_on = tag.filter(|_| begun > 0 && size.is_some_and(|size| begun < size));
        let (written, size) = match goes_on {
            _ if begun > 0 && size == Some(begun) => (begun, size),
            None => (write(parts, &partial, 0, &progress, patience).await?, size),
            Some(tag) => {
                drop(parts);
                let (head, parts) = self.open(name, Some((begun, tag))).await?;
                let from = begins_at(&head, begun);
                let size = length(&head.headers).map(|rest| from + rest);
                (write(parts, &partial, from, &progress, patience).await?, size)
            }
        };
        progress.finish_and_clear();
        if let Some(size) = size.filter(|size| *size != written) {
            return Err(Failure::Io(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "{name:?}: {written} of {size} bytes came; the same command goes on from there"
                ),
            )));
        }
        fs::rename(&partial, to).map_err(|error| at(to, &error))?;
        sweep(to);
        Ok(written)
    }

    /// The file, from this byte on if it is still the one with this tag.
    async fn open(
        &self,
        name: &str,
        from: Option<(u64, String)>,
    ) -> Result<(Parts, impl Stream<Item = Result<Bytes, Failure>> + use<>), Failure> {
        let mut call = self.call(name);
        if let Some((from, tag)) = from {
            call = call.header(header::RANGE, format!("bytes={from}-"));
            call = call.header(header::IF_RANGE, tag);
        }
        let opened = in_time(self.session.api().await?.open(call)).await;
        opened.map_err(|failure| self.about(name, failure))
    }
}

/// How long the file is then. What has come of it stays when no more does.
async fn write(
    parts: impl Stream<Item = Result<Bytes, Failure>>,
    to: &Path,
    from: u64,
    progress: &ProgressBar,
    patience: &mut Patience<'_>,
) -> Result<u64, Failure> {
    let mut options = OpenOptions::new();
    let options = options.create(true).write(true).append(from > 0).truncate(from == 0);
    let mut file: File = options.open(to).map_err(|error| at(to, &error))?;
    let (mut written, mut parts) = (from, std::pin::pin!(parts));
    progress.set_position(from);
    while let Some(part) = in_time(parts.try_next()).await? {
        file.write_all(&part).map_err(|error| at(to, &error))?;
        written += part.len() as u64;
        progress.set_position(written);
        patience.reached(written);
    }
    Ok(written)
}

/// Where in the file an answer begins: at the first byte unless it says that it begins where it was to.
fn begins_at(head: &Parts, wanted: u64) -> u64 {
    let range = text(&head.headers, &header::CONTENT_RANGE).unwrap_or_default();
    let is_it = range.starts_with(&format!("bytes {wanted}-"));
    if head.status == StatusCode::PARTIAL_CONTENT && is_it { wanted } else { 0 }
}

/// Removes what is left of downloads of other versions of a file that is whole. What can't be removed harms nobody.
fn sweep(to: &Path) {
    let (Some(folder), Some(name)) = (to.parent(), to.file_name().and_then(|it| it.to_str()))
    else {
        return;
    };
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    let is_tag = |tag: &str| tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let left = entry.file_name();
        let left = left.to_str().and_then(|it| it.strip_prefix(name)?.strip_prefix('.'));
        let is_left = left.is_some_and(|left| {
            left == PARTIAL
                || left
                    .strip_suffix(PARTIAL)
                    .and_then(|tag| tag.strip_suffix('.'))
                    .is_some_and(is_tag)
        });
        if is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where a file grows. What is there of another version is not gone on with: its tag is another.
fn partial(to: &Path, tag: Option<&str>) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    let tag: String = tag.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    if !tag.is_empty() {
        name.push(format!(".{tag}"));
    }
    name.push(format!(".{PARTIAL}"));
    to.with_file_name(name)
}

/// Whether it names a file in a folder, and nothing outside of it.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(it)), None) if it == name)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::message(format!("{}: {error}", path.display()))
}

/// Shown to who sits there and watches.
fn progress(io: &Io, name: &str, size: Option<u64>) -> ProgressBar {
    let target =
        if io.is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(size, target).with_message(printable(name));
    let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    bar.with_style(ProgressStyle::with_template(style).expect("the template is a constant"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_grows_under_a_name_of_its_version() {
        let to = Path::new("results/matrix.out");
        let name = |tag| partial(to, tag).display().to_string();
        assert_eq!(name(Some("\"65ab-1f\"")), "results/matrix.out.65ab1f.partial");
        assert_eq!(name(None), "results/matrix.out.partial");
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert!(["a", "a b", "a\nb", "$x", ".a", "a..b"].into_iter().all(is_plain));
        assert!(!["", ".", "..", "a/b", "/a", "a/", "./a"].into_iter().any(is_plain));
    }
}
