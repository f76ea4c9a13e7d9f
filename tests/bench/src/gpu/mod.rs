//! Jobs that `gpu-server`s take through a Slurm cluster of one node, beside the same by plain ssh: `sbatch`, `sacct` and `scp`.
//! Needs root, and what `scripts/slurm.sh` does. The control plane is in this process.

mod plain;
mod rig;

use std::time::{Duration, Instant};

use futures::future::try_join_all;

use self::{
    plain::Plain,
    rig::{Job, Rig},
};
use crate::{
    Args,
    load::{Measured, measure, timed},
    memory::Memory,
    report::{Column, Report, Row},
};

/// So many jobs run at a time in the cluster.
const CPUS: usize = 8;
/// Between two looks at all processes.
const LOOKS: Duration = Duration::from_millis(500);

/// One at a time, each after the same by plain ssh; then all at once.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("GPU jobs");
    report.step("Slurm begins");
    let rig = Rig::start().await?;
    let plain = Plain::new(&rig)?;
    one_at_a_time(args, &rig, &plain, &mut report).await?;
    at_once(args, &rig, &plain, &mut report).await?;
    Ok(report)
}

async fn one_at_a_time(
    args: &Args,
    rig: &Rig,
    plain: &Plain,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.step("one at a time");
    let (mut bare, mut jobs) = (Times::default(), Times::default());
    let mut memory = Vec::new();
    for index in 0..args.gpu_jobs {
        let (submitted, end) = plain.job(index).await?;
        bare.add(submitted, end.elapsed()?);
        let job = rig.job(&format!("one-{index}")).await?;
        let begin = Instant::now();
        let server = rig.server(&job)?;
        job.submitted(rig).await?;
        let submitted = begin.elapsed();
        job.complete(rig).await?;
        jobs.add(submitted, job.end()?.elapsed()?);
        memory.push(Memory::of(&server.id().to_string())?);
    }
    report.add(Row::new("bare submission").load(&Measured::in_turn(&bare.submissions)));
    let submissions = Measured::in_turn(&jobs.submissions);
    report.add_beside("bare submission", Row::new("from the start to PENDING").load(&submissions));
    report.add(Row::new("bare result").load(&Measured::in_turn(&bare.results)));
    let results =
        Row::new("from its end to the result here").load(&Measured::in_turn(&jobs.results));
    let largest = |of: fn(&Memory) -> u64| Memory::mib(memory.iter().map(of).max().unwrap_or(0));
    let results = results
        .cell(Column::ServerMemory, largest(|memory| memory.resident))
        .cell(Column::Anonymous, largest(|memory| memory.anonymous));
    report.add_beside("bare result", results);
    Ok(())
}

/// How long submissions took, and from the jobs' ends on, until the results were here.
#[derive(Default)]
struct Times {
    submissions: Vec<Duration>,
    results: Vec<Duration>,
}

impl Times {
    fn add(&mut self, submission: Duration, result: Duration) {
        self.submissions.push(submission);
        self.results.push(result);
    }
}

async fn at_once(args: &Args, rig: &Rig, plain: &Plain, report: &mut Report) -> anyhow::Result<()> {
    let count = args.gpu_jobs_at_once;
    report.step(format!("{count} by plain ssh, {CPUS} at once"));
    let by_ssh = async |(): &mut (), index| plain.job(args.gpu_jobs + index).await.map(drop);
    let bare = measure(count, &mut [(); CPUS], by_ssh).await?;
    let (floor, what) = (format!("bare {count}, {CPUS} at once"), format!("{count} at once"));
    report.add(Row::new(&floor).load(&bare));
    report.step(&what);
    let names = (0..count).map(|index| format!("at-once-{index}"));
    let jobs = try_join_all(names.map(async |name| rig.job(&name).await)).await?;
    let (logins, begin) = (rig.logins()?, Instant::now());
    let servers = jobs.iter().map(|job| rig.server(job)).collect::<anyhow::Result<Vec<_>>>()?;
    let all = try_join_all(jobs.iter().map(|job| timed(job.complete(rig))));
    let peak = async {
        let (mut peak, mut connections) = (Memory::default(), 0);
        loop {
            let sum = rig::sum(&servers)?;
            if sum.proportional > peak.proportional {
                peak = sum;
            }
            connections = connections.max(rig.connections()?);
            if jobs.iter().all(Job::has_result) {
                return anyhow::Ok((peak, connections));
            }
            tokio::time::sleep(LOOKS).await;
        }
    };
    let (times, peak) = tokio::join!(all, peak);
    let (measured, (peak, connections)) = (Measured::new(times?, begin.elapsed()), peak?);
    let row = Row::new(&what).load(&measured);
    let row = row.cell(Column::ServerMemory, Memory::mib(peak.proportional));
    report.add_beside(&floor, row.cell(Column::Anonymous, Memory::mib(peak.anonymous)));
    report.note(format!(
        "{count} at once took {:.1} s, by plain ssh {:.1} s: {} logins, {connections} connections at a time; memory is that of all together",
        measured.all.as_secs_f64(),
        bare.all.as_secs_f64(),
        rig.logins()? - logins,
    ));
    Ok(())
}
