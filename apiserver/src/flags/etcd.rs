//! The flags of etcd: its members, and TLS to them as Kubernetes' API server is told of it.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use store::etcd::{Etcd, Tls};

#[derive(Debug, Args)]
pub(super) struct EtcdFlags {
    /// The members of etcd
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    etcd_servers: Vec<String>,
    /// The authorities of the members' certificates [default: those that this host trusts]
    #[arg(long, value_name = "FILE")]
    etcd_cafile: Option<PathBuf>,
    /// The certificate that is shown to the members
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    etcd_certfile: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    etcd_keyfile: Option<PathBuf>,
}

impl EtcdFlags {
    pub(super) fn first_server(&self) -> Option<&str> {
        self.etcd_servers.first().map(String::as_str)
    }

    pub(super) async fn open(&self) -> anyhow::Result<Etcd> {
        let servers = self.etcd_servers.join(", ");
        let store = Etcd::connect_with(&self.etcd_servers, self.tls()?.as_ref()).await;
        store.with_context(|| format!("cannot reach etcd at {servers}"))
    }

    /// What TLS needs, if it is used: to all members, or to none.
    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let secured = self.etcd_servers.iter().filter(|url| url.starts_with("https://")).count();
        let files = self.etcd_cafile.is_some() || self.etcd_certfile.is_some();
        if secured == 0 && !files {
            return Ok(None);
        }
        ensure!(
            secured == self.etcd_servers.len(),
            "--etcd-servers: all must be https:// URLs, or none and without --etcd-cafile and --etcd-certfile"
        );
        let read = |flag: &str, file: &Option<PathBuf>| {
            let read = |path: &PathBuf| {
                fs::read(path).with_context(|| format!("cannot read {flag} {}", path.display()))
            };
            file.as_ref().map(read).transpose()
        };
        let authorities = read("--etcd-cafile", &self.etcd_cafile)?;
        let certificate = read("--etcd-certfile", &self.etcd_certfile)?;
        let key = read("--etcd-keyfile", &self.etcd_keyfile)?;
        Ok(Some(Tls { authorities, identity: certificate.zip(key) }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        etcd: EtcdFlags,
    }

    fn tls(flags: &[&str]) -> Result<bool, String> {
        let flags = ["apiserver"].iter().chain(flags);
        let command = Command::try_parse_from(flags).map_err(|error| error.to_string())?;
        command.etcd.tls().map(|tls| tls.is_some()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn tls_is_for_all_members_or_for_none() {
        assert_eq!(tls(&[]), Ok(false));
        assert_eq!(tls(&["--etcd-servers=https://a,https://b"]), Ok(true));
        for mixed in ["--etcd-servers=https://a,http://b", "--etcd-cafile=ca.crt"] {
            let error = tls(&[mixed]).unwrap_err();
            assert!(error.starts_with("--etcd-servers: all must be https://"), "{error}");
        }
    }

    #[test]
    fn a_certificate_needs_its_key_and_both_are_read() {
        assert!(tls(&["--etcd-certfile=a.crt"]).unwrap_err().contains("--etcd-keyfile"));
        let missing = ["--etcd-servers=https://a", "--etcd-certfile=/n/a", "--etcd-keyfile=/n/b"];
        let error = tls(&missing).unwrap_err();
        assert!(error.starts_with("cannot read --etcd-certfile /n/a: "), "{error}");
    }
}
