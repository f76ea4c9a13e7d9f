//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use api_types::minik8s::GpuJob;
use clap::Parser;

/// Where it answers: see [`GpuJob::SERVER_PORT`].
fn default_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], GpuJob::SERVER_PORT))
}

/// Take one GpuJob through a Slurm cluster: upload, compile, submit, follow, fetch the results.
///
/// It runs in the job's own pod, whose controller gives it these flags. What the job prints is its standard output and
/// standard error; how far the job is, it writes into the job's status.
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    /// The GpuJob
    #[arg(long, value_name = "NAMESPACE/NAME", required_unless_present = "dry_run",
          value_parser = name)]
    pub(crate) job: Option<Name>,
    /// Its uid: another job of the name is none of this server's
    #[arg(long, value_name = "UID", required_unless_present = "dry_run")]
    pub(crate) uid: Option<String>,
    /// The directory of the sources, if the job does not contain them
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Option<PathBuf>,
    /// The directory that receives the results
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub(crate) results: Option<PathBuf>,
    /// Where the API server is and who this program is there [default: as the service account of the pod]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Where to answer /healthz and /queue
    #[arg(long, value_name = "IP:PORT", default_value_t = default_address())]
    pub(crate) address: SocketAddr,
    /// Print the batch script of the job in --file and end
    #[arg(long, requires = "file")]
    pub(crate) dry_run: bool,
    /// A GpuJob in YAML or JSON, for --dry-run
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) ssh: SshArgs,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Login node")]
pub(crate) struct SshArgs {
    /// The login node
    #[arg(long, value_name = "HOST", required_unless_present = "dry_run")]
    pub(crate) ssh_host: Option<String>,
    /// Its ssh port
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ssh_port: u16,
    /// Its host key: the fingerprint (SHA256:…) or the public key (ssh-ed25519 AAAA…); may be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) ssh_host_key: Vec<String>,
    /// Its host keys, as OpenSSH's known_hosts has them
    #[arg(long, value_name = "TEXT")]
    pub(crate) ssh_known_hosts: Option<String>,
    /// The directory there below which jobs have theirs: an absolute path, or one below the home directory
    /// [default: .minik8s]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<String>,
    /// The directory with the files username, and password or ssh-privatekey
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    pub(crate) credentials: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  # See the batch script
  gpu-server --dry-run --file examples/gpu/matrix.yaml

  # Take a job through a cluster, from outside of the pod
  gpu-server --job default/matrix --uid 5b1ab6a4-… --kubeconfig ~/.kube/config \\
    --ssh-host login.example.org --ssh-host-key SHA256:… --credentials ./login \\
    --sources ./src --results ./results";

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

fn name(text: &str) -> Result<Name, String> {
    let parts = text.split_once('/').filter(|(namespace, name)| {
        !namespace.is_empty() && !name.is_empty() && !name.contains('/')
    });
    let (namespace, name) = parts.ok_or("it is not of the form namespace/name")?;
    Ok(Name { namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 7] = [
        "gpu-server",
        "--job=team/matrix",
        "--uid=u",
        "--results=/results",
        "--ssh-host=login",
        "--ssh-host-key=SHA256:x",
        "--credentials=/credentials",
    ];

    #[test]
    fn what_is_needed_depends_on_what_is_wanted() {
        let args = Args::try_parse_from(ALL).unwrap();
        let name = Name { namespace: "team".to_owned(), name: "matrix".to_owned() };
        assert_eq!((args.job, args.ssh.ssh_port), (Some(name), 22));
        Args::try_parse_from(["gpu-server", "--dry-run", "--file=job.yaml"]).unwrap();
        for missing in ALL.iter().filter(|flag| !flag.starts_with("--ssh-host-key")).skip(1) {
            let rest = ALL.iter().filter(|flag| *flag != missing);
            assert!(Args::try_parse_from(rest).is_err(), "{missing}");
        }
        for wrong in [&["gpu-server", "--dry-run"][..], &["gpu-server", "--file=x"]] {
            assert!(Args::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_job_has_a_namespace() {
        for wrong in ["matrix", "/matrix", "team/", "team/a/b"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
