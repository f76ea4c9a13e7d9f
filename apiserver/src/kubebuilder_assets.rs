//! The folder in which controller-runtime's envtest finds the programs that it starts: this one, under their names.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

pub(crate) const KUBE_APISERVER: &str = "kube-apiserver";
pub(crate) const ETCD: &str = "etcd";
const KUBECTL: &str = "kubectl";

/// Makes the folder with links to this program, and to the kubectl beside it, which envtest does not start itself. Returns its
/// absolute path.
pub(crate) fn make(directory: &Path) -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program")?;
    let kubectl = program.with_file_name(KUBECTL);
    let cannot = || format!("cannot make {}", directory.display());
    fs::create_dir_all(directory).with_context(cannot)?;
    let kubectl = Some((KUBECTL, &kubectl)).filter(|(_, program)| program.exists());
    let links = [(KUBE_APISERVER, &program), (ETCD, &program)].into_iter().chain(kubectl);
    let links: Vec<_> = links.map(|(name, target)| (directory.join(name), target)).collect();
    for (link, _) in &links {
        leave_files(link)?;
    }
    for (link, target) in links {
        let linked = point(&link, target);
        linked.with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    directory.canonicalize().with_context(cannot)
}

/// Fails where another than a link has the name: it may be a real program, which nobody gives back.
fn leave_files(link: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(there) if !there.is_symlink() => {
            bail!("{} is there and no link; name another folder, or remove it", link.display())
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot look at {}", link.display()))
        }
        _ => Ok(()),
    }
}

/// A link that is there already leads to it from now on.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    let new = link.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(target, &new)?,
    }
    fs::rename(&new, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_anew_and_programs_of_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        symlink("/nowhere", at(ETCD)).unwrap();
        make(directory.path()).unwrap();
        let program = env::current_exe().unwrap();
        assert_eq!(fs::read_link(at(ETCD)).unwrap(), program);

        fs::remove_file(at(KUBE_APISERVER)).unwrap();
        fs::remove_file(at(ETCD)).unwrap();
        fs::write(at(ETCD), "real").unwrap();
        let error = make(directory.path()).unwrap_err().to_string();
        assert!(error.contains("is there and no link"), "{error}");
        assert_eq!(fs::read_to_string(at(ETCD)).unwrap(), "real");
        assert!(!at(KUBE_APISERVER).exists());
    }
}
