//! How functions' images are made, where functions are called, and what waits for them: the flags.

use std::str::FromStr;

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
    /// The image that functions in Python are built on
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/function-python:0.1")]
    pub function_python_image: String,
    /// Where the packages of requirements.txt come from [default: pip's own]
    #[arg(long, value_name = "URL")]
    pub function_package_index: Option<String>,
    /// The network in which requirements.txt is installed, as Docker calls it
    #[arg(long, value_name = "NETWORK", default_value = "bridge")]
    pub function_build_network: String,
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

/// The runtimes whose instances can wait for their function.
const WARM_RUNTIMES: [&str; 1] = ["python"];

impl FromStr for WarmPool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (runtime, size) = match text.split_once('=') {
            Some((runtime, size)) => (Some(runtime.to_owned()), size),
            None => (None, text),
        };
        if let Some(runtime) = runtime.as_deref().filter(|it| !WARM_RUNTIMES.contains(it)) {
            return Err(format!(
                "only instances of {} can wait, not of {runtime}",
                WARM_RUNTIMES.join(", ")
            ));
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
            function_python_image: "minik8s/function-python:0.1".to_owned(),
            function_package_index: None,
            function_build_network: "bridge".to_owned(),
            function_url: "http://127.0.0.1:8081".to_owned(),
            warm_pool: Vec::new(),
        }
    }
}

impl FunctionArgs {
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
}
