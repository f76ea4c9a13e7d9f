use super::*;

const ID: &str = "7";
const NAME: &str = "default.add-0-0-uid";

fn jobs() -> [Submitted; 1] {
    [Submitted { id: ID.to_owned(), name: NAME.to_owned(), directory: String::new() }]
}

/// A row of `squeue`.
fn queue(state: &str) -> Vec<Row> {
    of_squeue(&format!("7|N/A|{state}|None|dgx2|n1|2026-11-27T02:00:00|N/A|N/A|{NAME}\n"))
}

/// Rows of `sacct`: a task of the job each.
fn accounts(states: &[(&str, &str)]) -> Answer {
    let line = |(state, exit): &(&str, &str)| {
        format!(
            "7|{state}|{exit}|5|dgx2|n1|cpu=1|00:01||2026-11-27T02:00:00|Unknown|Unknown|{NAME}\n"
        )
    };
    Answer::Rows(of_sacct(&states.iter().map(line).collect::<String>()))
}

fn scontrol(state: &str) -> String {
    format!("JobId=7 JobName={NAME} JobState={state} ExitCode=3:0 Partition=dgx2\n")
}

fn silent() -> Answer {
    Answer::Silent("sacct: error: slurm_persist_conn_open: Connection refused".to_owned())
}

/// The state that is told, `-` for none and `?` for an error; and whether more was asked.
fn told(queue: &[Row], accounts: &Answer, details: &str) -> (String, bool) {
    let asked = !open(&[ID], queue, accounts).is_empty();
    let details = if asked { Details::parse(details, &jobs()) } else { Details::default() };
    let state = match settle(ID, queue, accounts, &details) {
        Ok(Some(observed)) => observed.state.to_string(),
        Ok(None) => "-".to_owned(),
        Err(error) => {
            assert!(error.is_transient());
            "?".to_owned()
        }
    };
    (state, asked)
}

#[track_caller]
fn check(queue: &[Row], accounts: &Answer, details: &str, expected: (&str, bool)) {
    assert_eq!(told(queue, accounts, details), (expected.0.to_owned(), expected.1));
}

#[test]
fn while_a_job_is_in_the_queue_its_word_counts() {
    check(&queue("RUNNING"), &accounts(&[]), "", ("RUNNING", false));
    check(&queue("RUNNING"), &silent(), "", ("RUNNING", false));
    check(&queue("PENDING"), &accounts(&[("NODE_FAIL", "0:0")]), "", ("PENDING", false));
    check(&queue("COMPLETING"), &accounts(&[("COMPLETED", "0:0")]), "", ("COMPLETING", false));
}

#[test]
fn an_end_is_taken_from_accounting_and_else_from_the_controller() {
    check(&queue("FAILED"), &accounts(&[("FAILED", "3:0")]), "", ("FAILED", false));
    check(&[], &accounts(&[("FAILED", "3:0")]), "", ("FAILED", false));
    check(
        &queue("FAILED"),
        &accounts(&[("RUNNING", "0:0")]),
        &scontrol("FAILED"),
        ("FAILED", true),
    );
    check(&queue("FAILED"), &accounts(&[]), &scontrol("FAILED"), ("FAILED", true));
    check(&queue("FAILED"), &silent(), &scontrol("FAILED"), ("FAILED", true));
    check(&queue("FAILED"), &Answer::Disabled, &scontrol("FAILED"), ("FAILED", true));
}

#[test]
fn a_failure_without_an_exit_code_is_asked_about() {
    let early = accounts(&[("FAILED", "0:0")]);
    let code = |queue: &[Row], details: &str| {
        assert!(open(&[ID], queue, &early).contains(ID));
        let details = Details::parse(details, &jobs());
        settle(ID, queue, &early, &details).unwrap().unwrap().exit_code
    };
    assert_eq!(code(&queue("FAILED"), &scontrol("FAILED")), Some(3));
    assert_eq!(code(&[], "==exit 7 3\n"), Some(3));
    assert_eq!(code(&[], ""), Some(0), "nobody knows better");
    check(&[], &accounts(&[("FAILED", "0:9")]), "", ("FAILED", false));
    check(&[], &accounts(&[("TIMEOUT", "0:0")]), "", ("TIMEOUT", false));
}

#[test]
fn what_nobody_knows_any_more_is_in_the_jobs_directory_or_unknown() {
    check(&[], &Answer::Disabled, "==exit 7 0\n", ("COMPLETED", true));
    check(&[], &silent(), "==exit 7 3\n", ("FAILED", true));
    check(&[], &Answer::Disabled, "==exit 8 0\n", ("-", true));
    check(&[], &accounts(&[]), "", ("-", true));
    check(&[], &accounts(&[("RUNNING", "0:0")]), "", ("RUNNING", true));
    // It has begun, and did not come to its end.
    check(&[], &Answer::Disabled, "==exit 7 none\n", ("FAILED", true));
    check(&[], &Answer::Disabled, "==exit 7 0\n==exit 7 none\n", ("FAILED", true));
    check(&[], &Answer::Disabled, "==exit 7 0 2\n==exit 7 0 2\n", ("COMPLETED", true));
    check(&[], &Answer::Disabled, "==exit 7 0 3\n==exit 7 0 3\n", ("FAILED", true));
    check(&[], &accounts(&[("RUNNING", "0:0")]), "==exit 7 none\n", ("RUNNING", true));
    check(&[], &silent(), "==exit 7 none\n", ("?", true));
    // Only accounting would know.
    check(&[], &silent(), "", ("?", true));
}

#[test]
fn an_array_goes_on_until_all_of_it_has_ended_and_fails_with_any_of_it() {
    let state = |states: &[(&str, &str)]| told(&[], &accounts(states), "").0;
    assert_eq!(state(&[("COMPLETED", "0:0"), ("PENDING", "0:0")]), "PENDING");
    assert_eq!(state(&[("PENDING", "0:0"), ("RUNNING", "0:0"), ("FAILED", "1:0")]), "RUNNING");
    assert_eq!(state(&[("COMPLETED", "0:0"), ("FAILED", "1:0")]), "FAILED");
    assert_eq!(state(&[("CANCELLED by 1", "0:0"), ("TIMEOUT", "0:0")]), "TIMEOUT");
    assert_eq!(state(&[("COMPLETED", "0:0"), ("COMPLETED", "0:0")]), "COMPLETED");
    // One of its tasks is forgotten already.
    check(
        &[],
        &Answer::Disabled,
        &format!(
            "JobId=7 JobName={NAME} JobState=COMPLETED ExitCode=0:0\n==exit 7 0\n==exit 7 4\n"
        ),
        ("FAILED", true),
    );
}

#[test]
fn exit_codes_are_told_at_the_end_only_and_memory_is_the_most_of_all_steps() {
    let Answer::Rows(mut rows) = accounts(&[("RUNNING", "0:0")]) else { panic!() };
    rows.extend(of_sacct(
        "7.batch|RUNNING|0:0|5||n1|cpu=1|00:01|900K|Unknown|Unknown|Unknown|batch\n",
    ));
    rows.extend(of_sacct("7.0|RUNNING|0:0|5||n1|cpu=1|00:01|1.5M|Unknown|Unknown|Unknown|batch\n"));
    let running = Observed::of(&rows, ID).unwrap();
    assert_eq!((running.exit_code, running.elapsed_seconds), (None, Some(5)));
    assert_eq!(running.usage["MaxRSS"], "1.5M");
}

#[test]
fn of_several_tasks_that_have_failed_the_first_speaks() {
    let rows = accounts(&[("COMPLETED", "0:0"), ("FAILED", "3:0"), ("FAILED", "4:0")]);
    assert_eq!(rows.job(ID).unwrap().exit_code, Some(3));
}

#[test]
fn the_answers_of_both_commands_are_told_apart() {
    let answer =
        |text: &str| overview(text, &jobs()).map(|(queue, accounts)| (queue.len(), accounts));
    let queue = format!("7|N/A|RUNNING|None|dgx2|n1|N/A|N/A|N/A|{NAME}\n==squeue 0\n");
    assert!(
        matches!(answer(&format!("{queue}==sacct 0\n")), Ok((1, Answer::Rows(rows))) if rows.is_empty())
    );
    let disabled = format!("{queue}Slurm accounting storage is disabled\n==sacct 1\n");
    assert!(matches!(answer(&disabled), Ok((1, Answer::Disabled))));
    assert!(matches!(answer(&format!("{queue}==sacct 124\n")), Ok((1, Answer::Silent(_)))));
    let unknown = "slurm_load_jobs error: Invalid job id specified\n==squeue 1\n==sacct 0\n";
    assert!(matches!(answer(unknown), Ok((0, Answer::Rows(_)))));
    let away = "slurm_load_jobs error: Unable to contact slurm controller\n==squeue 1\n==sacct 0\n";
    assert!(answer(away).unwrap_err().is_transient());
    assert!(answer("7|N/A|RUNN").unwrap_err().is_transient());
}

#[test]
fn a_job_that_has_only_the_number_is_another_one() {
    let queue = |name: &str| format!("7|N/A|RUNNING|None|dgx2|n1|N/A|N/A|N/A|{name}\n==squeue 0\n");
    let batch = "7.batch|RUNNING|0:0|5||n1|cpu=1|00:01|1K|Unknown|Unknown|Unknown|batch\n";
    let accounts = |name: &str| {
        let job = "7|RUNNING|0:0|5|dgx2|n1|cpu=1|00:01||Unknown|Unknown|Unknown";
        format!("{job}|{name}\n{batch}==sacct 0\n")
    };
    for other in ["", "other", "a|b", &format!("{NAME}|"), "default.add-0-0-uid2"] {
        let (queue, accounts) = overview(&(queue(other) + &accounts(other)), &jobs()).unwrap();
        check(&queue, &accounts, "JobId=7 JobName=other JobState=RUNNING\n", ("-", true));
    }
    let (queue, accounts) = overview(&(queue("other") + &accounts(NAME)), &jobs()).unwrap();
    check(&queue, &accounts, "", ("RUNNING", true));
}
