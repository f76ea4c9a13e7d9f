//! `kubectl config` over one file and over several.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use kubectl::Environment;
use serde_json::Value;

use crate::harness::{Kubectl, Output};

const LAB: &str = "apiVersion: v1\nkind: Config\nunknown: kept\nclusters:\n- cluster: {server: https://lab}\n  name: lab\ncontexts:\n- context: {cluster: lab, user: me, namespace: team}\n  name: lab\ncurrent-context: lab\nusers: []\n";
const HOME: &str = "apiVersion: v1\nkind: Config\nclusters:\n- cluster: {server: https://home}\n  name: home\ncontexts:\n- context: {cluster: home, user: me}\n  name: home\n";

struct Files(Kubectl, tempfile::TempDir);

impl Files {
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(Kubectl::new().await, folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.1.path().join(name)
    }

    /// Runs with these files as `$KUBECONFIG`.
    async fn run(&self, files: &[&str], line: &str) -> Output {
        let list = std::env::join_paths(files.iter().map(|name| self.path(name))).unwrap();
        let environment = Environment {
            kubeconfig: Some(list),
            home: Some(self.1.path().into()),
            ..Environment::default()
        };
        self.0.run_in(environment, &format!("config {line}"), "").await
    }

    fn read(&self, name: &str) -> Value {
        read(&self.path(name))
    }
}

fn read(path: &Path) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test]
async fn only_what_is_given_of_a_context_changes() {
    let files = Files::new(&[("lab", LAB)]).await;
    let said = files.run(&["lab"], "set-context --current --cluster=other").await;
    assert_eq!(said.out, "Context \"lab\" modified.\n");
    let lab = files.read("lab");
    assert_eq!(lab["contexts"][0]["context"]["namespace"], "team", "as it was");
    assert_eq!(lab["contexts"][0]["context"]["cluster"], "other");
    assert_eq!(lab["unknown"], "kept");

    files.run(&["lab"], "set-context --current --namespace=x").await;
    assert_eq!(files.read("lab")["contexts"][0]["context"]["namespace"], "x");
}

#[tokio::test]
async fn a_context_can_be_made_even_the_first_of_all() {
    let files = Files::new(&[("lab", LAB)]).await;
    let said = files.run(&["lab"], "set-context new --cluster=lab --user=you -n team-a").await;
    assert_eq!(said.out, "Context \"new\" created.\n");
    let context = &files.read("lab")["contexts"][1];
    assert_eq!(context["name"], "new");
    assert_eq!(
        context["context"],
        serde_json::json!({"cluster": "lab", "user": "you", "namespace": "team-a"})
    );

    let said = files.run(&["fresh"], "set-context first --cluster=c").await;
    assert_eq!((said.out.as_str(), said.err.as_str()), ("Context \"first\" created.\n", ""));
    assert_eq!(files.read("fresh")["contexts"][0]["name"], "first");
    let mode = fs::metadata(files.path("fresh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it may come to hold keys");
}

#[tokio::test]
async fn of_several_files_each_change_goes_where_it_belongs() {
    let files = Files::new(&[("home", HOME), ("lab", LAB)]).await;
    let both = ["home", "lab"];
    let listed = files.run(&both, "get-contexts").await.out;
    assert!(listed.contains("home") && listed.contains("*         lab"), "{listed}");

    files.run(&both, "set-context lab -n moved").await;
    assert_eq!(files.read("lab")["contexts"][0]["context"]["namespace"], "moved");
    assert_eq!(read(&files.path("home")), serde_yaml::from_str::<Value>(HOME).unwrap());

    // The file that says which context is current goes on saying it.
    let said = files.run(&both, "use-context home").await;
    assert_eq!(said.out, "Switched to context \"home\".\n");
    assert_eq!(files.read("lab")["current-context"], "home");
    assert_eq!(files.run(&both, "current-context").await.out, "home\n");
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_and_changes_nothing() {
    let files = Files::new(&[("home", HOME)]).await;
    for (line, expected) in [
        ("set-context home --current", "you cannot specify both a context name and --current"),
        ("set-context -n x", "you must specify a non-empty context name or --current"),
        ("set-context --current -n x", "no current context is set"),
        ("use-context nope", "no context exists with the name: \"nope\""),
    ] {
        let said = files.run(&["home"], line).await;
        assert!(!said.ok && said.err.contains(expected), "{line}: {}", said.err);
    }
    assert_eq!(fs::read_to_string(files.path("home")).unwrap(), HOME);
}

#[tokio::test]
async fn a_link_stays_a_link_and_a_file_that_is_no_kubeconfig_stays_as_it_is() {
    let files = Files::new(&[("real", LAB), ("words", "just words")]).await;
    std::os::unix::fs::symlink(files.path("real"), files.path("link")).unwrap();
    files.run(&["link"], "set-context lab -n x").await;
    assert!(fs::symlink_metadata(files.path("link")).unwrap().is_symlink());
    assert_eq!(files.read("real")["contexts"][0]["context"]["namespace"], "x");

    assert!(!files.run(&["words"], "set-context lab -n x").await.ok);
    assert_eq!(fs::read_to_string(files.path("words")).unwrap(), "just words");
}
