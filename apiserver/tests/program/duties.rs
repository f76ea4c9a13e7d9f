//! What the server does by itself fails: the program ends, and not as if all were well.

use apiserver::Flags;
use clap::Parser;
use component::Runtime;
use testkit::wait;

#[tokio::test]
async fn a_duty_that_fails_ends_the_program_with_an_error() {
    component::install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let flags = Flags::parse_from([
        "apiserver",
        "--bind-address=127.0.0.1",
        "--secure-port=0",
        &format!("--data-dir={}", path("data")),
        &format!("--kubeconfig-dir={}", path("conf")),
    ]);
    let program = apiserver::main_with(flags, Runtime::default(), |server| {
        server.begin("the duty of the test", async {});
    });
    let ended = wait::within("the program ends", program).await;
    assert_eq!(ended.unwrap_err().to_string(), "the duty of the test has ended");
}
