use std::time::Duration;

use api_types::{
    jiff::{SignedDuration, Timestamp},
    meta::Time,
    minik8s::{GpuJob, GpuJobSpec, GpuJobStatus, GpuJobTask},
};

use super::{
    Action, Attempt, News, Observation, Prepared, Told, back_off, condition,
    conditions::FAILURE_TARGET, happenings, is_true, next, pace, set, streaming, tell,
    until_deadline,
};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

fn job(change: impl FnOnce(&mut GpuJobSpec)) -> GpuJob {
    let mut job = GpuJob::default();
    change(&mut job.spec);
    job
}

pub(super) fn first(index: i32) -> Attempt {
    Attempt { index, attempt: 0 }
}

pub(super) fn seen(attempt: Attempt, state: &str) -> News {
    let task = GpuJobTask { state: Some(state.to_owned()), ..GpuJobTask::default() };
    News::Observed(attempt, Box::new(Observation { task, ..Observation::default() }))
}

/// A job that is played step by step.
struct Play {
    job: GpuJob,
    status: GpuJobStatus,
    prepared: Prepared,
    now: Timestamp,
}

impl Play {
    fn new(change: impl FnOnce(&mut GpuJobSpec)) -> Self {
        let status = GpuJobStatus::default();
        Self { job: job(change), status, prepared: Prepared::Yes, now: at(0) }
    }

    /// What is done next.
    #[track_caller]
    fn does(&mut self, expected: &[Action]) -> &mut Self {
        let (status, actions) = next(&self.job, &self.status, &self.prepared, self.now);
        self.status = status;
        assert_eq!(actions, expected, "{:#?}", self.status);
        self
    }

    fn hears(&mut self, news: News) -> &mut Self {
        tell(&mut self.status, news, self.now);
        self
    }

    fn submitted(&mut self, attempt: Attempt) -> &mut Self {
        self.hears(News::Submitted(attempt, format!("{}{}", attempt.index, attempt.attempt)))
    }

    fn fetched(&mut self, attempt: Attempt) -> &mut Self {
        self.hears(News::Fetched(attempt, None))
    }

    #[track_caller]
    fn has_failed(&self, reason: &str) {
        let failed = condition(&self.status, GpuJob::FAILED).expect("the job has failed");
        assert_eq!(failed.reason, reason);
        assert!(!is_true(&self.status, GpuJob::COMPLETE));
    }
}

#[test]
fn a_job_is_prepared_submitted_fetched_and_complete() {
    let mut play = Play::new(|_| {});
    play.prepared = Prepared::NotYet;
    play.does(&[Action::Prepare]);
    play.prepared = Prepared::Yes;
    play.does(&[Action::Submit(first(0))]).does(&[Action::Submit(first(0))]);
    play.submitted(first(0)).does(&[]).hears(seen(first(0), "RUNNING")).does(&[]);
    assert_eq!((play.status.active, play.status.state.as_deref()), (1, Some("RUNNING")));
    play.hears(seen(first(0), "COMPLETED")).does(&[Action::Fetch(first(0))]);
    assert!(!is_true(&play.status, GpuJob::COMPLETE), "results come first");
    play.fetched(first(0)).does(&[]);
    assert!(is_true(&play.status, GpuJob::COMPLETE));
    assert_eq!((play.status.active, play.status.succeeded, play.status.failed), (0, 1, 0));
}

#[test]
fn a_failed_task_is_tried_again_once_its_files_are_here() {
    let again = Attempt { index: 0, attempt: 1 };
    let mut play = Play::new(|spec| spec.backoff_limit = Some(1));
    play.does(&[Action::Submit(first(0))]).submitted(first(0));
    play.hears(seen(first(0), "FAILED")).does(&[Action::Fetch(first(0))]).fetched(first(0));
    play.does(&[Action::Submit(again)]).submitted(again);
    play.hears(seen(first(0), "COMPLETED")).does(&[]);
    play.hears(seen(again, "TIMEOUT")).does(&[Action::Fetch(again)]).fetched(again).does(&[]);
    play.has_failed("BackoffLimitExceeded");
    assert_eq!(play.status.failed, 2);
}

#[test]
fn those_that_run_are_cancelled_when_the_job_is_going_to_fail() {
    let mut play = Play::new(|spec| (spec.completions, spec.parallelism) = (Some(3), Some(2)));
    play.does(&[Action::Submit(first(0)), Action::Submit(first(1))]);
    play.submitted(first(0)).submitted(first(1)).hears(seen(first(0), "NODE_FAIL"));
    play.does(&[Action::Cancel(first(1)), Action::Fetch(first(0))]).fetched(first(0));
    play.does(&[Action::Cancel(first(1))]).hears(seen(first(1), "CANCELLED"));
    play.does(&[Action::Fetch(first(1))]).fetched(first(1)).does(&[]);
    play.has_failed("BackoffLimitExceeded");
}

#[test]
fn what_was_on_its_way_when_the_job_failed_is_withdrawn() {
    let mut play = Play::new(|spec| (spec.completions, spec.parallelism) = (Some(2), Some(2)));
    play.does(&[Action::Submit(first(0)), Action::Submit(first(1))]);
    play.hears(News::Refused(first(0), "invalid partition specified: nope".to_owned()));
    play.does(&[Action::Cancel(first(1))]).hears(News::Withdrawn(first(1))).does(&[]);
    play.has_failed("InvalidSubmission");
    assert_eq!(play.status.message.as_deref(), Some("invalid partition specified: nope"));
}

#[test]
fn scripts_that_do_not_compile_end_the_job() {
    let mut play = Play::new(|spec| spec.backoff_limit = Some(6));
    play.prepared = Prepared::CompileFailed("the compile scripts ended with 2: a.cu(3)".to_owned());
    play.does(&[]);
    play.has_failed("CompileFailed");
}

#[test]
fn what_cannot_be_prepared_or_submitted_ends_the_job_once_nothing_of_it_is_in_slurm() {
    let words = "copying the build: No space left on device";
    let mut play = Play::new(|spec| (spec.completions, spec.parallelism) = (Some(2), Some(2)));
    play.does(&[Action::Submit(first(0)), Action::Submit(first(1))]).submitted(first(0));
    play.hears(News::GivenUp("SubmissionFailed", words.to_owned()));
    play.does(&[Action::Cancel(first(0)), Action::Cancel(first(1))]);
    play.hears(News::Withdrawn(first(1))).hears(seen(first(0), "CANCELLED"));
    play.does(&[Action::Fetch(first(0))]).fetched(first(0)).does(&[]);
    play.has_failed("SubmissionFailed");
    assert_eq!(play.status.message.as_deref(), Some(words));
}

#[test]
fn nothing_is_prepared_unless_something_is_to_be_submitted() {
    let mut play = Play::new(|spec| spec.completions = Some(2));
    play.does(&[Action::Submit(first(0))]);
    play.prepared = Prepared::NotYet;
    play.does(&[Action::Prepare]).submitted(first(0)).does(&[]);
    play.hears(seen(first(0), "COMPLETED"));
    play.does(&[Action::Prepare, Action::Fetch(first(0))]);
}

#[test]
fn a_deadline_is_waited_for_until_it_has_come() {
    let mut play = Play::new(|spec| spec.active_deadline_seconds = Some(60));
    let wait = |play: &Play, now| until_deadline(&play.job.spec, &play.status, at(now));
    assert_eq!(wait(&play, 0), None);
    play.does(&[Action::Submit(first(0))]);
    assert_eq!(wait(&play, 50), Some(Duration::from_secs(10)));
    assert_eq!(wait(&play, 60), None);
}

#[test]
fn a_deadline_ends_what_runs_and_what_has_not_begun() {
    let mut play = Play::new(|spec| spec.active_deadline_seconds = Some(60));
    play.does(&[Action::Submit(first(0))]).submitted(first(0));
    play.now = at(60);
    play.does(&[Action::Cancel(first(0))]).hears(seen(first(0), "COMPLETED"));
    play.does(&[Action::Fetch(first(0))]).fetched(first(0)).does(&[]);
    play.has_failed("DeadlineExceeded");
    let mut play = Play::new(|spec| spec.active_deadline_seconds = Some(60));
    play.prepared = Prepared::NotYet;
    play.does(&[Action::Prepare]);
    play.now = at(61);
    play.does(&[]);
    play.has_failed("DeadlineExceeded");
}

#[test]
fn results_may_come_after_the_deadline() {
    let mut play = Play::new(|spec| spec.active_deadline_seconds = Some(60));
    play.does(&[Action::Submit(first(0))]).submitted(first(0)).hears(seen(first(0), "COMPLETED"));
    play.now = at(61);
    play.does(&[Action::Fetch(first(0))]).fetched(first(0)).does(&[]);
    assert!(is_true(&play.status, GpuJob::COMPLETE));
}

#[test]
fn a_suspended_job_has_nothing_in_slurm_and_no_failure_by_it() {
    let again = Attempt { index: 0, attempt: 1 };
    let mut play = Play::new(|_| {});
    play.does(&[Action::Submit(first(0))]).submitted(first(0));
    play.job.spec.suspend = Some(true);
    play.does(&[Action::Cancel(first(0))]);
    play.job.spec.suspend = Some(false);
    play.does(&[Action::Cancel(first(0))]).hears(seen(first(0), "CANCELLED"));
    play.does(&[Action::Fetch(first(0))]).fetched(first(0)).does(&[Action::Submit(again)]);
    assert_eq!((play.status.failed, play.status.active), (0, 1));
    assert!(condition(&play.status, FAILURE_TARGET).is_none());
    play.submitted(again).hears(seen(again, "CANCELLED")).does(&[Action::Fetch(again)]);
    assert_eq!(play.status.failed, 1, "somebody else's scancel is a failure");
}

#[test]
fn compile_scripts_end_before_the_job_does_and_are_begun_anew_when_it_is_resumed() {
    let mut play = Play::new(|spec| spec.active_deadline_seconds = Some(10));
    play.prepared = Prepared::Begun;
    play.does(&[Action::Prepare]);
    play.job.spec.suspend = Some(true);
    play.does(&[Action::StopCompiling]);
    play.prepared = Prepared::NotYet;
    play.does(&[]);
    play.job.spec.suspend = Some(false);
    play.does(&[Action::Prepare]);
    play.prepared = Prepared::Begun;
    play.now = at(11);
    play.does(&[Action::StopCompiling]);
    assert!(condition(&play.status, GpuJob::FAILED).is_none(), "they are at work still");
    play.prepared = Prepared::NotYet;
    play.does(&[]).has_failed("DeadlineExceeded");
    // Another pod has another volume.
    play.prepared = Prepared::Begun;
    play.does(&[Action::FetchLog]);
}

#[test]
fn a_job_that_begins_suspended_waits() {
    let mut play = Play::new(|spec| spec.suspend = Some(true));
    play.prepared = Prepared::NotYet;
    play.does(&[]);
    assert!(play.status.start_time.is_none() && is_true(&play.status, GpuJob::SUSPENDED));
}

#[test]
fn a_deleted_job_is_cleaned_up_if_anything_of_it_is_there() {
    let mut play = Play::new(|_| {});
    play.job.metadata.deletion_timestamp = Some(Time(at(0)));
    play.does(&[Action::Release]);
    let told = Told { type_: GpuJob::UPLOADED, holds: false, reason: "Uploading", message: "" };
    set(&mut play.status, told, at(0));
    play.does(&[Action::CleanUp]).hears(News::Removed).does(&[Action::Release]);
}

#[test]
fn what_is_cancelled_with_its_job_has_not_failed() {
    let mut play = Play::new(|_| {});
    play.does(&[Action::Submit(first(0))]).submitted(first(0)).hears(seen(first(0), "RUNNING"));
    play.job.metadata.deletion_timestamp = Some(Time(at(0)));
    let before = play.status.clone();
    let News::Observed(attempt, seen) = seen(first(0), "CANCELLED") else { panic!() };
    play.hears(News::Observed(attempt, Box::new(Observation { is_unwanted: true, ..*seen })));
    play.does(&[Action::Release]);
    let status = &play.status;
    assert_eq!((status.state.as_deref(), status.active, status.failed), (Some("CANCELLED"), 0, 0));
    let told: Vec<_> = happenings(&before, status).into_iter().map(|it| it.warning).collect();
    assert_eq!(told, [false]);
}

#[test]
fn files_that_are_not_here_any_more_are_fetched_again_after_the_end() {
    let mut play = Play::new(|_| {});
    play.does(&[Action::Submit(first(0))]).submitted(first(0)).hears(seen(first(0), "COMPLETED"));
    play.fetched(first(0)).does(&[]);
    play.status.tasks[0].fetched = false;
    play.does(&[Action::Fetch(first(0))]).fetched(first(0)).does(&[]);
}

#[test]
fn what_happens_is_told_of_once() {
    let check = |before: &GpuJobStatus, after: &GpuJobStatus, expected: &[&str]| {
        let told: Vec<_> = happenings(before, after).into_iter().map(|told| told.reason).collect();
        assert_eq!(told, expected);
    };
    let mut play = Play::new(|_| {});
    let nothing = GpuJobStatus::default();
    play.does(&[Action::Submit(first(0))]).submitted(first(0));
    let submitted = play.status.clone();
    check(&nothing, &submitted, &["Submitted"]);
    check(&submitted, &submitted, &[]);
    play.hears(seen(first(0), "OUT_OF_MEMORY")).does(&[Action::Fetch(first(0))]);
    check(&submitted, &play.status, &["TaskFailed"]);
    let before = play.status.clone();
    play.fetched(first(0)).does(&[]);
    check(&before, &play.status, &["Failed"]);
}

#[test]
fn slurm_is_asked_often_near_what_happens_and_seldom_in_between() {
    let running = |started: i64| {
        let task = GpuJobTask {
            state: Some("RUNNING".to_owned()),
            start_time: Some(Time(at(started))),
            ..GpuJobTask::default()
        };
        GpuJobStatus { tasks: vec![task], ..GpuJobStatus::default() }
    };
    let hour = Some("60");
    let check = |status: &GpuJobStatus, limit: Option<&str>, now, expected| {
        let job = job(|spec| spec.time_limit = limit.map(str::to_owned));
        let wait = pace(&job, status, at(now));
        assert_eq!(wait, Duration::from_secs(expected), "at {now}");
    };
    check(&running(0), None, 0, 2);
    check(&running(0), None, 20, 2);
    check(&running(0), None, 300, 30);
    check(&running(0), None, 86_400, 60);
    check(&running(0), hour, 1800, 60);
    check(&running(0), hour, 3300, 30);
    check(&running(0), hour, 3590, 2);
    let mut ending = running(0);
    ending.tasks[0].state = Some("COMPLETING".to_owned());
    check(&ending, None, 86_400, 2);
    let mut learnt = running(0);
    learnt.tasks.push(GpuJobTask {
        index: 1,
        state: Some("COMPLETED".to_owned()),
        elapsed_seconds: Some(600),
        ..GpuJobTask::default()
    });
    check(&learnt, None, 595, 2);
    let deadline = job(|spec| spec.active_deadline_seconds = Some(100));
    let mut late = running(-86_400);
    late.start_time = Some(Time(at(0)));
    assert_eq!(pace(&deadline, &late, at(90)), Duration::from_secs(10));
}

#[test]
fn a_login_node_that_is_away_is_tried_ever_more_seldom() {
    let seconds: Vec<_> = (1..=7).map(|failures| back_off(failures).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(back_off(u32::MAX).as_secs(), 30);
}

#[test]
fn output_that_comes_is_looked_for_every_second_and_else_ever_more_seldom() {
    let mut wait = Duration::ZERO;
    let mut after = |some| {
        wait = streaming(wait, some);
        wait.as_secs()
    };
    assert_eq!([false; 5].map(&mut after), [1, 2, 4, 8, 8]);
    assert_eq!([true, true, false].map(after), [1, 1, 2]);
}
