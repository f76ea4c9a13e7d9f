//! How low a score the Docker Engine can give containers, by which the kernel keeps them when memory is short. One that runs
//! with fewer rights than root's, in a container itself for one, starts nothing at all with a lower one.

use std::fs;

use docker::Docker as Engine;

/// The right to lower one's own score, by its place among the bits.
const SYS_RESOURCE: u32 = 24;
/// What the kernel knows.
const LOWEST: i64 = -1000;
/// Which users of the host those of a process are, where they are all the same.
const HOST_USERS: [&str; 3] = ["0", "0", "4294967295"];

/// 0 if nobody can tell.
pub(super) async fn lowest(engine: &Engine) -> i64 {
    let process = engine.listener().await;
    process.and_then(of_process).unwrap_or_default()
}

fn of_process(process: i32) -> Option<i64> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
    lowest_of(&read("status")?, read("uid_map").as_deref(), &read("oom_score_adj")?)
}

/// Without the right it is the process's own. Who has it among users of his own has it not on the host.
fn lowest_of(status: &str, users: Option<&str>, own: &str) -> Option<i64> {
    let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let rights = u64::from_str_radix(rights.trim(), 16).ok()?;
    let is_host = users.is_none_or(|users| users.split_whitespace().eq(HOST_USERS));
    let has_right = is_host && (rights >> SYS_RESOURCE) & 1 == 1;
    if has_right { Some(LOWEST) } else { own.trim().parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "         0          0 4294967295\n";

    #[test]
    fn without_the_right_no_score_is_lower_than_the_engine_s_own() {
        let check = |rights: &str, own: &str, expected: Option<i64>| {
            let status = format!("Name:\tdockerd\nCapEff:\t{rights}\nSeccomp:\t0\n");
            assert_eq!(lowest_of(&status, Some(HOST), own), expected, "{rights}");
        };
        check("000001ffffffffff", "-500\n", Some(-1000));
        check("000001fffeffffff", "-500\n", Some(-500));
        check("000001fffeffffff", "0\n", Some(0));
        check("", "0\n", None);
    }

    #[test]
    fn a_right_among_users_of_its_own_is_none_on_the_host() {
        let lowest = |users| lowest_of("CapEff:\t000001ffffffffff\n", users, "100\n");
        assert_eq!(lowest(Some(HOST)), Some(-1000));
        assert_eq!(lowest(Some("         0     100000      65536\n")), Some(100));
        // The kernel knows no others.
        assert_eq!(lowest(None), Some(-1000));
    }
}
