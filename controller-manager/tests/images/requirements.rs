//! What is in `requirements.txt`.

use api_types::minik8s::FunctionVersionPhase;
use serde_json::{Value, json};
use testkit::wait;

use crate::index::{Index, LOGIN};
use crate::{Rig, condition, docker, version};

const CODE: &str = "import greet\n\ndef main(params):\n    return greet.greet(params['name'])\n";

fn source(requirements: &str) -> Value {
    json!({"files": {"hello.py": CODE, "requirements.txt": requirements}})
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_come_from_the_index_and_one_that_is_missing_leaves_the_old_version_serving() {
    let index = Index::start().await;
    let rig = Rig::start("images-greeter", index.settings()).await;
    rig.create(json!({"source": source("greet==1.0\n")})).await;
    let image = rig.until_built(1).await;
    assert_eq!(called(&image, r#"{"name": "Ada"}"#).await, r#""hello Ada""#);
    rig.until_serves(1).await;

    rig.change(json!({"source": source("nowhere==1.0\n")})).await;
    let words = "No matching distribution found for nowhere==1.0";
    let status = rig
        .until_status("a build that failed", |status| {
            version(status, 2).is_some_and(|version| version.phase == FunctionVersionPhase::Failed)
                && condition(status, "Built").0 == "False"
        })
        .await;
    let failed = version(&status, 2).unwrap();
    assert!(failed.build_log.as_ref().unwrap().contains(words), "{failed:?}");
    assert!(failed.build_log.as_ref().unwrap().contains("****@"), "{failed:?}");
    assert!(!format!("{status:?}").contains(LOGIN), "{status:?}");
    assert!(condition(&status, "Built").1.contains(words), "{status:?}");
    assert!(condition(&status, "Ready").1.contains("version 1 serves"), "{status:?}");
    assert_eq!(status.version, Some(1));
    rig.until_event("BuildFailed", words).await;

    assert_eq!(rig.images(), [image]);
    rig.delete().await;
    rig.until_gone().await;
    assert_eq!(rig.images(), [""; 0]);
}

/// What an instance of the image answers.
async fn called(image: &str, body: &str) -> String {
    let entry_point = "MINIK8S_ENTRY_POINT=hello:main";
    let id = docker(&["run", "-d", "--rm", "--network", "none", "-e", entry_point, image]);
    let id = Container(id.trim().to_owned());
    let code = format!(
        "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/', data=b'{body}').read().decode())"
    );
    wait::until("an answer", async || {
        let args = ["exec", &id.0, "python3", "-c", &code];
        let asked = std::process::Command::new("docker").args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        if asked.status.success() { Ok(text(asked.stdout)) } else { Err(text(asked.stderr)) }
    })
    .await
}

struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", &self.0]);
    }
}
