//! What is told of files of one volume that are at the same path, or in each other's way.

use std::fmt;

use api_types::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use crate::{rules::text, warnings::MOST};

/// A file's path and, in a volume of several sources, what it is from.
struct File<'a> {
    path: &'a str,
    source: String,
}

impl<'a> File<'a> {
    fn new(path: &'a str, source: &str) -> Self {
        Self { path: path.trim_end_matches('/'), source: source.to_owned() }
    }

    /// Whether both are the same, or one is where the other has a directory.
    fn meets(&self, other: &File<'_>) -> bool {
        let within = |one: &str, other: &str| {
            one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_empty = self.path.is_empty() || other.path.is_empty();
        !is_empty && (within(self.path, other.path) || within(other.path, self.path))
    }
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)?;
        if self.source.is_empty() { Ok(()) } else { write!(f, " ({})", self.source) }
    }
}

/// Adds what is told of a volume.
pub(super) fn overlaps(volume: &Volume, warnings: &mut Vec<String>) {
    if let Some(source) = &volume.config_map {
        let what = format!("ConfigMap {:?}", source.name);
        meeting(&keys(&source.items, ""), &volume.name, &what, warnings);
    }
    if let Some(source) = &volume.secret {
        let what = format!("Secret {:?}", text(source.secret_name.as_ref()));
        meeting(&keys(&source.items, ""), &volume.name, &what, warnings);
    }
    if let Some(source) = &volume.downward_api {
        meeting(&fields(&source.items, ""), &volume.name, "DownwardAPI", warnings);
    }
    if let Some(source) = &volume.projected {
        let files: Vec<_> = source.sources.iter().flatten().flat_map(projected).collect();
        meeting(&files, &volume.name, "Projected", warnings);
    }
}

fn meeting(files: &[File<'_>], volume: &str, what: &str, warnings: &mut Vec<String>) {
    for (index, file) in files.iter().enumerate() {
        for other in files[..index].iter().filter(|other| file.meets(other)) {
            if warnings.len() >= MOST {
                return;
            }
            warnings.push(format!(
                "volume {volume:?} ({what}): overlapping paths: {file} with {other}"
            ));
        }
    }
}

fn keys<'a>(items: &'a Option<Vec<KeyToPath>>, source: &str) -> Vec<File<'a>> {
    items.iter().flatten().map(|item| File::new(&item.path, source)).collect()
}

fn fields<'a>(items: &'a Option<Vec<DownwardAPIVolumeFile>>, source: &str) -> Vec<File<'a>> {
    items.iter().flatten().map(|item| File::new(&item.path, source)).collect()
}

/// The files of one of several sources.
fn projected(projection: &VolumeProjection) -> Vec<File<'_>> {
    if let Some(source) = &projection.config_map {
        keys(&source.items, &format!("ConfigMap {:?}", source.name))
    } else if let Some(source) = &projection.secret {
        keys(&source.items, &format!("Secret {:?}", source.name))
    } else if let Some(source) = &projection.downward_api {
        fields(&source.items, "DownwardAPI")
    } else if let Some(source) = &projection.service_account_token {
        vec![File::new(&source.path, "ServiceAccountToken")]
    } else if let Some(source) = &projection.cluster_trust_bundle {
        let name = text(source.name.as_ref().or(source.signer_name.as_ref()));
        vec![File::new(&source.path, &format!("ClusterTrustBundle {name:?}"))]
    } else if let Some(source) = &projection.pod_certificate {
        let paths = [
            (&source.certificate_chain_path, "PodCertificate chain"),
            (&source.key_path, "PodCertificate key"),
            (&source.credential_bundle_path, "PodCertificate credential bundle"),
        ];
        paths.map(|(path, what)| File::new(text(path.as_ref()), what)).into()
    } else {
        Vec::new()
    }
}
