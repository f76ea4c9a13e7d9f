//! The runtime in its image (`scripts/images.sh`), as Docker runs it.

use std::{fs, process::Command};

use tempfile::TempDir;

use crate::{
    ADD_FIVE,
    instance::{client, until},
};

const IMAGE: &str = "minik8s/function-python:0.1";

/// A container that shares this machine's network; dropping it removes it.
struct Container(String);

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
        + &String::from_utf8_lossy(&output.stderr)
}

impl Container {
    /// With `source` as its `/function`, and `folder/message` as what its last words are read from.
    fn start(folder: &TempDir, source: &str) -> Self {
        fs::create_dir(folder.path().join("function")).unwrap();
        fs::write(folder.path().join("function/func.py"), source).unwrap();
        fs::write(folder.path().join("message"), "").unwrap();
        let function = format!("{}/function:/function:ro", folder.path().display());
        let message = format!("{}/message:/dev/termination-log", folder.path().display());
        let listen = "MINIK8S_LISTEN=127.0.0.1:0";
        let run = [
            "run",
            "-d",
            "--network",
            "host",
            "-v",
            &function,
            "-v",
            &message,
            "-e",
            listen,
            IMAGE,
        ];
        Self(docker(&run))
    }

    fn log(&self) -> String {
        docker(&["logs", &self.0])
    }

    fn state(&self) -> String {
        docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &self.0])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
    }
}

#[tokio::test]
async fn the_image_answers_calls_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let container = Container::start(&folder, ADD_FIVE);
    let mut address = String::new();
    until("it listens", async || {
        let log = container.log();
        let line = log.lines().find_map(|line| line.strip_prefix("listening on "));
        line.unwrap_or_default().clone_into(&mut address);
        log.contains("loaded the function")
    })
    .await;
    let call = client().post(format!("http://{address}")).body(r#"{"x": 1}"#);
    assert_eq!(call.send().await.unwrap().text().await.unwrap(), r#"{"x": 6}"#);
    docker(&["stop", "-t", "60", &container.0]);
    assert_eq!(container.state(), "exited 0");
}

#[tokio::test]
async fn the_image_says_in_its_last_words_why_it_has_no_function() {
    let folder = tempfile::tempdir().unwrap();
    let container = Container::start(&folder, "import nope\n");
    until("it has ended", async || container.state() == "exited 1").await;
    let message = fs::read_to_string(folder.path().join("message")).unwrap();
    assert!(message.ends_with("ModuleNotFoundError: No module named 'nope'\n"), "{message}");
}
