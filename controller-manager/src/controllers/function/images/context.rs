//! What an image is built of: pure.

use api_types::minik8s::{FunctionSource, FunctionSpec, Language, Runtime, RuntimeImage};

use crate::functions::FunctionArgs;

const REQUIREMENTS: &str = "requirements.txt";
const ARCHIVE: &str = "source.zip";
/// Debian has pip as a wheel, which runs as it is.
const PIP: &str = "python3 $(ls /usr/share/python-wheels/pip-*.whl)/pip";

/// A tar archive with a Dockerfile and the source.
pub(super) fn of(spec: &FunctionSpec, settings: &FunctionArgs) -> Vec<u8> {
    let mut archive = Archive(tar::Builder::new(Vec::new()));
    archive.add("Dockerfile", dockerfile(spec, settings).as_bytes());
    let Some(FunctionSource { files, archive: zip }) = &spec.source else { return archive.end() };
    for (name, text) in files {
        archive.add(&format!("source/{name}"), text.as_bytes());
    }
    if let Some(zip) = zip {
        archive.add(ARCHIVE, &zip.0);
    }
    archive.end()
}

/// Where the build's commands run: what needs no package needs no network.
pub(super) fn network(spec: &FunctionSpec, settings: &FunctionArgs) -> String {
    let network = if may_need_packages(spec) { &settings.function_build_network } else { "none" };
    network.to_owned()
}

/// What is in an archive is not known before it is unpacked.
fn may_need_packages(spec: &FunctionSpec) -> bool {
    let source = spec.source.as_ref();
    source.is_some_and(|source| source.archive.is_some() || source.files.contains_key(REQUIREMENTS))
}

fn dockerfile(spec: &FunctionSpec, settings: &FunctionArgs) -> String {
    match Runtime::named(spec.runtime.as_deref()).map(|runtime| runtime.image) {
        Some(RuntimeImage::Built(Language::Python)) => python(spec, settings),
        // Versions of it have their image from the beginning.
        Some(RuntimeImage::Given) | None => String::new(),
    }
}

/// The code is compiled, which makes starts faster and a wrong syntax a failure of the build. Of packages, parts may be
/// for other versions of Python.
fn python(spec: &FunctionSpec, settings: &FunctionArgs) -> String {
    let mut lines = vec![format!("FROM {}", settings.function_python_image)];
    if spec.source.as_ref().is_some_and(|source| source.archive.is_some()) {
        lines.push(format!("COPY {ARCHIVE} /tmp/{ARCHIVE}"));
        lines.push(format!("RUN python3 -m zipfile -e /tmp/{ARCHIVE} /function"));
    } else {
        lines.push("COPY source/ /function/".to_owned());
    }
    if may_need_packages(spec) {
        let index = settings.function_package_index.as_ref();
        let index = index.map(|url| format!(" --index-url '{url}'")).unwrap_or_default();
        lines.push(format!(
            "RUN if [ -f /function/{REQUIREMENTS} ]; then {PIP} install --no-cache-dir \
             --disable-pip-version-check --target /packages -r /function/{REQUIREMENTS}{index}; fi"
        ));
        lines.push("RUN python3 -m compileall -q /packages || true".to_owned());
    }
    lines.push("RUN python3 -m compileall -q /function".to_owned());
    lines.join("\n") + "\n"
}

/// A tar archive that is the same whenever it is made.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn add(&mut self, path: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        self.0
            .append_data(&mut header, path, content)
            .expect("a relative path without `..` can be written to memory");
    }

    fn end(self) -> Vec<u8> {
        self.0.into_inner().expect("memory can be written to")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use serde_json::json;

    use super::*;

    fn check(source: serde_json::Value, network_of: &str, expected: &[(&str, &str)]) {
        let spec: FunctionSpec = serde_json::from_value(json!({"source": source})).unwrap();
        let settings = FunctionArgs {
            function_python_image: "base".to_owned(),
            function_package_index: Some("http://index/simple".to_owned()),
            ..FunctionArgs::default()
        };
        let made = of(&spec, &settings);
        assert_eq!(made, of(&spec, &settings));
        let mut archive = tar::Archive::new(&*made);
        let entries = archive.entries().unwrap().map(|entry| {
            let (mut entry, mut text) = (entry.unwrap(), String::new());
            let path = entry.path().unwrap().display().to_string();
            entry.read_to_string(&mut text).unwrap();
            (path, text)
        });
        let entries: Vec<_> = entries.collect();
        let entries: Vec<_> = entries.iter().map(|(path, text)| (&**path, &**text)).collect();
        assert_eq!(entries, expected);
        assert_eq!(network(&spec, &settings), network_of);
    }

    #[test]
    fn of_files() {
        let dockerfile =
            "FROM base\nCOPY source/ /function/\nRUN python3 -m compileall -q /function\n";
        check(
            json!({"files": {"a.py": "A", "lib/b.py": "B"}}),
            "none",
            &[("Dockerfile", dockerfile), ("source/a.py", "A"), ("source/lib/b.py", "B")],
        );
    }

    const INSTALL: &str = "RUN if [ -f /function/requirements.txt ]; then python3 $(ls /usr/share/python-wheels/pip-*.whl)/pip install --no-cache-dir --disable-pip-version-check --target /packages -r /function/requirements.txt --index-url 'http://index/simple'; fi\nRUN python3 -m compileall -q /packages || true\nRUN python3 -m compileall -q /function\n";

    #[test]
    fn of_files_that_need_packages() {
        let dockerfile = format!("FROM base\nCOPY source/ /function/\n{INSTALL}");
        check(
            json!({"files": {"a.py": "A", "requirements.txt": "six"}}),
            "bridge",
            &[
                ("Dockerfile", &dockerfile),
                ("source/a.py", "A"),
                ("source/requirements.txt", "six"),
            ],
        );
    }

    #[test]
    fn of_an_archive() {
        let unpack = "FROM base\nCOPY source.zip /tmp/source.zip\nRUN python3 -m zipfile -e /tmp/source.zip /function\n";
        let dockerfile = format!("{unpack}{INSTALL}");
        let zip = [("Dockerfile", &*dockerfile), ("source.zip", "PK")];
        check(json!({"archive": "UEs="}), "bridge", &zip);
    }
}
