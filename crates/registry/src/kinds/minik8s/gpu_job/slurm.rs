//! The forms of Slurm's values, and which options a job may add to those that have a field.
//! <https://slurm.schedmd.com/sbatch.html>

use api_machinery::{FieldErrors, FieldPath};

use super::paths::NO_CONTROL;

/// The long options that a field stands for, and the field.
const WITH_FIELD: [(&str, &str); 11] = [
    ("nodes", "numProcess"),
    ("ntasks-per-node", "numTasksPerNode"),
    ("cpus-per-task", "cpusPerTask"),
    ("gres", "numGpus` or `gres"),
    ("partition", "partition"),
    ("account", "account"),
    ("qos", "qos"),
    ("time", "timeLimit"),
    ("mem", "memory"),
    ("array", "array"),
    ("chdir", "workDir"),
];
/// Those with which sbatch would do something else than submit the job where and as it is looked for.
const OURS: [&str; 18] = [
    "job-name",
    "output",
    "error",
    "input",
    "open-mode",
    "comment",
    "parsable",
    "wait",
    "wrap",
    "test-only",
    "clusters",
    "export",
    "export-file",
    "ntasks",
    "quiet",
    "help",
    "usage",
    "version",
];

/// One word of a line of the batch script, as names of partitions and accounts are.
pub(super) fn word(value: Option<&String>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(value) = value else { return };
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"'\\#".contains(c);
    if value.is_empty() {
        errors.required(path, "");
    } else if !value.chars().all(is_plain) {
        let why = "must be printable ASCII characters without blanks, quotes, '\\' and '#'";
        errors.invalid(path, value, why);
    }
}

/// `90`, `90:30`, `1:30:00`, `2-12`, `2-12:00`, `2-12:00:00`, or no limit.
pub(super) fn time_limit(value: Option<&String>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(value) = value else { return };
    let (days, rest) = match value.split_once('-') {
        Some((days, rest)) => (Some(days), rest),
        None => (None, value.as_str()),
    };
    let parts: Vec<_> = rest.split(':').collect();
    let is_time = parts.len() <= 3 && days.iter().chain(&parts).all(|part| is_number(part));
    if !is_time && value != "UNLIMITED" {
        let why = "must be a time as Slurm writes it, (e.g. '90' for minutes, or '01:30:00', or '2-12:00:00', or \
                   'UNLIMITED')";
        errors.invalid(path, value, why);
    }
}

/// A number of megabytes, or of what the letter behind it says.
pub(super) fn memory(value: Option<&String>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(value) = value else { return };
    if !is_number(value.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(value)) {
        let why = "must be an amount of memory as Slurm writes it, (e.g. '4G', or '512M', or '0' for all of a node)";
        errors.invalid(path, value, why);
    }
}

/// `0-15`, `0,6,16-32`, `0-15:4`, with `%4` at the end for how many run at a time.
pub(super) fn array(value: Option<&String>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(value) = value else { return };
    let (indexes, limit) = match value.split_once('%') {
        Some((indexes, limit)) => (indexes, Some(limit)),
        None => (value.as_str(), None),
    };
    let is_positive = |text: &str| is_number(text) && text.chars().any(|digit| digit != '0');
    if !indexes.split(',').all(is_range) || !limit.is_none_or(is_positive) {
        let why =
            "must be indexes as Slurm writes them, (e.g. '0-15', or '0,6,16-32', or '0-15:4%2')";
        errors.invalid(path, value, why);
    }
}

fn is_range(text: &str) -> bool {
    let Some((first, rest)) = text.split_once('-') else { return is_number(text) };
    let (last, step) = rest.split_once(':').map_or((rest, None), |(l, s)| (l, Some(s)));
    let number = |text: &str| text.parse::<u32>().ok().filter(|_| is_number(text));
    let step = step.map_or(Some(1), number);
    matches!((number(first), number(last), step), (Some(first), Some(last), Some(1..)) if first <= last)
}

/// Digits, as many as a number of 32 bits has.
fn is_number(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// One long option, of those that nothing else says. sbatch knows long options by their beginning, too.
pub(super) fn directive(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.contains(char::is_control) {
        errors.invalid(path, value, NO_CONTROL);
    }
    let Some(option) = value.strip_prefix("--") else {
        return errors.invalid(path, value, "must begin with '--'");
    };
    let name: String = option.chars().take_while(|c| !matches!(c, '=' | ' ' | '\t')).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        errors.invalid(path, value, "must name a long option of sbatch");
    } else if let Some((_, field)) = WITH_FIELD.iter().find(|(it, _)| it.starts_with(&name)) {
        errors.invalid(
            path,
            value,
            &format!("must not be an option that has a field: use `{field}`"),
        );
    } else if OURS.iter().any(|it| it.starts_with(&name)) {
        errors.invalid(path, value, "must not be an option that is set for every job");
    }
    if option.split_whitespace().skip(1).any(|word| word.starts_with(['-', '#', '"', '\''])) {
        errors.invalid(path, value, "must be one option: give each its own entry");
    } else if !is_plain(option) {
        let why = "must not contain '\\' and '#', and quotes only around the whole value (e.g. '--constraint=\"a100&ib\"')";
        errors.invalid(path, value, why);
    }
}

/// Whether all that read it take it for the same: sbatch has rules of its own for what is quoted.
fn is_plain(option: &str) -> bool {
    let value = option.split_once('=').map_or("", |(_, value)| value);
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(['"', '\''])).then_some(inner)
    });
    let quotes = option.chars().filter(|c| ['"', '\''].contains(c)).count();
    !option.contains(['\\', '#']) && (quotes == 0 || quoted.is_some() && quotes == 2)
}
