//! The source of a function as it is uploaded: a file, a folder packed as a zip archive, or a zip archive.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
};

use api_types::ByteString;
use serde_json::{Value, json};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::Failure;

/// What the API server takes.
const LIMIT: usize = 1024 * 1024;

/// The `spec.source` of what is at `path`.
///
/// # Errors
/// If it cannot be read, is empty or too large.
pub(crate) fn read(path: &Path) -> Result<Value, Failure> {
    if !path.exists() {
        return Err(Failure::message(format!("the path {:?} does not exist", path.display())));
    }
    if path.is_dir() {
        return archive(path, pack(path)?);
    }
    let content = fs::read(path).map_err(|error| unreadable(path, &error))?;
    if path.extension().is_some_and(|extension| extension == "zip") {
        return archive(path, content);
    }
    let text = String::from_utf8(content).map_err(|_| {
        Failure::message(format!("{} is neither a text nor a .zip archive", path.display()))
    })?;
    check_size(path, text.len())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!({"files": {name: text}}))
}

fn archive(path: &Path, content: Vec<u8>) -> Result<Value, Failure> {
    check_size(path, content.len())?;
    Ok(json!({"archive": ByteString(content)}))
}

fn check_size(path: &Path, size: usize) -> Result<(), Failure> {
    if size <= LIMIT {
        return Ok(());
    }
    Err(Failure::message(format!(
        "{} has {size} bytes, a function's source at most {LIMIT}: name packages in requirements.txt, and keep data in a volume or in an image (--image)",
        path.display()
    )))
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::message(format!("error reading {}: {error}", path.display()))
}

/// The same files give the same bytes: an upload of what has not changed changes nothing.
fn pack(folder: &Path) -> Result<Vec<u8>, Failure> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    if files.is_empty() {
        return Err(Failure::message(format!("there is no file in {}", folder.display())));
    }
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    for file in files {
        let content = fs::read(&file).map_err(|error| unreadable(&file, &error))?;
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        let fault = |error: &dyn std::fmt::Display| {
            Failure::message(format!("packing {}: {error}", file.display()))
        };
        archive.start_file(name, options).map_err(|error| fault(&error))?;
        archive.write_all(&content).map_err(|error| fault(&error))?;
    }
    let packed = archive.finish().map_err(|e| Failure::message(format!("packing: {e}")))?;
    Ok(packed.into_inner())
}

/// What editors, version control and Python itself leave behind is no source.
pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || name == "__pycache__" || name.ends_with(".pyc") {
            continue;
        }
        // A link to a folder may lead in a circle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use zip::ZipArchive;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn unpacked(source: &Value) -> Vec<(String, String)> {
        let ByteString(bytes) = serde_json::from_value(source["archive"].clone()).unwrap();
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut files = Vec::new();
        for i in 0..archive.len() {
            let (mut file, mut text) = (archive.by_index(i).unwrap(), String::new());
            file.read_to_string(&mut text).unwrap();
            files.push((file.name().unwrap().into_owned(), text));
        }
        files
    }

    #[test]
    fn a_file_is_uploaded_as_text_under_its_name() {
        let folder = folder(&[("add.py", "def main(p): pass\n")]);
        let source = read(&folder.path().join("add.py")).unwrap();
        assert_eq!(source, json!({"files": {"add.py": "def main(p): pass\n"}}));
    }

    #[test]
    fn a_folder_is_packed_without_what_is_no_source_and_twice_the_same() {
        let files = [
            ("main.py", "m"),
            ("package/part.py", "p"),
            ("requirements.txt", "r"),
            ("__pycache__/main.pyc", "x"),
            (".git/config", "x"),
            ("package/old.pyc", "x"),
        ];
        let (one, other) = (folder(&files), folder(&files));
        std::os::unix::fs::symlink(one.path(), one.path().join("circle")).unwrap();
        let source = read(one.path()).unwrap();
        let own = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let expected =
            [own("main.py", "m"), own("package/part.py", "p"), own("requirements.txt", "r")];
        assert_eq!(unpacked(&source), expected);
        assert_eq!(read(other.path()).unwrap(), source);
    }

    #[test]
    fn an_archive_is_uploaded_as_it_is() {
        let folder = folder(&[("main.py", "m")]);
        let zip = folder.path().join("function.zip");
        fs::write(&zip, pack(folder.path()).unwrap()).unwrap();
        assert_eq!(unpacked(&read(&zip).unwrap()), [("main.py".to_owned(), "m".to_owned())]);
    }

    #[test]
    fn what_cannot_be_a_source_is_refused_with_the_reason() {
        let big = "#".repeat(LIMIT + 1);
        let folder = folder(&[("big.py", big.as_str()), ("empty/.hidden", "")]);
        fs::write(folder.path().join("binary.py"), [0xff, 0xfe]).unwrap();
        for (name, expected) in [
            ("nope.py", "does not exist"),
            ("big.py", "has 1048577 bytes, a function's source at most 1048576"),
            ("", "a function's source at most 1048576"),
            ("empty", "there is no file in "),
            ("binary.py", "is neither a text nor a .zip archive"),
        ] {
            let failure = read(&folder.path().join(name)).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
    }
}
