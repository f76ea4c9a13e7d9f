use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Option<Time> {
    Some(Time(format!("{text}Z").parse().unwrap()))
}

/// As Slurm 22.05 prints them.
const SQUEUE: &str = "\
4|N/A|COMPLETING|None|dgx2|node-1|2026-11-27T02:55:24|2026-11-27T02:55:24|2026-11-27T02:55:27|a|b
3|1|PENDING|JobArrayTaskLimit|dgx2||2026-11-27T02:55:24|N/A|N/A|a|b
";
const SACCT: &str = "\
2|FAILED|3:0|1|dgx2|node-1|billing=1,cpu=1,mem=100M,node=1|00:00.002||2026-11-27T02:55:24|2026-11-27T02:55:25|2026-11-27T02:55:23|a|b
2.batch|FAILED|3:0|1||node-1|cpu=1,mem=100M,node=1|00:00.002|3228K|2026-11-27T02:55:24|2026-11-27T02:55:25|2026-11-27T02:55:24|a|b
4|CANCELLED by 1001|0:15|3|dgx2|node-1|cpu=1|00:00.002||2026-11-27T02:55:24|2026-11-27T02:55:27|2026-11-27T02:55:24|a|b
5|PENDING|0:0|0|dgx2|None assigned||00:00:00||Unknown|Unknown|2026-11-27T02:55:24|a|b
3_0|RUNNING|0:0|5|dgx2|node-1|cpu=1|00:00:00||2026-11-27T02:55:24|Unknown|2026-11-27T02:55:24|a|b
3_[1-3%1]|PENDING|0:0|0|dgx2|None assigned||00:00:00||Unknown|Unknown|2026-11-27T02:55:24|a|b
8+0|RUNNING|0:0|5|dgx2|node-1|cpu=1|00:00:00||2026-11-27T02:55:24|Unknown|2026-11-27T02:55:24|a|b
";
const SCONTROL: &str = "\
JobId=2 JobName=j.sh UserId=u(1001) Account=(null) QOS=normal JobState=FAILED Reason=NonZeroExitCode Dependency=(null) \
ExitCode=3:0 RunTime=1-00:01:02 SubmitTime=2026-11-27T02:55:24 StartTime=2026-11-27T02:55:24 EndTime=2026-11-27T02:55:25 \
Partition=dgx2 ReqNodeList=(null) NodeList=node-1 TRES=cpu=1,mem=100M Command=/home/x JobState=COMPLETED ExitCode=0:0 WorkDir=/home
JobId=6 ArrayJobId=3 ArrayTaskId=0 JobName=x JobState=RUNNING Reason=None ExitCode=0:0 RunTime=00:00:06 EndTime=Unknown
";

#[test]
fn squeue_tells_states_and_reasons() {
    let [completing, pending] = &of_squeue(SQUEUE)[..] else { panic!() };
    assert_eq!((completing.id.as_str(), completing.state.as_str()), ("4", "COMPLETING"));
    assert_eq!((completing.reason.as_deref(), completing.nodes.as_deref()), (None, Some("node-1")));
    assert_eq!(completing.end_time, at("2026-11-27T02:55:27"));
    assert_eq!((pending.id.as_str(), pending.state.as_str()), ("3", "PENDING"));
    assert_eq!(pending.reason.as_deref(), Some("JobArrayTaskLimit"));
    assert_eq!(pending.name, "a|b");
    assert_eq!((pending.nodes.as_deref(), pending.start_time.clone()), (None, None));
}

#[test]
fn sacct_tells_of_jobs_arrays_and_steps() {
    let rows = of_sacct(SACCT);
    let names: Vec<_> = rows.iter().map(|r| (r.id.as_str(), r.step.as_deref())).collect();
    let whole = |id| (id, None);
    let batch = ("2", Some("batch"));
    let expected = [whole("2"), batch, whole("4"), whole("5"), whole("3"), whole("3"), whole("8")];
    assert_eq!(names, expected);
    let failed = &rows[0];
    assert_eq!(failed.name, "a|b");
    assert_eq!((failed.exit_code, failed.signal, failed.elapsed_seconds), (Some(3), None, Some(1)));
    assert_eq!(failed.submit_time, at("2026-11-27T02:55:23"));
    assert_eq!(failed.usage["TotalCPU"], "00:00.002");
    assert_eq!(rows[1].usage["MaxRSS"], "3228K");
    assert_eq!((rows[2].state.as_str(), rows[2].signal), ("CANCELLED", Some(15)));
    assert_eq!((rows[3].nodes.as_deref(), rows[3].end_time.clone()), (None, None));
}

#[test]
fn scontrol_tells_the_same_and_nothing_that_a_user_wrote() {
    let [failed, running] = &of_scontrol(SCONTROL)[..] else { panic!() };
    assert_eq!((failed.id.as_str(), failed.state.as_str()), ("2", "FAILED"));
    assert_eq!((failed.exit_code, failed.elapsed_seconds), (Some(3), Some(86_462)));
    assert_eq!(failed.reason.as_deref(), Some("NonZeroExitCode"));
    assert_eq!(failed.usage["AllocTRES"], "cpu=1,mem=100M");
    assert_eq!((running.id.as_str(), running.state.as_str()), ("3", "RUNNING"));
    assert_eq!(running.end_time, None);
}

#[test]
fn a_duration_is_in_days_hours_minutes_and_seconds() {
    let check = |text: &str, expected| assert_eq!(duration(text), expected, "{text}");
    check("00:00:06", Some(6));
    check("2-03:04:05", Some(183_845));
    check("99999999999999999-00:00:00", None);
    check("UNLIMITED", None);
    check("5", None);
}

proptest! {
    #[test]
    fn no_words_of_slurm_are_too_strange(text in "([0-9|:.=_+ \n-]|JobId|JobState|\\PC){0,80}") {
        of_squeue(&text);
        of_sacct(&text);
        of_scontrol(&text);
    }
}
