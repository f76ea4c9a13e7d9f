//! Containers and volumes of a pod or pod template.

use std::fmt::Write;

use serde_json::Value;

use super::sheet::Sheet;
use crate::object::{list, map, number, scalar, text};

/// The containers under this title; `statuses` are empty for a template. A template's are indented.
pub(super) fn containers(
    sheet: &mut Sheet,
    title: &str,
    containers: &[Value],
    statuses: &[Value],
    indent: &str,
) {
    let none = if containers.is_empty() { " <none>" } else { "" };
    sheet.line(0, format_args!("{indent}{title}:{none}"));
    let name_indent = if indent.is_empty() { "" } else { " " };
    for container in containers {
        let name = text(container, "/name");
        let status = statuses.iter().find(|s| text(s, "/name") == name);
        sheet.line(1, format_args!("{name_indent}{name}:"));
        basics(sheet, container, status);
        words(sheet, "Command", list(container, "/command"));
        words(sheet, "Args", list(container, "/args"));
        if let Some(status) = status {
            states(sheet, status);
        }
        resources(sheet, container);
        probes(sheet, container);
        environment(sheet, container);
        mounts(sheet, container);
    }
}

fn basics(sheet: &mut Sheet, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        sheet.field(2, "Container ID", text(status, "/containerID"));
    }
    sheet.field(2, "Image", text(container, "/image"));
    if let Some(status) = status {
        sheet.field(2, "Image ID", text(status, "/imageID"));
    }
    ports(sheet, "Port", container, "/containerPort");
    ports(sheet, "Host Port", container, "/hostPort");
}

fn ports(sheet: &mut Sheet, title: &str, container: &Value, field: &str) {
    let shown: Vec<_> = list(container, "/ports")
        .iter()
        .map(|p| format!("{}/{}", number(p, field).unwrap_or(0), text(p, "/protocol")))
        .collect();
    match shown.as_slice() {
        [] => sheet.field(2, title, "<none>"),
        [one] => sheet.field(2, title, one),
        many => sheet.field(2, &format!("{title}s"), many.join(", ")),
    }
}

fn words(sheet: &mut Sheet, title: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    sheet.line(2, format_args!("{title}:"));
    for line in words.iter().filter_map(Value::as_str).flat_map(|word| word.split('\n')) {
        sheet.line(3, line);
    }
}

fn states(sheet: &mut Sheet, status: &Value) {
    state(sheet, "State", &status["state"]);
    if status["lastState"]["terminated"].is_object() {
        state(sheet, "Last State", &status["lastState"]);
    }
    sheet.field(2, "Ready", if status["ready"] == true { "True" } else { "False" });
    sheet.field(2, "Restart Count", number(status, "/restartCount").unwrap_or(0));
}

fn state(sheet: &mut Sheet, title: &str, state: &Value) {
    if state["running"].is_object() {
        sheet.field(2, title, "Running");
        sheet.field(3, "Started", sheet.time(state, "/running/startedAt"));
    } else if state["terminated"].is_object() {
        sheet.field(2, title, "Terminated");
        terminated(sheet, &state["terminated"]);
    } else {
        sheet.field(2, title, "Waiting");
        sheet.some(3, "Reason", text(state, "/waiting/reason"));
    }
}

fn terminated(sheet: &mut Sheet, state: &Value) {
    sheet.some(3, "Reason", text(state, "/reason"));
    sheet.some(3, "Message", text(state, "/message"));
    sheet.field(3, "Exit Code", number(state, "/exitCode").unwrap_or(0));
    if let Some(signal) = number(state, "/signal").filter(|s| *s > 0) {
        sheet.field(3, "Signal", signal);
    }
    sheet.field(3, "Started", sheet.time(state, "/startedAt"));
    sheet.field(3, "Finished", sheet.time(state, "/finishedAt"));
}

fn resources(sheet: &mut Sheet, container: &Value) {
    for (title, pointer) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        let quantities = map(container, pointer);
        if !quantities.is_empty() {
            sheet.line(2, format_args!("{title}:"));
        }
        quantities.iter().for_each(|(name, quantity)| sheet.field(3, name, quantity));
    }
}

fn probes(sheet: &mut Sheet, container: &Value) {
    let probes = [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ];
    for (title, field) in probes {
        if container[field].is_object() {
            sheet.field(2, title, probe(&container[field]));
        }
    }
}

fn probe(probe: &Value) -> String {
    let seconds = |field| number(probe, field).unwrap_or(0);
    format!(
        "{} delay={}s timeout={}s period={}s #success={} #failure={}",
        action(probe),
        seconds("/initialDelaySeconds"),
        seconds("/timeoutSeconds"),
        seconds("/periodSeconds"),
        seconds("/successThreshold"),
        seconds("/failureThreshold"),
    )
}

fn action(probe: &Value) -> String {
    let port = |at: &str| probe.pointer(at).map(scalar).unwrap_or_default();
    if probe["exec"].is_object() {
        let words: Vec<_> = list(probe, "/exec/command").iter().map(scalar).collect();
        return format!("exec [{}]", words.join(" "));
    }
    if probe["httpGet"].is_object() {
        let scheme = text(probe, "/httpGet/scheme").to_lowercase();
        let (host, path) = (text(probe, "/httpGet/host"), text(probe, "/httpGet/path"));
        return format!("http-get {scheme}://{host}:{}{path}", port("/httpGet/port"));
    }
    if probe["grpc"].is_object() {
        return format!("grpc <pod>:{} {}", port("/grpc/port"), text(probe, "/grpc/service"));
    }
    format!("tcp-socket {}:{}", text(probe, "/tcpSocket/host"), port("/tcpSocket/port"))
}

fn environment(sheet: &mut Sheet, container: &Value) {
    let sources = list(container, "/envFrom");
    if !sources.is_empty() {
        sheet.line(2, "Environment Variables from:");
    }
    for source in sources {
        let (kind, field) = if source["secretRef"].is_object() {
            ("Secret", "secretRef")
        } else {
            ("ConfigMap", "configMapRef")
        };
        let (name, optional) = (text(&source[field], "/name"), source[field]["optional"] == true);
        sheet.line(3, format_args!("{name}\t{kind}\tOptional: {optional}"));
    }
    let variables = list(container, "/env");
    sheet.line(2, if variables.is_empty() { "Environment:\t<none>" } else { "Environment:" });
    variables.iter().for_each(|v| variable(sheet, v));
}

fn variable(sheet: &mut Sheet, variable: &Value) {
    let name = text(variable, "/name");
    let from = &variable["valueFrom"];
    let key = |kind: &str, word: &str, of: &Value| {
        let (key, source) = (text(of, "/key"), text(of, "/name"));
        format!(
            "<set to the key '{key}' {word} {kind} '{source}'>\tOptional: {}",
            of["optional"] == true
        )
    };
    let value = if from["secretKeyRef"].is_object() {
        key("secret", "in", &from["secretKeyRef"])
    } else if from["configMapKeyRef"].is_object() {
        key("config map", "of", &from["configMapKeyRef"])
    } else if from["fieldRef"].is_object() {
        format!(" ({}:{})", text(from, "/fieldRef/apiVersion"), text(from, "/fieldRef/fieldPath"))
    } else if from["resourceFieldRef"].is_object() {
        format!(" ({})", text(from, "/resourceFieldRef/resource"))
    } else {
        text(variable, "/value").replace('\n', "\n      \t")
    };
    sheet.field(3, name, value);
}

fn mounts(sheet: &mut Sheet, container: &Value) {
    let mut mounts: Vec<_> = list(container, "/volumeMounts").iter().collect();
    mounts.sort_by_key(|m| text(m, "/mountPath"));
    sheet.line(2, if mounts.is_empty() { "Mounts:\t<none>" } else { "Mounts:" });
    for mount in mounts {
        let mut flags = String::from(if mount["readOnly"] == true { "ro" } else { "rw" });
        let below = text(mount, "/subPath");
        if !below.is_empty() {
            let _ = write!(flags, ",path={below:?}");
        }
        let (path, name) = (text(mount, "/mountPath"), text(mount, "/name"));
        sheet.line(3, format_args!("{path} from {name} ({flags})"));
    }
}

/// The volumes of a pod or template.
pub(super) fn volumes(sheet: &mut Sheet, volumes: &[Value], indent: &str) {
    if volumes.is_empty() {
        return sheet.field(0, &format!("{indent}Volumes"), "<none>");
    }
    sheet.line(0, format_args!("{indent}Volumes:"));
    let name_indent = if indent.is_empty() { "" } else { " " };
    for volume in volumes {
        sheet.line(1, format_args!("{name_indent}{}:", text(volume, "/name")));
        self::volume(sheet, volume);
    }
}

fn volume(sheet: &mut Sheet, volume: &Value) {
    let at = |pointer: &str| volume.pointer(pointer).map(scalar).unwrap_or_default();
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let mut say = |kind: &str, fields: &[(&str, String)]| {
        sheet.field(2, "Type", kind);
        fields.iter().for_each(|(title, value)| sheet.field(2, title, value));
    };
    if volume["hostPath"].is_object() {
        let fields = [("Path", at("/hostPath/path")), ("HostPathType", at("/hostPath/type"))];
        say("HostPath (bare host directory volume)", &fields);
    } else if volume["emptyDir"].is_object() {
        let fields = [
            ("Medium", at("/emptyDir/medium")),
            ("SizeLimit", or(at("/emptyDir/sizeLimit"), "<unset>")),
        ];
        say("EmptyDir (a temporary directory that shares a pod's lifetime)", &fields);
    } else if volume["secret"].is_object() {
        let fields = [
            ("SecretName", at("/secret/secretName")),
            ("Optional", or(at("/secret/optional"), "false")),
        ];
        say("Secret (a volume populated by a Secret)", &fields);
    } else if volume["configMap"].is_object() {
        let fields =
            [("Name", at("/configMap/name")), ("Optional", or(at("/configMap/optional"), "false"))];
        say("ConfigMap (a volume populated by a ConfigMap)", &fields);
    } else if volume["persistentVolumeClaim"].is_object() {
        let fields = [
            ("ClaimName", at("/persistentVolumeClaim/claimName")),
            ("ReadOnly", or(at("/persistentVolumeClaim/readOnly"), "false")),
        ];
        say(
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
            &fields,
        );
    } else if volume["projected"].is_object() {
        let sources = list(volume, "/projected/sources").iter().flat_map(projection);
        let fields: Vec<_> = sources.collect();
        say("Projected (a volume that contains injected data from multiple sources)", &fields);
    } else {
        let kind = volume.as_object().and_then(|v| v.keys().find(|k| *k != "name"));
        say(kind.map_or("<unknown>", String::as_str), &[]);
    }
}

/// What is told of a source of a projected volume.
fn projection(source: &Value) -> Vec<(&'static str, String)> {
    let at = |pointer: &str| source.pointer(pointer).map(scalar);
    let nil = |pointer: &str| at(pointer).unwrap_or_else(|| "<nil>".to_owned());
    let name = |pointer: &str| at(pointer).unwrap_or_default();
    if source["secret"].is_object() {
        let optional = nil("/secret/optional");
        vec![("SecretName", name("/secret/name")), ("SecretOptionalName", optional)]
    } else if source["configMap"].is_object() {
        let optional = nil("/configMap/optional");
        vec![("ConfigMapName", name("/configMap/name")), ("ConfigMapOptional", optional)]
    } else if source["downwardAPI"].is_object() {
        vec![("DownwardAPI", "true".to_owned())]
    } else if source["serviceAccountToken"].is_object() {
        vec![("TokenExpirationSeconds", name("/serviceAccountToken/expirationSeconds"))]
    } else {
        Vec::new()
    }
}
