//! The sources of a job as they are uploaded: a folder or a file, packed, or an archive.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use api_types::ByteString;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use tar::{Builder, Header};

use crate::{
    Failure,
    function_source::{collect, unreadable},
};

/// What the API server takes.
const LIMIT: usize = 768 * 1024;

const ARCHIVES: [&str; 3] = [".tar", ".tar.gz", ".tgz"];

/// The `spec.sources` of what is at `path`.
pub(super) fn read(path: &Path) -> Result<Value, Failure> {
    if !path.exists() {
        return Err(Failure::message(format!("the path {:?} does not exist", path.display())));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let packed = match path.is_file() && ARCHIVES.iter().any(|end| name.ends_with(end)) {
        true => fs::read(path).map_err(|error| unreadable(path, &error))?,
        false => pack(path)?,
    };
    if packed.len() > LIMIT {
        return Err(Failure::message(format!(
            "{}, packed, has {} bytes, a job's sources at most {LIMIT}: leave out what its compile scripts can make, or put it on a node (spec.sources.hostPath)",
            path.display(),
            packed.len()
        )));
    }
    Ok(json!({"archive": ByteString(packed)}))
}

/// The same files give the same bytes.
fn pack(path: &Path) -> Result<Vec<u8>, Failure> {
    let (mut files, mut folder) = (Vec::new(), path);
    if path.is_dir() {
        collect(path, &mut files)?;
        files.sort();
    } else {
        folder = path.parent().unwrap_or(Path::new(""));
        files.push(path.to_owned());
    }
    if files.is_empty() {
        return Err(Failure::message(format!("there is no file in {}", path.display())));
    }
    let packer = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = Builder::new(packer);
    for file in files {
        append(&mut archive, folder, &file)?;
    }
    let fault = |error| Failure::message(format!("packing {}: {error}", path.display()));
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(fault)
}

fn append(archive: &mut Builder<impl Write>, folder: &Path, file: &PathBuf) -> Result<(), Failure> {
    let fault = |error| unreadable(file, &error);
    let content = fs::read(file).map_err(fault)?;
    let is_program = fs::metadata(file).map_err(fault)?.permissions().mode() & 0o100 != 0;
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(if is_program { 0o755 } else { 0o644 });
    let name = file.strip_prefix(folder).unwrap_or(file);
    archive.append_data(&mut header, name, content.as_slice()).map_err(fault)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("add.cu", "a"), ("lib/x y.h", "h"), (".git/config", "g")] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(folder.path().join("run.sh"), "#!/bin/sh\n").unwrap();
        let program = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join("run.sh"), program).unwrap();
        folder
    }

    fn unpacked(sources: &Value) -> Vec<(String, u32, String)> {
        let ByteString(bytes) = serde_json::from_value(sources["archive"].clone()).unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(&bytes[..]));
        let one = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let (mut entry, mut text) = (entry.unwrap(), String::new());
            Read::read_to_string(&mut entry, &mut text).unwrap();
            let name = entry.path().unwrap().display().to_string();
            (name, entry.header().mode().unwrap(), text)
        };
        archive.entries().unwrap().map(one).collect()
    }

    #[test]
    fn a_folder_is_packed_without_what_is_no_source_and_twice_the_same() {
        let (one, other) = (folder(), folder());
        let sources = read(one.path()).unwrap();
        let own = |name: &str, mode, text: &str| (name.to_owned(), mode, text.to_owned());
        let expected = [
            own("add.cu", 0o644, "a"),
            own("lib/x y.h", 0o644, "h"),
            own("run.sh", 0o755, "#!/bin/sh\n"),
        ];
        assert_eq!(unpacked(&sources), expected);
        assert_eq!(read(other.path()).unwrap(), sources);
        let file = read(&one.path().join("add.cu")).unwrap();
        assert_eq!(unpacked(&file), expected[..1]);
    }

    #[test]
    fn an_archive_is_uploaded_as_it_is() {
        let folder = folder();
        let file = folder.path().join("a.tar.gz");
        fs::write(&file, pack(&folder.path().join("add.cu")).unwrap()).unwrap();
        assert_eq!(unpacked(&read(&file).unwrap()).len(), 1);
    }

    #[test]
    fn what_cannot_be_a_source_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let big = folder.path().join("big.tar");
        fs::write(&big, vec![0; LIMIT + 1]).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        for (name, expected) in [
            ("nope", "does not exist"),
            ("empty", "there is no file in "),
            ("big.tar", "has 786433 bytes, a job's sources at most 786432: leave out "),
        ] {
            let failure = read(&folder.path().join(name)).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    }
}
