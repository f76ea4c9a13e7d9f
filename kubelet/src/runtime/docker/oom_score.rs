//! How low a score the Docker Engine can give containers, by which the kernel keeps them when memory is short. One that runs
//! with fewer rights than root's, in a container itself for one, starts nothing at all with a lower one.

use std::fs;

use docker::Docker as Engine;

/// The right to lower one's own score, by its place among the bits.
const SYS_RESOURCE: u32 = 24;
/// What the kernel knows.
const LOWEST: i64 = -1000;

/// 0 if nobody can tell.
pub(super) async fn lowest(engine: &Engine) -> i64 {
    let process = engine.listener().await;
    process.and_then(of_process).unwrap_or_default()
}

fn of_process(process: i32) -> Option<i64> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
    lowest_of(&read("status")?, &read("oom_score_adj")?)
}

/// Without the right it is the process's own.
fn lowest_of(status: &str, own: &str) -> Option<i64> {
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let rights = u64::from_str_radix(rights.trim(), 16).ok()?;
    if (rights >> SYS_RESOURCE) & 1 == 1 { Some(LOWEST) } else { own.trim().parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_right_no_score_is_lower_than_the_engine_s_own() {
        let check = |rights: &str, own: &str, expected: Option<i64>| {
            let status = format!("Name:\tdockerd\nCapEff:\t{rights}\nSeccomp:\t0\n");
            assert_eq!(lowest_of(&status, own), expected, "{rights}");
        };
        check("000001ffffffffff", "-500\n", Some(-1000));
        check("000001fffeffffff", "-500\n", Some(-500));
        check("000001fffeffffff", "0\n", Some(0));
        check("", "0\n", None);
    }
}
