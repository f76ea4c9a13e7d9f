//! The data of config maps and secrets: from literals, files, folders and files of variables.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::Failure;

/// Where the data come from.
#[derive(Args, Debug, Default)]
pub(super) struct Sources {
    /// KEY=VALUE
    #[arg(long)]
    from_literal: Vec<String>,
    /// FILE, KEY=FILE or a folder
    #[arg(long)]
    from_file: Vec<String>,
    /// A file of lines KEY=VALUE; KEY alone takes the value of the environment
    #[arg(long, value_name = "FILE")]
    from_env_file: Vec<PathBuf>,
}

/// By key.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

impl Sources {
    /// All of it; `variable` is what a variable of the environment says.
    pub(super) fn read(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Data, Failure> {
        let has_others = !self.from_file.is_empty() || !self.from_literal.is_empty();
        if has_others && !self.from_env_file.is_empty() {
            let why = "from-env-file cannot be combined with from-file or from-literal";
            return Err(Failure::message(why));
        }
        let mut data = Data::new();
        for literal in &self.from_literal {
            let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| {
                Failure::message(format!("invalid literal source {literal}, expected key=value"))
            })?;
            insert(&mut data, key, value.as_bytes().to_vec())?;
        }
        for source in &self.from_file {
            let (key, path) = file_source(source)?;
            insert_files(&mut data, key, Path::new(path))?;
        }
        for path in &self.from_env_file {
            let text = String::from_utf8(read(path)?).map_err(|error| {
                Failure::message(format!("env file {} contains {error}", path.display()))
            })?;
            for (key, value) in variables(&text, &variable)? {
                insert(&mut data, &key, value.into_bytes())?;
            }
        }
        Ok(data)
    }
}

/// The key, if one is given, and the path.
pub(super) fn file_source(source: &str) -> Result<(Option<&str>, &str), Failure> {
    let Some((key, path)) = source.split_once('=') else { return Ok((None, source)) };
    if key.is_empty() {
        return Err(Failure::message(format!("key name for file path {path} missing")));
    }
    if path.is_empty() {
        return Err(Failure::message(format!("file path for key name {key} missing")));
    }
    if path.contains('=') {
        return Err(Failure::message("key names or file paths cannot contain '='"));
    }
    Ok((Some(key), path))
}

/// Of a folder, the files that are in it.
fn insert_files(data: &mut Data, key: Option<&str>, path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        if key.is_some() {
            return Err(Failure::message("cannot give a key name for a directory path"));
        }
        for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
            let entry = entry.map_err(|error| unreadable(path, &error))?.path();
            if entry.is_file() {
                insert_files(data, None, &entry)?;
            }
        }
        return Ok(());
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    insert(data, key.unwrap_or(&name), read(path)?)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::message(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("error reading {}: no such file or directory", path.display())
        }
        _ => format!("error reading {}: {error}", path.display()),
    })
}

/// Blank lines and comments say nothing; blanks before a name are no part of it, those of a value are.
fn variables(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Failure> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => (line, variable(line).unwrap_or_default()),
        };
        check_variable(key).map(|()| (key.to_owned(), value))
    };
    lines.map(pair).collect()
}

fn check_variable(name: &str) -> Result<(), Failure> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !name.is_empty()
        && name.chars().all(is_right)
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(());
    }
    Err(Failure::message(format!(
        "{name:?} is not a valid key name: a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"
    )))
}

fn insert(data: &mut Data, key: &str, value: Vec<u8>) -> Result<(), Failure> {
    match data.insert(key.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Failure::message(format!(
            "cannot add key {key:?}, another key by that name already exists"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(literals: &[&str], files: &[&str]) -> Sources {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Sources {
            from_literal: owned(literals),
            from_file: owned(files),
            from_env_file: Vec::new(),
        }
    }

    #[test]
    fn data_are_made_of_literals_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name).display().to_string()
        };
        let (file, binary) = (in_folder("app.conf", b"x\n"), in_folder("bin", &[0xff]));
        let all = folder.path().display().to_string();
        let data = sources(&["a=b=c"], &[&all, &format!("k={file}")]).read(|_| None).unwrap();
        let expected: [(&str, &[u8]); 4] =
            [("a", b"b=c"), ("app.conf", b"x\n"), ("bin", &[0xff]), ("k", b"x\n")];
        assert_eq!(data, expected.map(|(key, value)| (key.to_owned(), value.to_vec())).into());
        let fails = |sources: Sources| sources.read(|_| None).unwrap_err().to_string();
        for (literals, files, expected) in [
            (vec!["a"], vec![], "invalid literal source a, expected key=value"),
            (
                vec!["a=1", "a=2"],
                vec![],
                "cannot add key \"a\", another key by that name already exists",
            ),
            (vec![], vec!["=b"], "key name for file path b missing"),
            (vec![], vec!["a="], "file path for key name a missing"),
            (vec![], vec!["a=b=c"], "key names or file paths cannot contain '='"),
            (vec![], vec!["nope"], "error reading nope: no such file or directory"),
        ] {
            assert_eq!(fails(sources(&literals, &files)), format!("error: {expected}"));
        }
        let keyed = format!("k={all}");
        assert!(fails(sources(&[], &[&keyed])).contains("cannot give a key name for a directory"));
        let from_env_file = vec![PathBuf::from(binary)];
        assert!(fails(Sources { from_env_file, ..sources(&[], &[]) }).contains("utf-8"));
        let both = Sources { from_env_file: vec![PathBuf::from("x")], ..sources(&["a=b"], &[]) };
        assert!(fails(both).contains("cannot be combined"));
    }

    #[test]
    fn a_file_of_variables_is_read_by_lines() {
        let variable = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let read = |text| variables(text, variable).map_err(|failure| failure.to_string());
        let expected = [("a", "1=2"), ("B", " x y "), ("HOME", "/root"), ("NONE", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read("\u{feff}a=1=2\n\n# c\n  B= x y \nHOME\nNONE").unwrap(), expected);
        for wrong in ["a b=c", "=c", "1a=c"] {
            assert!(read(wrong).unwrap_err().contains("is not a valid key name"));
        }
    }
}
