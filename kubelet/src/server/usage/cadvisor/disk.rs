//! File systems and block devices.

use std::collections::BTreeMap;

use super::subject::Subject;
use crate::{
    server::usage::families::{Family, float},
    usage::{
        disks::Disk,
        host::FileSystem,
        io::{Io, Number},
    },
};

/// The paths of devices.
pub(super) type Names = BTreeMap<Number, String>;

/// The metrics.
pub(super) fn families(
    subjects: &[Subject<'_>],
    fs: Option<FileSystem>,
    names: &Names,
) -> Vec<Family> {
    let space = space(subjects, names).into_iter();
    space.chain(inodes(subjects, fs, names)).chain(traffic(subjects, names)).collect()
}

/// What has no name has that of nothing, as with cAdvisor.
fn name(names: &Names, device: Number) -> &str {
    names.get(&device).map_or("", |name| name)
}

fn space(subjects: &[Subject<'_>], names: &Names) -> [Family; 2] {
    let of = |name, help, value: fn(Disk) -> u64| {
        let mut family = Family::gauge(name, help);
        for (subject, disk) in subjects.iter().filter_map(|found| Some((found, found.disk?))) {
            let labels = subject.labels_and([("device", self::name(names, disk.device))]);
            family.add(labels, Some(float(value(disk))));
        }
        family
    };
    [
        of(
            "container_fs_usage_bytes",
            "Number of bytes that are consumed by the container on this filesystem.",
            |disk| disk.used,
        ),
        of(
            "container_fs_limit_bytes",
            "Number of bytes that can be consumed by the container on this filesystem.",
            |disk| disk.capacity,
        ),
    ]
}

/// Of the host alone, which is the first.
fn inodes(subjects: &[Subject<'_>], fs: Option<FileSystem>, names: &Names) -> [Family; 2] {
    let of = |name, help, value: fn(FileSystem) -> u64| {
        let mut family = Family::gauge(name, help);
        if let Some((host, fs)) = subjects.first().zip(fs) {
            let labels = host.labels_and([("device", self::name(names, fs.device))]);
            family.add(labels, Some(float(value(fs))));
        }
        family
    };
    [
        of("container_fs_inodes_free", "Number of available Inodes", |fs| fs.inodes_free),
        of("container_fs_inodes_total", "Number of Inodes", |fs| fs.inodes),
    ]
}

fn traffic(subjects: &[Subject<'_>], names: &Names) -> Vec<Family> {
    type Of = fn(&Io) -> u64;
    let counters: [(_, _, Of); 4] = [
        ("container_fs_reads_bytes", "Cumulative count of bytes read", |io| io.read_bytes),
        ("container_fs_writes_bytes", "Cumulative count of bytes written", |io| io.written_bytes),
        ("container_fs_reads", "Cumulative count of reads completed", |io| io.reads),
        ("container_fs_writes", "Cumulative count of writes completed", |io| io.writes),
    ];
    let counters = counters.map(|(name, help, of)| {
        let mut family = Family::counter(name, help);
        for (subject, device, io) in devices(subjects) {
            let labels = subject.labels_and([("device", self::name(names, device))]);
            family.add(labels, Some(float(of(io))));
        }
        family
    });
    counters.into_iter().chain([by_operation(subjects, names)]).collect()
}

fn by_operation(subjects: &[Subject<'_>], names: &Names) -> Family {
    let mut family = Family::counter("container_blkio_device_usage", "Blkio device bytes usage");
    for (subject, device, io) in devices(subjects) {
        let (major, minor) = (device.0.to_string(), device.1.to_string());
        for (operation, bytes) in [("Read", io.read_bytes), ("Write", io.written_bytes)] {
            let labels = subject.labels_and([
                ("device", self::name(names, device)),
                ("major", &major),
                ("minor", &minor),
                ("operation", operation),
            ]);
            family.add(labels, Some(float(bytes)));
        }
    }
    family
}

fn devices<'a>(
    subjects: &'a [Subject<'a>],
) -> impl Iterator<Item = (&'a Subject<'a>, Number, &'a Io)> {
    subjects.iter().flat_map(|subject| {
        let devices = subject.details.and_then(|details| details.io.as_ref());
        devices.into_iter().flatten().map(move |(device, io)| (subject, *device, io))
    })
}
