//! The `http` block: servers by host name, whose locations lead to upstreams. Neutral data of whatever kind of
//! object, which may come from anybody: no text in it can become a directive.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write},
    net::SocketAddr,
};

use api_machinery::host_routes::MAX_PATH;

pub use super::certificate::Certificate;
use super::{
    certificate::carry,
    files::Files,
    forwarded::{FORWARDED, Numbers, UNREACHED, UPGRADES},
    routed::Routed,
    upstream::write_upstream,
    words::{is_name, quoted, value},
};

/// What is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Who answers, by name.
    pub upstreams: BTreeMap<String, BTreeSet<SocketAddr>>,
    /// Which requests it is about. Of those on one address the first takes what no other one names.
    pub servers: Vec<Server>,
    /// The same where more than paths counts.
    pub routed: Routed,
}

/// The requests to some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub addresses: BTreeSet<SocketAddr>,
    /// The hosts' names; `*.` at the beginning stands for one label. None of them: all hosts.
    pub names: BTreeSet<String>,
    /// With TLS, as this.
    pub tls: Option<Certificate>,
    /// By path; what none of them has is not found.
    pub locations: Vec<Location>,
}

/// The requests below some path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which.
    pub path: Path,
    /// Who answers: one of [`Http::upstreams`]; with no addresses, or none of that name, nobody (503).
    pub upstream: String,
    /// What of the path it sees.
    pub seen: Seen,
    /// Who comes without TLS is sent to come again with it.
    pub secure: bool,
    /// Headers that the request gets.
    pub headers: BTreeMap<String, String>,
}

/// What who answers sees of a request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All of it.
    Whole,
    /// What is below that of the location. Its redirections to paths of its own are put below it again, if they are not.
    Below,
}

/// Which paths are meant. The longest of a server counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// This one.
    Exact(String),
    /// This one and all below it.
    Prefix(String),
}

/// A request and its answer are passed on as they come, whatever their length, and whoever upgrades a connection may be
/// silent for long. Clients may have come by another port than nginx knows of. Backends don't choose who answers.
const PASSED_ON: &str = "    absolute_redirect off;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_connect_timeout 2s;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    proxy_ignore_headers X-Accel-Redirect;
";

/// So long a request's line and each of its headers may be, and all those of an answer together: nginx's own 8 and 4 KiB are
/// few for cookies. That there are as large `proxy_buffers` is only what nginx asks for beside.
const LONG_HEADERS: &str = "    large_client_header_buffers 4 32k;
    proxy_buffer_size 32k;
    proxy_buffers 4 32k;
";

/// Older ones are taken by no browser of our days.
const TLS: &str = "    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:5m;
";

impl Http {
    pub(super) fn write(&self, out: &mut String, files: &mut Files) -> fmt::Result {
        if self.servers.is_empty() && self.routed.servers.is_empty() {
            return Ok(());
        }
        // A value has no other way to say a dollar sign.
        out.write_str(
            "\nhttp {\n    access_log off;\n    server_tokens off;\n    \
             server_names_hash_bucket_size 512;\n    proxy_http_version 1.1;\n    \
             geo $dollar { default \"$\"; }\n",
        )?;
        let common = [UPGRADES, FORWARDED, PASSED_ON, LONG_HEADERS];
        common.into_iter().try_for_each(|it| out.write_str(it))?;
        if self.servers.iter().any(|server| server.tls.is_some()) || self.routed.has_tls() {
            out.write_str(TLS)?;
        }
        for (number, _, addresses) in self.answering() {
            write_upstream(out, &format!("u{number}"), None, addresses)?;
        }
        let is_named = |server: &&Server| {
            server.names.is_empty() || server.names.iter().any(|name| is_name(name))
        };
        let numbers: Numbers<'_> =
            self.answering().map(|(number, name, _)| (name, number)).collect();
        for server in self.servers.iter().filter(is_named) {
            write_server(out, server, &numbers, files)?;
        }
        self.routed.write(out, &numbers, files)?;
        writeln!(out, "}}")
    }

    /// Those that have somebody: number, name, and who that is.
    fn answering(&self) -> impl Iterator<Item = (usize, &str, &BTreeSet<SocketAddr>)> {
        let all = self.upstreams.iter().enumerate();
        let all = all.map(|(number, (name, addresses))| (number, name.as_str(), addresses));
        all.filter(|(_, _, addresses)| !addresses.is_empty())
    }
}

fn write_server(
    out: &mut String,
    server: &Server,
    numbers: &Numbers<'_>,
    files: &mut Files,
) -> fmt::Result {
    let tls = if server.tls.is_some() { " ssl" } else { "" };
    writeln!(out, "    server {{")?;
    for address in &server.addresses {
        writeln!(out, "        listen {address}{tls};")?;
    }
    let names = server.names.iter().filter(|name| is_name(name));
    let names: Vec<_> = names.map(|name| pattern(name)).collect();
    let names = if names.is_empty() { "_".to_owned() } else { names.join(" ") };
    writeln!(out, "        server_name {names};")?;
    if let Some(Certificate { chain, key }) = &server.tls {
        writeln!(out, "        ssl_certificate {};", carry(files, "pem", chain))?;
        writeln!(out, "        ssl_certificate_key {};", carry(files, "key", key))?;
    }
    if server.locations.iter().any(|location| numbers.contains_key(location.upstream.as_str())) {
        out.write_str(UNREACHED)?;
    }
    for (path, location) in paths(server) {
        write_location(out, server, &path, location, numbers)?;
    }
    writeln!(out, "    }}")
}

fn write_location(
    out: &mut String,
    server: &Server,
    path: &str,
    location: Option<&Location>,
    numbers: &Numbers<'_>,
) -> fmt::Result {
    let Some(location) = location else {
        return writeln!(out, "        location {path} {{ return 404; }}");
    };
    if location.secure && server.tls.is_none() {
        let again = "return 308 https://$host$request_uri;";
        return writeln!(out, "        location {path} {{ {again} }}");
    }
    let Some(upstream) = numbers.get(location.upstream.as_str()) else {
        return writeln!(out, "        location {path} {{ return 503; }}");
    };
    writeln!(out, "        location {path} {{")?;
    for line in forwarded_again(location) {
        writeln!(out, "        {line}")?;
    }
    for (name, value) in &location.headers {
        let value = self::value(value);
        writeln!(out, "            proxy_set_header {} {value};", quoted(name))?;
    }
    match (location.seen, prefix(&location.path)) {
        (Seen::Below, below) if !below.is_empty() => {
            write_below(out, below)?;
            writeln!(out, "            proxy_pass http://u{upstream}/;\n        }}")
        }
        _ => writeln!(out, "            proxy_pass http://u{upstream};\n        }}"),
    }
}

/// What a location with headers of its own has to say once more, but for these.
fn forwarded_again(location: &Location) -> impl Iterator<Item = &'static str> {
    let lines = FORWARDED.lines().filter(move |_| !location.headers.is_empty());
    lines.filter(move |line| {
        let said = line.split_whitespace().nth(1);
        !location.headers.keys().any(|name| said == Some(name.as_str()))
    })
}

/// Has redirections to `/x` lead to `/p/x`. The first that fits counts: who answers may know the path already, by its
/// headers, and `//x/` is another host.
fn write_below(out: &mut String, prefix: &str) -> fmt::Result {
    let below = value(&format!("{prefix}/"));
    let known = below.replacen('"', "\"$scheme://$http_host", 1);
    writeln!(out, "            proxy_redirect {known} {below};")?;
    writeln!(out, "            proxy_redirect $scheme://$http_host/ {below};")?;
    writeln!(out, "            proxy_redirect {below} {below};")?;
    writeln!(out, "            proxy_redirect // //;")?;
    writeln!(out, "            proxy_redirect / {below};")
}

fn prefix(path: &Path) -> &str {
    let (Path::Exact(path) | Path::Prefix(path)) = path;
    path.trim_end_matches('/')
}

/// Who answers by nginx's words for paths, each once: nginx takes no configuration where one comes twice. What is
/// said of one path counts before what is said of all below it, and the first before the others. Of a path with a slash at
/// its end nginx would send there whoever leaves the slash away, unless that is said to be another one.
fn paths(server: &Server) -> BTreeMap<String, Option<&Location>> {
    let mut paths = BTreeMap::new();
    // Others might be regular expressions, or words of more bytes than nginx takes (4095; of a `$` it sees 9): it would
    // take no configuration at all. A slash at the end may have been added. Without its control characters a path might
    // be another one's.
    let is_usable = |location: &&Location| match &location.path {
        Path::Exact(path) | Path::Prefix(path) => {
            let is_plain = !path.chars().any(char::is_control);
            path.starts_with('/') && path.len() <= MAX_PATH + 1 && is_plain
        }
    };
    for location in server.locations.iter().filter(is_usable) {
        if let Path::Exact(path) = &location.path {
            paths.entry(format!("= {}", quoted(path))).or_insert(Some(location));
        }
    }
    let mut prefixes = HashMap::new();
    for location in server.locations.iter().filter(is_usable) {
        if let Path::Prefix(path) = &location.path {
            let path = path.trim_end_matches('/');
            prefixes.entry(path).or_insert(location);
            if !path.is_empty() {
                paths.entry(format!("= {}", quoted(path))).or_insert(Some(location));
            }
            paths.entry(quoted(&format!("{path}/"))).or_insert(Some(location));
        }
    }
    for location in server.locations.iter().filter(is_usable) {
        if let Path::Exact(path) = &location.path {
            for (bare, whole) in bare(path, &prefixes) {
                paths.entry(format!("= {}", quoted(bare))).or_insert(whole);
            }
        }
    }
    paths.entry(quoted("/")).or_insert(None);
    paths
}

/// The path without slashes at its end, and what requests for that lead to. Who sees a part of the path would be shown
/// another one.
fn bare<'p, 'a>(
    path: &'p str,
    prefixes: &HashMap<&str, &'a Location>,
) -> Vec<(&'p str, Option<&'a Location>)> {
    let slashes = path.len() - path.trim_end_matches('/').len();
    let shorter = (1..=slashes).map(|slashes| &path[..path.len() - slashes]);
    let all = shorter.filter(|bare| !bare.is_empty()).map(|bare| (bare, longest(prefixes, bare)));
    let sees_all = |it: &Location| it.seen == Seen::Whole || prefix(&it.path).is_empty();
    all.filter(|(_, whole)| whole.is_none_or(sees_all)).collect()
}

/// What the longest of these, which have no slash at the end, leads to.
fn longest<'a>(prefixes: &HashMap<&str, &'a Location>, path: &str) -> Option<&'a Location> {
    let above = path.rmatch_indices('/').map(|(at, _)| &path[..at]);
    [path].into_iter().chain(above).find_map(|prefix| prefixes.get(prefix).copied())
}

/// What nginx knows a host's name by. With its own wildcard, `*.a.test` would be `c.b.a.test`, too.
fn pattern(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(rest) => quoted(&format!("~^[^.]+[.]{}$", rest.replace('.', "[.]"))),
        None => quoted(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_for_nginx_or_has_control_characters_is_left_out() {
        let location = |path: &str| Location {
            path: Path::Prefix(format!("{path}/")),
            upstream: String::new(),
            seen: Seen::Below,
            secure: false,
            headers: BTreeMap::new(),
        };
        let longest = format!("/{}", "$".repeat(MAX_PATH - 1));
        let server = Server {
            addresses: ["10.96.0.20:80".parse().unwrap()].into(),
            names: BTreeSet::new(),
            tls: None,
            locations: vec![location(&longest), location(&format!("{longest}$")), location("/a\n")],
        };
        let told: Vec<_> = paths(&server).into_keys().collect();
        let expected = ["\"/\"".to_owned(), format!("\"{longest}/\""), format!("= \"{longest}\"")];
        assert_eq!(told, expected);
        assert!(value(&format!("{longest}/")).len() < 4096);
    }

    #[test]
    fn whoever_leaves_the_slash_of_an_exact_path_away_is_not_sent_there() {
        let location = |path: Path, upstream: &str| Location {
            path,
            upstream: upstream.to_owned(),
            seen: Seen::Whole,
            secure: false,
            headers: BTreeMap::new(),
        };
        let exact = |path: &str, to: &str| location(Path::Exact(path.to_owned()), to);
        let below = |path: &str, to: &str| location(Path::Prefix(path.to_owned()), to);
        let told = |locations: Vec<Location>| {
            let (addresses, names) = (BTreeSet::new(), BTreeSet::new());
            let server = Server { addresses, names, tls: None, locations };
            let mut told = Vec::new();
            for (path, location) in paths(&server) {
                told.push(format!("{path} {}", location.map_or("404", |it| it.upstream.as_str())));
            }
            told
        };
        let alone = ["\"/\" 404", "= \"/a\" 404", "= \"/a/\" x"];
        assert_eq!(told(vec![exact("/a/", "x")]), alone);
        let all = told(vec![exact("/a/b/", "x"), below("/a", "y"), below("/", "z")]);
        let expected = ["\"/\" z", "\"/a/\" y", "= \"/a\" y", "= \"/a/b\" y", "= \"/a/b/\" x"];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_server_without_a_name_that_nginx_takes_is_left_out() {
        let server = |names: &[&str]| Server {
            addresses: ["10.96.0.20:80".parse().unwrap()].into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            tls: None,
            locations: vec![Location {
                path: Path::Prefix("~*".to_owned()),
                upstream: String::new(),
                seen: Seen::Whole,
                secure: false,
                headers: BTreeMap::new(),
            }],
        };
        let written = |names: &[&str]| {
            let (mut out, mut files) = (String::new(), Files::new());
            let http = Http { servers: vec![server(names)], ..Http::default() };
            http.write(&mut out, &mut files).unwrap();
            let told = out.lines().map(str::trim);
            told.filter(|line| line.starts_with("server_name ") || line.starts_with("location"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let nothing = "location \"/\" { return 404; }";
        assert_eq!(written(&[]), format!("server_name _; {nothing}"));
        let two = ["*.shop.example.com", "shop.example.com", "~^(.*)$", "a*.b", "a..b", ""];
        let names = "\"~^[^.]+[.]shop[.]example[.]com$\" \"shop.example.com\"";
        assert_eq!(written(&two), format!("server_name {names}; {nothing}"));
        assert_eq!(written(&["~^(.*)$"]), "");
    }
}
