//! The batch script: a function from a [`Job`] to text.

use std::fmt::{self, Write as _};

use crate::job::Job;

/// The script for `sbatch`. The job's values were checked when it was made, so none of them can end
/// its line and begin another directive.
pub fn sbatch_script(job: &Job) -> String {
    let mut script = String::from("#!/bin/bash\n");
    write_directives(&mut script, job).expect("writing to a String does not fail");
    // Else the job's state would be that of its last command, whatever became of the others.
    script.push_str("\nset -e\n");
    for command in &job.run {
        script.push_str(command);
        script.push('\n');
    }
    script
}

fn write_directives(out: &mut String, job: &Job) -> fmt::Result {
    let mut directive =
        |name: &str, value: &dyn fmt::Display| writeln!(out, "#SBATCH --{name}={value}");
    directive("job-name", &job.name.slurm())?;
    if let Some(partition) = &job.partition {
        directive("partition", partition)?;
    }
    directive("chdir", &job.workdir)?;
    directive("output", &job.output)?;
    directive("error", &job.error)?;
    directive("nodes", &job.processes)?;
    directive("ntasks-per-node", &job.ntasks_per_node)?;
    directive("cpus-per-task", &job.cpus_per_task)?;
    match job.gpus {
        0 => Ok(()),
        gpus => directive("gres", &format_args!("gpu:{gpus}")),
    }
}
