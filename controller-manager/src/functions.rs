//! How functions' images are made, where functions are called, and what waits for them: the flags.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use api_types::minik8s::Runtime;
use clap::value_parser;

use crate::frame::ObjectKey;

/// In each namespace that has functions, the copy of the registry's Secret: nodes pull with it.
pub(crate) const PULL_SECRET: &str = "minik8s-function-registry";

/// The flags.
#[derive(clap::Args, Clone, Debug)]
pub struct FunctionArgs {
    /// The Docker daemon that builds the images of functions: unix://PATH, tcp://HOST:PORT
    #[arg(long, value_name = "HOST", default_value_t = docker::default_host())]
    pub docker_host: String,
    /// The registry that they are pushed to, for nodes to pull them from; without one they stay with the daemon
    /// that has built them, and run only on nodes that use it too
    #[arg(long, value_name = "HOST:PORT")]
    pub function_registry: Option<String>,
    /// The Secret of type kubernetes.io/dockerconfigjson with which they are pushed, pulled and deleted there; every
    /// namespace that has functions gets a copy
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = secret, requires = "function_registry")]
    pub function_registry_secret: Option<ObjectKey>,
    /// The folder with the registry's authority (*.crt) and, if it asks for one, a certificate for it (*.cert, *.key)
    /// [default: Docker's for this registry, /etc/docker/certs.d/HOST:PORT]
    #[arg(long, value_name = "DIR")]
    pub function_registry_certs: Option<PathBuf>,
    /// The image that functions in Python are built on
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/function-python:0.1")]
    pub function_python_image: String,
    /// Where the packages of requirements.txt come from [default: pip's own]
    #[arg(long, value_name = "URL")]
    pub function_package_index: Option<String>,
    /// The network in which requirements.txt is installed, as Docker calls it
    #[arg(long, value_name = "NETWORK", default_value = "bridge")]
    pub function_build_network: String,
    /// How long a build may take, and so a push
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(1..))]
    pub function_build_timeout: u64,
    /// How many images are built at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(1..))]
    pub concurrent_function_builds: u16,
    /// Where the gateway of functions is reached
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub function_url: String,
    /// So many instances wait, in each namespace with functions that they can become, for a call of one that has none;
    /// for every runtime that can do so, or for one
    #[arg(long, value_name = "[RUNTIME=]N", value_delimiter = ',')]
    pub warm_pool: Vec<WarmPool>,
}

/// How many instances wait for functions of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmPool {
    /// If it is not for all that can.
    runtime: Option<String>,
    size: u16,
}

impl FromStr for WarmPool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (runtime, size) = match text.split_once('=') {
            Some((runtime, size)) => (Some(runtime.to_owned()), size),
            None => (None, text),
        };
        let poolable = Runtime::ALL.into_iter().filter(|it| it.is_poolable).map(|it| it.name);
        let poolable: Vec<_> = poolable.collect();
        if let Some(runtime) = runtime.as_deref().filter(|it| !poolable.contains(it)) {
            let poolable = poolable.join(", ");
            return Err(format!("only instances of {poolable} can wait, not of {runtime}"));
        }
        let size = size.parse().map_err(|error| format!("{size}: {error}"))?;
        Ok(Self { runtime, size })
    }
}

impl Default for FunctionArgs {
    fn default() -> Self {
        Self {
            docker_host: docker::default_host(),
            function_registry: None,
            function_registry_secret: None,
            function_registry_certs: None,
            function_python_image: "minik8s/function-python:0.1".to_owned(),
            function_package_index: None,
            function_build_network: "bridge".to_owned(),
            function_build_timeout: 600,
            concurrent_function_builds: 4,
            function_url: "http://127.0.0.1:8081".to_owned(),
            warm_pool: Vec::new(),
        }
    }
}

fn secret(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("NAMESPACE/NAME is expected".to_owned()),
    }
}

impl FunctionArgs {
    /// How long a build may take.
    pub(crate) fn build_limit(&self) -> Duration {
        Duration::from_secs(self.function_build_timeout)
    }

    /// Where the registry's certificates are.
    pub(crate) fn registry_certs(&self, registry: &str) -> PathBuf {
        let docker = || Path::new("/etc/docker/certs.d").join(registry);
        self.function_registry_certs.clone().unwrap_or_else(docker)
    }

    /// The text without the user and the password of the package index.
    pub(crate) fn without_credentials(&self, text: &str) -> String {
        let index = self.function_package_index.as_deref().and_then(|url| url.split_once("://"));
        let authority = index.and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        match authority.and_then(|authority| authority.rsplit_once('@')) {
            Some((user, _)) => text.replace(&format!("{user}@"), "****@"),
            None => text.to_owned(),
        }
    }

    /// Where a function is called: in the namespace `default` its name is enough.
    pub(crate) fn url(&self, namespace: &str, name: &str) -> String {
        let gateway = self.function_url.trim_end_matches('/');
        match namespace {
            "default" => format!("{gateway}/{name}"),
            _ => format!("{gateway}/{namespace}/{name}"),
        }
    }

    /// How many instances are to wait for functions of a runtime; what is said of it alone counts more.
    pub(crate) fn warm_pool(&self, runtime: &str) -> i32 {
        let of =
            |it: Option<&str>| self.warm_pool.iter().rfind(|pool| pool.runtime.as_deref() == it);
        of(Some(runtime)).or_else(|| of(None)).map_or(0, |pool| pool.size.into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_pool_is_for_one_runtime_or_for_all() {
        let check = |given: &[&str], expected: i32| {
            let warm_pool = given.iter().map(|text| text.parse().unwrap()).collect();
            let args = FunctionArgs { warm_pool, ..FunctionArgs::default() };
            assert_eq!(args.warm_pool("python"), expected, "{given:?}");
        };
        check(&[], 0);
        check(&["3"], 3);
        check(&["python=2", "3"], 2);
        let refused = |text: &str| text.parse::<WarmPool>().unwrap_err();
        assert_eq!(refused("container=2"), "only instances of python can wait, not of container");
        assert!(refused("many").starts_with("many: "));
    }

    #[test]
    fn the_credentials_of_the_package_index_are_not_told() {
        let check = |index: &str, text: &str, expected: &str| {
            let index = Some(index.to_owned());
            let args = FunctionArgs { function_package_index: index, ..FunctionArgs::default() };
            assert_eq!(args.without_credentials(text), expected);
        };
        check(
            "https://me:s%40@pypi/a",
            "in 'https://me:s%40@pypi/a': me",
            "in 'https://****@pypi/a': me",
        );
        check(
            "https://token@pypi",
            "https://token@pypi https://token@pypi/x",
            "https://****@pypi https://****@pypi/x",
        );
        check("https://pypi/a@b", "https://pypi/a@b", "https://pypi/a@b");
        assert_eq!(FunctionArgs::default().without_credentials("@"), "@");
    }

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        functions: FunctionArgs,
    }

    #[test]
    fn the_flags_have_defaults_and_a_secret_has_a_namespace() {
        let parsed = Args::try_parse_from(["x"]).unwrap().functions;
        assert_eq!(format!("{parsed:?}"), format!("{:?}", FunctionArgs::default()));
        let with = |secret: &str| {
            let flags = ["x", "--function-registry=r", "--function-registry-secret", secret];
            Args::try_parse_from(flags).map(|args| args.functions.function_registry_secret)
        };
        assert_eq!(with("kube-system/r").unwrap(), Some(ObjectKey::new("kube-system", "r")));
        assert!(with("r").is_err());
        assert!(Args::try_parse_from(["x", "--function-registry-secret=a/b"]).is_err());
    }
}
