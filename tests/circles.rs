//! Circles among the modules of a crate: what names each other can't be understood, nor changed, one by one.
//!
//! They are looked for at every level, among the modules of one folder, each with all that is below it, and the file of the
//! module that they are in, here called `.`. A path counts for the module that has the item, through re-exports and imports.
//! A module may show what its own parts have (`pub use part::Item`): that is no use of them. Tests don't count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What stands for the file of the module that others are in.
const OWN_FILE: &str = ".";

/// A module's path, without `crate`.
type Module = Vec<String>;

/// The modules of a crate.
struct Crate {
    files: BTreeMap<Module, File>,
}

#[derive(Default)]
struct File {
    /// What is named in it, as it is written.
    paths: BTreeSet<Module>,
    /// What it re-exports, as it is written.
    shown: BTreeSet<Module>,
    /// What names mean that are imported: their paths as they are written.
    imports: BTreeMap<String, Module>,
}

/// The circles of the crate whose code is in this folder: the folder or file of each, and its members.
pub(crate) fn of_crate(source: &Path) -> Vec<(String, Vec<String>)> {
    let root = ["lib.rs", "main.rs"].map(|name| source.join(name));
    let root = root.iter().find(|path| path.exists()).expect("a crate has a root");
    let mut files = BTreeMap::new();
    read(root, source, Module::new(), &mut files);
    Crate { files }.circles()
}

/// Reads a module's file and those of the modules below.
fn read(file: &Path, folder: &Path, module: Module, files: &mut BTreeMap<Module, File>) {
    let text = without_tests(&fs::read_to_string(file).expect("a module has a file"));
    for name in declared(&text) {
        let (flat, nested) = (folder.join(format!("{name}.rs")), folder.join(&name));
        let file = if flat.exists() { flat } else { nested.join("mod.rs") };
        if file.exists() {
            read(&file, &nested, joined(&module, &name), files);
        }
    }
    files.insert(module, File::of(&text));
}

fn joined(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

/// The code, without comments, up to the tests at its end, and without the modules that are for tests only.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            code.push_str(line);
            code.push('\n');
            continue;
        }
        let tested = lines.find(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
        if tested.trim_end().ends_with('{') {
            let indent = &tested[..tested.len() - tested.trim_start().len()];
            let end = format!("{indent}}}");
            lines.find(|line| line.trim_end() == end);
        }
    }
    code
}

/// The modules that are declared, but those written out in place.
fn declared(code: &str) -> Vec<String> {
    let declared = |line: &str| {
        let (before, name) = line.trim().strip_suffix(';')?.split_once("mod ")?;
        let is_declaration = before.is_empty() || before.starts_with("pub");
        is_declaration.then(|| name.trim().to_owned())
    };
    code.lines().filter_map(declared).collect()
}

impl File {
    fn of(code: &str) -> Self {
        let (mut this, mut rest) = (Self::default(), String::new());
        let children = declared(code);
        for statement in code.split_inclusive(';') {
            let Some((before, tree)) = import(statement) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(before);
            let is_shown =
                before.rsplit(['}', ';', '\n']).next().unwrap_or_default().contains("pub");
            for (path, name) in leaves(tree) {
                let is_ours =
                    ["crate", "super", "self"].contains(&&*path[0]) || children.contains(&path[0]);
                if !is_ours {
                    continue;
                }
                if is_shown { &mut this.shown } else { &mut this.paths }.insert(path.clone());
                this.imports.insert(name, path);
            }
        }
        this.paths.extend(inline(&rest, &children));
        // What is shown and used as well.
        let words: BTreeSet<&str> =
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let used = this.imports.iter().filter(|(name, _)| words.contains(name.as_str()));
        this.paths.extend(used.map(|(_, path)| path.clone()));
        this
    }
}

/// What is before the `use` that a statement ends with, and what is used.
fn import(statement: &str) -> Option<(&str, &str)> {
    let at = statement.rfind("use ").filter(|at| {
        let before = statement[..*at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['\n', ')']) || before.ends_with("pub")
    })?;
    Some((&statement[..at], statement[at + 4..].trim_end_matches(';')))
}

/// The paths of a tree of imports, each with the name that it gets.
fn leaves(tree: &str) -> Vec<(Module, String)> {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Module = path.split("::").map(|name| name.trim().to_owned()).collect();
        let last = path.iter().rfind(|name| *name != "self").cloned().unwrap_or_default();
        let name = if name.is_empty() { last } else { name.trim().to_owned() };
        return vec![(path, name)];
    };
    let before: Module =
        before.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let mut depth = 0;
    let parts = group.trim_end().trim_end_matches('}').split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    });
    let parts = parts.filter(|part| !part.trim().is_empty()).flat_map(leaves);
    let below = |(path, name): (Module, String)| {
        let whole: Module =
            before.iter().cloned().chain(path.into_iter().filter(|s| s != "self")).collect();
        let name = if name.is_empty() { whole.last().cloned().unwrap_or_default() } else { name };
        (whole, name)
    };
    parts.map(below).collect()
}

/// The paths within expressions and types.
fn inline(code: &str, children: &[String]) -> BTreeSet<Module> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !is_name(c)).filter(|word| word.contains("::"));
    let paths = words.map(|word| word.split("::").map(str::to_owned).collect::<Module>());
    let is_ours = |path: &Module| {
        ["crate", "super", "self"].contains(&&*path[0]) || children.contains(&path[0])
    };
    paths.filter(is_ours).collect()
}

impl Crate {
    fn circles(&self) -> Vec<(String, Vec<String>)> {
        let mut circles = Vec::new();
        for level in self.files.keys() {
            let found = rings(&self.graph(level)).into_iter();
            circles.extend(found.map(|ring| (level.join("/"), ring)));
        }
        circles
    }

    /// What of the modules just below a module, and of its own file, names which others of them.
    fn graph(&self, level: &Module) -> BTreeMap<String, BTreeSet<String>> {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let node = |module: &Module| {
            let inside = module.strip_prefix(level.as_slice())?;
            Some(inside.first().cloned().unwrap_or_else(|| OWN_FILE.to_owned()))
        };
        for (module, file) in &self.files {
            let Some(from) = node(module) else { continue };
            let shown = file.shown.iter().map(|path| self.target(module, path, 0));
            // A module may show what its own parts have.
            let shown = shown.filter(|target| !target.starts_with(module));
            let used = file.paths.iter().map(|path| self.target(module, path, 0));
            let to = used.chain(shown).filter_map(|target| node(&target)).filter(|to| *to != from);
            graph.entry(from.clone()).or_default().extend(to.collect::<Vec<_>>());
        }
        graph
    }

    /// The module that has what a path in another one names.
    fn target(&self, module: &Module, path: &Module, depth: usize) -> Module {
        let mut at = module.clone();
        for (index, name) in path.iter().enumerate() {
            match name.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                name if self.files.contains_key(&joined(&at, name)) => at = joined(&at, name),
                name => {
                    let import = self.files.get(&at).and_then(|file| file.imports.get(name));
                    let Some(import) = import.filter(|_| depth < 8 && at != *module) else {
                        return at;
                    };
                    let whole: Module = import.iter().chain(&path[index + 1..]).cloned().collect();
                    return self.target(&at, &whole, depth + 1);
                }
            }
        }
        at
    }
}

/// Sets of those that lead to each other.
fn rings(graph: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut rings = BTreeSet::new();
    for (from, to) in &reached {
        if to.contains(from) {
            let ring = to
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(from)));
            rings.insert(ring.map(|name| (*name).clone()).collect::<Vec<_>>());
        }
    }
    rings.into_iter().collect()
}

fn reachable<'a>(
    graph: &'a BTreeMap<String, BTreeSet<String>>,
    from: &String,
) -> BTreeSet<&'a String> {
    let (mut reached, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(node) = todo.pop() {
        for next in graph.get(node).into_iter().flatten() {
            if reached.insert(next) {
                todo.push(next);
            }
        }
    }
    reached
}
