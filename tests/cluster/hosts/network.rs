//! The networks of hosts on one machine: namespaces, each with a cable to a switch in one more. Nothing has a way out of them.

use crate::harness::run;

/// Namespaces whose names begin alike. Dropping it removes them, and ends what still runs in them.
pub(crate) struct Network {
    prefix: String,
}

impl Network {
    /// With a switch. Beginnings of names are short: links have them too.
    pub(crate) fn new(beginning: &str) -> Self {
        let network = Self { prefix: format!("{beginning}{}", std::process::id()) };
        network.namespace("switch");
        network.ip("switch", "link add br0 up type bridge");
        network
    }

    /// A namespace with a cable to the switch. Its only route is the one to its neighbours.
    pub(crate) fn connect(&self, host: &str, address: &str) {
        self.namespace(host);
        let switch = self.name("switch");
        self.ip(host, &format!("link add eth0 type veth peer name to-{host} netns {switch}"));
        self.ip(host, &format!("address add {address}/24 dev eth0"));
        self.ip(host, "link set eth0 up");
        self.ip("switch", &format!("link set to-{host} master br0 up"));
    }

    /// Pulls a host's cable, at the switch's end; or plugs it in again.
    pub(crate) fn plug(&self, host: &str, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        self.ip("switch", &format!("link set to-{host} {state}"));
    }

    /// `ip` in the namespace of a host.
    pub(crate) fn ip(&self, host: &str, command: &str) {
        let mut words = vec!["-n"];
        let name = self.name(host);
        words.push(&name);
        words.extend(command.split_whitespace());
        run("ip", &words).expect_ok();
    }

    /// The full name of a host.
    pub(crate) fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// What has `nsenter` go there.
    pub(crate) fn enter(&self, host: &str) -> String {
        format!("--net={}", self.file(host))
    }

    /// The namespace of a host.
    pub(crate) fn file(&self, host: &str) -> String {
        format!("/run/netns/{}", self.name(host))
    }

    fn namespace(&self, host: &str) {
        run("ip", &["netns", "add", &self.name(host)]).expect_ok();
        self.ip(host, "link set lo up");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let listed = run("ip", &["netns", "list"]).stdout;
        let names = listed.lines().filter_map(|line| line.split_whitespace().next());
        names.filter(|name| name.starts_with(&self.prefix)).for_each(|name| {
            let left = run("ip", &["netns", "pids", name]).stdout;
            let kill: Vec<_> = ["-9"].into_iter().chain(left.lines()).collect();
            if kill.len() > 1 {
                run("kill", &kill);
            }
            run("ip", &["netns", "delete", name]);
        });
    }
}
