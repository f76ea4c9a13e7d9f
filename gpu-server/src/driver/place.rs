//! Which cluster a job is on: it stays where its sources were uploaded to.

use api_types::minik8s::{GpuJob, GpuJobCluster, GpuJobStatus};

use super::conditions::is_true;

/// Where a job's files are, as who has logged in at a host sees it.
#[derive(Debug, PartialEq)]
pub(crate) enum Place<'a> {
    /// Nowhere yet, or nothing of them is of use: where they are to be.
    Anew,
    /// In this directory of the host.
    Here(&'a str),
    /// On another host, which may have its files in common with this one.
    Elsewhere(&'a GpuJobCluster),
}

/// Before all of its sources are there, a job has nothing in Slurm, and may go to another cluster; what was begun is removed
/// with the job where the cluster is the same.
pub(crate) fn place<'a>(
    job: &GpuJob,
    status: &'a GpuJobStatus,
    host: &str,
    port: u16,
) -> Place<'a> {
    let Some((cluster, directory)) =
        status.cluster.as_ref().and_then(|cluster| Some((cluster, cluster.directory.as_deref()?)))
    else {
        return Place::Anew;
    };
    let is_here = cluster.host.as_deref() == Some(host) && cluster.port == Some(port.into());
    let is_uploaded = is_true(status, GpuJob::UPLOADED);
    match is_here {
        true if is_uploaded || job.metadata.deletion_timestamp.is_some() => Place::Here(directory),
        false if is_uploaded => Place::Elsewhere(cluster),
        _ => Place::Anew,
    }
}

#[cfg(test)]
mod tests {
    use api_types::{jiff::Timestamp, meta::Time};

    use super::{
        super::conditions::{Told, set},
        *,
    };

    #[test]
    fn a_job_stays_where_its_sources_are() {
        let check = |uploaded, deleted: bool, host, expected: fn(&Place<'_>) -> bool| {
            let mut job = GpuJob::default();
            job.metadata.deletion_timestamp = deleted.then_some(Time(Timestamp::UNIX_EPOCH));
            let cluster = GpuJobCluster {
                host: Some("a".to_owned()),
                port: Some(22),
                directory: Some("/d".to_owned()),
                ..GpuJobCluster::default()
            };
            let mut status = GpuJobStatus { cluster: Some(cluster), ..GpuJobStatus::default() };
            let told = Told { type_: GpuJob::UPLOADED, holds: uploaded, reason: "", message: "" };
            set(&mut status, told, Timestamp::UNIX_EPOCH);
            let place = place(&job, &status, host, 22);
            assert!(expected(&place), "{place:?}");
        };
        let anew = |place: &Place<'_>| *place == Place::Anew;
        let here = |place: &Place<'_>| *place == Place::Here("/d");
        let elsewhere = |place: &Place<'_>| matches!(place, Place::Elsewhere(_));
        check(true, false, "a", here);
        check(true, false, "b", elsewhere);
        check(true, true, "b", elsewhere);
        check(false, false, "a", anew);
        check(false, false, "b", anew);
        check(false, true, "a", here);
        check(false, true, "b", anew);
        let none = GpuJobStatus::default();
        assert_eq!(place(&GpuJob::default(), &none, "a", 22), Place::Anew);
    }
}
