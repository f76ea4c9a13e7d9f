//! Cancelling jobs.

use super::{
    submit::{PRELUDE, is_transient, unanswered},
    task::Submitted,
};
use crate::{
    remote::{Remote, quote},
    ssh::{Error, Exit},
};

/// `end NAME NUMBER`: nobody else's job ends because it has the number. Where nothing is said of the job, Slurm does not
/// answer, and is not asked about others.
const END: &str = r#"code=0
end() {
    words=$(scancel --name="$1" "$2" 2>&1) && return
    echo "$words" >&2
    code=1
    case $words in *' job'*) ;; *) exit 1 ;; esac
}
"#;

/// Cancels jobs. Those that have ended, or that Slurm does not know, are no errors.
pub async fn cancel(remote: &Remote, jobs: &[Submitted]) -> Result<(), Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut script = format!("{PRELUDE}{END}");
    for Submitted { id, name, .. } in jobs {
        script.push_str(&format!("end {} {}\n", quote(name)?, quote(id)?));
    }
    script.push_str("exit $code\n");
    let output = remote.run(&script).await?;
    if output.exit == Exit::Code(0) {
        return Ok(());
    }
    cancelled(&String::from_utf8_lossy(&output.stderr))
}

/// What a `scancel` that has failed means: its commands warn of other things, too.
fn cancelled(words: &str) -> Result<(), Error> {
    let harmless = ["Invalid job id", "already completing or completed"];
    let mut of_jobs = words.lines().filter(|line| line.contains(" job")).peekable();
    let told = of_jobs.peek().is_some();
    let wrong = of_jobs.find(|line| !harmless.iter().any(|words| line.contains(words)));
    match wrong {
        Some(line) if line.contains("denied") => Err(Error::failed("scancel", line)),
        Some(line) => Err(Error::Unreachable(unanswered(line))),
        None if told && !is_transient(words) => Ok(()),
        None => Err(Error::Unreachable(unanswered(words))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_fails_only_for_what_is_said_of_its_jobs() {
        let obsolete = "scancel: error: Ignoring obsolete CacheGroups=0 option.\n";
        let unknown = "scancel: error: Kill job error on job id 9: Invalid job id specified\n";
        let ended = "scancel: error: Kill job error on job id 9: Job/step already completing or completed\n";
        let denied = "scancel: error: Kill job error on job id 9: Access/permission denied\n";
        let away = "scancel: error: slurm_load_jobs: Unable to contact slurm controller\n";
        assert!(cancelled(&[obsolete, unknown, ended].concat()).is_ok());
        assert!(!cancelled(&[obsolete, unknown, denied].concat()).unwrap_err().is_transient());
        for words in [&[away].concat(), &[unknown, away].concat(), obsolete, ""] {
            assert!(cancelled(words).unwrap_err().is_transient(), "{words}");
        }
    }
}
