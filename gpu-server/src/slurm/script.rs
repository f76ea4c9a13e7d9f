//! The scripts of a job: functions from its specification to text.
//!
//! Nothing that a user gives can end its `#SBATCH` line and begin another, nor set what others of the job's options or
//! the server itself depend on; what would is refused, by field, all at once.

use std::fmt::Display;

use api_types::{api::core::v1::EnvVar, minik8s::GpuJobSpec};
use glob::Pattern;

use super::{options::refusal, task::Task};
use crate::remote::{check_pattern, quote};

/// What is wrong, a line each.
#[derive(Default)]
struct Faults(Vec<String>);

/// The script for `sbatch`. It is to be submitted from the task's own directory, where it leaves `id` when it begins and
/// `exit-status` when its commands have ended: an answer that does not depend on how long Slurm remembers. Relative paths
/// are below `workDir` there.
///
/// # Errors
/// What of the specification cannot be in such a script.
pub fn batch_script(spec: &GpuJobSpec, task: &Task<'_>) -> Result<String, String> {
    let mut faults = Faults::default();
    let mut script = String::from("#!/bin/bash\n");
    for (name, value) in directives(spec, task, &mut faults) {
        script.push_str(&format!("#SBATCH --{name}={value}\n"));
    }
    for (at, option) in spec.directives.iter().enumerate() {
        match refusal(option) {
            Some(why) => faults.add(&format!("directives[{at}]"), format!("{option:?} {why}")),
            None => script.push_str(&format!("#SBATCH {option}\n")),
        }
    }
    for (at, pattern) in spec.results.iter().enumerate() {
        if let Err(error) = check_pattern(pattern) {
            faults.add(&format!("results[{at}]"), error);
        }
    }
    if let Some(directory) = spec.work_dir.as_deref().filter(|directory| leads_out(directory)) {
        faults.add("workDir", format!("{directory:?} leads out of the job's directory"));
    }
    script.push_str(RECORD_ID);
    script.push_str(&format!("export JOB_COMPLETION_INDEX={}\n", task.index));
    script.push_str(&exports(&spec.env, &mut faults));
    script.push_str("(\nset -e\n");
    script.push_str(&commands("runScripts", &spec.run_scripts, &mut faults));
    script.push_str(RECORD_STATUS);
    faults.or(script)
}

/// The script that compiles the sources, for `bash` in `workDir`, if there is anything to compile.
///
/// # Errors
/// As [`batch_script`].
pub fn compile_script(spec: &GpuJobSpec) -> Result<Option<String>, String> {
    let mut faults = Faults::default();
    let exports = exports(&spec.env, &mut faults);
    let commands = commands("compileScripts", &spec.compile_scripts, &mut faults);
    let script = format!("{exports}set -e\n{commands}");
    faults.or((!spec.compile_scripts.is_empty()).then_some(script))
}

/// The files to fetch, as patterns below `workDir`: output, error and results.
#[must_use]
pub fn output_patterns(spec: &GpuJobSpec, name: &str) -> Vec<String> {
    let files = [output(spec, name), error(spec, name)];
    files.iter().map(|file| pattern(file)).chain(spec.results.iter().cloned()).collect()
}

fn output(spec: &GpuJobSpec, name: &str) -> String {
    spec.output_file.clone().unwrap_or_else(|| format!("{name}.out"))
}

fn error(spec: &GpuJobSpec, name: &str) -> String {
    spec.error_file.clone().unwrap_or_else(|| format!("{name}.err"))
}

/// What Slurm makes of a file name: `%j` and the like are numbers and names.
fn pattern(file: &str) -> String {
    let mut pattern = String::new();
    let mut characters = file.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '%' if characters.peek() == Some(&'%') => {
                characters.next();
                pattern.push('%');
            }
            '%' => {
                while characters.next_if(char::is_ascii_digit).is_some() {}
                characters.next();
                pattern.push('*');
            }
            c => pattern.push_str(&Pattern::escape(&c.to_string())),
        }
    }
    pattern
}

/// Names and values, each of which is a word of its line.
fn directives(
    spec: &GpuJobSpec,
    task: &Task<'_>,
    faults: &mut Faults,
) -> Vec<(&'static str, String)> {
    let count = |n: i32| n.max(1).to_string();
    let gres = match (&spec.gres, spec.num_gpus.unwrap_or(1)) {
        (Some(gres), _) => Some(gres.clone()),
        (None, 0) => None,
        (None, gpus) => Some(format!("gpu:{gpus}")),
    };
    let asked = [
        ("output", "outputFile", Some(output(spec, task.name))),
        ("error", "errorFile", Some(error(spec, task.name))),
        ("partition", "partition", spec.partition.clone()),
        ("account", "account", spec.account.clone()),
        ("qos", "qos", spec.qos.clone()),
        ("time", "timeLimit", spec.time_limit.clone()),
        ("mem", "memory", spec.memory.clone()),
        ("gres", "gres", gres),
        ("array", "array", spec.array.clone()),
    ];
    let mut directives = vec![
        ("job-name", task.job_name()),
        ("comment", task.comment()),
        ("nodes", count(spec.num_process)),
        ("ntasks-per-node", count(spec.num_tasks_per_node)),
        ("cpus-per-task", count(spec.cpus_per_task)),
    ];
    for (option, field, value) in asked {
        let Some(value) = value else { continue };
        faults.check_word(field, &value);
        if ["output", "error"].contains(&option) {
            faults.check_file(field, &value);
        }
        directives.push((option, value));
    }
    directives
}

/// Of a variable that already has its value.
fn exports(env: &[EnvVar], faults: &mut Faults) -> String {
    let mut text = String::new();
    for (at, variable) in env.iter().enumerate() {
        let field = format!("env[{at}]");
        if variable.value_from.is_some() {
            faults.add(&format!("{field}.valueFrom"), "a GpuJob's variables have values only");
        }
        if !is_variable(&variable.name) {
            faults.add(&format!("{field}.name"), format!("{:?} is no name for sh", variable.name));
        }
        match quote(variable.value.as_deref().unwrap_or_default()) {
            Ok(value) => text.push_str(&format!("export {}={value}\n", variable.name)),
            Err(error) => faults.add(&format!("{field}.value"), error),
        }
    }
    text
}

fn leads_out(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

fn is_variable(name: &str) -> bool {
    let character = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.chars().all(character)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn commands(field: &str, commands: &[String], faults: &mut Faults) -> String {
    for (at, command) in commands.iter().enumerate() {
        if command.contains('\0') {
            faults.add(&format!("{field}[{at}]"), "a zero byte is not allowed");
        }
    }
    commands.iter().map(|command| format!("{command}\n")).collect()
}

/// An array has one `id` and as many statuses as tasks, whose number is told by each that has begun. The first command also ends what `sbatch` reads for options. A
/// status from before a requeue does not count.
const RECORD_ID: &str = r#"
[ -s "$SLURM_SUBMIT_DIR/id" ] || echo "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}" >"$SLURM_SUBMIT_DIR/id"
rm -f "$SLURM_SUBMIT_DIR/exit-status${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}"
echo "${SLURM_ARRAY_TASK_COUNT:-1}" >"$SLURM_SUBMIT_DIR/begun${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}"
"#;
const RECORD_STATUS: &str = r#")
status=$?
echo $status >"$SLURM_SUBMIT_DIR/exit-status${SLURM_ARRAY_TASK_ID:+-$SLURM_ARRAY_TASK_ID}"
exit $status
"#;

// === impl Faults ===

impl Faults {
    fn add(&mut self, field: &str, why: impl Display) {
        self.0.push(format!("spec.{field}: {why}"));
    }

    fn or<T>(self, value: T) -> Result<T, String> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0.join("\n")) }
    }

    /// `#SBATCH` lines know no quoting that all versions agree on, so what would need it is refused.
    fn check_word(&mut self, field: &str, word: &str) {
        let wrong =
            word.chars().find(|c| !c.is_ascii_alphanumeric() && !"/._-+=@:%~,*".contains(*c));
        match wrong {
            Some(wrong) => self.add(
                field,
                format!("{word:?} contains {wrong:?}, which a batch script cannot have here"),
            ),
            None if word.is_empty() => self.add(field, "is empty"),
            None => {}
        }
    }

    fn check_file(&mut self, field: &str, path: &str) {
        if leads_out(path) || path.ends_with('/') {
            self.add(field, format!("{path:?} is not a file below workDir"));
        }
    }
}

#[cfg(test)]
mod tests;
