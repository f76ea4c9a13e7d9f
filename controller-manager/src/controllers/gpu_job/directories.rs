//! Which directories of nodes a job's pod may have. Its containers are root there: who may create jobs would own the
//! nodes with any other. Pure.

use std::path::{Component, Path, PathBuf};

use api_types::minik8s::{GpuJob, GpuJobSpec};

/// Why the job gets no pod, if that is because of a directory of the node.
pub(super) fn refusal(job: &GpuJob, roots: &[PathBuf]) -> Option<String> {
    let (field, path) = of_node(&job.spec).into_iter().find(|(_, path)| !is_below(path, roots))?;
    let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
    Some(format!(
        "spec.{field}: {path:?} is not in {}: jobs have directories of nodes only where a --gpu-volume-root of the \
         controller-manager is",
        roots.join(" or ")
    ))
}

/// Those that it names, by field.
fn of_node(spec: &GpuJobSpec) -> Vec<(&'static str, &str)> {
    let sources = spec.sources.as_ref().and_then(|sources| sources.host_path.as_deref());
    let named = [("volume", spec.volume.as_deref()), ("sources.hostPath", sources)];
    named.into_iter().filter_map(|(field, path)| Some((field, path?))).collect()
}

/// The root that a directory is below, and the way from there, if it is not the root itself. What lies between may be a
/// link that a user of the root has made: a kubelet goes through none out of a volume on its way to a `subPath`.
pub(super) fn below_root<'r>(
    path: &str,
    roots: &'r [PathBuf],
) -> Option<(&'r Path, Option<String>)> {
    let root = roots.iter().find(|root| is_below(path, std::slice::from_ref(root)))?;
    let way: PathBuf = Path::new(path).strip_prefix(root).ok()?.components().collect();
    let way = way.display().to_string();
    Some((root, Some(way).filter(|way| !way.is_empty())))
}

/// By whole names. What is written as `//` or `/./` makes no difference.
fn is_below(path: &str, roots: &[PathBuf]) -> bool {
    let path = Path::new(path);
    let leads_up = path.components().any(|part| part == Component::ParentDir);
    !leads_up && roots.iter().any(|root| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_directory_is_reached_from_its_root() {
        let roots = ["/gpu", "/scratch/jobs"].map(PathBuf::from);
        let check = |path: &str, root: &str, way: Option<&str>| {
            let expected = Some((Path::new(root), way.map(str::to_owned)));
            assert_eq!(below_root(path, &roots), expected, "{path}");
        };
        check("/gpu", "/gpu", None);
        check("//gpu/./a//b/", "/gpu", Some("a/b"));
        check("/scratch/jobs/x", "/scratch/jobs", Some("x"));
        assert_eq!(below_root("/gpu/../etc", &roots), None);
    }

    #[test]
    fn a_job_has_directories_of_its_node_only_below_those_that_are_for_jobs() {
        let check = |spec: Value, expected: Option<&str>| {
            let job = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let told = refusal(&job, &["/gpu", "/scratch/jobs"].map(PathBuf::from));
            let field = told.as_deref().and_then(|told| told.split_once(": ").map(|it| it.0));
            assert_eq!(field, expected, "{told:?}");
            let names_flag = |told: &String| {
                told.contains("/gpu or /scratch/jobs: ") && told.contains("--gpu-volume-root")
            };
            assert!(told.iter().all(names_flag), "{told:?}");
        };
        check(json!({}), None);
        for path in ["/gpu", "/gpu/", "//gpu/./a", "/scratch/jobs/a"] {
            check(json!({"volume": path}), None);
            check(json!({"sources": {"hostPath": path}}), None);
        }
        for path in ["/", "/gpus", "/etc/cron.d", "/gpu/../etc", "/scratch", "gpu"] {
            check(json!({"volume": path}), Some("spec.volume"));
            let both = json!({"volume": "/gpu", "sources": {"hostPath": path}});
            check(both, Some("spec.sources.hostPath"));
        }
    }
}
