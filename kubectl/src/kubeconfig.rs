//! Finding and reading kubeconfig files, and what they say: server, credentials, namespace.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::{Environment, Failure, flags::Global};

/// Where the scripts write the administrator's kubeconfig.
const ADMIN: &str = "/etc/minik8s/admin.conf";

/// The files to read, in order of preference: `--kubeconfig`, `$KUBECONFIG` (several, merged),
/// `~/.kube/config`, the administrator's.
#[must_use]
pub fn files(global: &Global, environment: &Environment) -> Vec<PathBuf> {
    if let Some(file) = &global.kubeconfig {
        return vec![file.clone()];
    }
    if let Some(list) = environment.kubeconfig.as_ref().filter(|l| !l.is_empty()) {
        return std::env::split_paths(list).filter(|p| !p.as_os_str().is_empty()).collect();
    }
    let home = environment.home.as_ref().map(|home| home.join(".kube/config"));
    let candidates = [home, Some(PathBuf::from(ADMIN))];
    candidates.into_iter().flatten().find(|file| file.exists()).into_iter().collect()
}

/// The kubeconfig that holds for this command.
pub fn load(global: &Global, environment: &Environment) -> Result<Kubeconfig, Failure> {
    let files = files(global, environment);
    let (found, missing): (Vec<_>, Vec<_>) = files.into_iter().partition(|f| f.exists());
    if found.is_empty() {
        return Err(Failure::NoKubeconfig { looked_at: looked_at(&missing, environment) });
    }
    let mut merged = Kubeconfig::default();
    for file in found {
        merged = merged.merge(read(&file)?).map_err(|e| Failure::message(e.to_string()))?;
    }
    Ok(merged)
}

fn read(file: &Path) -> Result<Kubeconfig, Failure> {
    let fault = |e: kube::config::KubeconfigError| {
        Failure::message(format!("error loading config file {:?}: {}", file.display(), deepest(&e)))
    };
    Kubeconfig::read_from(file).map_err(fault)
}

fn looked_at(missing: &[PathBuf], environment: &Environment) -> String {
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(|f| f.display().to_string()).collect();
        return missing.join(", ");
    }
    let home = environment.home.as_ref().map(|h| format!("{}, ", h.join(".kube/config").display()));
    format!("{}{ADMIN}", home.unwrap_or_default())
}

/// The client's settings of this command.
pub async fn config(global: &Global, environment: &Environment) -> Result<kube::Config, Failure> {
    let mut config = match load(global, environment) {
        Ok(kubeconfig) => from_kubeconfig(kubeconfig, global).await?,
        Err(Failure::NoKubeconfig { .. }) if global.server.is_some() => {
            kube::Config::new(http::Uri::from_static("https://localhost:6443"))
        }
        Err(failure) => return Err(failure),
    };
    if let Some(server) = &global.server {
        config.cluster_url = server_url(server)?;
    }
    config.accept_invalid_certs |= global.insecure_skip_tls_verify;
    // It would end connections into pods in which nobody reads for a while.
    config.write_timeout = None;
    Ok(config)
}

async fn from_kubeconfig(kubeconfig: Kubeconfig, global: &Global) -> Result<kube::Config, Failure> {
    let options = KubeConfigOptions { context: global.context.clone(), ..Default::default() };
    kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match &global
        .context
    {
        Some(context) if matches!(error, kube::config::KubeconfigError::LoadContext(_)) => {
            Failure::message(format!("context {context:?} does not exist"))
        }
        _ => Failure::message(format!("invalid configuration: {}", deepest(&error))),
    })
}

/// `host:port` alone means HTTPS.
fn server_url(server: &str) -> Result<http::Uri, Failure> {
    let full = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    full.parse().map_err(|e| Failure::message(format!("invalid server address {server:?}: {e}")))
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if deepest.to_string() == error.to_string() {
        return error.to_string();
    }
    format!("{error}: {deepest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_environment_before_the_home() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        let config = home.path().join(".kube/config");
        std::fs::write(&config, "").unwrap();
        let mut environment =
            Environment { home: Some(home.path().into()), ..Environment::default() };
        let mut global = Global::default();
        assert_eq!(files(&global, &environment), [config]);
        environment.kubeconfig = Some("/a:/b".into());
        assert_eq!(files(&global, &environment), [PathBuf::from("/a"), PathBuf::from("/b")]);
        global.kubeconfig = Some("/c".into());
        assert_eq!(files(&global, &environment), [PathBuf::from("/c")]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let global = Global { kubeconfig: Some("/no/such".into()), ..Global::default() };
        let failure = load(&global, &Environment::default()).unwrap_err();
        assert_eq!(failure.to_string(), "error: no kubeconfig found (looked at /no/such)");
        assert!(failure.hint().is_some());
    }

    #[tokio::test]
    async fn a_pod_may_take_its_time_to_read() {
        let global = Global {
            kubeconfig: Some("/no/such".into()),
            server: Some("h:6443".into()),
            ..Global::default()
        };
        let config = config(&global, &Environment::default()).await.unwrap();
        assert_eq!((config.read_timeout, config.write_timeout), (None, None));
    }

    #[test]
    fn a_server_without_a_scheme_is_https() {
        assert_eq!(server_url("h:6443").unwrap().to_string(), "https://h:6443/");
        assert!(server_url("http://[").is_err());
    }
}
