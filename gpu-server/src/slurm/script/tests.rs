use api_types::api::core::v1::EnvVarSource;

use super::*;

const TASK: Task<'static> = Task {
    namespace: "default",
    name: "add",
    uid: "0b8f3a52-6c1e-4f5d-9a53-1d1f3c0a7e11",
    index: 2,
    attempt: 1,
};

fn fault(change: impl FnOnce(&mut GpuJobSpec)) -> String {
    let mut spec = GpuJobSpec { run_scripts: vec!["./add".to_owned()], ..GpuJobSpec::default() };
    change(&mut spec);
    batch_script(&spec, &TASK).unwrap_err()
}

#[test]
fn what_would_begin_another_directive_is_refused_in_every_field() {
    type Change = fn(&mut GpuJobSpec, Option<String>);
    let evil = || Some("x\n#SBATCH --uid=0".to_owned());
    let changes: [(&str, Change); 9] = [
        ("outputFile", |spec, value| spec.output_file = value),
        ("errorFile", |spec, value| spec.error_file = value),
        ("partition", |spec, value| spec.partition = value),
        ("account", |spec, value| spec.account = value),
        ("qos", |spec, value| spec.qos = value),
        ("timeLimit", |spec, value| spec.time_limit = value),
        ("memory", |spec, value| spec.memory = value),
        ("gres", |spec, value| spec.gres = value),
        ("array", |spec, value| spec.array = value),
    ];
    for (field, change) in changes {
        let fault = fault(|spec| change(spec, evil()));
        assert!(fault.starts_with(&format!("spec.{field}: ")), "{fault}");
        for value in ["two words", "a#b", "", "$(id)"] {
            let refused = self::fault(|spec| change(spec, Some(value.to_owned())));
            assert!(refused.contains(field), "{field} {value:?}: {refused}");
        }
    }
    assert!(
        fault(|s| s.directives = vec!["--output=x".to_owned()]).starts_with("spec.directives[0]")
    );
}

#[test]
fn output_stays_in_the_jobs_own_directory() {
    for path in ["/etc/x", "../x", "a/../../x", "a/"] {
        let fault = fault(|spec| spec.output_file = Some(path.to_owned()));
        assert!(fault.contains("not a file below workDir"), "{fault}");
    }
}

#[test]
fn results_and_the_directory_of_the_work_stay_there_too() {
    for path in ["/etc/x", "../x", "a/../../x"] {
        let fault = fault(|spec| spec.results = vec!["*".to_owned(), path.to_owned()]);
        assert!(fault.starts_with("spec.results[1]: "), "{fault}");
        let fault = self::fault(|spec| spec.work_dir = Some(path.to_owned()));
        assert!(fault.starts_with("spec.workDir: "), "{fault}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let fault = fault(|spec| {
        let from = EnvVarSource::default();
        let variable = |name: &str| EnvVar { name: name.to_owned(), ..EnvVar::default() };
        spec.env = vec![
            variable("1X"),
            EnvVar { value_from: Some(from), ..variable("X") },
            EnvVar { value: Some("\0".to_owned()), ..variable("Y") },
        ];
        spec.partition = Some("a b".to_owned());
        spec.run_scripts.push("a\0b".to_owned());
    });
    let fields: Vec<_> = fault.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected =
        ["partition", "env[0].name", "env[1].valueFrom", "env[2].value", "runScripts[1]"];
    assert_eq!(fields, expected.map(|field| format!("spec.{field}")));
}

#[test]
fn a_file_name_of_slurm_becomes_a_pattern() {
    let check = |file: &str, expected: &str| assert_eq!(pattern(file), expected);
    check("add.out", "add.out");
    check("%j.out", "*.out");
    check("a-%4A_%a.out", "a-*_*.out");
    check("100%%.out", "100%.out");
    check("a[1]*.out", "a[[]1[]][*].out");
}

#[test]
fn output_error_and_results_are_fetched() {
    let spec = GpuJobSpec { results: vec!["out/*.csv".to_owned()], ..GpuJobSpec::default() };
    assert_eq!(output_patterns(&spec, "add"), ["add.out", "add.err", "out/*.csv"]);
}

#[test]
fn only_sources_with_something_to_compile_are_compiled() {
    let mut spec = GpuJobSpec::default();
    assert_eq!(compile_script(&spec).unwrap(), None);
    spec.compile_scripts = vec!["make".to_owned(), "make check".to_owned()];
    spec.env = vec![EnvVar {
        name: "CFLAGS".to_owned(),
        value: Some("-O2 '$x'".to_owned()),
        ..EnvVar::default()
    }];
    let script = compile_script(&spec).unwrap().unwrap();
    assert_eq!(script, "export CFLAGS=\"-O2 '\"'$x'\"'\"\nset -e\nmake\nmake check\n");
}
