//! The networks of hosts on one machine: namespaces, each with a cable to a switch in one more, which may have several segments and
//! be the router between them. Nothing has a way out of them.

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
        let routing =
            "echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding";
        run("nsenter", &[&network.enter("switch"), "sh", "-c", routing]).expect_ok();
        network
    }

    /// A segment, and the addresses at which the router is on it, if it is.
    pub(crate) fn segment(&self, name: &str, router: &[String]) {
        self.ip("switch", &format!("link add {name} up type bridge"));
        router.iter().for_each(|address| self.address("switch", address, name));
    }

    /// A namespace with a cable to the switch, and addresses at its end. Its only routes are those to its neighbours.
    pub(crate) fn connect(&self, host: &str, segment: &str, addresses: &[String]) {
        self.namespace(host);
        let switch = self.name("switch");
        self.ip(host, &format!("link add eth0 type veth peer name to-{host} netns {switch}"));
        addresses.iter().for_each(|address| self.address(host, address, "eth0"));
        self.ip(host, "link set eth0 up");
        self.ip("switch", &format!("link set to-{host} master {segment} up"));
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

    /// Nobody else has it.
    fn address(&self, host: &str, address: &str, link: &str) {
        let at_once = if address.contains(':') { "nodad" } else { "" };
        self.ip(host, &format!("address add {address} dev {link} {at_once}"));
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
