//! Generated histories of jobs, against what must hold in all of them: Slurm does what it wants, answers are lost, and the
//! server is killed at any time.

use std::collections::{BTreeMap, BTreeSet};

use api_types::{
    meta::Time,
    minik8s::{GpuJob, GpuJobSpec, GpuJobStatus},
};
use proptest::{collection::vec, prelude::*};

use super::{
    Action, Attempt, News, Prepared, in_slurm, is_true, next, tell,
    tests::{at, seen},
};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Everything that is to be done is done.
    Work,
    /// The server is killed after having done this many things; the status was written before.
    KilledAfter(usize),
    /// One of Slurm's jobs goes on.
    Slurm {
        which: usize,
        ends: Option<bool>,
    },
    /// Slurm is asked.
    Look,
    Suspend(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Work),
        2 => (0_usize..4).prop_map(Step::KilledAfter),
        4 => (any::<usize>(), any::<Option<bool>>()).prop_map(|(which, ends)| Step::Slurm { which, ends }),
        4 => Just(Step::Look),
        1 => any::<bool>().prop_map(Step::Suspend),
    ]
}

struct World {
    job: GpuJob,
    /// In the API.
    stored: GpuJobStatus,
    prepared: Prepared,
    slurm: BTreeMap<Attempt, &'static str>,
    submissions: BTreeSet<Attempt>,
    failures: BTreeSet<Attempt>,
}

impl World {
    fn work(&mut self, most: usize) {
        let (status, actions) = next(&self.job, &self.stored, &self.prepared, at(0));
        self.stored = status;
        let mut status = self.stored.clone();
        for action in actions.iter().take(most) {
            self.act(action, &mut status);
        }
        // Of one that is killed, what it was told is lost.
        if actions.len() <= most {
            self.stored = status;
        } else {
            self.prepared = Prepared::Begun;
        }
    }

    fn act(&mut self, action: &Action, status: &mut GpuJobStatus) {
        let news = match action {
            Action::Prepare => return self.prepared = Prepared::Yes,
            Action::StopCompiling => return self.prepared = Prepared::NotYet,
            Action::FetchLog => return self.prepared = Prepared::Yes,
            Action::Submit(attempt) => {
                // As `submit_once`, it finds what is there.
                if self.submissions.insert(*attempt) {
                    self.slurm.insert(*attempt, "PENDING");
                }
                News::Submitted(*attempt, format!("{attempt:?}"))
            }
            Action::Cancel(attempt) => match self.slurm.get_mut(attempt) {
                None => News::Withdrawn(*attempt),
                Some(state) => {
                    if ["PENDING", "RUNNING"].contains(state) {
                        *state = "CANCELLED";
                    }
                    News::Submitted(*attempt, format!("{attempt:?}"))
                }
            },
            Action::Fetch(attempt) => News::Fetched(*attempt, None),
            Action::CleanUp | Action::Release => return,
        };
        tell(status, news, at(0));
    }

    fn look(&mut self) {
        for task in in_slurm(&self.stored.clone()).filter(|task| task.job_id.is_some()) {
            let attempt = Attempt::of(task);
            tell(&mut self.stored, seen(attempt, self.slurm[&attempt]), at(0));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Work => self.work(usize::MAX),
            Step::KilledAfter(most) => self.work(most),
            Step::Look => self.look(),
            Step::Suspend(suspend) => self.job.spec.suspend = Some(suspend),
            Step::Slurm { which, ends } => {
                let live = self.slurm.iter().filter(|(_, s)| ["PENDING", "RUNNING"].contains(s));
                let live: Vec<_> = live.map(|(attempt, _)| *attempt).collect();
                let Some(attempt) = live.get(which % live.len().max(1)) else { return };
                let state = match ends {
                    None => "RUNNING",
                    Some(true) => "COMPLETED",
                    Some(false) => "FAILED",
                };
                if state == "FAILED" {
                    self.failures.insert(*attempt);
                }
                self.slurm.insert(*attempt, state);
            }
        }
        self.check();
    }

    fn check(&self) {
        let spec = &self.job.spec;
        let live = self.slurm.values().filter(|state| ["PENDING", "RUNNING"].contains(state));
        let most = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap();
        assert!(live.count() <= most, "more are in Slurm than may: {:?}", self.slurm);
        let failed = usize::try_from(self.stored.failed).unwrap();
        assert!(failed <= self.failures.len(), "a cancelled task counts as a failure");
        let limit = usize::try_from(spec.backoff_limit.unwrap_or(0)).unwrap();
        assert!(failed <= limit + most, "{failed} failures");
        let (complete, has_failed) =
            (is_true(&self.stored, GpuJob::COMPLETE), is_true(&self.stored, GpuJob::FAILED));
        assert!(!(complete && has_failed));
        if complete || has_failed {
            assert!(self.stored.tasks.iter().all(|task| task.fetched), "{:#?}", self.stored);
            assert!(in_slurm(&self.stored).next().is_none());
        }
        if complete {
            let completed = self.slurm.values().filter(|state| **state == "COMPLETED").count();
            assert!(completed >= usize::try_from(spec.completions.unwrap_or(1)).unwrap());
        }
        if has_failed {
            assert!(failed > limit);
        }
    }
}

proptest! {
    #[test]
    fn every_job_ends_once_and_right_whatever_happens(
        steps in vec(step(), 0..60),
        completions in 1..4,
        parallelism in 1..4,
        backoff_limit in 0..3,
    ) {
        let spec = GpuJobSpec {
            completions: Some(completions),
            parallelism: Some(parallelism),
            backoff_limit: Some(backoff_limit),
            ..GpuJobSpec::default()
        };
        let mut job = GpuJob { spec, ..GpuJob::default() };
        job.metadata.creation_timestamp = Some(Time(at(0)));
        let mut world = World {
            job,
            stored: GpuJobStatus::default(),
            prepared: Prepared::NotYet,
            slurm: BTreeMap::new(),
            submissions: BTreeSet::new(),
            failures: BTreeSet::new(),
        };
        for step in steps {
            world.step(step);
        }
        world.step(Step::Suspend(false));
        // From here on, all that is submitted completes.
        for _ in 0..60 {
            for step in [Step::Work, Step::Look, Step::Slurm { which: 0, ends: Some(true) }] {
                world.step(step);
            }
        }
        let ends = [GpuJob::COMPLETE, GpuJob::FAILED].map(|type_| is_true(&world.stored, type_));
        prop_assert!(ends[0] != ends[1], "{:#?}", world.stored);
    }
}
