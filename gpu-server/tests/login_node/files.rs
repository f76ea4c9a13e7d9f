//! Files, there and back.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use gpu_server::{remote::Remote, ssh::Error};
use testkit::{Slurm, wait};

use crate::rig::{connect, directory};

const NAMES: [&str; 7] =
    ["with blank", "it's", "a\"b", "$HOME", "line\nbreak", "-rf", "`id`;*?[x]é"];

async fn list(remote: &Remote, top: &str, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let files = remote.list(top, top, &patterns).await.unwrap();
    files.into_iter().map(|file| file.path).collect()
}

async fn fetch_all(remote: &Remote, from: &str, to: &Path) {
    for file in remote.list(from, from, &["**/*".to_owned()]).await.unwrap() {
        remote.download(from, &file, &to.join(&file.path)).await.unwrap();
    }
}

/// Paths and contents.
fn contents(folder: &Path, below: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if folder.join(&path).is_dir() {
            found.extend(contents(folder, &path));
        } else {
            found.insert(path.clone(), fs::read(folder.join(path)).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_tree_arrives_whole_and_comes_back_the_same_whatever_its_names() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let (local, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (n, name) in NAMES.iter().enumerate() {
        fs::create_dir_all(local.path().join("d").join(name)).unwrap();
        fs::write(local.path().join(name), format!("{n} $x `id` \\ \"\n")).unwrap();
        fs::write(local.path().join("d").join(name).join(name), [0, 255, 10]).unwrap();
    }
    let script = local.path().join("run.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("run.sh", local.path().join("link")).unwrap();
    let directory = directory(&slurm);
    remote.upload(local.path(), &directory.sources()).await.unwrap();
    let there = Path::new(&directory.sources()).to_owned();
    assert_eq!(contents(&there, ""), contents(local.path(), ""));
    assert_eq!(fs::metadata(there.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(fs::read_link(there.join("link")).unwrap(), Path::new("run.sh"));

    fetch_all(&remote, &directory.sources(), back.path()).await;
    assert_eq!(contents(back.path(), ""), contents(local.path(), ""));

    // What is there is not uploaded again; what was left half-way is not added to.
    fs::write(script, "changed").unwrap();
    remote.upload(local.path(), &directory.sources()).await.unwrap();
    assert_eq!(fs::read_to_string(there.join("run.sh")).unwrap(), "#!/bin/sh\n");
    fs::rename(&there, format!("{}.partial", directory.sources())).unwrap();
    fs::remove_file(local.path().join("it's")).unwrap();
    remote.upload(local.path(), &directory.sources()).await.unwrap();
    assert_eq!(contents(&there, ""), contents(local.path(), ""));
}

#[tokio::test]
async fn links_are_followed_only_within_the_tree() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let local = tempfile::tempdir().unwrap();
    // As a kubelet mounts a ConfigMap.
    fs::create_dir(local.path().join("..2026")).unwrap();
    fs::write(local.path().join("..2026/add.cu"), "code").unwrap();
    symlink("..2026", local.path().join("..data")).unwrap();
    symlink("..data/add.cu", local.path().join("add.cu")).unwrap();
    let directory = directory(&slurm);
    remote.upload(local.path(), &directory.sources()).await.unwrap();
    let sources = Path::new(&directory.sources()).to_owned();
    assert_eq!(contents(&sources, "").into_keys().collect::<Vec<_>>(), ["add.cu"]);
    assert!(!sources.join("add.cu").is_symlink());
    symlink("/etc/passwd", local.path().join("x")).unwrap();
    let error = remote.upload(local.path(), &directory.build()).await.unwrap_err();
    assert!(error.to_string().contains("leads elsewhere"), "{error}");
    assert!(!Path::new(&directory.build()).exists());

    symlink("/etc", sources.join("etc")).unwrap();
    symlink("/etc/passwd", sources.join("passwd")).unwrap();
    symlink("../../..", sources.join("up")).unwrap();
    symlink("add.cu", sources.join("inside")).unwrap();
    let patterns = ["*", "**/*", "pass*", "e*/passwd", "[u]p/*"];
    assert_eq!(list(&remote, &directory.sources(), &patterns).await, ["add.cu", "inside"]);
    // Whoever calls it by its name has the rights to read it.
    for (named, found) in
        [("passwd", "passwd"), ("etc/passwd", "etc/passwd"), ("etc/passw[d]", "etc/passwd")]
    {
        assert_eq!(list(&remote, &directory.sources(), &[named]).await, [found]);
    }
}

#[tokio::test]
async fn what_can_not_be_read_keeps_nothing_else_from_being_fetched_and_circles_end() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let top = slurm.home().join("results");
    let script = format!(
        "mkdir -p {0}/out {0}/locked && cd {0} && echo 1 >out/a && ln -s . b && ln -s . c && ln -s ../out out/d
         mkfifo pipe; touch locked/x; chmod 0 locked; ln -s out named",
        top.display()
    );
    remote.run(&script).await.unwrap().text("making results").unwrap();
    let top = top.to_str().unwrap();
    assert_eq!(list(&remote, top, &["**/*", "*", "pipe", "locked"]).await, ["out/a"]);
    assert_eq!(list(&remote, top, &["named"]).await, ["named/a"]);
    let pipe = remote.read(&format!("{top}/pipe"), 0, 1).await.unwrap_err();
    assert!(pipe.to_string().contains("not a regular file"), "{pipe}");
}

#[tokio::test]
async fn a_file_is_fetched_as_it_is_whatever_was_said_of_it_before() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let home = slurm.home();
    fs::write(home.join("out"), "first").unwrap();
    let top = home.to_str().unwrap();
    let seen = remote.list(top, top, &["out".to_owned()]).await.unwrap().remove(0);
    fs::write(home.join("out"), "first, and the end").unwrap();
    let local = tempfile::tempdir().unwrap();
    let to = local.path().join("out");
    remote.download(top, &seen, &to).await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "first, and the end");
    // A link that whoever writes here has put in its place is replaced, and not followed.
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), local.path().join("sub")).unwrap();
    fs::create_dir(home.join("sub")).unwrap();
    fs::write(home.join("sub/x"), "x").unwrap();
    let file = remote.list(top, top, &["sub/x".to_owned()]).await.unwrap().remove(0);
    remote.download(top, &file, &local.path().join("sub/x")).await.unwrap_err();
    assert!(!outside.path().join("x").exists());
}

#[tokio::test]
async fn of_two_servers_that_upload_at_a_time_one_tree_is_there_and_whole() {
    let slurm = Slurm::without_accounting();
    let (one, other) = (connect(&slurm).await, connect(&slurm).await);
    let local = tempfile::tempdir().unwrap();
    for n in 0..40 {
        fs::write(local.path().join(n.to_string()), n.to_string()).unwrap();
    }
    let directory = directory(&slurm);
    let sources = directory.sources();
    let (first, second) =
        tokio::join!(one.upload(local.path(), &sources), other.upload(local.path(), &sources));
    first.and(second).unwrap();
    assert_eq!(contents(Path::new(&sources), ""), contents(local.path(), ""));
    let names = fs::read_dir(directory.to_string()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["sources"]);
    // They may be a Secret's.
    let mode = fs::metadata(directory.to_string()).unwrap().permissions().mode();
    assert_eq!(mode & 0o77, 0);
}

#[tokio::test]
async fn patterns_find_what_a_shell_would() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let top = slurm.home().join("results");
    for path in ["a.csv", "b.csv", ".hidden", "out/c.csv", "out/deep/d.csv", "out/e[1].txt"] {
        fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
        fs::write(top.join(path), path).unwrap();
    }
    let top = top.to_str().unwrap();
    let check = async |patterns: &[&str], expected: &[&str]| {
        assert_eq!(list(&remote, top, patterns).await, expected, "{patterns:?}");
    };
    check(&["*.csv"], &["a.csv", "b.csv"]).await;
    check(&["[a]*", "a.csv", "./a.csv"], &["a.csv"]).await;
    check(&["out/*.csv"], &["out/c.csv"]).await;
    check(&["**/*.csv"], &["a.csv", "b.csv", "out/c.csv", "out/deep/d.csv"]).await;
    check(&["out"], &["out/c.csv", "out/deep/d.csv", "out/e[1].txt"]).await;
    check(&["out/e[[]1[]].txt"], &["out/e[1].txt"]).await;
    check(&[".hidden", "nothing", "no/thing*"], &[".hidden"]).await;
    let upwards = remote.list(top, top, &["../*".to_owned()]).await.unwrap_err();
    assert!(upwards.to_string().contains("leads out"), "{upwards}");
    assert_eq!(remote.list(top, &format!("{top}/none"), &["*".to_owned()]).await.unwrap(), []);
}

#[tokio::test]
async fn a_large_file_that_breaks_off_goes_on_where_it_was() {
    const SIZE: usize = 50 << 20;
    let slurm = Slurm::without_accounting();
    let home = slurm.home();
    let content: Vec<u8> = (0..SIZE).map(|n| (n / 251 + n) as u8).collect();
    fs::write(home.join("big"), &content).unwrap();
    let local = tempfile::tempdir().unwrap();
    let to = local.path().join("sub/big");
    let remote = connect(&slurm).await;
    let home = home.to_str().unwrap();
    let [file] = &remote.list(home, home, &["big".to_owned()]).await.unwrap()[..] else { panic!() };
    let partial = || {
        let entries = fs::read_dir(local.path().join("sub")).into_iter().flatten();
        let sizes = entries.map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.sum::<u64>()
    };
    let cut = async {
        wait::until("a part is here", async || {
            (partial() > 1 << 20).then_some(()).ok_or(partial())
        })
        .await;
        slurm.stop("sshd");
    };
    let (cut_off, ()) = tokio::join!(remote.download(home, file, &to), cut);
    assert!(cut_off.unwrap_err().is_transient());
    let before = partial();
    assert!(before > 0 && before < SIZE as u64 && !to.exists(), "{before}");
    slurm.start_again("sshd");
    // What is here already is not fetched again: where it is other than over there, it stays so.
    let there = fs::read_dir(local.path().join("sub")).unwrap().next().unwrap().unwrap().path();
    assert!(there.to_str().unwrap().ends_with(".partial"), "{there:?}");
    let mut changed = fs::read(&there).unwrap();
    changed[0] ^= 1;
    fs::write(&there, changed).unwrap();
    let remote = connect(&slurm).await;
    remote.download(home, file, &to).await.unwrap();
    let mut fetched = fs::read(&to).unwrap();
    fetched[0] ^= 1;
    assert!(fetched == content, "the file differs beyond the byte that was changed here");
    assert_eq!(partial(), SIZE as u64);

    // Another version of the same size is another file.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    fs::File::options()
        .write(true)
        .open(format!("{home}/big"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    remote.download(home, file, &to).await.unwrap();
    assert!(fs::read(&to).unwrap() == content);
    assert_eq!(remote.read(&format!("{home}/big"), 10, 5).await.unwrap(), content[10..15]);
    assert!(remote.read(&format!("{home}/big"), SIZE as u64, 5).await.unwrap().is_empty());
    assert!(remote.read(&format!("{home}/none"), 0, 5).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_volume_is_told() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let home = slurm.home();
    fs::write(home.join("big"), vec![1; 4 << 20]).unwrap();
    let home = home.to_str().unwrap();
    let file = remote.list(home, home, &["big".to_owned()]).await.unwrap().remove(0);
    let local = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        assert!(
            std::process::Command::new(arguments[0])
                .args(&arguments[1..])
                .status()
                .unwrap()
                .success()
        );
    };
    let path = local.path().to_str().unwrap();
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]);
    let full = remote.download(home, &file, &local.path().join("big")).await;
    mount(&["umount", path]);
    match full.unwrap_err() {
        Error::Local { what, source } => {
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
            assert!(what.contains("big"), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_job_takes_away_its_own_directory_and_nothing_else() {
    let slurm = Slurm::without_accounting();
    let remote = connect(&slurm).await;
    let directory = directory(&slurm);
    remote
        .run(&format!("mkdir -p {directory}/tasks/locked; touch {directory}/tasks/locked/x"))
        .await
        .unwrap();
    remote.put(&format!("{directory}/job.sh"), b"1", 0o700).await.unwrap();
    remote.put(&format!("{directory}/job.sh"), b"2", 0o700).await.unwrap();
    assert_eq!(fs::read_to_string(format!("{directory}/job.sh")).unwrap(), "2");
    let outside = slurm.home().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    let beside = slurm.home().join(".minik8s/other");
    fs::create_dir(&beside).unwrap();
    symlink(&outside, format!("{directory}/link")).unwrap();
    remote.run(&format!("chmod 500 {directory}/tasks/locked")).await.unwrap();
    remote.remove(&directory).await.unwrap();
    assert!(!Path::new(&directory.to_string()).exists());
    assert!(outside.join("kept").exists() && beside.exists());
    remote.remove(&directory).await.unwrap();
}
