//! The kubeconfig files as they stand, for looking at and changing: what we don't know in them survives, and a change
//! goes into the file that it concerns, as kubectl's own rules have it.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use api_machinery::encode;
use serde_json::{Value, json};

use crate::{
    Failure, kubeconfig,
    object::{list, text},
    session::Session,
};

/// Lists whose entries have names; of several files the first that has a name says what it means.
const NAMED: [&str; 3] = ["clusters", "contexts", "users"];

/// The files in order of precedence.
#[derive(Debug)]
pub(super) struct ConfigFiles {
    files: Vec<ConfigFile>,
    /// Where new entries go.
    default: PathBuf,
}

#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    config: Value,
}

impl ConfigFiles {
    /// Reads the files that are there.
    pub(super) fn open(session: &Session) -> Result<Self, Failure> {
        let paths = kubeconfig::files(&session.global, &session.environment);
        let home = session.environment.home.as_ref().map(|home| home.join(".kube/config"));
        let existing = paths.iter().find(|path| path.exists());
        let default = existing.or(paths.last()).cloned().or(home).unwrap_or_default();
        let there = paths.into_iter().filter(|path| path.exists());
        Ok(Self { files: there.map(ConfigFile::read).collect::<Result<_, _>>()?, default })
    }

    /// [`open`](Self::open), if there is any file.
    pub(super) fn open_existing(session: &Session) -> Result<Self, Failure> {
        let files = Self::open(session)?;
        if files.files.is_empty() {
            kubeconfig::load(&session.global, &session.environment)?;
        }
        Ok(files)
    }

    /// What all of them say together.
    pub(super) fn merged(&self) -> Value {
        let mut files = self.files.iter().map(|file| &file.config);
        let mut merged = files.next().cloned().unwrap_or_else(|| json!({}));
        for config in files {
            for field in NAMED {
                merge_named(&mut merged, config, field);
            }
        }
        if !self.current().is_empty() {
            merged["current-context"] = json!(self.current());
        }
        merged
    }

    /// The current context; empty if there is none.
    pub(super) fn current(&self) -> &str {
        let mut all = self.files.iter().map(|file| text(&file.config, "/current-context"));
        all.find(|current| !current.is_empty()).unwrap_or_default()
    }

    pub(super) fn has_context(&self, name: &str) -> bool {
        self.files.iter().any(|file| position(&file.config, name).is_some())
    }

    /// Makes a context the current one, in the file that says which is.
    pub(super) fn use_context(&mut self, name: &str) -> Result<(), Failure> {
        let says = |file: &&mut ConfigFile| !text(&file.config, "/current-context").is_empty();
        let said_by = self.files.iter_mut().find(says).map(|file| file.path.clone());
        let path = said_by.unwrap_or_else(|| self.default.clone());
        let file = self.file(&path);
        file.config["current-context"] = json!(name);
        file.save()
    }

    /// Sets fields of a context; one that is empty is removed. A context that is in no file is made.
    pub(super) fn set_context(
        &mut self,
        name: &str,
        fields: &[(&str, Option<&str>)],
    ) -> Result<(), Failure> {
        let has = |file: &&ConfigFile| position(&file.config, name).is_some();
        let path = self.files.iter().find(has).map_or(&self.default, |file| &file.path).clone();
        let file = self.file(&path);
        let context = context(&mut file.config, name);
        for (field, value) in fields {
            match value {
                Some("") => drop(context.as_object_mut().and_then(|c| c.remove(*field))),
                Some(value) => context[*field] = json!(value),
                None => {}
            }
        }
        file.save()
    }

    /// The file at the path, which may have to be made.
    fn file(&mut self, path: &Path) -> &mut ConfigFile {
        let known = self.files.iter().position(|file| file.path == path);
        let index = known.unwrap_or_else(|| {
            let config = json!({"apiVersion": "v1", "kind": "Config"});
            self.files.push(ConfigFile { path: path.to_owned(), config });
            self.files.len() - 1
        });
        &mut self.files[index]
    }
}

impl ConfigFile {
    fn read(path: PathBuf) -> Result<Self, Failure> {
        let fault = |e: &dyn std::fmt::Display| {
            Failure::message(format!("error loading config file {:?}: {e}", path.display()))
        };
        let bytes = fs::read_to_string(&path).map_err(|e| fault(&e))?;
        let config: Value = serde_yaml::from_str(&bytes).map_err(|e| fault(&e))?;
        let config = if config.is_null() { json!({}) } else { config };
        if !config.is_object() {
            return Err(fault(&"not a kubeconfig"));
        }
        Ok(Self { path, config })
    }

    /// Written beside and renamed, with the rights of the old one: it holds keys. A link stays a link.
    fn save(&self) -> Result<(), Failure> {
        let file = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = file.with_extension(format!("{}.tmp", std::process::id()));
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        if let Ok(old) = fs::metadata(&file) {
            new.set_permissions(old.permissions())?;
        }
        new.write_all(encode::yaml(&self.config).as_bytes())?;
        new.sync_all()?;
        Ok(fs::rename(&beside, file)?)
    }
}

fn merge_named(merged: &mut Value, config: &Value, field: &str) {
    let pointer = format!("/{field}");
    let known = |name: &str| list(merged, &pointer).iter().any(|e| text(e, "/name") == name);
    let more = list(config, &pointer).iter().filter(|entry| !known(text(entry, "/name")));
    let more: Vec<_> = more.cloned().collect();
    entries(merged, field).extend(more);
}

fn entries<'a>(config: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    if !config[field].is_array() {
        config[field] = json!([]);
    }
    config[field].as_array_mut().expect("it was made an array")
}

fn position(config: &Value, name: &str) -> Option<usize> {
    list(config, "/contexts").iter().position(|context| text(context, "/name") == name)
}

/// The context of that name, which may have to be made.
fn context<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    let known = position(config, name);
    let contexts = entries(config, "contexts");
    let index = known.unwrap_or_else(|| {
        contexts.push(json!({"context": {}, "name": name}));
        contexts.len() - 1
    });
    if !contexts[index]["context"].is_object() {
        contexts[index]["context"] = json!({});
    }
    &mut contexts[index]["context"]
}
