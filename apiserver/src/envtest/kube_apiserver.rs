//! This server with the flags of Kubernetes'.

use std::{env, path::Path, process::ExitCode};

use clap::{CommandFactory, ValueEnum};

use super::{
    etcd,
    line::{Line, Meaning, translate},
};
use crate::{
    AdmissionPlugin,
    flags::{Flags, main as serve},
    kubebuilder_assets::KUBE_APISERVER,
};

pub(super) fn main() -> ExitCode {
    let line = line(env::args_os());
    line.warn(KUBE_APISERVER);
    component::main_from(KUBE_APISERVER, line.words, async |mut flags: Flags, runtime| {
        let directory = match flags.etcd_server() {
            Some(server) => etcd::data_directory(server).await,
            None => None,
        };
        match directory {
            Some(directory) => flags.keep_for_a_test(&directory),
            None => flags.use_etcd(),
        }
        serve(flags, runtime).await
    })
}

fn line(given: impl Iterator<Item = std::ffi::OsString>) -> Line {
    translate(given, &Flags::command(), meaning)
}

fn meaning(name: &str, value: &str) -> Meaning {
    let one = |flag: &str, value: &str| Meaning::Other(vec![format!("--{flag}={value}")]);
    match name {
        "cert-dir" => {
            let file = |name: &str| Path::new(value).join(name).display().to_string();
            Meaning::Other(vec![
                format!("--tls-cert-file={}", file("apiserver.crt")),
                format!("--tls-private-key-file={}", file("apiserver.key")),
                format!("--data-dir={}", file("minik8s")),
                format!("--kubeconfig-dir={}", file("minik8s")),
            ])
        }
        "service-cluster-ip-range" => one("service-cidr", value),
        "disable-admission-plugins" => {
            let known = value.split(',').filter(|it| AdmissionPlugin::from_str(it, false).is_ok());
            match known.collect::<Vec<_>>().join(",") {
                known if known.is_empty() => Meaning::Nothing,
                known => one(name, &known),
            }
        }
        "authorization-mode" if value.split(',').any(|it| it == "RBAC") => {
            Meaning::Other(Vec::new())
        }
        // Of any pod, as here.
        "allow-privileged" if value == "true" => Meaning::Other(Vec::new()),
        _ => Meaning::Own,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn of(words: &[&str]) -> (Vec<String>, Vec<String>) {
        let line = line(words.iter().map(Into::into));
        Flags::try_parse_from(&line.words).unwrap();
        let words = line.words[1..].iter().map(|word| word.to_str().unwrap().to_owned()).collect();
        (words, line.ignored)
    }

    /// What controller-runtime v0.25 passes.
    const PASSED: [&str; 13] = [
        "/assets/kube-apiserver",
        "--allow-privileged=true",
        "--authorization-mode=RBAC",
        "--bind-address=127.0.0.1",
        "--cert-dir=/tmp/k8s",
        "--client-ca-file=/tmp/k8s/client-cert-auth-ca.crt",
        "--disable-admission-plugins=ServiceAccount",
        "--etcd-servers=http://127.0.0.1:34567",
        "--secure-port=34568",
        "--service-account-issuer=https://127.0.0.1:34568/",
        "--service-account-key-file=/tmp/k8s/sa-signer.crt",
        "--service-account-signing-key-file=/tmp/k8s/sa-signer.key",
        "--service-cluster-ip-range=10.0.0.0/24",
    ];

    #[test]
    fn what_envtest_passes_has_an_effect() {
        let (words, ignored) = of(&PASSED);
        assert_eq!(ignored, [""; 0]);
        let expected = [
            "--bind-address=127.0.0.1",
            "--tls-cert-file=/tmp/k8s/apiserver.crt",
            "--tls-private-key-file=/tmp/k8s/apiserver.key",
            "--data-dir=/tmp/k8s/minik8s",
            "--kubeconfig-dir=/tmp/k8s/minik8s",
            "--client-ca-file=/tmp/k8s/client-cert-auth-ca.crt",
            "--disable-admission-plugins=ServiceAccount",
            "--etcd-servers=http://127.0.0.1:34567",
            "--secure-port=34568",
            "--service-account-issuer=https://127.0.0.1:34568/",
            "--service-account-key-file=/tmp/k8s/sa-signer.crt",
            "--service-account-signing-key-file=/tmp/k8s/sa-signer.key",
            "--service-cidr=10.0.0.0/24",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_else_users_pass_is_told_of() {
        let given = [
            "kube-apiserver",
            "--service-node-port-range",
            "30000-30100",
            "-v=4",
            "--feature-gates=A=true,B=false",
            "--vmodule",
            "a=1",
            "--watch-cache",
            "--authorization-mode=AlwaysAllow",
            "--disable-admission-plugins=PodNodeSelector",
            "--advertise-address=127.0.0.1",
        ];
        let (words, ignored) = of(&given);
        assert_eq!(
            words,
            ["--service-node-port-range=30000-30100", "--advertise-address=127.0.0.1"]
        );
        let expected = [
            "-v=4",
            "--feature-gates",
            "--vmodule",
            "--watch-cache",
            "--disable-admission-plugins",
        ];
        let ignored: Vec<_> = ignored.iter().filter(|it| *it != "--authorization-mode").collect();
        assert_eq!(ignored, expected.iter().collect::<Vec<_>>());
    }

    /// By its help envtest finds out whether it knows a flag that is gone.
    #[test]
    fn there_is_no_insecure_port() {
        let help = Flags::command().render_long_help().to_string();
        assert!(!help.contains("--insecure-port"), "{help}");
    }
}
