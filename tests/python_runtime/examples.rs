//! `examples/functions`: each does what it says.

use std::{fs, path::Path};

use serde_json::json;

use crate::instance::Instance;

#[tokio::test]
async fn each_example_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/functions");
    let cases = [
        ("addFive.py", json!({"x": 100}), json!({"x": 105})),
        ("addFive2.py", json!({"x": 100}), json!({"x": 106})),
        ("addString.py", json!({"x": "mini", "y": "k8s"}), json!({"ans": "minik8s"})),
        (
            "func.py",
            json!({"name": "Ada", "a": 1, "b": 2}),
            json!({"sentence": "Ada says that 1 and 2 make 3."}),
        ),
        ("printEquals.py", json!({"x": 10}), json!("Equals")),
        ("printNotEquals.py", json!({"x": 9}), json!("Not equals")),
    ];
    let sources = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let sources = sources.filter(|path| path.extension().is_some_and(|e| e == "py"));
    assert_eq!(sources.count(), cases.len(), "each has a case here");
    for (file, parameters, result) in cases {
        let source = fs::read_to_string(folder.join(file)).unwrap();
        let instance = Instance::start(&[(file, source.as_str())], &[]);
        instance.until_ready().await;
        let answer = instance.call(parameters.to_string()).await;
        assert_eq!((answer.status, answer.json()), (200, result), "{file}");
    }
}
