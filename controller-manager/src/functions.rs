//! How functions' images are made, and where functions are called: the flags.

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
}
