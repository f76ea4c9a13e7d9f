//! The source files, as a directory to upload.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use api_types::minik8s::GpuJobSpec;
use flate2::read::GzDecoder;
use tempfile::TempDir;

use crate::ssh::Error;

/// How large an archive may become.
const LARGEST: u64 = 1 << 30;
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
    pub(crate) fn of(spec: &GpuJobSpec, mounted: Option<&Path>) -> Result<Self, Error> {
        let archive = spec.sources.as_ref().and_then(|sources| sources.archive.as_ref());
        let failed = |source| Error::Local { what: "unpacking the archive".to_owned(), source };
        match (archive, mounted) {
            (Some(archive), _) => unpack(&archive.0).map(Self::Unpacked).map_err(failed),
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
    // Links and names that lead out of the directory are refused by the library.
    tar::Archive::new(reader.take(LARGEST)).unpack(directory.path())?;
    Ok(directory)
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

    #[test]
    fn archives_are_unpacked_compressed_or_not() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&archive()).unwrap();
        for bytes in [archive(), encoder.finish().unwrap()] {
            let sources = Sources::of(&spec(bytes), None).unwrap();
            let file = sources.path().join("src/a b.sh");
            assert_eq!(fs::read_to_string(file).unwrap(), "hello");
        }
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let error = Sources::of(&spec(b"nonsense".repeat(100)), None).unwrap_err();
        assert!(error.to_string().starts_with("unpacking the archive"), "{error}");
    }
}
