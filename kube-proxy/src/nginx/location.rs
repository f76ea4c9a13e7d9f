//! The locations of [`super::routed`]: what becomes of a request once it is known.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    time::Duration,
};

use api_machinery::gateway::{
    Action, Changes, HeaderChange, PathChange, Redirect, Share, pattern::literal,
};

use super::{
    forwarded::{FORWARDED, Numbers},
    words::{header, value},
};

/// What writes locations, and what these need beside themselves.
pub(super) struct Locations<'a> {
    numbers: &'a Numbers<'a>,
    /// Variables that locations use.
    pub(super) maps: String,
    added: BTreeMap<String, String>,
}

impl<'a> Locations<'a> {
    pub(super) fn new(numbers: &'a Numbers<'a>) -> Self {
        Locations { numbers, maps: String::new(), added: BTreeMap::new() }
    }

    /// `at`: how its server speaks, and its port.
    pub(super) fn write_action(
        &mut self,
        out: &mut String,
        number: usize,
        action: &Action,
        at: (&str, u16),
    ) -> fmt::Result {
        match action {
            Action::Fail => writeln!(out, "        location @action{number} {{ return 500; }}"),
            Action::Redirect(redirect, changes) => {
                writeln!(out, "        location @action{number} {{")?;
                write_answer(out, changes)?;
                write_redirect(out, redirect, at)?;
                writeln!(out, "        }}")
            }
            Action::Forward(forward) => {
                for (place, share) in forward.shares.iter().enumerate() {
                    let name = format!("@action{number}-{place}");
                    self.write_share(out, &name, share, forward.timeout)?;
                }
                Ok(())
            }
        }
    }

    fn write_share(
        &mut self,
        out: &mut String,
        name: &str,
        share: &Share,
        timeout: Option<Duration>,
    ) -> fmt::Result {
        let Some(backend) = &share.backend else {
            return writeln!(out, "        location {name} {{ return 500; }}");
        };
        let Some(upstream) = self.numbers.get(backend.to_string().as_str()).copied() else {
            return writeln!(out, "        location {name} {{ return 503; }}");
        };
        writeln!(out, "        location {name} {{")?;
        self.write_request(out, &share.changes)?;
        write_answer(out, &share.changes)?;
        if let Some(path) = &share.changes.path {
            write_path(out, path)?;
        }
        if let Some(timeout) = timeout {
            let milliseconds = timeout.as_millis().max(1);
            writeln!(out, "            proxy_read_timeout {milliseconds}ms;")?;
            writeln!(out, "            proxy_send_timeout {milliseconds}ms;")?;
            // Two would take twice as long.
            writeln!(out, "            proxy_next_upstream error;")?;
        }
        writeln!(out, "            proxy_pass http://u{upstream};\n        }}")
    }

    /// The request's headers. With one of its own, a location has to say all of them.
    fn write_request(&mut self, out: &mut String, changes: &Changes) -> fmt::Result {
        if changes.request.is_empty() && changes.host.is_none() {
            return Ok(());
        }
        let mut lines: BTreeMap<String, (String, String)> = BTreeMap::new();
        for line in FORWARDED.lines() {
            let words = line.trim().trim_end_matches(';').splitn(3, ' ').collect::<Vec<_>>();
            if let [_, name, value] = words[..] {
                lines.insert(name.to_ascii_lowercase(), (name.to_owned(), value.to_owned()));
            }
        }
        if let Some(host) = &changes.host {
            lines.insert("host".to_owned(), ("Host".to_owned(), value(host)));
        }
        for (lower, change) in &changes.request {
            let ours = lines.get(lower).map(|(_, value)| value.clone());
            let value = self.changed(change, ours);
            lines.insert(lower.clone(), (change.name.clone(), value));
        }
        for (name, value) in lines.into_values() {
            writeln!(out, "            proxy_set_header {name} {value};")?;
        }
        Ok(())
    }

    /// The value of a header; `ours`: the one that it has whatever the client says.
    fn changed(&mut self, change: &HeaderChange, ours: Option<String>) -> String {
        let added = change.values.join(", ");
        match ours {
            _ if !change.keeps => value(&added),
            Some(ours) if ours == "\"\"" => value(&added),
            Some(ours) => format!("\"{ours}, {}", &value(&added)[1..]),
            None => self.joined(&change.name, &added),
        }
    }

    /// A variable for what a header has and gets.
    fn joined(&mut self, name: &str, added: &str) -> String {
        let source = header(name);
        let (alone, both) = (value(added), format!("\"{source}, {}", &value(added)[1..]));
        let next = self.added.len();
        let map = format!("map {source} $added{next} {{ default {both}; \"\" {alone}; }}");
        let key = format!("{source} {added}");
        let maps = &mut self.maps;
        let variable = self.added.entry(key).or_insert_with(|| {
            maps.push_str(&format!("    {map}\n"));
            format!("$added{next}")
        });
        variable.clone()
    }
}

/// The answer's headers.
fn write_answer(out: &mut String, changes: &Changes) -> fmt::Result {
    for change in changes.response.values() {
        if !change.keeps {
            writeln!(out, "            proxy_hide_header {};", change.name)?;
        }
        for added in &change.values {
            writeln!(out, "            add_header {} {} always;", change.name, value(added))?;
        }
    }
    Ok(())
}

/// What is there without a prefix, whatever follows it, and what is there when nothing does.
fn replaced(to: &str) -> (&str, &str) {
    (to, if to.is_empty() { "/" } else { to })
}

fn write_path(out: &mut String, path: &PathChange) -> fmt::Result {
    match path {
        PathChange::Full(path) => {
            writeln!(out, "            rewrite \"(?s).*\" {} break;", value(&decoded(path)))
        }
        PathChange::Prefix { from, to } => {
            let to = decoded(to);
            let (below, alone) = replaced(&to);
            let from = literal(from);
            writeln!(out, "            rewrite \"(?s)\\A{from}\\z\" {} break;", value(alone))?;
            let below = value(below);
            let below = format!("{}$1\"", &below[..below.len() - 1]);
            writeln!(out, "            rewrite \"(?s)\\A{from}(/.*)\\z\" {below} break;")
        }
    }
}

/// The server's own port is said, where it is not the scheme's.
fn write_redirect(out: &mut String, redirect: &Redirect, (own, port): (&str, u16)) -> fmt::Result {
    let scheme = redirect.scheme.as_deref().unwrap_or(own);
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = redirect.port.unwrap_or(if redirect.scheme.is_some() { usual } else { port });
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let host = redirect.host.as_deref().unwrap_or("$host");
    let base = format!("{scheme}://{host}{port}");
    let code = redirect.code;
    match &redirect.path {
        None => writeln!(out, "            return {code} \"{base}$request_uri\";"),
        Some(PathChange::Full(path)) => {
            let path = encoded(path);
            let path = value(&path);
            writeln!(
                out,
                "            return {code} \"{base}{}$is_args$args\";",
                &path[1..path.len() - 1]
            )
        }
        Some(PathChange::Prefix { from, to }) => {
            let word = if code == 301 { "permanent" } else { "redirect" };
            let to = value(&encoded(to));
            let (below, alone) = replaced(&to[1..to.len() - 1]);
            let from = literal(from);
            writeln!(out, "            rewrite \"(?s)\\A{from}\\z\" \"{base}{alone}\" {word};")?;
            writeln!(
                out,
                "            rewrite \"(?s)\\A{from}(/.*)\\z\" \"{base}{below}$1\" {word};"
            )
        }
    }
}

/// nginx encodes a path itself.
fn decoded(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            // These would end it, or be lost.
            Some(byte) if byte > b' ' && byte != b'?' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What may not be in the path of a URL.
fn encoded(path: &str) -> String {
    let is_of_path =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    let one = |byte: u8| match is_of_path(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(one).collect()
}
