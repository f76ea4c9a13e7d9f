//! Servers of which each request is looked at as a whole: path, method, headers, parameters; and goes to one of several by
//! their weights. All conditions are maps, of which a request asks for those of its server; what they come to is a word of
//! ones and zeros, by which the first match is found; it names a location. So there is no `if`, and no order of nginx's
//! own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write},
    net::SocketAddr,
};

use api_machinery::gateway::{
    Action, Match, PathMatch, ValueMatch,
    hostname::ANY,
    pattern::{Pattern, literal},
};

use super::{
    certificate::{Certificate, carry},
    files::Files,
    forwarded::{Numbers, UNREACHED},
    location::Locations,
    words::{header, is_name, quoted},
};

/// How many conditions are in one word: what a regular expression is asked about it is short.
const CONDITIONS: usize = 64;
/// How many variables are in one word, of which nginx takes no more than 4095 bytes.
const VARIABLES: usize = 100;
/// How many steps an expression of somebody's may take: beyond, it does not match.
const STEPS: usize = 50_000;
/// How many those of one server have together, as a request may be looked at by all of them; each has some, however many
/// they are.
const STEPS_OF_ALL: usize = 500_000;
const FEWEST_STEPS: usize = 1_000;

/// What is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// What becomes of requests. A backend is one of [`super::http::Http::upstreams`], by its name.
    pub actions: Vec<Action>,
    /// Which requests it is about. Of those on one address the first takes what no other one names.
    pub servers: Vec<RoutedServer>,
}

/// The requests to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedServer {
    /// Where it listens; all of them have this port.
    pub addresses: BTreeSet<SocketAddr>,
    /// The port.
    pub port: u16,
    /// The host's name; `*.` at the beginning stands for one label or more; [`ANY`] is all others.
    pub host: String,
    /// How it speaks.
    pub tls: Tls,
    /// The first that is meant counts; others are not found. The number is that of an action.
    pub matches: Vec<(Match, usize)>,
}

/// How a server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Without TLS.
    Without,
    /// With TLS, as this.
    As(Certificate),
    /// With TLS, which nobody gets: it has nothing to prove itself with.
    Rejected,
}

/// What of a request is compared, and the regular expression.
type Condition = (String, String);

/// Conditions by what they are, with their numbers.
#[derive(Default)]
struct Conditions(HashMap<Condition, usize>);

impl Conditions {
    fn number(&mut self, condition: Condition) -> usize {
        let next = self.0.len();
        *self.0.entry(condition).or_insert(next)
    }
}

impl Routed {
    pub(super) fn has_tls(&self) -> bool {
        self.servers.iter().any(|server| server.tls != Tls::Without)
    }

    pub(super) fn write(
        &self,
        out: &mut String,
        numbers: &Numbers<'_>,
        files: &mut Files,
    ) -> fmt::Result {
        if self.servers.is_empty() {
            return Ok(());
        }
        // Names of headers may have 256 bytes.
        writeln!(
            out,
            "    variables_hash_max_size 8192;\n    proxy_headers_hash_bucket_size 512;"
        )?;
        let mut conditions = Conditions::default();
        let is_named =
            |(_, server): &(usize, &RoutedServer)| server.host == ANY || is_name(&server.host);
        let servers = || self.servers.iter().enumerate().filter(is_named);
        let mut choices = String::new();
        let mut reached = Vec::new();
        for (number, server) in servers() {
            let groups = groups(server, &mut conditions);
            self.write_choice(&mut choices, number, &groups)?;
            let actions = groups.iter().flat_map(|it| &it.matches).map(|(_, action)| *action);
            reached.push(actions.collect::<BTreeSet<_>>());
        }
        write_conditions(out, &conditions)?;
        self.write_shares(out)?;
        out.push_str(&choices);
        let mut written = String::new();
        let mut locations = Locations::new(numbers);
        for ((number, server), actions) in servers().zip(&reached) {
            let of_it = (number, actions);
            self.write_server(&mut written, server, of_it, &mut locations, files)?;
        }
        // What locations need beside themselves.
        out.push_str(&locations.maps);
        out.push_str(&written);
        Ok(())
    }

    /// One of several, by a number that each request has for itself.
    fn write_shares(&self, out: &mut String) -> fmt::Result {
        for (number, action) in self.actions.iter().enumerate() {
            let Action::Forward(forward) = action else { continue };
            let weights: Vec<_> = forward.shares.iter().map(|share| share.weight).collect();
            let Some(parts) = parts(&weights) else { continue };
            writeln!(out, "    split_clients \"$request_id-{number}\" $share{number} {{")?;
            for (share, part) in parts {
                match part {
                    Some(part) => {
                        let (whole, rest) = (part / 100, part % 100);
                        writeln!(out, "        {whole}.{rest:02}% @action{number}-{share};")?;
                    }
                    None => writeln!(out, "        * @action{number}-{share};")?,
                }
            }
            writeln!(out, "    }}")?;
        }
        Ok(())
    }

    /// The location that a request of this server goes to.
    fn write_choice(&self, out: &mut String, server: usize, groups: &[Group]) -> fmt::Result {
        let several = groups.len() > 1;
        for (number, group) in groups.iter().enumerate() {
            let word: String = group.conditions.iter().map(|it| format!("$is{it}")).collect();
            let (name, none) = match several {
                true => (format!("$choice{server}_{number}"), "\"\""),
                false => (format!("$choice{server}"), "@none"),
            };
            writeln!(out, "    map \"-{word}\" {name} {{\n        default {none};")?;
            for (needed, action) in &group.matches {
                let digit = |it: &usize| if needed.contains(it) { '1' } else { '.' };
                let looks: String = group.conditions.iter().map(digit).collect();
                writeln!(out, "        \"~\\A-{looks}\" {};", self.target(*action))?;
            }
            writeln!(out, "    }}")?;
        }
        if several {
            let names = (0..groups.len()).map(|number| format!("$choice{server}_{number}"));
            write_first(out, &format!("$choice{server}"), &names.collect::<Vec<_>>(), "@none")?;
        }
        Ok(())
    }

    /// Its location, or what chooses one.
    fn target(&self, action: usize) -> String {
        match &self.actions[action] {
            Action::Forward(forward) if forward.shares.len() > 1 => format!("$share{action}"),
            Action::Forward(_) => format!("@action{action}-0"),
            Action::Fail | Action::Redirect(..) => format!("@action{action}"),
        }
    }

    fn write_server(
        &self,
        out: &mut String,
        server: &RoutedServer,
        (number, actions): (usize, &BTreeSet<usize>),
        locations: &mut Locations<'_>,
        files: &mut Files,
    ) -> fmt::Result {
        let tls = if server.tls == Tls::Without { "" } else { " ssl" };
        writeln!(out, "    server {{")?;
        for address in &server.addresses {
            writeln!(out, "        listen {address}{tls};")?;
        }
        let name = if server.host == ANY { "_".to_owned() } else { quoted(&server.host) };
        writeln!(out, "        server_name {name};")?;
        match &server.tls {
            Tls::Without => {}
            Tls::As(Certificate { chain, key }) => {
                writeln!(out, "        ssl_certificate {};", carry(files, "pem", chain))?;
                writeln!(out, "        ssl_certificate_key {};", carry(files, "key", key))?;
            }
            Tls::Rejected => writeln!(out, "        ssl_reject_handshake on;")?,
        }
        if server.matches.is_empty() {
            return writeln!(out, "        location / {{ return 404; }}\n    }}");
        }
        out.write_str(UNREACHED)?;
        writeln!(out, "        location / {{ try_files /- $choice{number}; }}")?;
        writeln!(out, "        location @none {{ return 404; }}")?;
        let scheme = if server.tls == Tls::Without { "http" } else { "https" };
        for action in actions {
            locations.write_action(out, *action, &self.actions[*action], (scheme, server.port))?;
        }
        writeln!(out, "    }}")
    }
}

/// Hundredths of a percent of each that has any, by its place; the last has what is left. Nothing if there is no choice.
/// Whoever has any weight gets one of them at least.
fn parts(weights: &[u32]) -> Option<Vec<(usize, Option<u64>)>> {
    const ALL: u64 = 10_000;
    if weights.len() < 2 {
        return None;
    }
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let rounded = |weight: u32| ((u64::from(weight) * ALL + total / 2) / total).max(1);
    // What is left is the greatest one's: it can spare what the others got by rounding.
    let greatest = weights.iter().enumerate().max_by_key(|(_, weight)| **weight)?.0;
    let others = weights.iter().enumerate().filter(|(place, _)| *place != greatest);
    let mut parts: Vec<_> = others.map(|(place, weight)| (place, Some(rounded(*weight)))).collect();
    parts.push((greatest, None));
    Some(parts)
}

/// Some of a server's matches, in order: which conditions their word has, and, by what it looks like, which action.
struct Group {
    conditions: Vec<usize>,
    matches: Vec<(BTreeSet<usize>, usize)>,
}

/// How many steps each expression of a server has.
fn steps(server: &RoutedServer) -> usize {
    let patterns = server.matches.iter().flat_map(|(matched, _)| matched.patterns());
    let all = patterns.collect::<BTreeSet<_>>().len().max(1);
    (STEPS_OF_ALL / all).clamp(FEWEST_STEPS, STEPS)
}

/// What comes behind a match without conditions is never looked at.
fn groups(server: &RoutedServer, conditions: &mut Conditions) -> Vec<Group> {
    let (steps, mut groups) = (steps(server), Vec::<Group>::new());
    for (matched, action) in &server.matches {
        let needed: BTreeSet<_> =
            conditions_of(matched, steps).into_iter().map(|it| conditions.number(it)).collect();
        let fits = |group: &&mut Group| {
            let new = needed.iter().filter(|it| !group.conditions.contains(it)).count();
            group.conditions.len() + new <= CONDITIONS
        };
        let is_last = needed.is_empty();
        if groups.last_mut().filter(fits).is_none() {
            groups.push(Group { conditions: Vec::new(), matches: Vec::new() });
        }
        let group = groups.last_mut().expect("there is one");
        let new: Vec<_> =
            needed.iter().filter(|it| !group.conditions.contains(it)).copied().collect();
        group.conditions.extend(new);
        group.matches.push((needed, *action));
        if is_last {
            break;
        }
    }
    groups
}

fn conditions_of(matched: &Match, steps: usize) -> Vec<Condition> {
    let whole = |text: &str| format!("\\A{}\\z", literal(text));
    let pattern = |it: &Pattern| format!("(*LIMIT_MATCH={steps})\\A(?:{})\\z", it.translated);
    let mut conditions = Vec::new();
    match &matched.path {
        PathMatch::Prefix(prefix) if prefix.is_empty() => {}
        PathMatch::Prefix(prefix) => {
            conditions.push(("$uri".to_owned(), format!("\\A{}(?:/|\\z)", literal(prefix))));
        }
        PathMatch::Exact(path) => conditions.push(("$uri".to_owned(), whole(path))),
        PathMatch::Pattern(it) => conditions.push(("$uri".to_owned(), pattern(it))),
    }
    if let Some(method) = &matched.method {
        conditions.push(("$request_method".to_owned(), whole(method)));
    }
    for (name, value) in &matched.headers {
        let expression = match value {
            ValueMatch::Exact(value) => whole(value),
            ValueMatch::Pattern(it) => pattern(it),
        };
        conditions.push((header(name), expression));
    }
    let parameter = |(name, value): &(String, String)| ("$args".to_owned(), query(name, value));
    conditions.extend(matched.query.iter().map(parameter));
    conditions
}

/// The first parameter of that name has that value; each byte as it is, or in hexadecimal.
fn query(name: &str, value: &str) -> String {
    let (name, value) = (encoded(name), encoded(value));
    format!("\\A(?:(?!{name}=)[^&]*&)*{name}={value}(?:&|\\z)")
}

fn encoded(text: &str) -> String {
    let digit = |digit: u8| match char::from_digit(u32::from(digit), 16) {
        Some(letter) if letter.is_ascii_alphabetic() => {
            format!("[{letter}{}]", letter.to_ascii_uppercase())
        }
        digit => digit.map(String::from).unwrap_or_default(),
    };
    let one = |byte: u8| {
        let itself = literal(&String::from_utf8_lossy(&[byte]));
        let itself = if byte.is_ascii() { itself } else { format!("\\x{byte:02x}") };
        let plus = if byte == b' ' { "|\\x2b" } else { "" };
        format!("(?:{itself}|%{}{}{plus})", digit(byte >> 4), digit(byte & 15))
    };
    text.bytes().map(one).collect()
}

fn write_conditions(out: &mut String, conditions: &Conditions) -> fmt::Result {
    let ordered: BTreeMap<_, _> = conditions.0.iter().map(|(it, number)| (number, it)).collect();
    for (number, (source, expression)) in ordered {
        // A header that is not there matches nothing.
        let absent = if source.starts_with("$http_") { " \"\" 0;" } else { "" };
        writeln!(
            out,
            "    map {source} $is{number} {{ default 0;{absent} \"~{expression}\" 1; }}"
        )?;
    }
    Ok(())
}

/// The first of these variables that is not empty.
fn write_first(out: &mut String, name: &str, all: &[String], none: &str) -> fmt::Result {
    if all.len() > VARIABLES {
        let mut firsts = Vec::new();
        for (number, some) in all.chunks(VARIABLES).enumerate() {
            firsts.push(format!("{name}_of{number}"));
            write_first(out, &firsts[number], some, "\"\"")?;
        }
        return write_first(out, name, &firsts, none);
    }
    let all: String = all.iter().map(|it| format!("|{it}")).collect();
    writeln!(out, "    map \"{all}\" {name} {{\n        default {none};")?;
    writeln!(out, "        \"~\\A\\|*(?<first>[^|]+)\" $first;\n    }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_expressions_a_server_has_the_fewer_steps_each_of_them_takes() {
        let of = |patterns: usize| {
            let pattern = |number: usize| Pattern::new(&format!("/p{number}")).unwrap();
            let matched = |number: usize| Match {
                path: PathMatch::Pattern(pattern(number)),
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
            };
            let matches = (0..patterns).map(|number| (matched(number), 0)).collect();
            let (addresses, host) = (BTreeSet::new(), ANY.to_owned());
            steps(&RoutedServer { addresses, port: 80, host, tls: Tls::Without, matches })
        };
        assert_eq!([0, 10, 20, 2048].map(of), [50_000, 50_000, 25_000, 1_000]);
    }
}
