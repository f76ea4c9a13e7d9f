//! What these tests have in common.

use gpu_server::{
    remote::{JobDirectory, Remote},
    ssh::{Credential, HostKeys, Target},
};
use testkit::Slurm;

pub(crate) const UID: &str = "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11";

/// By password.
pub(crate) fn target(slurm: &Slurm) -> Target {
    let keys = HostKeys::parse(slurm.host(), slurm.port(), &[slurm.host_key()], None);
    Target {
        host: slurm.host().to_owned(),
        port: slurm.port(),
        host_keys: keys.unwrap(),
        user: slurm.user(),
        credential: Credential::Password(slurm.password().into()),
    }
}

pub(crate) async fn connect(slurm: &Slurm) -> Remote {
    Remote::connect(&target(slurm)).await.unwrap()
}

pub(crate) fn directory(slurm: &Slurm) -> JobDirectory {
    JobDirectory::new("~/.minik8s", slurm.home().to_str().unwrap(), UID).unwrap()
}
