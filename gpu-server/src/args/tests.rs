use super::*;

/// Checks a command line with what is always needed before `flags`, and `password` in the environment.
fn invoke(flags: &str, password: Option<&str>) -> Result<Invocation, String> {
    let base = ["gpu-server", "--job-name=default/matrix", "--workdir=jobs/m", "--run=./add"];
    parse(base.into_iter().chain(flags.split_whitespace()), password)
}

fn parse<'a>(
    argv: impl Iterator<Item = &'a str>,
    password: Option<&str>,
) -> Result<Invocation, String> {
    // As in `component`: a later value of a flag replaces an earlier one.
    let command = Args::command().args_override_self(true);
    let mut matches = command.try_get_matches_from(argv).map_err(|error| error.to_string())?;
    let args = Args::from_arg_matches_mut(&mut matches).map_err(|error| error.to_string())?;
    args.check(password.map(str::to_owned)).map_err(|faults| faults.to_string())
}

/// Checks that `flags` are refused, with a message that contains `expected`.
fn refused(flags: &str, expected: &str) {
    let message = invoke(&format!("--dry-run {flags}"), None).unwrap_err();
    assert!(message.contains(expected), "{flags}: {message}");
}

const SSH: &str = "--ssh-host=h --ssh-user=u --ssh-host-key=SHA256:x";

#[test]
fn a_dry_run_needs_no_login() {
    let invocation = invoke("--dry-run", None).unwrap();
    assert!(invocation.dry_run && invocation.login.is_none());
    assert_eq!(invocation.job.output, "matrix.out");
    assert_eq!(invocation.job.error, "matrix.err");
}

#[test]
fn the_last_value_wins_but_commands_add_up() {
    let job = invoke("--dry-run --gpus=2 --gpus=3 --run=./multiply", None).unwrap().job;
    assert_eq!(job.gpus, 3);
    assert_eq!(job.run, ["./add", "./multiply"]);
}

#[test]
fn every_wrong_value_is_named_with_its_flag() {
    refused("--job-name=matrix", "--job-name: \"matrix\" is not of the form namespace/name");
    refused("--job-name=default/Matrix", "--job-name");
    refused("--job-name=a.b/matrix", "--job-name");
    refused("--workdir=jobs/../..", "leads upwards");
    refused("--workdir=jobs;rm", "contains ';'");
    refused("--output=out/", "--output: \"out/\" names nothing");
    refused("--error=$HOME/e", "contains '$'");
    refused("--partition=a;b", "--partition");
    refused("--compile=", "--compile: an empty command");
    refused("--processes=0", "--processes");
    refused("--ntasks-per-node=0", "--ntasks-per-node");
    refused("--cpus-per-task=many", "--cpus-per-task");
    refused("--gpus=-1", "--gpus");
    refused("--ssh-port=0", "--ssh-port");
    refused("--ssh-password=x", "--ssh-password");
}

#[test]
fn a_workdir_is_a_directory_of_the_job_s_own() {
    for path in ["/", "//", "/home", "/home/alice", "/etc/x", ".", "./", "~", "~/x", "~bob/x"] {
        refused(&format!("--workdir={path}"), "--workdir: ");
    }
    for path in [".ssh", ".ssh/x", "x/.config", "", "x/", "./x", "x/../.."] {
        refused(&format!("--workdir={path}"), "--workdir: ");
    }
    let root = "--workdir-root=/lustre/home/alice";
    for path in ["/lustre/home/alice", "/lustre/home/alicex/a", "/lustre/home", "/", "/tmp/a"] {
        refused(&format!("{root} --workdir={path}"), "is not below --workdir-root");
    }
    refused(&format!("{root} --workdir=/lustre/home/alice//"), "--workdir: ");
    refused(&format!("{root} --workdir=/lustre/home/alice/.ssh"), "begins with a dot");
    let workdir = |flags: &str| invoke(&format!("--dry-run {flags}"), None).unwrap().job.workdir;
    assert_eq!(workdir("--workdir=matrix"), "matrix");
    assert_eq!(workdir(&format!("{root} --workdir=matrix")), "/lustre/home/alice/matrix");
    let absolute = "--workdir=/lustre/home/alice/a/b";
    assert_eq!(workdir(&format!("{root} {absolute}")), "/lustre/home/alice/a/b");
}

#[test]
fn the_root_of_workdirs_is_nobody_else_s() {
    for root in ["/", "/home", "home/alice", "~", "/home/", "/home/../etc", ""] {
        refused(&format!("--workdir-root={root} --workdir=x"), "--workdir-root: ");
    }
}

#[test]
fn a_line_end_in_a_value_cannot_make_a_directive() {
    let argv = ["gpu-server", "--dry-run", "--job-name=a/b", "--run=x", "--workdir=w\n#SBATCH -N9"];
    let message = parse(argv.into_iter(), None).unwrap_err();
    assert!(message.contains("--workdir"), "{message}");
}

#[test]
fn all_faults_are_reported_at_once() {
    let message = invoke("--dry-run --job-name=x --workdir=/ --partition=;", None).unwrap_err();
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn a_real_run_needs_to_know_where_and_as_whom() {
    let message = invoke("", Some("secret")).unwrap_err();
    for flag in ["--ssh-host", "--ssh-user", "--ssh-host-key"] {
        assert!(message.contains(flag), "{message}");
    }
    let message = invoke("--ssh-host=h --ssh-user=u --ssh-host-key=md5", Some("s")).unwrap_err();
    assert!(message.contains("does not begin with SHA256:"), "{message}");
}

#[test]
fn the_password_comes_from_a_file_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "from file\n").unwrap();
    let with_file = format!("{SSH} --ssh-password-file={}", file.display());
    let password = |flags: &str, environment| match invoke(flags, environment)?.login {
        Some(Login { credential: Credential::Password(password), .. }) => Ok(password),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(password(&with_file, Some("from environment")).as_deref(), Ok("from file"));
    assert_eq!(password(SSH, Some("from environment")).as_deref(), Ok("from environment"));
    let none = password(SSH, None).unwrap_err();
    assert!(none.contains("MINIK8S_SSH_PASSWORD"), "{none}");
    let absent = password(&format!("{SSH} --ssh-password-file=/no/such"), None).unwrap_err();
    assert!(absent.contains("cannot read /no/such"), "{absent}");
}

#[test]
fn a_credential_is_never_printed() {
    let invocation = invoke(SSH, Some("secret")).unwrap();
    assert!(!format!("{invocation:?}").contains("secret"));
}
