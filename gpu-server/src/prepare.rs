//! What is done on the login node before tasks can be submitted. Each step may be repeated, and two servers that are at
//! it at the same time wait for one another.

use std::{path::Path, time::Duration};

use api_types::minik8s::GpuJob;
use uuid::Uuid;

use crate::{
    driver::Attempt,
    remote::{JobDirectory, REMOVED, Remote, quote},
    slurm::{Submission, Task, batch_script, compile_script, submit_once},
    ssh::{Error, Exit},
};

/// How long the compile scripts may take.
const COMPILING: Duration = Duration::from_secs(6 * 3600);
/// How long copies of files may take.
const COPYING: Duration = Duration::from_secs(600);
/// What makes `module` known. A login shell would do so too, but its end has an exit code of its own.
const PROFILE: &str = ". /etc/profile >/dev/null 2>&1";
/// How much of the end of `compile.log` is told.
const TAIL: usize = 2000;
/// In the job's directory: compile scripts are to end unless they were begun by who knows this mark, which is another one each
/// time.
const STOP: &str = "compile.stop";
/// At least as long is a mark.
const MARK_LIMIT: usize = 64;
/// The exit code of a script that was kept from its work.
const STOPPED: u32 = 75;
pub(crate) const COMPILE_LOG: &str = "compile.log";

/// Where the sources are below the directory of a build or a task.
fn work_dir(job: &GpuJob, directory: &str) -> String {
    match job.spec.work_dir.as_deref() {
        Some(inner) => format!("{directory}/{inner}"),
        None => directory.to_owned(),
    }
}

/// Where the files of a task are.
pub(crate) fn task_dir(job: &GpuJob, directory: &JobDirectory, task: &Task<'_>) -> String {
    work_dir(job, &directory.task(task.index, task.attempt))
}

/// Runs the compile scripts in a copy of the sources, unless that was done. `Err` within: the end of what they said.
pub(crate) async fn compile(
    remote: &Remote,
    job: &GpuJob,
    directory: &JobDirectory,
) -> Result<Result<(), String>, Error> {
    let script = match compile_script(&job.spec) {
        Ok(script) => script.unwrap_or_else(|| "true\n".to_owned()),
        Err(wrong) => return Ok(Err(wrong)),
    };
    let mark = remote.read(&format!("{directory}/{STOP}"), 0, MARK_LIMIT).await?;
    let mark = String::from_utf8_lossy(&mark);
    remote.put(&format!("{directory}/compile.sh"), script.as_bytes(), 0o700).await?;
    let work = work_dir(job, &directory.build());
    let command = compiling(&directory.to_string(), &work, mark.trim_end())?;
    let output = remote.run_for(&command, COMPILING + COPYING).await?;
    if output.exit == Exit::Code(STOPPED) {
        return Err(Error::Unreachable("the compile scripts were stopped".to_owned()));
    }
    let output = output.text("compiling")?;
    let (code, tail) = output.split_once('\n').unwrap_or((&output, ""));
    Ok(match code {
        "0" => Ok(()),
        _ => Err(format!("the compile scripts ended with {code}: {}", tail.trim())),
    })
}

/// The script for that. Whoever does not want them any more leaves a mark, as the connection over which they were begun may
/// be gone, or another login node's: [`STOP`], other than the `mark` that was there before, or that the job is removed. So
/// what begins late does not go on.
fn compiling(home: &str, work: &str, mark: &str) -> Result<String, Error> {
    Ok(format!(
        "set -e; cd {home}; exec 9>>lock; flock 9
is_stopped() {{ mark=; {{ read -r mark <{STOP}; }} 2>/dev/null || :; [ \"$mark\" != {mark} ]; }}
is_wanted() {{ [ -e compile.sh ] && ! is_stopped && [ ! -e {REMOVED} ]; }}
if [ ! -e compile.status ]; then
  is_wanted || exit {STOPPED}
  rm -rf build; mkdir -p {work}; cp -a sources/. {work}
  log=$PWD/{COMPILE_LOG} script=$PWD/compile.sh
  (cd {work} && exec timeout -k 5 {limit} bash -c '{PROFILE}; . \"$0\"' \"$script\" >\"$log\" 2>&1 9>&-) & compiler=$!
  (while is_wanted; do sleep 1; done; kill $compiler) >/dev/null 2>&1 9>&- & watcher=$!
  if wait $compiler; then code=0; else code=$?; fi
  kill $watcher 2>/dev/null || true
  is_wanted || exit {STOPPED}
  echo $code > compile.status.partial; mv compile.status.partial compile.status
fi
cat compile.status; tail -c {TAIL} {COMPILE_LOG}",
        home = quote(home)?,
        work = quote(work)?,
        mark = quote(mark)?,
        limit = COMPILING.as_secs(),
    ))
}

/// Sees to it that no compile scripts are at work any more: those that are, are begun anew when it is time again.
pub(crate) async fn stop_compiling(remote: &Remote, directory: &JobDirectory) -> Result<(), Error> {
    remote.run(&stopping(&directory.to_string())?).await?.text("ending the compile scripts")?;
    Ok(())
}

fn stopping(home: &str) -> Result<String, Error> {
    let (home, mark) = (quote(home)?, Uuid::new_v4().simple());
    Ok(format!(
        "cd {home} 2>/dev/null || exit 0
         echo {mark} >{STOP}.{mark} && mv -f {STOP}.{mark} {STOP} || exit 1
         exec 9>>lock; flock -w 60 9"
    ))
}

/// Sees to it that a task is in Slurm: makes its directory with the batch script, and submits that, once.
pub(crate) async fn submit(
    remote: &Remote,
    job: &GpuJob,
    directory: &JobDirectory,
    task: &Task<'_>,
) -> Result<Submission, Error> {
    let own = directory.task(task.index, task.attempt);
    let script = match batch_script(&job.spec, task) {
        Ok(script) => script,
        Err(wrong) => return Ok(Submission::Rejected(wrong)),
    };
    let command = format!(
        "set -e; cd {home}; exec 9>>lock; flock 9; mkdir -p tasks
if [ ! -e {own} ]; then rm -rf {own}.partial; cp -a build {own}.partial; mv -nT {own}.partial {own}; fi",
        home = quote(&directory.to_string())?,
        own = quote(&own)?,
    );
    remote.run_for(&command, COPYING).await?.text("copying the build")?;
    remote.put(&format!("{own}/job.sh"), script.as_bytes(), 0o700).await?;
    submit_once(remote, task, &own, job.spec.work_dir.as_deref()).await
}

/// The attempts whose directories are seen: no other one has been submitted, if that of the job is.
pub(crate) async fn submitted(
    remote: &Remote,
    directory: &JobDirectory,
) -> Result<Vec<Attempt>, Error> {
    let output = remote.run(&listing(&directory.to_string())?).await?;
    let names = output.text("listing the tasks")?;
    let attempt = |name: &str| {
        let (index, attempt) = name.split_once('-')?;
        Some(Attempt { index: index.parse().ok()?, attempt: attempt.parse().ok()? })
    };
    Ok(names.lines().filter_map(attempt).collect())
}

fn listing(home: &str) -> Result<String, Error> {
    Ok(format!("cd {}/tasks 2>/dev/null && ls || true", quote(home)?))
}

/// Fetches what the compile scripts said.
pub(crate) async fn fetch_log(
    remote: &Remote,
    directory: &JobDirectory,
    results: &Path,
) -> Result<(), Error> {
    let directory = directory.to_string();
    for log in remote.list(&directory, &directory, &[COMPILE_LOG.to_owned()]).await? {
        remote.download(&directory, &log, &results.join(COMPILE_LOG)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Child};

    use super::*;
    use crate::fake_node::{FakeNode, ends, is_waited_for, until};

    struct Job(FakeNode);

    impl Job {
        fn new(compile: &str) -> Self {
            let job = Self(FakeNode::with(&[]));
            fs::create_dir(job.0.path("sources")).unwrap();
            fs::write(job.0.path("compile.sh"), compile).unwrap();
            job
        }

        fn mark(&self) -> String {
            fs::read_to_string(self.0.path(STOP)).unwrap_or_default().trim_end().to_owned()
        }

        fn compile(&self) -> Child {
            self.compile_as_of(&self.mark())
        }

        fn compile_as_of(&self, mark: &str) -> Child {
            let (home, work) = (self.0.home(), self.0.path("build/w").display().to_string());
            self.0.start(&compiling(&home, &work, mark).unwrap())
        }

        fn stop(&self) {
            ends(self.0.start(&stopping(&self.0.home()).unwrap()), 0, "");
        }

        /// The process of a script that has written its number into its directory.
        fn process(&self) -> String {
            let file = self.0.path("build/w/process");
            let number = || fs::read_to_string(&file).unwrap_or_default();
            until(|| number().ends_with('\n'));
            format!("/proc/{}", number().trim())
        }
    }

    /// It has been told to end; nobody tells when it has.
    fn is_gone(process: &str) {
        until(|| !Path::new(process).exists());
    }

    #[test]
    fn a_directory_that_is_not_seen_has_no_tasks_and_is_no_error() {
        let node = FakeNode::with(&[]);
        let listing = listing(&node.home()).unwrap();
        ends(node.start(&listing), 0, "0-0\n");
        fs::rename(node.home(), node.home() + ".away").unwrap();
        ends(node.start(&listing), 0, "");
    }

    #[test]
    fn sources_are_compiled_once() {
        let job = Job::new("echo told; [ ! -e ran ] || exit 9; touch ran; exit 3");
        ends(job.compile(), 0, "3\ntold\n");
        ends(job.compile(), 0, "3\ntold\n");
    }

    #[test]
    fn those_that_wait_for_others_to_end_are_stopped_with_them() {
        let job = Job::new("echo $$ >process.partial; mv process.partial process; sleep 600; true");
        let compilers = [job.compile(), job.compile()];
        let process = job.process();
        until(|| is_waited_for(&job.0.path("lock")));
        job.stop();
        is_gone(&process);
        for compiler in compilers {
            ends(compiler, STOPPED, "");
        }
    }

    #[test]
    fn scripts_that_begin_after_they_were_stopped_do_nothing() {
        let job = Job::new("touch ran");
        let before = job.mark();
        job.stop();
        ends(job.compile_as_of(&before), STOPPED, "");
        let stopped_once = job.mark();
        job.stop();
        ends(job.compile_as_of(&stopped_once), STOPPED, "");
        assert!(!job.0.path("build").exists());
        // Whoever knows that they were stopped wants them anew.
        ends(job.compile(), 0, "0\n");
    }

    #[test]
    fn compile_scripts_that_are_not_wanted_any_more_end_with_all_that_they_have_begun() {
        let job =
            Job::new("sleep 600 & echo $! >process.partial; mv process.partial process; wait");
        let compiler = job.compile();
        let process = job.process();
        job.stop();
        is_gone(&process);
        ends(compiler, STOPPED, "");
        assert!(!job.0.path("compile.status").exists(), "they have not come to their end");

        // It is begun anew, and ends with the job.
        fs::remove_file(job.0.path("build/w/process")).unwrap();
        let compiler = job.compile();
        let process = job.process();
        fs::write(job.0.path(REMOVED), "").unwrap();
        ends(compiler, STOPPED, "");
        is_gone(&process);
        ends(job.compile(), STOPPED, "");
    }
}
