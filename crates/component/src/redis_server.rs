//! The Redis server of the flags: where it is, and how it lets this program in. `listwatch` connects to it.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use secrecy::SecretString;

/// The flags of a program that uses Redis. A password is in the URL of the environment or of the configuration file, or in a
/// file of its own: what is on the command line, every user of the host can read.
#[derive(clap::Args, Clone, Default)]
pub struct RedisArgs {
    /// The Redis server that carries change notifications, heartbeats and usage (rediss:// for TLS); without it, HTTP
    /// watches are used, and kubelets are asked
    #[arg(long, value_name = "URL", env = "MINIK8S_REDIS", hide_env_values = true)]
    pub redis: Option<String>,
    /// A file with the password of that server [default: the one in its URL]
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub redis_password_file: Option<PathBuf>,
    /// The authorities of that server's certificate [default: those that this host trusts]
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub redis_ca_file: Option<PathBuf>,
}

/// A Redis server, and what it takes to be let in.
#[derive(Clone, Debug)]
pub struct RedisServer {
    /// Its URL, perhaps with a password.
    pub url: SecretString,
    /// The password, unless it is in the URL.
    pub password: Option<SecretString>,
    /// The authorities of its certificate, in PEM, unless this host trusts them.
    pub authorities: Option<Vec<u8>>,
}

impl RedisArgs {
    /// The server that the flags say, with what is in their files.
    ///
    /// # Errors
    /// A file that can't be read, or has no password.
    pub fn server(&self) -> anyhow::Result<Option<RedisServer>> {
        let Some(url) = &self.redis else { return Ok(None) };
        let password = self.redis_password_file.as_ref().map(password).transpose()?;
        let authorities = self.redis_ca_file.as_ref().map(|path| {
            fs::read(path)
                .with_context(|| format!("cannot read --redis-ca-file {}", path.display()))
        });
        let authorities = authorities.transpose()?;
        Ok(Some(RedisServer { password, authorities, ..url.as_str().into() }))
    }
}

fn password(path: &PathBuf) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read --redis-password-file {shown}"))?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "--redis-password-file {shown} is empty");
    Ok(password.into())
}

impl From<&str> for RedisServer {
    fn from(url: &str) -> Self {
        Self { url: url.into(), password: None, authorities: None }
    }
}

/// The URL may have a password.
impl std::fmt::Debug for RedisArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisArgs")
            .field("redis", &self.redis.as_ref().map(|_| "…"))
            .field("redis_password_file", &self.redis_password_file)
            .field("redis_ca_file", &self.redis_ca_file)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;

    fn args(folder: &Path, password: &str) -> RedisArgs {
        let file = folder.join("password");
        fs::write(&file, password).unwrap();
        RedisArgs {
            redis: Some("redis://:other@h".to_owned()),
            redis_password_file: Some(file),
            redis_ca_file: None,
        }
    }

    #[test]
    fn the_password_is_the_files_without_its_end_of_line() {
        let folder = tempfile::tempdir().unwrap();
        let server = args(folder.path(), " p w\n").server().unwrap().unwrap();
        assert_eq!(server.password.unwrap().expose_secret(), " p w");
        let error = args(folder.path(), "\n").server().unwrap_err().to_string();
        assert!(
            error.starts_with("--redis-password-file /") && error.ends_with("is empty"),
            "{error}"
        );
    }

    #[test]
    fn no_password_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path(), "secret");
        let printed = format!("{args:?} {:?}", args.server().unwrap());
        assert!(!printed.contains("secret") && !printed.contains("other"), "{printed}");
    }

    #[test]
    fn without_a_url_there_is_no_redis() {
        assert!(RedisArgs::default().server().unwrap().is_none());
    }
}
