//! The Docker Engine, as far as this project needs it: the only place that names `bollard`. It
//! translates and decides nothing; what containers are for is their owners' matter.
//!
//! Guarantees: a daemon may be away, come back, and be replaced by one of another version at any time.
//! Requests name a version of the API that both sides know, agreed upon with the first request.
//!
//! Errors: by what a caller does about them, see [`Error`].

mod build;
mod container;
mod error;
mod exec;
mod frames;
mod image;
mod stream;
mod upgrade;
mod version;

use std::{env, fmt, sync::Arc, time::Duration};

use bollard::errors::Error as EngineError;
use parking_lot::Mutex;
use tokio::{net::UnixStream, time::timeout};

pub use bollard::models;
pub use build::{Build, Credentials};
pub use error::Error;
pub use exec::{Command, Exec, Process, Streams};
pub use frames::Output;
pub use stream::LogOptions;
use version::Agreed;

/// A daemon under load takes seconds; one that takes this long is stuck. What is a stream (pulls, logs,
/// events) may begin within this time and then go on for ever.
const PATIENCE: Duration = Duration::from_secs(120);
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// One daemon.
#[derive(Clone)]
pub struct Docker {
    host: Host,
    /// Once connected.
    agreed: Arc<Mutex<Option<Agreed>>>,
}

/// Where a daemon listens.
#[derive(Clone, Debug)]
enum Host {
    Unix(String),
    Http(String),
}

/// Where the daemon is if nobody says so: at `$DOCKER_HOST`, as for Docker's own tools, or at the usual
/// socket.
pub fn default_host() -> String {
    let given = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    given.unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

impl Docker {
    /// The daemon at `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`. Connects with the first
    /// request.
    ///
    /// # Errors
    /// [`Error::Host`].
    pub fn new(host: &str) -> Result<Self, Error> {
        Ok(Docker { host: host.parse()?, agreed: Arc::default() })
    }

    /// The daemon's and the system's description.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub async fn info(&self) -> Result<models::SystemInfo, Error> {
        self.ask(|engine| async move { engine.info().await }).await
    }

    /// The process that listens at the daemon's socket, if it is one of this host.
    pub async fn listener(&self) -> Option<i32> {
        let Host::Unix(path) = &self.host else { return None };
        let stream = UnixStream::connect(path).await.ok()?;
        stream.peer_cred().ok()?.pid()
    }

    async fn ask<T, F>(&self, request: impl Fn(bollard::Docker) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        self.ask_agreed(|agreed| request(agreed.engine)).await
    }

    /// Asks twice if the daemon refuses the version: it was replaced by another one.
    async fn ask_agreed<T, F>(&self, request: impl Fn(Agreed) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let asked = async {
            match request(self.agreed().await?).await {
                Err(error) if version::is_refused(&error) => {
                    self.forget_version();
                    request(self.agreed().await?).await
                }
                answer => answer,
            }
        };
        timeout(PATIENCE, asked).await.map_err(|_| Error::timeout(PATIENCE))?.map_err(Error::from)
    }

    async fn agreed(&self) -> Result<Agreed, EngineError> {
        if let Some(agreed) = self.agreed.lock().clone() {
            return Ok(agreed);
        }
        let agreed = version::agree(self.host.connect()?).await?;
        *self.agreed.lock() = Some(agreed.clone());
        Ok(agreed)
    }

    fn forget_version(&self) {
        *self.agreed.lock() = None;
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("host", &self.host).finish_non_exhaustive()
    }
}

impl std::str::FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Host::Unix(path.to_owned())),
            Some(("tcp" | "http", address)) if !address.is_empty() => {
                Ok(Host::Http(address.to_owned()))
            }
            _ => Err(Error::Host(text.to_owned())),
        }
    }
}

impl Host {
    /// Sends nothing yet.
    fn connect(&self) -> Result<bollard::Docker, EngineError> {
        let seconds = PATIENCE.as_secs();
        match self {
            Host::Unix(path) => bollard::Docker::connect_with_unix(path, seconds, version::NEWEST),
            Host::Http(address) => {
                bollard::Docker::connect_with_http(address, seconds, version::NEWEST)
            }
        }
    }
}
