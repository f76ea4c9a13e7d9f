//! What is given to Prometheus and Grafana: it is well-formed, and asks for nothing that no program counts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Words of PromQL that are no names of metrics.
const WORDS: [&str; 13] = [
    "and",
    "bool",
    "by",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "unless",
    "without",
];
/// Prometheus' own.
const OWN: [&str; 1] = ["up"];
/// What a series of a metric is called by, behind its name.
const SUFFIXES: [&str; 5] = ["", "_total", "_bucket", "_sum", "_count"];

/// What dashboards of others ask for that go by cAdvisor's names. Those of node_exporter, which they ask for too, are not ours.
const OF_OTHERS: [(&str, &[&str]); 2] = [
    (
        "893, Docker and system monitoring",
        &[
            "container_cpu_system_seconds_total",
            "container_cpu_usage_seconds_total",
            "container_last_seen",
            "container_memory_rss",
            "container_memory_swap",
            "container_memory_usage_bytes",
            "container_network_receive_bytes_total",
            "container_network_transmit_bytes_total",
            "container_spec_memory_limit_bytes",
            "process_cpu_seconds_total",
        ],
    ),
    // What 11277 asks for is among these, as far as that is known without it.
    (
        "of containers and their hosts",
        &[
            "container_blkio_device_usage_total",
            "container_cpu_cfs_periods_total",
            "container_cpu_cfs_throttled_periods_total",
            "container_cpu_cfs_throttled_seconds_total",
            "container_cpu_user_seconds_total",
            "container_fs_inodes_free",
            "container_fs_inodes_total",
            "container_fs_limit_bytes",
            "container_fs_reads_bytes_total",
            "container_fs_reads_total",
            "container_fs_usage_bytes",
            "container_fs_writes_bytes_total",
            "container_fs_writes_total",
            "container_memory_cache",
            "container_memory_failcnt",
            "container_memory_failures_total",
            "container_memory_mapped_file",
            "container_memory_max_usage_bytes",
            "container_memory_working_set_bytes",
            "container_network_receive_errors_total",
            "container_network_receive_packets_dropped_total",
            "container_network_receive_packets_total",
            "container_network_transmit_errors_total",
            "container_network_transmit_packets_dropped_total",
            "container_network_transmit_packets_total",
            "container_oom_events_total",
            "container_processes",
            "container_spec_cpu_period",
            "container_spec_cpu_quota",
            "container_spec_cpu_shares",
            "container_start_time_seconds",
            "container_threads",
            "machine_cpu_cores",
            "machine_memory_bytes",
            "machine_swap_bytes",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn folder() -> PathBuf {
    root().join("deploy/monitoring")
}

fn promtool(args: &[&str], folder: &Path) {
    let done = Command::new("promtool").args(args).current_dir(folder).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// The dashboards by their files.
fn dashboards() -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(folder().join("dashboards")).unwrap();
    let read = |path: PathBuf| {
        let dashboard = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        (path, dashboard)
    };
    files.map(|file| read(file.unwrap().path())).collect()
}

/// All that Prometheus is asked for.
fn expressions() -> Vec<String> {
    let rules = fs::read_to_string(folder().join("rules.yml")).unwrap();
    let rules: Value = serde_yaml::from_str(&rules).unwrap();
    let of = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let rules = of(&rules, "groups").into_iter().flat_map(|group| of(&group, "rules"));
    let mut found: Vec<_> = rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
    for (_, dashboard) in dashboards() {
        let panels = of(&dashboard, "panels").into_iter();
        let targets = panels.flat_map(|panel| of(&panel, "targets"));
        found.extend(targets.map(|target| target["expr"].as_str().unwrap().to_owned()));
        let variables = of(&dashboard["templating"], "list").into_iter();
        let queries = variables.filter(|variable| variable["type"] == "query");
        let queries = queries.map(|variable| variable["query"].as_str().unwrap().to_owned());
        // label_values(METRIC, LABEL)
        let metric = |query: String| {
            let (metric, _) =
                query.strip_prefix("label_values(").unwrap().rsplit_once(',').unwrap();
            metric.to_owned()
        };
        found.extend(queries.map(metric));
    }
    found
}

/// The names of metrics in an expression: neither its functions, nor labels, nor what is within quotes, braces and brackets.
fn names(expression: &str) -> BTreeSet<String> {
    let (mut plain, mut within, mut quoted) = (String::new(), 0, false);
    for letter in expression.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => within += 1,
            '}' | ']' if !quoted => within -= 1,
            letter if within == 0 && !quoted => plain.push(letter),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    let mut rest = plain.as_str();
    while let Some(begin) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let word = &rest[begin..];
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
        let (word, behind) = word.split_at(end.unwrap_or(word.len()));
        rest = behind;
        let follows = |what: &str| rest.trim_start().starts_with(what);
        let is_function = ["(", "by (", "without ("].into_iter().any(follows);
        if WORDS.contains(&word) && is_function {
            rest = rest.split_once(')').map_or("", |(_, rest)| rest);
        } else if !WORDS.contains(&word) && !is_function {
            names.insert(word.to_owned());
        }
    }
    names
}

/// All of the programs' code, but for their tests.
fn code() -> String {
    let mut folders: Vec<_> = [
        "apiserver",
        "controller-manager",
        "kube-proxy",
        "kubelet",
        "scheduler",
        "serverless-gateway",
        "crates/component",
    ]
    .map(|program| root().join(program).join("src"))
    .into();
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() {
                folders.push(entry);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&entry).unwrap();
                code += text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            }
        }
    }
    code
}

#[test]
fn names_are_told_from_functions_and_labels() {
    let check = |expression: &str, expected: &[&str]| {
        assert_eq!(names(expression).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    };
    check(
        "sum by (le, verb) (rate(a_bucket{x=\"b_c\", y!~\"(d)\"}[5m])) / on (z) e > 0.5",
        &["a_bucket", "e"],
    );
    check("histogram_quantile(0.99, sum by (le) (rate(a[$__rate_interval]))) or vector(0)", &["a"]);
    check("min_over_time(a[5m]) > 50 and deriv(b[10m]) > 0 unless c", &["a", "b", "c"]);
    check("absent(up{job=\"a\"} == 1)", &["up"]);
}

#[test]
fn what_rules_and_dashboards_ask_for_is_counted() {
    let (code, mut asked) = (code(), BTreeSet::new());
    expressions().iter().for_each(|expression| asked.extend(names(expression)));
    asked.retain(|name| !OWN.contains(&name.as_str()));
    let unknown: Vec<_> = asked.iter().filter(|name| !is_counted(&code, name)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    assert!(asked.len() > 30, "{asked:?}");
}

fn is_counted(code: &str, name: &str) -> bool {
    let mut metrics = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
    metrics.any(|metric| code.contains(&format!("\"{metric}\"")))
}

#[test]
fn what_dashboards_of_others_ask_for_is_counted() {
    let code = code();
    for (dashboard, metrics) in OF_OTHERS {
        let unknown: Vec<_> = metrics.iter().filter(|name| !is_counted(&code, name)).collect();
        assert_eq!(unknown, Vec::<&&str>::new(), "{dashboard}");
    }
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["prometheus.yml", "rules.yml"] {
        fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    for secret in ["ca.crt", "client.crt", "client.key"] {
        fs::write(copy.path().join(secret), "").unwrap();
    }
    promtool(&["check", "config", "prometheus.yml"], copy.path());
    promtool(&["check", "rules", "rules.yml"], copy.path());
    let queries = expressions().into_iter().map(|expression| {
        let expression = expression.replace("$__rate_interval", "5m");
        serde_json::json!({"record": "a", "expr": expression})
    });
    let group = serde_json::json!({"name": "dashboards", "rules": queries.collect::<Vec<_>>()});
    let rules = serde_json::json!({"groups": [group]});
    fs::write(copy.path().join("queries.yml"), rules.to_string()).unwrap();
    promtool(&["check", "rules", "--lint=none", "queries.yml"], copy.path());
}

#[test]
fn panels_have_places_and_numbers_of_their_own() {
    for (path, dashboard) in dashboards() {
        let title = dashboard["title"].as_str().unwrap();
        assert!(title.starts_with("minik8s / "), "{}: {title}", path.display());
        let mut numbers = BTreeSet::new();
        let mut places = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{}: {panel}", path.display());
            let place = &panel["gridPos"];
            let at = |side: &str| place[side].as_u64().unwrap();
            for (x, y) in (at("x")..at("x") + at("w"))
                .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
            {
                assert!(x < 24 && places.insert((x, y)), "{}: {panel}", path.display());
            }
        }
    }
}
