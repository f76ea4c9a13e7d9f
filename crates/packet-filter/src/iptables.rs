//! The kernel's rules through iptables.

use std::{error::Error as StdError, fs::File, sync::OnceLock};

use iptables::IPTables;
use nix::fcntl::{Flock, FlockArg};
use tokio::{
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
};

use crate::{Error, family::Family, process};

/// Programs of one host take turns: between looking and writing, nobody else writes.
const LOCK: &str = "/run/minik8s-firewall.lock";

/// Nobody else writes before it is dropped.
pub(crate) async fn turn() -> Result<Flock<File>, Error> {
    static ONE: Semaphore = Semaphore::const_new(1);
    let lock = || {
        let file = File::create(LOCK)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    };
    blocking(&ONE, lock).await.unwrap_or_else(|lost| Err(lost.into())).map_err(Error::Lock)
}

/// One of a kind at a time, also of those that nobody waits for any more: what hangs takes one thread, however
/// often it is tried. Who has the turn lists, so those who wait for it are of another kind.
async fn blocking<T: Send + 'static>(
    one: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    // It is never closed.
    let permit = one.acquire().await.ok();
    spawn_blocking(move || {
        let _permit = permit;
        work()
    })
    .await
}

/// The chains and rules of a table, as `iptables -S` shows them.
pub(crate) async fn list(family: Family, table: &'static str) -> Result<Vec<String>, Error> {
    static ONE: Semaphore = Semaphore::const_new(1);
    let command = || format!("{} -t {table} -S", name(family));
    let refused = |message| Error::Refused { command: command(), message };
    let listed = blocking(&ONE, move || {
        tool(family).and_then(|tool| tool.list_table(table)).map_err(|error| error.to_string())
    });
    let lost = |error: JoinError| Err(error.to_string());
    let listed = listed.await.unwrap_or_else(lost).map_err(refused)?;
    // The library takes a refusal for an empty table, which there is none: built-in chains have a policy.
    if !listed.iter().any(|line| line.starts_with("-P ")) {
        return Err(refused("it lists nothing".to_owned()));
    }
    Ok(listed)
}

fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    }
}

fn tool(family: Family) -> Result<&'static IPTables, Box<dyn StdError>> {
    static TOOLS: [OnceLock<IPTables>; 2] = [OnceLock::new(), OnceLock::new()];
    let (of, is_ipv6) = match family {
        Family::Ipv4 => (&TOOLS[0], false),
        Family::Ipv6 => (&TOOLS[1], true),
    };
    if let Some(tool) = of.get() {
        return Ok(tool);
    }
    let found = iptables::new(is_ipv6)?;
    Ok(of.get_or_init(|| found))
}

/// Makes the changes, those of a table at once.
pub(crate) async fn restore(family: Family, changes: &str) -> Result<(), Error> {
    let tool = match family {
        Family::Ipv4 => "iptables-restore",
        Family::Ipv6 => "ip6tables-restore",
    };
    let output = process::output(tool, &["--wait", "--noflush"], changes).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(process::refused(tool.to_owned(), &output))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn what_hangs_is_not_begun_again_before_it_ends() {
        static ONE: Semaphore = Semaphore::const_new(1);
        let (end, hang) = mpsc::channel::<()>();
        assert!(timeout(MOMENT, blocking(&ONE, move || hang.recv())).await.is_err());
        assert!(timeout(MOMENT, blocking(&ONE, || ())).await.is_err());
        drop(end);
        blocking(&ONE, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn who_has_the_turn_lists_while_others_wait_for_it() {
        let turn = turn().await.unwrap();
        assert!(timeout(MOMENT, super::turn()).await.is_err(), "two have the turn");
        let listed = timeout(crate::PATIENCE, list(Family::Ipv4, "nonsense")).await;
        assert!(matches!(listed, Ok(Err(Error::Refused { .. }))), "{listed:?}");
        drop(turn);
    }
}
