//! The invariants of ARCHITECTURE.md that can be read off the code: who depends on whom, and who names what.
//! `UPDATE_EXPECT=1 cargo test -p tests --test architecture` accepts a new crate graph.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod circles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use expect_test::expect_file;
use testkit::PROGRAMS;

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
        // Those that start a control plane in their own process, for tests and measurements, and the programs in one
        // file, of which a process runs one.
        if ["envtest", "testkit", "tests", "bench", "minik8s"].contains(&package.as_str()) {
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

/// An outside system, as code names it, and the only places that may: beginnings of paths.
struct Rim {
    name: Name,
    places: &'static [&'static str],
}

enum Name {
    /// A library.
    Crate(&'static str),
    /// A program that is run.
    Program(&'static str),
}

/// Where there are no places, nobody may.
const RIMS: [Rim; 16] = [
    Rim { name: Name::Crate("bollard"), places: &["crates/docker/"] },
    Rim { name: Name::Program("docker"), places: &[] },
    Rim { name: Name::Program("iptables"), places: &["crates/packet-filter/"] },
    Rim { name: Name::Crate("iptables"), places: &["crates/packet-filter/"] },
    Rim { name: Name::Program("nft"), places: &["crates/packet-filter/src/nftables/"] },
    Rim { name: Name::Program("weave"), places: &["kubelet/src/network/weave.rs"] },
    Rim { name: Name::Crate("redis"), places: &["crates/listwatch/"] },
    Rim { name: Name::Crate("etcd_client"), places: &["crates/store/"] },
    Rim { name: Name::Crate("redb"), places: &["crates/store/"] },
    Rim { name: Name::Crate("hickory_proto"), places: &["kube-proxy/src/dns/"] },
    Rim { name: Name::Crate("hickory_resolver"), places: &["kube-proxy/src/dns/"] },
    Rim { name: Name::Crate("hickory_server"), places: &["kube-proxy/src/dns/"] },
    Rim { name: Name::Crate("pnet_datalink"), places: &["kube-proxy/src/announcer/"] },
    Rim { name: Name::Crate("rtnetlink"), places: &["crates/netlink/"] },
    Rim { name: Name::Crate("russh"), places: &["gpu-server/src/ssh/"] },
    Rim { name: Name::Crate("russh_sftp"), places: &["gpu-server/src/remote/"] },
];

#[test]
fn each_outside_system_is_named_only_where_it_may_be_and_is_named_there() {
    let sources: Vec<_> = sources(&root()).into_iter().filter(|source| !is_test(source)).collect();
    for rim in RIMS {
        let naming: Vec<String> =
            sources.iter().filter(|s| rim.name.is_in(s)).map(|s| place(s)).collect();
        for place in &naming {
            let allowed = rim.places.iter().any(|rim| place.starts_with(rim));
            assert!(allowed, "{place} names {}, which only {:?} may", rim.name, rim.places);
        }
        // A rule about a file that is not there, or is there no more, says nothing.
        for rim_place in rim.places {
            let named = naming.iter().any(|place| place.starts_with(rim_place));
            assert!(named, "{rim_place} does not name {}: the rule is out of date", rim.name);
        }
    }
}

#[test]
fn a_library_of_the_rim_is_a_dependency_only_of_those_who_may_name_it() {
    for package in metadata(false).packages {
        let folder = place(package.manifest_path.parent().unwrap().as_std_path());
        for rim in RIMS {
            let Name::Crate(library) = rim.name else { continue };
            let normal = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
            let links = normal.filter(|d| d.name.replace('-', "_") == library).count() > 0;
            let may = rim.places.iter().any(|rim| rim.starts_with(&format!("{folder}/")));
            assert!(may || !links, "{} depends on {library} and may not name it", package.name);
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Crate(library) => write!(f, "the library {library}"),
            Name::Program(program) => write!(f, "the program {program}"),
        }
    }
}

impl Name {
    fn is_in(&self, source: &Path) -> bool {
        let text = fs::read_to_string(source).unwrap();
        text.lines().any(|line| self.is_in_line(line))
    }

    /// In code, not in a comment.
    fn is_in_line(&self, line: &str) -> bool {
        let code = line.split("//").next().unwrap_or_default();
        match self {
            Name::Crate(library) => uses(code, library),
            // `iptables-restore` is of the family.
            Name::Program(program) => {
                ["\"", "-"].iter().any(|end| code.contains(&format!("\"{program}{end}")))
            }
        }
    }
}

#[test]
fn what_names_a_system_is_told_from_what_does_not() {
    let library = Name::Crate("redis");
    for line in ["use redis::Client;", "    redis::cmd(x)", "use redis as r;", "use {redis::A, b};"]
    {
        assert!(library.is_in_line(line), "{line}");
    }
    for line in
        ["// redis::cmd", "let url = \"redis://x\";", "my_redis::x", "args.redis.as_deref()"]
    {
        assert!(!library.is_in_line(line), "{line}");
    }
    let program = Name::Program("docker");
    assert!(program.is_in_line("Command::new(\"docker\")"));
    assert!(Name::Program("iptables").is_in_line("run(\"iptables-restore\")"));
    assert!(!program.is_in_line("label(\"docker.io\") // \"docker\""));
}

/// `bollard::…`, `use bollard as …`.
fn uses(code: &str, library: &str) -> bool {
    code.match_indices(library).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + library.len()..];
        let whole = !before.is_some_and(|c| c.is_alphanumeric() || "_\"/-.:".contains(c));
        whole && (after.starts_with("::") || after.starts_with(" as "))
    })
}

/// Tests, the load programs and the kit may speak to the raw servers.
fn is_test(source: &Path) -> bool {
    let place = place(source);
    place.starts_with("tests/") || place.contains("/tests/") || place.starts_with("crates/testkit/")
}

/// Where a file is in the repository.
fn place(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
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
fn modules_form_no_circles() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let programs = PROGRAMS.iter().map(|program| root().join(program));
    for folder in crates.chain(programs) {
        let source = folder.join("src");
        let found = circles::of_crate(&source);
        assert!(found.is_empty(), "modules of {} lead in circles: {found:?}", place(&source));
    }
}

#[test]
fn a_circle_of_modules_is_found_at_every_level_and_a_facade_is_none() {
    let check = |files: &[(&str, &str)], expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = circles::of_crate(folder.path()).into_iter();
        let found: Vec<_> = found.map(|(at, ring)| format!("{at}: {}", ring.join(" "))).collect();
        assert_eq!(found, expected, "{files:?}");
    };
    let root = ("lib.rs", "mod a;\npub mod b;\npub(crate) use a::A;\n");
    check(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "struct B;")], &[]);
    check(&[root, ("a.rs", "use crate::{c, b::B};"), ("b.rs", "use super::a;")], &[": a b"]);
    check(&[root, ("a.rs", "use crate::b;"), ("b.rs", "fn f(a: &crate::A) {}")], &[": a b"]);
    check(&[root, ("a.rs", "use crate::b;"), ("b.rs", "// crate::a\n")], &[]);
    check(
        &[
            root,
            ("a.rs", "use crate::b;"),
            ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n"),
        ],
        &[],
    );
    let facade = ("b/mod.rs", "mod c;\nmod d;\npub use c::C;\npub struct B;\n");
    let parts =
        [root, ("a.rs", ""), ("b/c.rs", "use super::B;"), ("b/d.rs", "use self::super::C;")];
    check(&[&parts[..], &[facade]].concat(), &[]);
    let user = ("b/mod.rs", "mod c;\nmod d;\npub use c::C;\npub struct B(C);\n");
    check(&[&parts[..], &[user]].concat(), &["b: . c"]);
    let deep = [
        root,
        facade,
        ("a.rs", ""),
        ("b/c.rs", "use super::{d::{self}};"),
        ("b/d.rs", "use super::C;"),
    ];
    check(&deep, &["b: c d"]);
}

#[test]
fn controllers_ask_their_clock_for_the_time() {
    let sources = sources(&root().join("controller-manager/src"));
    let asking =
        sources.iter().filter(|s| fs::read_to_string(s).unwrap().contains("Timestamp::now"));
    let asking: Vec<_> = asking.map(|source| place(source)).collect();
    assert_eq!(asking, ["controller-manager/src/clock.rs"]);
}

#[test]
fn the_registry_and_the_machinery_are_pure() {
    let metadata = metadata(false);
    for package in metadata.packages.iter().filter(|p| {
        ["registry", "api-machinery", "api-types", "workflow"].contains(&p.name.as_str())
    }) {
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
