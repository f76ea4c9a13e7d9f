//! What is left of a job on the cluster, and taking that away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use api_types::minik8s::{GpuJob, GpuJobStatus};

use super::{Server, steps::observation};
use crate::{
    driver::{self, Attempt, Missing, News, Observation},
    prepare,
    remote::{JobDirectory, Remote},
    slurm::{self, Observed, Submitted},
    ssh::Error,
};

/// Between two looks at what is being cancelled: at first, and at most.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the job has in Slurm.
type Jobs = BTreeMap<Attempt, Submitted>;

impl Server {
    /// Cancels what the job has in Slurm, whether the status knows of it or not, and removes its directory when it has
    /// ended. Then nothing holds the job.
    pub(super) async fn clean_up(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        remote.mark_removed(directory).await?;
        let attempts = sought(prepare::submitted(remote, directory).await?, &self.status);
        let (mut jobs, mut missing) = (Jobs::new(), Missing::default());
        let mut wait = LOOKS.0;
        loop {
            // Slurm may take its time with one whose answer was lost.
            let unknown: Vec<_> =
                attempts.iter().filter(|attempt| !jobs.contains_key(*attempt)).collect();
            for attempt in unknown {
                let id = slurm::look_up(remote, &self.task(*attempt)).await?;
                jobs.extend(id.map(|id| (*attempt, self.submitted(directory, *attempt, id))));
            }
            let asked: Vec<_> = jobs.values().cloned().collect();
            let seen = slurm::observe(remote, &asked).await?;
            let live = live(&jobs, &seen, &mut missing, Instant::now());
            slurm::cancel(remote, &live).await?;
            self.show(job, &jobs, seen).await;
            if live.is_empty() {
                break;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOKS.1);
        }
        remote.remove(directory).await?;
        tracing::info!(%directory, "removed");
        self.tell(News::Removed);
        Ok(())
    }

    /// Tells what has become of the jobs. Whether anybody hears of it holds nothing up.
    async fn show(&mut self, job: &GpuJob, jobs: &Jobs, mut seen: BTreeMap<String, Observed>) {
        for (attempt, Submitted { id, .. }) in jobs {
            if let Some(observed) = seen.remove(id) {
                let observed = Observation { is_unwanted: true, ..observation(observed, None) };
                self.tell(News::Observed(*attempt, Box::new(observed)));
            }
        }
        let _ = self.report(job).await;
    }
}

/// The attempts that may be in Slurm: those that have a directory, and those that the status has there. A file system that is
/// not there at the time has no directories.
fn sought(with_directory: Vec<Attempt>, status: &GpuJobStatus) -> BTreeSet<Attempt> {
    let known = driver::in_slurm(status).map(Attempt::of);
    with_directory.into_iter().chain(known).collect()
}

/// The jobs that have not ended, as far as is known: of one that was there, and about which Slurm says nothing, that is
/// known after some time only.
fn live(
    jobs: &Jobs,
    seen: &BTreeMap<String, Observed>,
    missing: &mut Missing,
    now: Instant,
) -> Vec<Submitted> {
    let mut is_live = |attempt: Attempt, id: &str| match seen.get(id) {
        Some(observed) => !observed.state.is_final(),
        None => !missing.miss(attempt, now),
    };
    let live = jobs.iter().filter(|(attempt, job)| is_live(**attempt, &job.id));
    live.map(|(_, job)| job.clone()).collect()
}

#[cfg(test)]
mod tests {
    use api_types::minik8s::GpuJobTask;

    use super::*;

    #[test]
    fn what_the_status_has_in_slurm_is_sought_though_no_directory_is_seen() {
        let task = |index, state: Option<&str>| GpuJobTask {
            index,
            attempt: 1,
            state: state.map(str::to_owned),
            ..GpuJobTask::default()
        };
        let tasks = vec![task(0, Some("RUNNING")), task(1, None), task(2, Some("COMPLETED"))];
        let status = GpuJobStatus { tasks, ..GpuJobStatus::default() };
        let [first, zero, one, two] =
            [(0, 0), (0, 1), (1, 1), (2, 1)].map(|(index, attempt)| Attempt { index, attempt });
        let check = |with_directory: &[Attempt], expected: &[Attempt]| {
            let sought: Vec<_> = sought(with_directory.to_vec(), &status).into_iter().collect();
            assert_eq!(sought, expected);
        };
        check(&[], &[zero, one]);
        check(&[zero, two, first], &[first, zero, one, two]);
    }

    #[test]
    fn a_job_of_which_slurm_says_nothing_has_not_ended_before_it_has_said_so_for_long() {
        let in_state = |state: &str| Observed::in_state(state.parse().unwrap());
        let attempt = |index| Attempt { index, attempt: 0 };
        let job = |id: &str| Submitted {
            id: id.to_owned(),
            name: String::new(),
            directory: String::new(),
        };
        let jobs = Jobs::from([(attempt(0), job("7")), (attempt(1), job("8"))]);
        let (mut missing, now) = (Missing::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(live(&jobs, &BTreeMap::new(), &mut missing, now), [job("7"), job("8")]);
        let seen = BTreeMap::from([("8".to_owned(), in_state("RUNNING"))]);
        assert_eq!(live(&jobs, &seen, &mut missing, after(61)), [job("8")]);
        let seen = BTreeMap::from([("8".to_owned(), in_state("COMPLETED"))]);
        assert!(live(&jobs, &seen, &mut missing, after(62)).is_empty());
    }
}
