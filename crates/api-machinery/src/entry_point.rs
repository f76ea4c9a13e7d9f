//! What of a function's source is called: `module:function`.

use std::{collections::BTreeSet, fmt};

/// The function that is called if only its module is known.
const FUNCTION: &str = "main";
/// The modules that are taken of several, the first first.
const MODULES: [&str; 2] = ["func", "main"];

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPoint {
    /// The module, with dots between its parts.
    pub module: String,
    /// The function in it.
    pub function: String,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryPointError {
    /// It is not said, and several modules may be meant, or none.
    #[error(
        "must be given, unless the source has `func.py`, `main.py`, or exactly one other `.py` file"
    )]
    Unclear,
    /// It is said in another form.
    #[error("must be of the form `module:function`")]
    Form,
    /// Its module is not there.
    #[error("the source has no file `{0}`")]
    NoModule(String),
}

impl EntryPoint {
    /// The one that is named, or that is meant where none is named, of a source with files of these paths.
    ///
    /// # Errors
    /// If it is not clear, or not there.
    pub fn of<'a>(
        named: Option<&str>,
        files: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, EntryPointError> {
        let files: BTreeSet<&str> = files.into_iter().collect();
        match named {
            Some(text) => Self::parse(text)?.in_files(&files),
            None => Self::usual(&files).ok_or(EntryPointError::Unclear),
        }
    }

    fn parse(text: &str) -> Result<Self, EntryPointError> {
        let (module, function) = text.split_once(':').ok_or(EntryPointError::Form)?;
        if !module.split('.').all(is_module_part) || !is_identifier(function) {
            return Err(EntryPointError::Form);
        }
        Ok(EntryPoint { module: module.to_owned(), function: function.to_owned() })
    }

    fn in_files(self, files: &BTreeSet<&str>) -> Result<Self, EntryPointError> {
        let path = self.module.replace('.', "/");
        let file = format!("{path}.py");
        if files.contains(&*file) || files.contains(&*format!("{path}/__init__.py")) {
            return Ok(self);
        }
        Err(EntryPointError::NoModule(file))
    }

    fn usual(files: &BTreeSet<&str>) -> Option<Self> {
        let modules = files.iter().filter_map(|file| file.strip_suffix(".py"));
        let modules: Vec<&str> = modules.filter(|module| is_module_part(module)).collect();
        let module = match modules.as_slice() {
            [only] => only,
            several => MODULES.iter().find(|usual| several.contains(usual))?,
        };
        Some(EntryPoint { module: (*module).to_owned(), function: FUNCTION.to_owned() })
    }
}

impl fmt::Display for EntryPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.function)
    }
}

/// A module that is imported by its name may have a hyphen in it.
fn is_module_part(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn is_identifier(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(named: Option<&str>, files: &[&str], expected: Result<&str, EntryPointError>) {
        let found = EntryPoint::of(named, files.iter().copied()).map(|e| e.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{named:?} of {files:?}");
    }

    #[test]
    fn the_usual_one_is_main_of_the_only_module_or_of_func_or_of_main() {
        check(None, &["add.py", "requirements.txt", "lib/x.py"], Ok("add:main"));
        check(None, &["add-five.py"], Ok("add-five:main"));
        check(None, &["a.py", "func.py", "main.py"], Ok("func:main"));
        check(None, &["a.py", "main.py"], Ok("main:main"));
        check(None, &["a.py", "b.py"], Err(EntryPointError::Unclear));
        check(None, &["lib/x.py"], Err(EntryPointError::Unclear));
        check(None, &[], Err(EntryPointError::Unclear));
    }

    #[test]
    fn one_that_is_named_must_be_there() {
        check(Some("a:run"), &["a.py", "func.py"], Ok("a:run"));
        check(Some("lib.x:run"), &["lib/x.py"], Ok("lib.x:run"));
        check(Some("lib:run"), &["lib/__init__.py"], Ok("lib:run"));
        check(Some("b:run"), &["a.py"], Err(EntryPointError::NoModule("b.py".into())));
        for wrong in
            ["a", "a:", ":main", "a:b c", "a:1", "a/b:main", "../a:main", "a..b:main", "a:b:c"]
        {
            check(Some(wrong), &["a.py"], Err(EntryPointError::Form));
        }
    }
}
