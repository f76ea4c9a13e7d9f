//! The command line, and the [`Job`] that it describes.

use std::{fmt, fs, num::NonZeroU32, path::PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, error::ErrorKind};

use crate::job::{Faults, Job, JobName};

/// Holds the password where no file does. There is no flag for it: a command line is seen by all.
pub const PASSWORD_VARIABLE: &str = "MINIK8S_SSH_PASSWORD";

/// Take one GPU job through a Slurm cluster: upload, compile, submit, follow, fetch the results.
///
/// This version makes the batch script (--dry-run) and does not submit it yet.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    /// The GpuJob that this is done for
    #[arg(long, value_name = "NAMESPACE/NAME")]
    job_name: String,
    /// The directory that holds the sources and receives the results
    #[arg(long, value_name = "DIR", default_value = "/usr/local/jobs")]
    sources: PathBuf,
    /// The job's own directory on the Slurm cluster: relative to --workdir-root, or absolute and below it
    #[arg(long, value_name = "DIR")]
    workdir: String,
    /// The directory on the Slurm cluster below which jobs have theirs: absolute, and nobody else's
    /// [default: the home directory of who logs in]
    #[arg(long, value_name = "DIR")]
    workdir_root: Option<String>,
    /// The file for standard output, relative to the workdir [default: <name>.out]
    #[arg(long, value_name = "FILE")]
    output: Option<String>,
    /// The file for standard error, relative to the workdir [default: <name>.err]
    #[arg(long, value_name = "FILE")]
    error: Option<String>,
    /// A command for the login node, run in the workdir before the job is submitted; may be repeated
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    compile: Vec<String>,
    /// A command of the batch script; may be repeated, the first failure ends the job
    #[arg(long, value_name = "COMMAND", required = true, allow_hyphen_values = true)]
    run: Vec<String>,
    /// Print the batch script and end
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    resources: ResourceArgs,
    #[command(flatten)]
    ssh: SshArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Slurm resources")]
struct ResourceArgs {
    /// Slurm nodes (sbatch --nodes)
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN)]
    processes: NonZeroU32,
    /// Tasks on each node
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN)]
    ntasks_per_node: NonZeroU32,
    /// CPU cores for each task
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN)]
    cpus_per_task: NonZeroU32,
    /// GPUs on each node (sbatch --gres=gpu:N)
    #[arg(long, value_name = "N", default_value_t = 1)]
    gpus: u32,
    /// The partition [default: the cluster's own default]
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Login node")]
struct SshArgs {
    /// The login node
    #[arg(long, value_name = "HOST", required_unless_present = "dry_run")]
    ssh_host: Option<String>,
    /// Its ssh port
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: u16,
    /// Who logs in
    #[arg(long, value_name = "USER", required_unless_present = "dry_run")]
    ssh_user: Option<String>,
    /// The fingerprint of its host key, as `ssh-keygen -l` prints it (SHA256:…)
    #[arg(long, value_name = "FINGERPRINT", required_unless_present = "dry_run")]
    ssh_host_key: Option<String>,
    /// The file that holds the password; without it, the variable MINIK8S_SSH_PASSWORD is read
    #[arg(long, value_name = "FILE", conflicts_with = "ssh_key_file")]
    ssh_password_file: Option<PathBuf>,
    /// The file that holds the private key
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  # See the batch script
  gpu-server --dry-run --job-name default/matrix --workdir jobs/matrix \\
    --cpus-per-task 6 --gpus 1 --partition dgx2 --run ./add --run ./multiply

  # Compile with CUDA and run
  gpu-server --job-name default/matrix --workdir jobs/matrix \\
    --compile 'module load cuda' --compile 'nvcc add.cu -o add' --run ./add \\
    --ssh-host login.example.org --ssh-user alice --ssh-host-key SHA256:… \\
    --ssh-password-file /etc/gpu/password";

/// A command line without faults.
#[derive(Debug)]
pub struct Invocation {
    /// Whether only the script is wanted.
    pub dry_run: bool,
    /// The job.
    pub job: Job,
    /// Where its sources are and its results go.
    pub sources: PathBuf,
    /// Where and how to log in; nothing with `dry_run`.
    pub login: Option<Login>,
}

/// How to get to the login node.
#[derive(Debug)]
pub struct Login {
    /// Its name or address.
    pub host: String,
    /// Its ssh port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The fingerprint that its host key must have.
    pub host_key: String,
    /// What the user shows.
    pub credential: Credential,
}

/// What a user logs in with. Its `Debug` does not tell it.
pub enum Credential {
    /// A password.
    Password(String),
    /// A private key in PEM.
    Key(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Password(_) => "Password(…)",
            Credential::Key(_) => "Key(…)",
        })
    }
}

// === impl Invocation ===

/// Parsing includes checking, so that every fault is a fault of usage.
impl Parser for Invocation {}

impl CommandFactory for Invocation {
    fn command() -> Command {
        Args::command()
    }

    fn command_for_update() -> Command {
        Args::command_for_update()
    }
}

impl FromArgMatches for Invocation {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let password = std::env::var(PASSWORD_VARIABLE).ok();
        Args::from_arg_matches(matches)?
            .check(password)
            .map_err(|faults| Args::command().error(ErrorKind::ValueValidation, faults))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

// === impl Args ===

impl Args {
    /// The checked form; `password` is what the environment holds.
    pub fn check(self, password: Option<String>) -> Result<Invocation, Faults> {
        let mut faults = Faults::default();
        let login = if self.dry_run { None } else { self.ssh.login(password, &mut faults) };
        let (dry_run, sources) = (self.dry_run, self.sources.clone());
        let job = self.job(&mut faults);
        match job {
            Some(job) => faults.or(Invocation { dry_run, job, sources, login }),
            None => Err(faults),
        }
    }

    /// None only if there is a fault.
    fn job(self, faults: &mut Faults) -> Option<Job> {
        let name = JobName::parse(&self.job_name);
        if name.is_none() {
            let why = format!("{:?} is not of the form namespace/name", self.job_name);
            faults.add("job-name", why);
        }
        let default = |kind: &str| name.as_ref().map(|name| format!("{}.{kind}", name.name()));
        let output = self.output.or_else(|| default("out"));
        let error = self.error.or_else(|| default("err"));
        let root = self.workdir_root.as_deref();
        root.iter().for_each(|root| faults.check_root("workdir-root", root));
        let workdir = faults.check_workdir("workdir", root, &self.workdir);
        for (flag, path) in [("output", &output), ("error", &error)] {
            path.iter().for_each(|path| faults.check_path(flag, path));
        }
        let partition = self.resources.partition;
        partition.iter().for_each(|partition| faults.check_partition("partition", partition));
        faults.check_commands("compile", &self.compile);
        faults.check_commands("run", &self.run);
        Some(Job {
            name: name?,
            workdir: workdir?,
            output: output?,
            error: error?,
            processes: self.resources.processes,
            ntasks_per_node: self.resources.ntasks_per_node,
            cpus_per_task: self.resources.cpus_per_task,
            gpus: self.resources.gpus,
            partition,
            compile: self.compile,
            run: self.run,
        })
    }
}

// === impl SshArgs ===

impl SshArgs {
    /// None only if there is a fault, or if clap let a missing flag through.
    fn login(&self, password: Option<String>, faults: &mut Faults) -> Option<Login> {
        let host_key = self.ssh_host_key.clone()?;
        if !host_key.starts_with("SHA256:") {
            faults.add("ssh-host-key", format!("{host_key:?} does not begin with SHA256:"));
        }
        Some(Login {
            host: self.ssh_host.clone()?,
            port: self.ssh_port,
            user: self.ssh_user.clone()?,
            host_key,
            credential: self.credential(password, faults)?,
        })
    }

    fn credential(&self, password: Option<String>, faults: &mut Faults) -> Option<Credential> {
        if let Some(file) = &self.ssh_key_file {
            return secret("ssh-key-file", file, faults).map(Credential::Key);
        }
        let password = match &self.ssh_password_file {
            // An editor's line end is not part of the password.
            Some(file) => secret("ssh-password-file", file, faults)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
            None => password.filter(|password| !password.is_empty()).or_else(|| {
                let why =
                    format!("neither this, nor --ssh-key-file, nor {PASSWORD_VARIABLE} is given");
                faults.add("ssh-password-file", why);
                None
            }),
        };
        password.map(Credential::Password)
    }
}

fn secret(flag: &str, file: &PathBuf, faults: &mut Faults) -> Option<String> {
    match fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => {
            faults.add(flag, format!("{} is empty", file.display()));
            None
        }
        Ok(text) => Some(text),
        Err(error) => {
            faults.add(flag, format!("cannot read {}: {error}", file.display()));
            None
        }
    }
}

#[cfg(test)]
mod tests;
