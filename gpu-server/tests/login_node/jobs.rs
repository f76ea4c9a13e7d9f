//! Jobs in a real Slurm.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use api_types::minik8s::GpuJobSpec;
use gpu_server::{
    remote::Remote,
    slurm::{
        Observed, Submission, Submitted, Task, batch_script, cancel, look_up, observe, queue,
        queue_position, submit_once,
    },
    ssh::Error,
};
use testkit::{Slurm, wait};

use crate::rig::{UID, connect, directory};

fn task(index: i32) -> Task<'static> {
    Task { namespace: "default", name: "add", uid: UID, index, attempt: 0 }
}

fn spec(command: &str) -> GpuJobSpec {
    GpuJobSpec { run_scripts: vec![command.to_owned()], ..GpuJobSpec::default() }
}

fn id(submission: Submission) -> String {
    match submission {
        Submission::Submitted(id) | Submission::Found(id) => id,
        Submission::Rejected(why) => panic!("{why}"),
    }
}

/// One rig with jobs.
struct Jobs {
    slurm: Slurm,
    remote: Remote,
}

impl Jobs {
    async fn on(slurm: Slurm) -> Self {
        let remote = connect(&slurm).await;
        Self { slurm, remote }
    }

    fn directory(&self, index: i32) -> String {
        directory(&self.slurm).task(index, 0)
    }

    /// Makes a task's directory with its batch script.
    async fn prepare(&self, index: i32, spec: &GpuJobSpec) {
        let directory = self.directory(index);
        self.remote.run(&format!("mkdir -p {directory}/src")).await.unwrap();
        let script = batch_script(spec, &task(index)).unwrap();
        self.remote.put(&format!("{directory}/job.sh"), script.as_bytes(), 0o700).await.unwrap();
    }

    async fn submit(&self, index: i32) -> Result<Submission, Error> {
        submit_once(&self.remote, &task(index), &self.directory(index), Some("src")).await
    }

    /// Prepares and submits; the number.
    async fn run(&self, index: i32, spec: &GpuJobSpec) -> String {
        self.prepare(index, spec).await;
        match self.submit(index).await.unwrap() {
            Submission::Submitted(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn submitted(&self, index: i32, id: &str) -> Submitted {
        task(index).submitted(id.to_owned(), self.directory(index))
    }

    async fn observe(&self, index: i32, id: &str) -> Result<Option<Observed>, Error> {
        let observed = observe(&self.remote, &[self.submitted(index, id)]).await;
        observed.map(|mut observed| observed.remove(id))
    }

    async fn until(&self, index: i32, id: &str, state: &str) -> Observed {
        wait::until(state, async || match self.observe(index, id).await {
            Ok(Some(observed)) if observed.state.as_str() == state => Ok(observed),
            other => Err(other),
        })
        .await
    }

    /// The numbers of all jobs that Slurm has.
    fn all(&self) -> Vec<String> {
        let ids = self.slurm.command("squeue", &["-h", "-t", "all", "-o", "%F"]);
        ids.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_job_is_followed_to_its_end_whatever_that_is() {
    let jobs = Jobs::on(Slurm::start()).await;
    let fine = jobs.run(0, &spec("echo \"$JOB_COMPLETION_INDEX on $(pwd)\"; echo err >&2")).await;
    let failed = jobs.run(1, &spec("false; echo not reached")).await;
    let exit = jobs.run(2, &spec("exit 3")).await;
    let signal = jobs.run(3, &spec("kill -SEGV $$; sleep 9")).await;
    let long = jobs.run(4, &spec("sleep 300")).await;
    let late =
        jobs.run(5, &GpuJobSpec { time_limit: Some("1".to_owned()), ..spec("sleep 300") }).await;
    let array =
        GpuJobSpec { array: Some("0-2%2".to_owned()), ..spec("exit $((SLURM_ARRAY_TASK_ID / 2))") };
    let array = jobs.run(6, &array).await;
    let oom = spec("python3 -c 'x = bytearray(400 << 20); import time; time.sleep(9)'");
    let oom = jobs.run(7, &oom).await;

    let done = jobs.until(0, &fine, "COMPLETED").await;
    assert_eq!((done.exit_code, done.signal), (Some(0), None));
    assert_eq!(done.partition.as_deref(), Some("dgx2"));
    assert!(
        done.nodes.is_some()
            && done.end_time >= done.start_time
            && done.start_time >= done.submit_time
    );
    assert!(done.usage["AllocTRES"].contains("gres/gpu=1"), "{:?}", done.usage);
    let work = format!("{}/src", jobs.directory(0));
    assert_eq!(fs::read_to_string(format!("{work}/add.out")).unwrap(), format!("0 on {work}\n"));
    assert_eq!(fs::read_to_string(format!("{work}/add.err")).unwrap(), "err\n");
    assert_eq!(jobs.until(1, &failed, "FAILED").await.exit_code, Some(1));
    assert_eq!(fs::read_to_string(format!("{}/src/add.out", jobs.directory(1))).unwrap(), "");
    assert_eq!(jobs.until(2, &exit, "FAILED").await.exit_code, Some(3));
    assert_eq!(jobs.until(3, &signal, "FAILED").await.signal, Some(11));
    assert_eq!(jobs.until(6, &array, "FAILED").await.exit_code, Some(1));
    assert!(!jobs.until(7, &oom, "OUT_OF_MEMORY").await.state.succeeded());

    let running = jobs.until(4, &long, "RUNNING").await;
    assert_eq!((running.exit_code, running.end_time), (None, None));
    jobs.slurm.command("scontrol", &["requeue", &long]);
    let again =
        wait::until("it is back in the queue", async || match jobs.observe(4, &long).await {
            Ok(Some(seen)) if !seen.state.is_running() => Ok(seen),
            other => Err(other),
        });
    assert!(!again.await.state.is_final());
    jobs.slurm.command("scancel", &[&long]);
    assert!(!jobs.until(4, &long, "CANCELLED").await.state.may_retry());
    jobs.slurm.command("scontrol", &["update", &format!("JobId={late}"), "EndTime=now+1"]);
    assert!(jobs.until(5, &late, "TIMEOUT").await.state.may_retry());
}

#[tokio::test]
async fn a_task_has_one_job_however_often_it_is_submitted() {
    let jobs = Jobs::on(Slurm::start()).await;
    jobs.prepare(0, &spec("sleep 300")).await;
    let other = connect(&jobs.slurm).await;
    let directory = jobs.directory(0);
    let task = task(0);
    let (first, second) =
        tokio::join!(jobs.submit(0), submit_once(&other, &task, &directory, Some("src")),);
    let ids: Vec<String> = [first.unwrap(), second.unwrap()].into_iter().map(id).collect();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(jobs.submit(0).await.unwrap(), Submission::Found(ids[0].clone()));

    // Whoever submitted was gone before the answer was written down: while the job waits, runs, and has ended.
    let lose = || fs::remove_file(format!("{directory}/id")).unwrap();
    jobs.until(0, &ids[0], "RUNNING").await;
    lose();
    assert_eq!(jobs.submit(0).await.unwrap(), Submission::Found(ids[0].clone()));
    // It has another name, and may be anybody's.
    cancel(&jobs.remote, &[jobs.submitted(1, &ids[0])]).await.unwrap();
    assert!(jobs.observe(1, &ids[0]).await.unwrap().is_none());
    jobs.until(0, &ids[0], "RUNNING").await;
    cancel(&jobs.remote, &[jobs.submitted(0, &ids[0])]).await.unwrap();
    let both = [jobs.submitted(0, "999999"), jobs.submitted(0, &ids[0])];
    cancel(&jobs.remote, &both).await.unwrap();
    jobs.until(0, &ids[0], "CANCELLED").await;
    jobs.slurm.configure("MinJobAge", "2");
    wait::until("only sacct knows it", async || match jobs.all() {
        all if all.is_empty() => Ok(()),
        all => Err(all),
    })
    .await;
    lose();
    assert_eq!(look_up(&jobs.remote, &task).await.unwrap(), Some(ids[0].clone()));
    assert_eq!(jobs.submit(0).await.unwrap(), Submission::Found(ids[0].clone()));
    assert_eq!(jobs.until(0, &ids[0], "CANCELLED").await.exit_code, Some(0));

    // Where Slurm cannot be asked whether it has the job, none is submitted.
    lose();
    jobs.slurm.stop("slurmdbd");
    assert!(jobs.submit(0).await.unwrap_err().is_transient());
    assert!(jobs.observe(0, &ids[0]).await.unwrap_err().is_transient());
    assert_eq!(jobs.all(), Vec::<String>::new());
    jobs.slurm.start_again("slurmdbd");
    let back = wait::until("it is found", async || jobs.submit(0).await).await;
    assert_eq!(back, Submission::Found(ids[0].clone()));
}

#[tokio::test]
async fn a_removal_waits_for_a_submission_and_lets_no_other_begin() {
    let jobs = Jobs::on(Slurm::without_accounting()).await;
    let (one, other) = (directory(&jobs.slurm), connect(&jobs.slurm).await);
    jobs.prepare(0, &spec("true")).await;
    jobs.prepare(1, &spec("true")).await;
    // One that still goes on, over a connection that is lost.
    let lock = format!("{}/submit.lock", jobs.directory(0));
    let script =
        format!("flock {lock} sh -c 'touch {one}/held; until [ -e {one}/go ]; do sleep 0.1; done'");
    let holding = other.run_for(&script, std::time::Duration::from_secs(60));
    let removal = async {
        let held = format!("{one}/held");
        wait::until("it is locked", async || fs::metadata(&held).map(drop)).await;
        let mut marking = std::pin::pin!(jobs.remote.mark_removed(&one));
        let mark = format!("{one}/removed");
        let marked = wait::until("the mark is there", async || fs::metadata(&mark).map(drop));
        tokio::select! {
            ended = &mut marking => panic!("it did not wait: {ended:?}"),
            () = marked => {}
        }
        assert!(jobs.submit(1).await.unwrap_err().to_string().contains("is being removed"));
        fs::write(format!("{one}/go"), "").unwrap();
        marking.await.unwrap();
    };
    let (held, ()) = tokio::join!(holding, removal);
    held.unwrap();
    assert!(jobs.submit(0).await.unwrap_err().is_transient());
    jobs.remote.remove(&one).await.unwrap();
    assert!(!std::path::Path::new(&one.to_string()).exists());
    jobs.remote.mark_removed(&one).await.unwrap();
    assert_eq!(jobs.all(), Vec::<String>::new());
}

#[tokio::test]
async fn what_sbatch_does_not_take_is_rejected_and_a_slurm_that_is_away_is_not_a_rejection() {
    let jobs = Jobs::on(Slurm::start()).await;
    let reject = async |index, spec: GpuJobSpec| {
        jobs.prepare(index, &spec).await;
        match jobs.submit(index).await.unwrap() {
            Submission::Rejected(why) => why,
            other => panic!("{other:?}"),
        }
    };
    let why = reject(0, GpuJobSpec { partition: Some("nope".to_owned()), ..spec("true") }).await;
    assert!(why.starts_with("invalid partition specified: nope"), "{why}");
    let why = reject(1, GpuJobSpec { num_gpus: Some(9), ..spec("true") }).await;
    assert!(why.contains("Requested node configuration is not available"), "{why}");
    jobs.prepare(2, &spec("true")).await;
    jobs.slurm.stop("slurmctld");
    assert!(jobs.submit(2).await.unwrap_err().is_transient());
    assert!(look_up(&jobs.remote, &task(2)).await.unwrap_err().is_transient());
    jobs.slurm.start_again("slurmctld");
    let id = match wait::until("slurmctld takes it", async || jobs.submit(2).await).await {
        Submission::Submitted(id) => id,
        other => panic!("{other:?}"),
    };
    jobs.until(2, &id, "COMPLETED").await;
    assert_eq!(look_up(&jobs.remote, &task(3)).await.unwrap(), None);
}

#[tokio::test]
async fn without_accounting_an_end_is_known_for_as_long_as_the_jobs_directory_is_there() {
    let jobs = Jobs::on(Slurm::without_accounting()).await;
    let fine = jobs.run(0, &spec("true")).await;
    let failed = jobs.run(1, &spec("exit 3")).await;
    let cancelled = jobs.run(2, &spec("sleep 300")).await;
    let done = jobs.until(0, &fine, "COMPLETED").await;
    assert!(
        done.elapsed_seconds.is_some() && done.usage["AllocTRES"].contains("cpu=1"),
        "{done:?}"
    );
    assert_eq!(jobs.until(1, &failed, "FAILED").await.exit_code, Some(3));
    jobs.until(2, &cancelled, "RUNNING").await;
    cancel(&jobs.remote, &[jobs.submitted(2, &cancelled)]).await.unwrap();
    jobs.until(2, &cancelled, "CANCELLED").await;
    jobs.slurm.configure("MinJobAge", "2");
    wait::until("slurmctld has forgotten them", async || match jobs.all() {
        all if all.is_empty() => Ok(()),
        all => Err(all),
    })
    .await;
    assert_eq!(jobs.until(0, &fine, "COMPLETED").await.exit_code, Some(0));
    assert_eq!(jobs.until(1, &failed, "FAILED").await.exit_code, Some(3));
    // It has begun, and did not come to its end.
    assert_eq!(jobs.until(2, &cancelled, "FAILED").await.exit_code, None);
    // A job itself leaves its number, when nobody has written it down.
    let held = GpuJobSpec { directives: vec!["--hold".to_owned()], ..spec("true") };
    let late = jobs.run(3, &held).await;
    let number = format!("{}/id", jobs.directory(3));
    fs::remove_file(&number).unwrap();
    jobs.slurm.command("scontrol", &["release", &late]);
    jobs.until(3, &late, "COMPLETED").await;
    assert_eq!(fs::read_to_string(number).unwrap(), format!("{late}\n"));
    wait::until("slurmctld has forgotten it, too", async || match jobs.all() {
        all if all.is_empty() => Ok(()),
        all => Err(all),
    })
    .await;
    assert_eq!(jobs.submit(3).await.unwrap(), Submission::Found(late));
}

#[tokio::test]
async fn a_job_that_waits_has_its_place_and_its_reason() {
    let jobs = Jobs::on(Slurm::without_accounting()).await;
    let all = GpuJobSpec { num_gpus: Some(4), ..spec("sleep 300") };
    let mut ids = Vec::new();
    for index in 0..3 {
        ids.push(jobs.run(index, &all).await);
    }
    jobs.until(0, &ids[0], "RUNNING").await;
    let waiting = wait::until("it has a reason", async || {
        let waiting = jobs.until(1, &ids[1], "PENDING").await;
        waiting.reason.clone().ok_or(waiting)
    });
    assert!(["Resources", "Priority"].contains(&waiting.await.as_str()));
    let position = async |n: usize| queue_position(&jobs.remote, &ids[n]).await.unwrap();
    assert_eq!((position(0).await, position(1).await, position(2).await), (None, Some(0), Some(1)));
    let queue = queue(&jobs.remote).await.unwrap();
    assert_eq!(
        (queue.partitions[0].name.as_str(), queue.partitions[0].gres.as_str()),
        ("dgx2", "gpu:4")
    );
    let listed: BTreeMap<_, _> =
        queue.jobs.iter().map(|job| (&job.id, job.state.as_str())).collect();
    assert_eq!(listed[&ids[0]], "RUNNING");
    assert_eq!(listed[&ids[2]], "PENDING");
    assert_eq!(queue.jobs[0].id, ids[0]);
    let all: Vec<_> = (0..).zip(&ids).map(|(index, id)| jobs.submitted(index, id)).collect();
    cancel(&jobs.remote, &all).await.unwrap();
    jobs.until(2, &ids[2], "CANCELLED").await;
}

#[tokio::test]
async fn what_is_said_of_arrays_as_large_as_slurm_takes_them_is_heard() {
    let jobs = Jobs::on(Slurm::without_accounting()).await;
    let home = jobs.slurm.home();
    // In the form of sacct: a line for each of a thousand tasks, and for its two steps.
    let line = "|COMPLETED|0:0|86400|a-partition|a-node-with-a-long-name-17|billing=8,cpu=8,gres/gpu=1,mem=64G,node=1|\
                1-00:00:00.000|123456789K|2026-11-27T02:00:00|2026-11-28T02:00:00|2026-11-27T01:00:00";
    let line = format!("{line}|{}", task(0).job_name());
    let sacct = format!(
        "#!/bin/sh\nfor id in 1 2 3 4 5 6 7 8; do for task in $(seq 0 1000); do\n\
         for step in '' .batch .extern; do echo \"${{id}}_$task$step{line}\"; done; done; done\n"
    );
    fs::create_dir(home.join("bin")).unwrap();
    for (name, script) in [("sacct", sacct.as_str()), ("squeue", "#!/bin/sh\n")] {
        let path = home.join("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(home.join(".bashrc"), "PATH=$HOME/bin:$PATH\n").unwrap();
    let asked: Vec<_> = (1..=8).map(|id: u32| jobs.submitted(0, &id.to_string())).collect();
    let observed = observe(&jobs.remote, &asked).await.unwrap();
    assert_eq!(observed.len(), 8);
    assert!(observed.values().all(|observed| observed.state.succeeded()));
}
