//! What is done on the login node before tasks can be submitted. Each step may be repeated, and two servers that are at
//! it at the same time wait for one another.

use std::{path::Path, time::Duration};

use api_types::minik8s::GpuJob;

use crate::{
    driver::Attempt,
    remote::{JobDirectory, Remote, quote},
    slurm::{Submission, Task, batch_script, compile_script, submit_once},
    ssh::Error,
};

/// How long the compile scripts may take.
const COMPILING: Duration = Duration::from_secs(6 * 3600);
/// How long copies of files may take.
const COPYING: Duration = Duration::from_secs(600);
/// What makes `module` known. A login shell would do so too, but its end has an exit code of its own.
const PROFILE: &str = ". /etc/profile >/dev/null 2>&1";
/// How much of the end of `compile.log` is told.
const TAIL: usize = 2000;
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
    let build = directory.build();
    let script = match compile_script(&job.spec) {
        Ok(script) => script.unwrap_or_else(|| "true\n".to_owned()),
        Err(wrong) => return Ok(Err(wrong)),
    };
    remote.put(&format!("{directory}/compile.sh"), script.as_bytes(), 0o700).await?;
    let command = format!(
        "set -e; cd {home}; exec 9>>lock; flock 9
if [ ! -e compile.status ]; then
  rm -rf build; mkdir -p {work}; cp -a sources/. {work}
  log=$PWD/{COMPILE_LOG} script=$PWD/compile.sh
  if (cd {work} && exec bash -c '{PROFILE}; . \"$0\"' \"$script\" >\"$log\" 2>&1 9>&-); then code=0; else code=$?; fi
  echo $code > compile.status.partial; mv compile.status.partial compile.status
fi
cat compile.status; tail -c {TAIL} {COMPILE_LOG}",
        home = quote(&directory.to_string())?,
        work = quote(&work_dir(job, &build))?,
    );
    let output = remote.run_for(&command, COMPILING).await?.text("compiling")?;
    let (code, tail) = output.split_once('\n').unwrap_or((&output, ""));
    Ok(match code {
        "0" => Ok(()),
        _ => Err(format!("the compile scripts ended with {code}: {}", tail.trim())),
    })
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
if [ ! -e {own} ]; then rm -rf {own}.partial; cp -a build {own}.partial; mv {own}.partial {own}; fi",
        home = quote(&directory.to_string())?,
        own = quote(&own)?,
    );
    remote.run_for(&command, COPYING).await?.text("copying the build")?;
    remote.put(&format!("{own}/job.sh"), script.as_bytes(), 0o700).await?;
    submit_once(remote, task, &own, job.spec.work_dir.as_deref()).await
}

/// The attempts that have a directory: no other one can be in Slurm.
pub(crate) async fn submitted(
    remote: &Remote,
    directory: &JobDirectory,
) -> Result<Vec<Attempt>, Error> {
    let home = quote(&directory.to_string())?;
    let output = remote.run(&format!("cd {home}/tasks 2>/dev/null && ls || true")).await?;
    let names = output.text("listing the tasks")?;
    let attempt = |name: &str| {
        let (index, attempt) = name.split_once('-')?;
        Some(Attempt { index: index.parse().ok()?, attempt: attempt.parse().ok()? })
    };
    Ok(names.lines().filter_map(attempt).collect())
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
