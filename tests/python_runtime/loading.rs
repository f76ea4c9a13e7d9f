//! How the source gets in: from the folder of the image, or into a warm instance.

use serde_json::{Value, json};

use crate::{ADD_FIVE, instance::Instance};

/// What the pod's status says of an instance that cannot load its function.
async fn refused(files: &[(&str, &str)], entry_point: &str) -> String {
    let mut instance = Instance::start(files, &[("MINIK8S_ENTRY_POINT", entry_point)]);
    let (status, log) = instance.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    let message = instance.termination_message();
    assert!(log.contains(&message), "{log}");
    message
}

#[tokio::test]
async fn a_source_that_cannot_be_loaded_says_why_and_ends() {
    let cases = [
        ("def main(params)\n    pass\n", "", "func.py\", line 1\n"),
        ("def main(params)\n    pass\n", "", "SyntaxError: expected ':'"),
        ("def other(params):\n    pass\n", "", "module 'func' has no function 'main'\n"),
        ("main = 7\n", "", "module 'func' has no function 'main'\n"),
        (ADD_FIVE, "func:add", "module 'func' has no function 'add'\n"),
        (ADD_FIVE, "nope:main", "ModuleNotFoundError: No module named 'nope'"),
        ("import nope\n", "", "ModuleNotFoundError: No module named 'nope'"),
        ("import sys\nsys.exit(0)\n", "", "SystemExit: 0"),
        ("import os\nos._exit(0)\n", "", "the process ended while it loaded the function\n"),
    ];
    for (source, entry_point, expected) in cases {
        let message = refused(&[("func.py", source)], entry_point).await;
        assert!(message.contains(expected), "{source}: {message}");
        assert!(!message.contains("function_runtime"), "only the function's own lines: {message}");
    }
}

#[tokio::test]
async fn the_entry_point_is_main_of_the_usual_or_the_only_module_unless_it_is_named() {
    let other = ("other.py", "def main(p):\n    return 'other'\ndef also(p):\n    return 'also'\n");
    let func = ("func.py", "import other\ndef main(p):\n    return 'func'\n");
    let main = ("main.py", "def main(p):\n    return 'main'\n");
    let cases = [
        (&[other][..], "", r#""other""#),
        (&[other, main], "", r#""main""#),
        (&[other, main, func], "", r#""func""#),
        (&[other, func], "other", r#""other""#),
        (&[other, func], "other:also", r#""also""#),
    ];
    for (files, entry_point, expected) in cases {
        let instance = Instance::start(files, &[("MINIK8S_ENTRY_POINT", entry_point)]);
        instance.until_ready().await;
        assert_eq!(instance.call("").await.body, expected, "{entry_point}");
    }
    let message = refused(&[other, ("another.py", "")], "").await;
    let expected = "an entry point is needed, MODULE:FUNCTION: there is another.py, other.py\n";
    assert_eq!(message, expected);
    assert!(refused(&[], "").await.contains("there is no .py file"));
}

const TOKEN: &str = "secret";

fn warm() -> Instance {
    Instance::start(&[], &[("MINIK8S_WARM", "1"), ("MINIK8S_LOAD_TOKEN", TOKEN)])
}

/// The status and the answer of a load.
async fn load(instance: &Instance, token: &str, request: &Value) -> (u16, Value) {
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let answer = instance.post("/_minik8s/load", &headers, request.to_string()).await.unwrap();
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_warm_instance_becomes_the_function_it_is_given_once_and_by_who_knows_the_token() {
    let instance = warm();
    assert!(instance.is_ready().await, "ready to be loaded");
    assert_eq!(instance.call("").await.status, 503);
    let source =
        "import os, more.five\ndef run(p):\n    return os.environ['WHO'], more.five.add(p)\n";
    let request = json!({
        "files": {"only.py": source, "more/five.py": "def add(n):\n    return n + 5\n"},
        "entryPoint": "only:run", "env": {"WHO": "me"}, "timeoutSeconds": 5, "concurrency": 1,
    });
    assert_eq!(load(&instance, "other", &request).await.0, 401);
    assert_eq!(load(&instance, TOKEN, &json!([1])).await.0, 400);
    assert_eq!(load(&instance, TOKEN, &request).await, (200, json!({})));
    assert_eq!(instance.call("1").await.json(), json!(["me", 6]));
    assert_eq!(load(&instance, TOKEN, &request).await.0, 409);
    assert_eq!(instance.call("2").await.json(), json!(["me", 7]));
}

#[tokio::test]
async fn a_warm_instance_takes_an_archive() {
    let instance = warm();
    // func.py: def main(p): return "zipped"
    let archive = "UEsDBBQAAAAAAAAAIQCQTIXzHQAAAB0AAAAHAAAAZnVuYy5weWRlZiBtYWluKHApOiByZXR1cm4gInppcHBlZCIKUEsBAhQDFAAAAAAAAAAhAJBMhfMdAAAAHQAAAAcAAAAAAAAAAAAAAIABAAAAAGZ1bmMucHlQSwUGAAAAAAEAAQA1AAAAQgAAAAAA";
    assert_eq!(load(&instance, TOKEN, &json!({"archive": archive})).await.0, 200);
    assert_eq!(instance.call("").await.body, r#""zipped""#);
}

#[tokio::test]
async fn a_warm_instance_that_cannot_load_says_why_and_ends() {
    for (request, kind) in [
        (json!({"files": {"func.py": "import nope"}}), "ModuleNotFoundError"),
        (json!({"files": {"func.py": "x"}, "archive": "no base64"}), "BadSource"),
        (json!({"archive": "AAAA"}), "BadSource"),
    ] {
        let mut instance = warm();
        let (status, answer) = load(&instance, TOKEN, &request).await;
        assert_eq!((status, answer["error"]["type"].as_str()), (422, Some(kind)), "{answer}");
        assert_eq!(instance.ended().await.0.code(), Some(1));
        assert!(!instance.termination_message().is_empty());
    }
}

#[tokio::test]
async fn files_of_a_load_stay_in_their_folder() {
    let instance = warm();
    let request = json!({"files": {"func.py": ADD_FIVE, "../../outside.py": "", "/top.py": ""}});
    assert_eq!(load(&instance, TOKEN, &request).await.0, 200);
    assert!(!instance.path("../outside.py").exists() && !instance.path("outside.py").exists());
    for name in ["outside.py", "top.py"] {
        assert!(instance.path("source").join(name).exists(), "{name}");
    }
}
