//! The runtime as a process of this machine, with a folder as its source.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn runtime() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy/images/function-python/server.py")
}

pub(crate) struct Instance {
    folder: TempDir,
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    client: reqwest::Client,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) id: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The type and the message of an error.
    pub(crate) fn error(&self) -> (String, String) {
        let error = &self.json()["error"];
        let field = |name: &str| error[name].as_str().unwrap().to_owned();
        (field("type"), field("message"))
    }
}

impl Instance {
    /// Runs `func.py` and waits until calls are answered.
    pub(crate) async fn ready(source: &str, environment: &[(&str, &str)]) -> Self {
        let this = Self::start(&[("func.py", source)], environment);
        this.until_ready().await;
        this
    }

    pub(crate) fn start(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("source")).unwrap();
        fs::write(folder.path().join("termination-log"), "").unwrap();
        for (name, text) in files {
            fs::write(folder.path().join("source").join(name), text).unwrap();
        }
        let mut child = Command::new("/usr/bin/python3")
            .arg("-I")
            .arg(runtime())
            .env("MINIK8S_LISTEN", "127.0.0.1:0")
            .env("MINIK8S_FUNCTION_DIR", folder.path().join("source"))
            .env("MINIK8S_TERMINATION_LOG", folder.path().join("termination-log"))
            .env("HERE", folder.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let address = first_line(&mut out).strip_prefix("listening on ").unwrap().to_owned();
        let err = BufReader::new(child.stderr.take().unwrap());
        let readers = vec![collect(out, &log), collect(err, &log)];
        Self { folder, child, address, log, readers, client: client() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let asked = self.client.get(self.url("/readyz")).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    pub(crate) async fn until_ready(&self) {
        until("the instance is ready", async || self.is_ready().await).await;
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call, which begins when the future is first polled.
    pub(crate) async fn call(&self, body: impl Into<String>) -> Answer {
        self.post("/", &[], body).await.unwrap()
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.client.post(self.url(path)).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let id = answer.headers().get("x-request-id");
        let id = id.map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
        Ok(Answer { status: answer.status().as_u16(), id, body: answer.text().await? })
    }

    /// The most memory that the process which speaks HTTP ever had.
    pub(crate) fn server_peak_kilobytes(&self) -> u64 {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let status = |id: &str| fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mut statuses = children.split_whitespace().map(status);
        // The others have no threads.
        let server = statuses.find(|status| field(status, "Threads") > 1).unwrap();
        field(&server, "VmHWM")
    }

    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    }

    /// Waits until it has ended: how, and what the log then has.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        let mut status = None;
        until("the instance ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.unwrap(), self.log())
    }

    /// What the pod's status will say of its end.
    pub(crate) fn termination_message(&self) -> String {
        fs::read_to_string(self.path("termination-log")).unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.terminate();
            self.child.wait().unwrap();
        }
    }
}

/// None of these connections is encrypted, but a client wants to be able to.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
    value.unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn first_line(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn collect(mut from: impl Read + Send + 'static, log: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let log = log.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    })
}

/// Looks until it is so.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}
