//! `examples/gpu`, compiled and run: the CUDA programs with NVIDIA's compiler from PyPI, and the same arithmetic in C.
//! Most machines have no GPU. There the programs have to say so, and to fail.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The compiler, and the headers and libraries of its version.
const PACKAGES: [&str; 2] = ["nvidia-cuda-nvcc==13.*", "nvidia-cuda-runtime==13.*"];

const PROGRAMS: [&str; 2] = ["add", "multiply"];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/gpu")
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

/// Where `nvcc` and all that it needs are; they are installed once, and whole or not at all.
fn cuda() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda");
    let installed = folder.join("installed");
    if !installed.exists() {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let mut pip = Command::new(folder.join("bin/pip"));
        succeed(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES));
        fs::write(&installed, "").unwrap();
    }
    let packages = succeed(
        Command::new(folder.join("bin/python"))
            .args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]),
    );
    Path::new(packages.trim()).join("nvidia/cu13")
}

#[test]
fn the_programs_in_c_find_their_own_results_right() {
    let folder = tempfile::tempdir().unwrap();
    for name in PROGRAMS {
        let program = folder.path().join(name);
        let source = sources().join(format!("{name}.c"));
        succeed(Command::new("gcc").args(["-O2", "-o"]).arg(&program).arg(source));
        let said = succeed(&mut Command::new(&program));
        let begins = format!("{name}: 333 x 257, all cells are right, checksum ");
        assert!(said.starts_with(&begins), "{said}");
    }
}

#[test]
fn the_programs_for_a_gpu_say_if_there_is_none() {
    let (cuda, folder) = (cuda(), tempfile::tempdir().unwrap());
    for name in PROGRAMS {
        let program = folder.path().join(name);
        let mut compiler = Command::new(cuda.join("bin/nvcc"));
        compiler.arg("-L").arg(cuda.join("lib")).arg("-o").arg(&program);
        succeed(compiler.arg(sources().join(format!("{name}.cu"))));
        let output = run(&mut Command::new(&program));
        let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
        match output.status.code() {
            Some(0) => assert!(out.contains("all cells are right"), "{out}"),
            Some(1) => assert!(err.starts_with("no CUDA device: "), "{out}{err}"),
            code => panic!("{name} ended with {code:?}: {out}{err}"),
        }
    }
}
