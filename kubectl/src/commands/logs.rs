//! `kubectl logs`: the output of a pod's containers.

use std::time::Duration;

use api_machinery::duration;
use clap::Args;
use futures::{AsyncBufRead, AsyncBufReadExt};
use serde_json::Value;

use super::pods;
use crate::{
    Failure, Io,
    api::{Api, Call},
    object::{self, text},
    session::Session,
};

/// Print the logs of a container
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl logs web\n  kubectl logs -f web -c viewer --tail=20\n  kubectl logs rs/web                     # of one of its pods\n  kubectl logs -l app=web --all-containers --prefix\n  kubectl logs -p web                     # of the container before the restart"
)]
pub struct Logs {
    /// POD, TYPE/NAME or NAMESPACE/POD, then perhaps a container
    #[arg(num_args = 0..=2)]
    pub(super) words: Vec<String>,
    /// Follow the log
    #[arg(short, long)]
    pub(super) follow: bool,
    /// The container; else the pod's first
    #[arg(short, long)]
    container: Option<String>,
    /// Of all containers of the pod
    #[arg(long)]
    all_containers: bool,
    /// Of the container before the last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last lines; -1 for all
    #[arg(long, allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only what is not older, e.g. 5s, 2m, 3h
    #[arg(long, value_parser = duration::parse)]
    since: Option<Duration>,
    /// Only what came after this time (RFC 3339)
    #[arg(long, default_value = "")]
    since_time: String,
    /// Only so many bytes
    #[arg(long)]
    limit_bytes: Option<u64>,
    /// Each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Each line with its pod and container
    #[arg(long)]
    prefix: bool,
    /// Of all pods with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
}

impl Logs {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let api = session.api().await?;
        let mut logs = Vec::new();
        for pod in self.pods(session).await? {
            let containers = self.containers(session, &pod)?.into_iter();
            logs.extend(containers.map(|container| (pod.clone(), container)));
        }
        let alone = logs.len() == 1;
        let streams = logs.into_iter().map(|(pod, name)| self.copy(session, api, pod, name, alone));
        if self.follow {
            return futures::future::try_join_all(streams).await.map(drop);
        }
        for stream in streams {
            stream.await?;
        }
        Ok(())
    }

    async fn pods(&self, session: &Session) -> Result<Vec<Value>, Failure> {
        if !self.selector.is_empty() {
            if !self.words.is_empty() {
                return Err(Failure::message("only a selector (-l) or a POD name is allowed"));
            }
            let pods = pods::selected(session, session.namespace().await?, &self.selector).await?;
            if pods.is_empty() {
                session.io.note(format_args!(
                    "No resources found in {} namespace.",
                    session.namespace().await?
                ));
            }
            return Ok(pods);
        }
        let Some(word) = self.words.first() else {
            return Err(Failure::message(
                "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'kubectl logs -h' for help and examples",
            ));
        };
        pods::of_word(session, word, "get the logs from").await.map(|pod| vec![pod])
    }

    fn containers(&self, session: &Session, pod: &Value) -> Result<Vec<String>, Failure> {
        if self.all_containers {
            return Ok(pods::containers(pod));
        }
        let asked = self.container.as_ref().or(self.words.get(1));
        Ok(pods::container(session, pod, asked)?.into_iter().collect())
    }

    fn call(&self, pod: &Value, container: &str) -> Call {
        let flag = |set: bool| if set { "true" } else { "" };
        // With a selector there may be many: kubectl then shows the last ten lines of each.
        let tail = self.tail.or((!self.selector.is_empty()).then_some(10)).filter(|t| *t >= 0);
        let number = |n: Option<String>| n.unwrap_or_default();
        let (namespace, name) = (text(pod, "/metadata/namespace"), object::name(pod));
        Call::get(format!("/api/v1/namespaces/{namespace}/pods/{name}/log"))
            .query("container", container)
            .query("follow", flag(self.follow))
            .query("previous", flag(self.previous))
            .query("timestamps", flag(self.timestamps))
            .query("tailLines", number(tail.map(|t| t.to_string())))
            .query("sinceSeconds", number(self.since.map(|s| s.as_secs().max(1).to_string())))
            .query("sinceTime", &self.since_time)
            .query("limitBytes", number(self.limit_bytes.map(|b| b.to_string())))
    }

    pub(super) async fn copy(
        &self,
        session: &Session,
        api: &Api,
        pod: Value,
        container: String,
        alone: bool,
    ) -> Result<(), Failure> {
        let log = api.stream(self.call(&pod, &container)).await?;
        let prefix = match self.prefix {
            true => format!("[pod/{}/{container}] ", object::name(&pod)),
            false => String::new(),
        };
        let end = if alone { "" } else { "\n" };
        copy_lines(log, prefix.as_bytes(), end.as_bytes(), &session.io).await
    }
}

/// Writes whole lines, so that those of several logs don't mix; their bytes need not be text. `end` follows a last line
/// that does not end.
async fn copy_lines(
    mut log: impl AsyncBufRead + Unpin,
    prefix: &[u8],
    end: &[u8],
    io: &Io,
) -> Result<(), Failure> {
    let mut line = prefix.to_vec();
    while log.read_until(b'\n', &mut line).await? > 0 {
        if !line.ends_with(b"\n") {
            line.extend(end);
        }
        io.raw(&line)?;
        line.truncate(prefix.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use futures::{StreamExt, TryStreamExt};
    use serde_json::json;

    use super::*;
    use crate::{Environment, flags::Global};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        logs: Logs,
    }

    fn logs(line: &str) -> Logs {
        Line::parse_from(std::iter::once("logs").chain(line.split_whitespace())).logs
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]},
        })
    }

    #[test]
    fn flags_become_query_parameters() {
        let path = "/api/v1/namespaces/default/pods/web/log";
        let uri = |line: &str| logs(line).call(&pod(), "a").uri();
        assert_eq!(uri("web"), format!("{path}?container=a"));
        assert_eq!(
            uri("web -f -p --timestamps --tail=5 --since=2m"),
            format!(
                "{path}?container=a&follow=true&previous=true&timestamps=true&tailLines=5&sinceSeconds=120"
            )
        );
        assert_eq!(uri("web --tail=-1"), format!("{path}?container=a"));
        assert_eq!(uri("-l app=web"), format!("{path}?container=a&tailLines=10"));
    }

    /// Bytes that come one part at a time.
    fn arriving(parts: &'static [&'static [u8]]) -> impl AsyncBufRead + Unpin {
        let parts = parts.iter().map(|part| Ok::<_, std::io::Error>(*part));
        let slowly = futures::stream::iter(parts).then(|part| async {
            tokio::task::yield_now().await;
            part
        });
        Box::pin(slowly).into_async_read()
    }

    #[tokio::test]
    async fn lines_of_several_logs_stay_whole_and_need_not_be_text() {
        let written = Written::default();
        let io = Io::new(std::io::empty(), written.clone(), std::io::sink());
        let a = copy_lines(arriving(&[b"one ", b"two\n", b"\xff\n"]), b"[a] ", b"\n", &io);
        let b = copy_lines(arriving(&[b"thr", b"ee\nfo", b"ur"]), b"[b] ", b"\n", &io);
        let (a, b) = tokio::join!(a, b);
        a.and(b).unwrap();
        let written = written.0.lock().unwrap().clone();
        let mut lines: Vec<_> = written.split(|byte| *byte == b'\n').collect();
        lines.sort_unstable();
        assert_eq!(lines, [&b""[..], b"[a] one two", b"[a] \xff", b"[b] four", b"[b] three"]);
    }

    /// What was written.
    #[derive(Clone, Default)]
    struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_container_is_the_one_asked_for_or_the_first_or_all() {
        let session = Session::new(
            Global::default(),
            Io::new(std::io::empty(), std::io::sink(), std::io::sink()),
            Environment::default(),
            clap::Command::default,
        );
        let chosen = |line: &str| logs(line).containers(&session, &pod());
        assert_eq!(chosen("web").unwrap(), ["a"]);
        assert_eq!(chosen("web -c b").unwrap(), ["b"]);
        assert_eq!(chosen("web i").unwrap(), ["i"]);
        assert_eq!(chosen("web --all-containers").unwrap(), ["i", "a", "b"]);
        assert!(chosen("web -c nope").is_err());
    }
}
