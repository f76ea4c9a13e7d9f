//! The invariants of ARCHITECTURE.md that can be read off the code: who depends on whom, and who names what.
//! `UPDATE_EXPECT=1 cargo test -p tests --test architecture` accepts a new crate graph.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use expect_test::expect_file;

const PROGRAMS: [&str; 8] = [
    "apiserver",
    "controller-manager",
    "gpu-server",
    "kube-proxy",
    "kubectl",
    "kubelet",
    "scheduler",
    "serverless-gateway",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata(dependencies: bool) -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    if !dependencies {
        command.no_deps();
    }
    command.exec().unwrap()
}

/// The workspace's packages that `package` depends on outside tests.
fn ours(package: &Package, names: &BTreeSet<String>) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
    normal.map(|d| d.name.clone()).filter(|n| names.contains(n)).collect()
}

fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata(false);
    let names = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    metadata.packages.iter().map(|p| (p.name.to_string(), ours(p, &names))).collect()
}

#[test]
fn the_crate_graph_is_the_reviewed_one() {
    let mut text = String::new();
    for (package, dependencies) in graph() {
        let dependencies: Vec<_> = dependencies.into_iter().collect();
        writeln!(text, "{package} -> {}", dependencies.join(" ")).unwrap();
    }
    expect_file![root().join("tests/architecture.graph")].assert_eq(&text);
}

#[test]
fn programs_never_depend_on_programs_nor_crates_on_programs() {
    for (package, dependencies) in graph() {
        // The two that start a control plane in their own process, for tests and measurements.
        if ["testkit", "tests", "bench"].contains(&package.as_str()) {
            continue;
        }
        for program in PROGRAMS {
            assert!(!dependencies.contains(program), "{package} depends on the program {program}");
        }
        assert!(!dependencies.contains("testkit"), "{package} needs testkit outside its tests");
    }
}

#[test]
fn only_the_apiserver_links_the_store() {
    let linking: Vec<_> =
        graph().into_iter().filter(|(_, to)| to.contains("store")).map(|(from, _)| from).collect();
    assert_eq!(linking, ["apiserver", "bench", "testkit"]);
}

/// A library, and the only place that may name it.
const RIMS: [(&str, &str); 5] = [
    ("bollard", "kubelet/src/runtime/docker.rs"),
    ("russh", "gpu-server/src/transport/ssh.rs"),
    ("redis", "crates/listwatch"),
    ("etcd_client", "crates/store"),
    ("redb", "crates/store"),
];

#[test]
fn each_outside_system_is_named_in_one_place() {
    for source in sources(&root()) {
        let text = fs::read_to_string(&source).unwrap();
        let place = source.strip_prefix(root()).unwrap();
        for (library, rim) in RIMS {
            // The load programs and the test of the invariant itself speak to the raw servers.
            let allowed = place.starts_with(rim) || place.starts_with("tests");
            let named = text.lines().any(|l| names(l, library));
            assert!(allowed || !named, "{} names {library}, which only {rim} may", place.display());
        }
    }
}

/// Whether a line of code (not a comment) uses a library: `bollard::…`, `use bollard`.
fn names(line: &str, library: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let uses = |at: usize| {
        let before = code[..at].chars().next_back();
        let after = &code[at + library.len()..];
        !before.is_some_and(|c| c.is_alphanumeric() || "_\"/-.:{".contains(c))
            && after.starts_with("::")
    };
    code.match_indices(library).any(|(at, _)| uses(at))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_registry_and_the_machinery_are_pure() {
    let metadata = metadata(false);
    for package in metadata
        .packages
        .iter()
        .filter(|p| ["registry", "api-machinery", "api-types"].contains(&p.name.as_str()))
    {
        for io in ["tokio", "axum", "hyper", "reqwest", "store"] {
            let links = package
                .dependencies
                .iter()
                .any(|d| d.name == io && d.kind == DependencyKind::Normal);
            assert!(!links, "{} links {io}", package.name);
        }
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let allowed: BTreeSet<&str> = deny
        .lines()
        .find(|l| l.starts_with("allow = "))
        .unwrap()
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    for package in metadata(true).packages {
        let licence = package.license.clone().unwrap_or_default();
        // One of the alternatives must do; all parts of it must.
        let permitted = |one: &str| {
            one.split(" AND ").all(|l| allowed.contains(l.trim_matches(['(', ')', ' '])))
        };
        let fine = licence.replace('/', " OR ").split(" OR ").any(permitted);
        assert!(fine, "{} {} has licence {licence:?}", package.name, package.version);
    }
}

#[test]
fn nothing_names_the_place_it_was_written_at() {
    // Assembled, so that this file does not.
    let marks = [["/wo", "rk/"].concat(), ["farm", "-studio"].concat()];
    for source in sources(&root()) {
        let text = fs::read_to_string(&source).unwrap();
        assert!(
            !marks.iter().any(|m| text.contains(m)),
            "{} names a path of a developer's machine",
            source.display()
        );
    }
}
