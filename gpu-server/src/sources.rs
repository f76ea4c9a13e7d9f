//! The source files, as a directory to upload.

use std::{
    io::{self, ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use api_types::minik8s::GpuJobSpec;
use flate2::read::GzDecoder;
use tar::{Entry, EntryType};
use tempfile::TempDir;

use crate::ssh::Error;

/// How large the files of an archive may be together, and what describes them.
const LARGEST: u64 = 256 << 20;
/// How many files and directories may be in one.
const MOST: usize = 10_000;
/// How each file that gzip has made begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where the sources are.
#[derive(Debug)]
pub(crate) enum Sources {
    /// There all the time.
    Mounted(PathBuf),
    /// Unpacked here.
    Unpacked(TempDir),
}

impl Sources {
    /// Those of a job: its own archive, or else `mounted`.
    ///
    /// # Errors
    /// An archive that can't be taken is [`ErrorKind::InvalidData`].
    pub(crate) async fn of(spec: &GpuJobSpec, mounted: Option<&Path>) -> Result<Self, Error> {
        let archive = spec.sources.as_ref().and_then(|sources| sources.archive.clone());
        let failed = |source| Error::Local { what: "unpacking the archive".to_owned(), source };
        match (archive, mounted) {
            (Some(archive), _) => {
                let unpacked = tokio::task::spawn_blocking(move || unpack(&archive.0)).await;
                let unpacked = unpacked.map_err(io::Error::other).flatten();
                unpacked.map(Self::Unpacked).map_err(failed)
            }
            (None, Some(directory)) => Ok(Self::Mounted(directory.to_owned())),
            (None, None) => tempfile::tempdir().map(Self::Unpacked).map_err(failed),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Mounted(path) => path,
            Self::Unpacked(directory) => directory.path(),
        }
    }
}

fn unpack(archive: &[u8]) -> io::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let reader: Box<dyn Read + '_> = match archive.starts_with(&GZIP) {
        true => Box::new(GzDecoder::new(archive)),
        false => Box::new(archive),
    };
    let mut archive = tar::Archive::new(reader.take(LARGEST));
    let (mut size, mut count) = (0_u64, 0);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        (size, count) = (size.saturating_add(entry.size()), count + 1);
        // Before anything is written.
        if size > LARGEST {
            return Err(refused(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        if count > MOST {
            return Err(refused(format!("it has more than {MOST} files")));
        }
        check(&mut entry)?;
        if !entry.unpack_in(directory.path())? {
            return Err(wrong(&entry, "leads out of the archive"));
        }
    }
    Ok(directory)
}

/// Plain files, directories and links within the archive are what is taken.
fn check<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<()> {
    let path = entry.path().map_err(broken)?.into_owned();
    let parent = path.parent().unwrap_or(Path::new("")).to_owned();
    let leads_out = match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => false,
        EntryType::XGlobalHeader => return Ok(()),
        EntryType::Symlink => !is_inside(&parent.join(link(entry)?)),
        EntryType::Link => !is_inside(&link(entry)?),
        _ => return Err(wrong(entry, "is neither a file nor a directory nor a link")),
    };
    if leads_out || !is_inside(&path) {
        return Err(wrong(entry, "leads out of the archive"));
    }
    let extensions = entry.pax_extensions().map_err(broken)?;
    // Such a file is as large as its description says, whatever the entry's size is.
    let is_sparse = |key: &[u8]| key.starts_with(b"GNU.sparse");
    if extensions
        .is_some_and(|mut all| all.any(|one| one.is_ok_and(|one| is_sparse(one.key_bytes()))))
    {
        return Err(wrong(entry, "is sparse"));
    }
    Ok(())
}

fn link<R: Read>(entry: &Entry<'_, R>) -> io::Result<PathBuf> {
    Ok(entry.link_name().map_err(broken)?.unwrap_or_default().into_owned())
}

/// Whether a path never is above where it begins.
fn is_inside(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.components().all(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::CurDir => 0,
            Component::ParentDir => -1,
            Component::RootDir | Component::Prefix(_) => return false,
        };
        depth >= 0
    })
}

fn wrong<R: Read>(entry: &Entry<'_, R>, why: &str) -> io::Error {
    refused(format!("{:?} {why}", String::from_utf8_lossy(&entry.path_bytes())))
}

fn broken(error: io::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn refused(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use api_types::{ByteString, minik8s::GpuJobSources};
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o755);
        archive.append_data(&mut header, "src/a b.sh", &b"hello"[..]).unwrap();
        archive.into_inner().unwrap()
    }

    fn spec(archive: Vec<u8>) -> GpuJobSpec {
        let archive = Some(ByteString(archive));
        let sources = Some(GpuJobSources { archive, ..GpuJobSources::default() });
        GpuJobSpec { sources, ..GpuJobSpec::default() }
    }

    #[tokio::test]
    async fn archives_are_unpacked_compressed_or_not() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&archive()).unwrap();
        for bytes in [archive(), encoder.finish().unwrap()] {
            let sources = Sources::of(&spec(bytes), None).await.unwrap();
            let file = sources.path().join("src/a b.sh");
            assert_eq!(fs::read_to_string(file).unwrap(), "hello");
        }
    }

    /// What is said of an archive with one entry.
    async fn of(kind: EntryType, path: &str, link: &str, size: u64) -> Result<(), String> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_link_name_literal(link).unwrap();
        header.set_size(size);
        header.set_mode(0o755);
        header.as_gnu_mut().unwrap().set_real_size(size);
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[0; 2048]].concat();
        match Sources::of(&spec(bytes), None).await {
            Err(Error::Local { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::InvalidData, "{source}");
                Err(source.to_string())
            }
            other => other.map(drop).map_err(|error| error.to_string()),
        }
    }

    #[tokio::test]
    async fn nothing_is_written_of_what_is_too_large_or_leads_out() {
        let (file, symlink) = (EntryType::Regular, EntryType::Symlink);
        of(file, "a", "", 7).await.unwrap();
        of(symlink, "a/b", "../c", 0).await.unwrap();
        let refused = [
            (file, "../a", "", "leads out"),
            (file, "/a", "", "leads out"),
            (symlink, "a/b", "../../c", "leads out"),
            (symlink, "a", "/etc/passwd", "leads out"),
            (EntryType::Link, "a", "../b", "leads out"),
            (EntryType::Char, "a", "", "neither a file"),
            (EntryType::Fifo, "a", "", "neither a file"),
            (EntryType::GNUSparse, "a", "", "neither a file"),
        ];
        for (kind, path, link, why) in refused {
            let error = of(kind, path, link, 0).await.unwrap_err();
            assert!(error.contains(why), "{kind:?} {path} {link}: {error}");
        }
        let error = of(file, "a", "", LARGEST + 1).await.unwrap_err();
        assert!(error.contains("larger than 256 MiB"), "{error}");
    }

    #[tokio::test]
    async fn an_archive_has_an_end() {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for _ in 0..=MOST {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            archive.append_data(&mut header, "a", &b""[..]).unwrap();
        }
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        let error = Sources::of(&spec(bytes), None).await.unwrap_err().to_string();
        assert!(error.contains("more than 10000 files"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_archive_is_told() {
        let error = Sources::of(&spec(b"nonsense".repeat(100)), None).await.unwrap_err();
        assert!(error.to_string().starts_with("unpacking the archive"), "{error}");
    }
}
