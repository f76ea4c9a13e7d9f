//! The results of a job, as the file server in its pod has them. They come through the API server, which leads to the
//! pod: nobody needs to reach its address.

use api_types::{jiff::fmt::rfc2822::DateTimeParser, minik8s::GpuJob};
use serde::Deserialize;
use serde_json::Value;

use super::super::{
    pods,
    target::{self, Target},
};
use crate::{
    Failure,
    api::{Call, escape},
    object::{self, list, number, text},
    session::Session,
};

/// A file or a folder, as nginx tells of it (`autoindex_format json`).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    mtime: String,
    /// Of a file.
    #[serde(default)]
    pub(super) size: Option<u64>,
}

impl Entry {
    pub(super) fn is_folder(&self) -> bool {
        self.kind == "directory"
    }

    /// When it was last written.
    pub(super) fn modified(&self) -> String {
        match DateTimeParser::new().parse_timestamp(&self.mtime) {
            Ok(time) => time.to_string(),
            Err(_) => self.mtime.clone(),
        }
    }
}

/// Where the results are.
pub(super) struct Results<'a> {
    pub(super) session: &'a Session,
    pub(super) job: String,
    /// Of the folder of all.
    path: String,
}

impl<'a> Results<'a> {
    /// Those of a job.
    pub(super) async fn of(session: &'a Session, job: &Target) -> Result<Self, Failure> {
        let object = job.fetch(session).await?;
        let pod = pod_of(session, &object).await?;
        let (namespace, name) = (text(&pod, "/metadata/namespace"), object::name(&pod));
        let (port, files) =
            (port(&pod, GpuJob::FILE_SERVER_CONTAINER, GpuJob::FILES_PORT), GpuJob::FILES_PATH);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{files}");
        Ok(Self { session, job: object::name(&object).to_owned(), path })
    }

    /// What is in a folder; the name of that of all is empty.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Entry>, Failure> {
        let call = self.call(&as_folder(folder));
        let answer = self.session.api().await?.call(call).await;
        let answer = answer.map_err(|failure| self.about(folder, failure))?;
        serde_json::from_value(answer)
            .map_err(|error| Failure::message(format!("the list of results is none: {error}")))
    }

    /// The request for a file, or for the list of a folder, whose name ends with a slash.
    pub(super) fn call(&self, name: &str) -> Call {
        let escaped: Vec<_> = name.split('/').map(escape).collect();
        Call::get(format!("{}{}", self.path, escaped.join("/"))).accept("*/*")
    }

    /// What a failure means.
    pub(super) fn about(&self, name: &str, failure: Failure) -> Failure {
        let job = &self.job;
        match failure.code() {
            // The API server says so in its own words: the pod has gone.
            Some(404) if failure.is_about("pods") => {
                failure.about(&format!("the results of GPU job {job:?} cannot be had now"))
            }
            Some(404) => Failure::message(format!(
                "GPU job {job:?} has no result {name:?}: \"kubectl gpu {job}\" shows what there is"
            )),
            Some(503) => {
                failure.about(&format!("the results of GPU job {job:?} cannot be had now"))
            }
            _ => failure,
        }
    }
}

/// A name as a terminal may have it: it is the job that says what its files are called.
pub(super) fn printable(name: &str) -> String {
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(one).collect()
}

/// The name of a folder, with a slash behind it if there must be one.
pub(super) fn as_folder(name: &str) -> String {
    match name.trim_matches('/') {
        "" => String::new(),
        name => format!("{name}/"),
    }
}

/// The job that a word names.
pub(super) async fn job(session: &Session, word: &str) -> Result<Target, Failure> {
    let words = ["gpujobs.minik8s.io".to_owned(), word.to_owned()];
    let target = target::of_words(session, &words, false).await?.into_iter().next();
    target.ok_or_else(|| Failure::message(format!("invalid name {word:?}")))
}

/// The pod of a job: the one that the job names, or else one that it has, rather one that runs.
pub(super) async fn pod_of(session: &Session, job: &Value) -> Result<Value, Failure> {
    let labels = format!("{}={}", GpuJob::LABEL, object::name(job));
    let namespace = text(job, "/metadata/namespace").to_owned();
    let mut pods = pods::selected(session, namespace, &labels).await?;
    // Others may label pods of theirs so.
    pods.retain(|pod| is_controlled_by(pod, text(job, "/metadata/uid")));
    let named = text(job, "/status/podName");
    let is_ending = |pod: &Value| !text(pod, "/metadata/deletionTimestamp").is_empty();
    let runs = |pod: &Value| text(pod, "/status/phase") == "Running";
    pods.sort_by_key(|pod| (object::name(pod) != named, is_ending(pod), !runs(pod)));
    pods.into_iter().next().ok_or_else(|| {
        let name = object::name(job);
        Failure::message(format!(
            "GPU job {name:?} has no pod, and so no results: \"kubectl describe gpu {name}\" shows how far it is"
        ))
    })
}

fn is_controlled_by(pod: &Value, uid: &str) -> bool {
    let mut owners = list(pod, "/metadata/ownerReferences").iter();
    owners.any(|owner| owner["controller"] == true && text(owner, "/uid") == uid)
}

/// Where a container of it listens.
pub(super) fn port(pod: &Value, container: &str, usual: u16) -> i64 {
    let mut containers = list(pod, "/spec/containers").iter();
    let server = containers.find(|it| object::name_of(it) == container);
    let port = server.and_then(|server| number(server, "/ports/0/containerPort"));
    port.unwrap_or(usual.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_nginx_is_read() {
        let text = r#"[{"name": "out", "type": "directory", "mtime": "Thu, 26 Nov 2026 01:02:03 GMT"},
            {"name": "a b", "type": "file", "mtime": "soon", "size": 12}]"#;
        let entries: Vec<Entry> = serde_json::from_str(text).unwrap();
        assert!(entries[0].is_folder() && !entries[1].is_folder());
        assert_eq!(entries[0].modified(), "2026-11-26T01:02:03Z");
        assert_eq!((entries[1].modified().as_str(), entries[1].size), ("soon", Some(12)));
    }
}
