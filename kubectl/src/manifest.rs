//! Reading manifests: files, folders and standard input, YAML and JSON, several documents, lists. A fault
//! is told with its file and document, and does not keep the other documents from being read.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use api_machinery::{
    decode::{self, Decoded, YamlError},
    selector::LabelSelector,
};
use serde_json::{Value, json, value::RawValue};

use crate::{Failure, Io, dialect, flags::Files, object};

/// One object of a manifest, in its Kubernetes form.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The object.
    pub object: Value,
    /// Where it stands.
    pub source: Source,
    /// Whether it stands there in the seed's dialect.
    pub is_seed: bool,
}

impl Document {
    /// Whether it is the login that stood in a job of the seed.
    #[must_use]
    pub fn is_login(&self) -> bool {
        self.is_seed && object::kind(&self.object) == "Secret"
    }

    /// What is to be said of one in the seed's dialect.
    fn warning(&self) -> String {
        let Self { source, object, .. } = self;
        if self.is_login() {
            return format!(
                "the login in {source} is kept in the Secret {:?}, which goes with the job, and not in the job. Whoever reads the file knows the password: better make a Secret of your own, and name it in spec.credentials.secretRef.",
                object::name(object)
            );
        }
        format!(
            "{source} is written for the original minik8s, and Kubernetes refuses it. kubectl create --dry-run=client -o yaml -f {} prints it in Kubernetes' form.",
            source.file()
        )
    }
}

/// Where a document stands, as messages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file: String,
    /// Counted from 1; `None` if it is the only one of its file.
    document: Option<usize>,
}

impl Source {
    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.file)?;
        match self.document {
            Some(number) => write!(f, " (document {number})"),
            None => Ok(()),
        }
    }
}

/// Reads all documents; each is an object or the reason why it is none.
pub fn read(files: &Files, io: &Io) -> Result<Vec<Result<Document, Failure>>, Failure> {
    if files.filename.is_empty() {
        return Err(Failure::message("must specify one of -f and -k"));
    }
    let mut documents = Vec::new();
    for name in &files.filename {
        documents.extend(read_one(name, files.recursive, io)?);
    }
    documents
        .iter()
        .flatten()
        .filter(|document| document.is_seed)
        .for_each(|document| io.note(format_args!("Warning: {}", document.warning())));
    Ok(documents)
}

/// The same, without the objects whose labels the selector does not match.
pub fn selected(
    files: &Files,
    selector: &LabelSelector,
    io: &Io,
) -> Result<Vec<Result<Document, Failure>>, Failure> {
    let labels = |document: &Document| object::map(&document.object, "/metadata/labels");
    let mut documents = read(files, io)?;
    documents.retain(|d| d.as_ref().map_or(true, |d| selector.matches(&labels(d))));
    Ok(documents)
}

fn read_one(
    name: &str,
    recursive: bool,
    io: &Io,
) -> Result<Vec<Result<Document, Failure>>, Failure> {
    if name == "-" {
        return Ok(documents("STDIN", &io.read_all()?));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(Failure::message(format!(
            "{name:?} is a URL, which is not read: use curl -fsSL {name} | kubectl apply -f -"
        )));
    }
    let mut found = Vec::new();
    for file in paths(Path::new(name), recursive)? {
        let shown = file.display().to_string();
        match std::fs::read(&file) {
            Ok(bytes) => found.extend(documents(&shown, &String::from_utf8_lossy(&bytes))),
            Err(e) => found.push(Err(Failure::message(format!("open {shown}: {e}")))),
        }
    }
    Ok(found)
}

/// The file itself, or the manifests of a folder in the order of their names.
fn paths(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    let fault = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::message(format!("the path {:?} does not exist", path.display()))
        }
        _ => Failure::message(format!("the path {:?} cannot be accessed: {e}", path.display())),
    };
    if !std::fs::metadata(path).map_err(fault)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let found = manifests_below(path, recursive).map_err(fault)?;
    if found.is_empty() {
        return Err(Failure::message(format!(
            "error reading [{}]: recognized file extensions are [.json .yaml .yml]",
            path.display()
        )));
    }
    Ok(found)
}

fn manifests_below(folder: &Path, recursive: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let extension = entry.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if entry.is_dir() {
            if recursive {
                found.extend(manifests_below(&entry, true)?);
            }
        } else if matches!(extension, "json" | "yaml" | "yml") {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The objects of one text.
#[must_use]
pub fn documents(file: &str, text: &str) -> Vec<Result<Document, Failure>> {
    let parts = if text.trim_start().starts_with('{') { json(text) } else { yaml(text) };
    let many = parts.len() > 1;
    let numbered = parts.into_iter().enumerate();
    numbered
        .flat_map(|(index, part)| {
            let source = Source { file: file.to_owned(), document: many.then_some(index + 1) };
            objects(part, &source)
        })
        .collect()
}

/// A list's items one by one; anything that is no object is a fault.
fn objects(part: Result<Value, String>, source: &Source) -> Vec<Result<Document, Failure>> {
    let fault = |why: String| vec![Err(Failure::message(format!("error parsing {source}: {why}")))];
    match part {
        Err(why) => fault(why),
        Ok(value) if !value.is_object() => {
            fault("not an object with apiVersion, kind and metadata".to_owned())
        }
        Ok(list) if is_list(&list) => object::list(&list, "/items")
            .iter()
            .flat_map(|item| objects(Ok(item.clone()), source))
            .collect(),
        Ok(object) => {
            let mut kubernetes = dialect::to_kubernetes(object.clone());
            let is_seed = kubernetes != object;
            if is_seed && kubernetes["metadata"] == json!({}) {
                kubernetes["metadata"]["name"] = json!(stem(&source.file));
            }
            let login = if is_seed { dialect::credentials(&mut kubernetes) } else { None };
            let objects = login.into_iter().chain([kubernetes]);
            objects.map(|object| checked(object, source, is_seed)).collect()
        }
    }
}

/// What the file is called, up to the first dot: the name of what has none of its own.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn is_list(value: &Value) -> bool {
    object::kind(value).ends_with("List") && value["items"].is_array()
}

/// What must be there before the server can be asked at all.
fn checked(object: Value, source: &Source, is_seed: bool) -> Result<Document, Failure> {
    let missing: Vec<_> = [("apiVersion", "/apiVersion"), ("kind", "/kind")]
        .into_iter()
        .filter(|(_, pointer)| object::text(&object, pointer).is_empty())
        .map(|(field, _)| format!("{field} not set"))
        .collect();
    let named = !object::name(&object).is_empty()
        || !object::text(&object, "/metadata/generateName").is_empty();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Failure::message(format!(
            "error validating {source}: error validating data: {missing}"
        )));
    }
    if !named {
        let kind = object::kind(&object);
        return Err(Failure::message(format!(
            "error validating {source}: error validating data: {kind}: metadata.name: Required value: resource name may not be empty"
        )));
    }
    match dialect::refusal(&object).filter(|_| is_seed) {
        Some(why) => Err(Failure::message(format!(
            "error validating {source}: error validating data: {why}"
        ))),
        None => Ok(Document { object, source: source.clone(), is_seed }),
    }
}

/// JSON documents one after the other; a fault ends the text.
fn json(text: &str) -> Vec<Result<Value, String>> {
    let mut found = Vec::new();
    for raw in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        let decoded = raw.and_then(|raw| decode::json(raw.get().as_bytes()));
        let failed = decoded.is_err();
        found.push(decoded.map_err(|e| format!("not JSON: {e}")).and_then(unambiguous));
        if failed {
            break;
        }
    }
    found
}

/// YAML documents, each parsed for itself so that a fault in one leaves the others readable.
fn yaml(text: &str) -> Vec<Result<Value, String>> {
    let mut found = Vec::new();
    let (mut part, mut first_line, mut line_number) = (String::new(), 0, 0);
    for line in text.lines() {
        if is_separator(line) {
            found.extend(yaml_document(&part, first_line));
            part.clear();
            first_line = line_number + 1;
        } else {
            part.push_str(line);
            part.push('\n');
        }
        line_number += 1;
    }
    found.extend(yaml_document(&part, first_line));
    found
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']))
}

/// `None` for a document of nothing but comments. Line numbers are those of the file.
fn yaml_document(part: &str, first_line: usize) -> Option<Result<Value, String>> {
    let meaningful = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !part.lines().any(meaningful) {
        return None;
    }
    Some(match decode::yaml(part) {
        Ok(decoded) => unambiguous(decoded),
        Err(YamlError { line, column, what }) => {
            Err(format!("not YAML: line {}, column {column}: {what}", first_line + line))
        }
    })
}

/// Which of two values is meant cannot be told; the server would see only one of them.
fn unambiguous(decoded: Decoded) -> Result<Value, String> {
    match decoded.duplicates.as_slice() {
        [] => Ok(decoded.value),
        twice => Err(twice
            .iter()
            .map(|field| format!("duplicate field {field:?}"))
            .collect::<Vec<_>>()
            .join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let shown = |d: Result<Document, Failure>| match d {
            Ok(d) => format!("{} {}", d.source, object::name(&d.object)),
            Err(failure) => failure.to_string(),
        };
        documents("f.yaml", text).into_iter().map(shown).collect()
    }

    #[test]
    fn documents_are_counted_and_empty_ones_are_not() {
        let text = "---\n# nothing\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n\n--- # last\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n";
        assert_eq!(read(text), ["\"f.yaml\" (document 1) a", "\"f.yaml\" (document 2) b"]);
    }

    #[test]
    fn a_bad_document_is_named_and_leaves_the_others() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: [\n---\nkind: Pod\nmetadata: {name: c}\n---\napiVersion: v1\nkind: Pod\n";
        let read = read(text);
        assert_eq!(read[0], "\"f.yaml\" (document 1) a");
        assert!(
            read[1].starts_with("error: error parsing \"f.yaml\" (document 2): not YAML: line "),
            "{}",
            read[1]
        );
        assert_eq!(
            read[2],
            "error: error validating \"f.yaml\" (document 3): error validating data: apiVersion not set"
        );
        assert_eq!(
            read[3],
            "error: error validating \"f.yaml\" (document 4): error validating data: Pod: metadata.name: Required value: resource name may not be empty"
        );
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubernetes() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  base: &base {a: 1, b: 2}\n  merged: {<<: *base, b: 3}\n  items: [{mode: 0400}]\n  on: yes\n  many: 1_000\n";
        let documents = documents("f.yaml", text);
        let spec = &documents[0].as_ref().unwrap().object["spec"];
        assert_eq!(spec["items"][0]["mode"], 256);
        assert_eq!(spec["merged"], serde_json::json!({"a": 1, "b": 3}));
        assert_eq!(spec["many"], 1000);
    }

    #[test]
    fn a_field_that_is_given_twice_is_refused() {
        let expected = "error: error parsing \"f.yaml\": duplicate field \"metadata.name\"";
        assert_eq!(
            read("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n"),
            [expected]
        );
        let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "name": "b"}}"#;
        assert_eq!(read(json), [expected]);
    }

    #[test]
    fn json_and_lists_are_read() {
        let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b"}}]}"#;
        assert_eq!(read(text), ["\"f.yaml\" a", "\"f.yaml\" b"]);
        assert_eq!(
            read("{")[0],
            "error: error parsing \"f.yaml\": not JSON: EOF while parsing an object at line 1 column 1"
        );
        assert_eq!(
            read("just words")[0],
            "error: error parsing \"f.yaml\": not an object with apiVersion, kind and metadata"
        );
    }

    #[test]
    fn a_folder_gives_its_manifests_in_order_and_goes_down_if_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        for name in ["b.yaml", "a.json", "x.txt", "c/d.yml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |recursive| {
            let found = paths(folder.path(), recursive).unwrap();
            found
                .iter()
                .map(|f| f.strip_prefix(folder.path()).unwrap().display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["a.json", "b.yaml"]);
        assert_eq!(names(true), ["a.json", "b.yaml", "c/d.yml"]);
        let failure = paths(Path::new("/no/such"), false).unwrap_err();
        assert_eq!(failure.to_string(), "error: the path \"/no/such\" does not exist");
    }
}
