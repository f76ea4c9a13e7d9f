//! How long a task may run.

use std::time::Duration;

use api_types::minik8s::GpuJob;

/// Of a task, if the job says one.
pub(super) fn time_limit(job: &GpuJob) -> Option<Duration> {
    slurm_duration(job.spec.time_limit.as_deref()?)
}

/// As Slurm writes it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`.
fn slurm_duration(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let parts: Result<Vec<u64>, _> = rest.split(':').map(str::parse).collect();
    let seconds = match (days, parts.ok()?.as_slice()) {
        (None, [minutes]) => minutes.checked_mul(60)?,
        (None, [minutes, seconds]) => minutes.checked_mul(60)?.checked_add(*seconds)?,
        (_, [hours, rest @ ..]) if rest.len() < 3 => {
            let (minutes, seconds) = (rest.first().unwrap_or(&0), rest.get(1).unwrap_or(&0));
            hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)?
        }
        _ => return None,
    };
    Some(Duration::from_secs(days.unwrap_or(0).checked_mul(86_400)?.checked_add(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_read_as_slurm_does() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(slurm_duration(text), seconds.map(Duration::from_secs), "{text}");
        };
        check("90", Some(5400));
        check("1:30", Some(90));
        check("01:30:00", Some(5400));
        check("2-12", Some(216_000));
        check("2-12:01:02", Some(216_062));
        check("UNLIMITED", None);
        check("1-1:1:1:1", None);
    }
}
