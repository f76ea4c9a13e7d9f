//! The configuration of an nginx: from what it is to do to the text that it reads.
//!
//! A configuration names its [`Generation`] on a socket that only this host can reach: whether a reload
//! was taken is asked of the nginx itself, which keeps the old configuration if it can't use the new
//! one, and says so only in its log.

mod certificate;
mod files;
mod forwarded;
pub mod http;
pub(crate) mod listening;
mod location;
pub mod routed;
pub(crate) mod upstream;
mod words;

use std::time::Duration;

use self::{files::digest, http::Http};

pub use self::{
    files::{CONFIG_DIR, Files},
    listening::{Socket, listened},
};

/// Where nginx tells its generation, in its container; see [`crate::configs`].
pub const STATUS_SOCKET: &str = "/run/minik8s/status";

/// Files of a worker that are not connections. Together they are asked for in place of Docker's default,
/// which may be 1,024; a daemon that allows no container so many leaves the worker with what it has.
const OTHER_FILES: usize = 256;

/// Connections that all workers of an nginx together may usually hold beside the present one, after reloads
/// and as long as their clients stay: about 110 MB.
pub const DRAINING_CONNECTIONS: usize = 262_144;

/// What distinguishes a configuration from others: its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation(String);

/// What distinguishes one telling of a configuration from others: a worker of the same content, told
/// earlier, may still answer for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling(pub u64);

/// A client that is to stay with one endpoint does so for as long as this stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u32);

/// What an nginx is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// For whom, for people who read the file.
    pub title: String,
    /// How many connections a worker can hold.
    pub connections: usize,
    /// The directives of the `stream` block. Clients are told apart with the help of [`EPOCH`].
    pub stream: String,
    /// What the `http` block does; nothing without servers.
    pub http: Http,
    /// Clients stay with one endpoint until they have been away for so long.
    pub affinity: Option<Duration>,
    /// How many connections the workers of earlier configurations have places for, who may stay with their clients.
    pub draining_connections: usize,
}

/// Stands in [`Configuration::stream`] for the epoch: no text that nginx can read contains it.
pub const EPOCH: char = '\0';

/// A configuration in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file, but for its marks.
    template: String,
    /// What it names besides, by name.
    files: Files,
    /// What nginx says while it goes by it.
    pub generation: Generation,
    /// When its clients began to be remembered.
    epoch: Epoch,
    /// How many workers of earlier configurations may stay with their clients.
    pub draining_workers: usize,
}

/// Stands in a template for what nginx says.
const ANSWER: &str = "ANSWER";

/// What nginx says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it goes by.
    pub generation: Generation,
    /// Since when.
    pub telling: Telling,
    /// Of that configuration.
    pub epoch: Epoch,
    /// The number of this very connection, of all connections that it has had.
    pub connection: u64,
}

impl Configuration {
    /// The same in an epoch.
    pub fn at(&self, epoch: Epoch) -> Config {
        let mut files = Files::new();
        let template = self.template(epoch, &mut files);
        let generation = Generation::of(&template);
        let draining_workers = self.draining_connections / self.connections.max(1);
        Config { template, files, generation, epoch, draining_workers }
    }

    /// No `worker_shutdown_timeout`: after a reload, the old worker lives until its last connection ends. A
    /// connection to an endpoint that is still there must not end because another one went, and one to an
    /// endpoint that is gone ends with that.
    fn template(&self, epoch: Epoch, carried: &mut Files) -> String {
        let Configuration { title, connections, stream, http, .. } = self;
        let mut block = String::new();
        http.write(&mut block, carried).expect("writing to a String does not fail");
        let files = connections + OTHER_FILES;
        let stream = stream.replace(EPOCH, &epoch.0.to_string());
        format!(
            "# {title}. Written by kube-proxy, which overwrites it.\n\
             load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
             daemon off;\n\
             worker_processes 1;\n\
             worker_rlimit_nofile {files};\n\
             pid /run/nginx.pid;\n\
             error_log /dev/stderr warn;\n\
             \n\
             events {{\n    worker_connections {connections};\n}}\n\
             \n\
             stream {{\n    server {{\n        listen unix:{STATUS_SOCKET};\n        \
             return \"{ANSWER} $connection\";\n    }}\n{stream}}}\n{block}"
        )
    }
}

impl Config {
    /// The file.
    pub fn text(&self, telling: Telling) -> String {
        let answer = format!("{} {:x} {}", self.generation.0, telling.0, self.epoch.0);
        self.template.replacen(ANSWER, &answer, 1)
    }

    /// The files that it names.
    pub fn files(&self) -> &Files {
        &self.files
    }
}

impl Answer {
    /// From what nginx has sent.
    pub fn read(text: &str) -> Option<Self> {
        let [generation, telling, epoch, connection] =
            text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Answer {
            generation: Generation(generation.to_owned()),
            telling: Telling(u64::from_str_radix(telling, 16).ok()?),
            epoch: Epoch(epoch.parse().ok()?),
            connection: connection.parse().ok()?,
        })
    }
}

impl Generation {
    fn of(text: &str) -> Self {
        Generation(digest(text.as_bytes()))
    }
}
