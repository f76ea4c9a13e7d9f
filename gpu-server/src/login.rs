//! How to get to the login node: from the flags and the mounted Secret, which may change at any time.

use std::{fs, io, path::Path};

use secrecy::SecretString;

use crate::{
    args::SshArgs,
    ssh::{Credential, Error, HostKeys, Target},
};

/// Reads the credentials as they are now.
pub(crate) fn target(args: &SshArgs) -> Result<Target, Error> {
    let host = args.ssh_host.clone().unwrap_or_default();
    let known_hosts = args.ssh_known_hosts.as_deref();
    let host_keys = HostKeys::parse(&host, args.ssh_port, &args.ssh_host_key, known_hosts);
    let host_keys = host_keys.map_err(Error::Refused)?;
    let directory = args.credentials.as_deref().unwrap_or(Path::new("."));
    let user = read(directory, "username")?.unwrap_or_default().trim().to_owned();
    if user.is_empty() {
        return Err(missing("username"));
    }
    let credential = match (read(directory, "ssh-privatekey")?, read(directory, "password")?) {
        (Some(key), _) => Credential::Key(SecretString::from(key)),
        // An editor's line end is not part of the password.
        (None, Some(password)) => {
            Credential::Password(SecretString::from(password.trim_end_matches(['\r', '\n'])))
        }
        (None, None) => return Err(missing("password or ssh-privatekey")),
    };
    Ok(Target { host, port: args.ssh_port, host_keys, user, credential })
}

fn missing(what: &str) -> Error {
    Error::Refused(format!("the Secret with the credentials has no {what}"))
}

fn read(directory: &Path, name: &str) -> Result<Option<String>, Error> {
    match fs::read_to_string(directory.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            Err(Error::Local { what: format!("reading the credentials' {name}"), source })
        }
    }
}

/// What tells one content of the Secret from another, without being it.
pub(crate) fn mark(args: &SshArgs) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for name in ["username", "password", "ssh-privatekey"] {
        let directory = args.credentials.as_deref().unwrap_or(Path::new("."));
        fs::read(directory.join(name)).ok().hash(&mut hasher);
    }
    hasher.finish()
}
