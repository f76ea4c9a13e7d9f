//! What goes to and comes from block devices. Pure.

use std::collections::BTreeMap;

/// Major and minor number of a device.
pub type Number = (u32, u32);

/// The kernel counts in these, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// Traffic of a device since its control group was made, or since the start of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Requests that read.
    pub reads: u64,
    /// Requests that wrote.
    pub writes: u64,
}

/// By device.
pub type Devices = BTreeMap<Number, Io>;

/// Version 1's two files, of bytes and of requests: lines like `8:0 Read 4096`.
pub(super) fn v1(bytes: &str, requests: &str) -> Devices {
    let mut devices = Devices::new();
    for (number, operation, count) in bytes.lines().filter_map(line) {
        let io: &mut Io = devices.entry(number).or_default();
        match operation {
            "Read" => io.read_bytes = count,
            "Write" => io.written_bytes = count,
            _ => {}
        }
    }
    for (number, operation, count) in requests.lines().filter_map(line) {
        let io = devices.entry(number).or_default();
        match operation {
            "Read" => io.reads = count,
            "Write" => io.writes = count,
            _ => {}
        }
    }
    devices
}

fn line(text: &str) -> Option<(Number, &str, u64)> {
    let mut words = text.split(' ');
    Some((number(words.next()?)?, words.next()?, words.next()?.parse().ok()?))
}

/// Version 2's `io.stat`: lines like `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
pub(super) fn v2(text: &str) -> Devices {
    let device = |line: &str| {
        let (device, counts) = line.split_once(' ')?;
        let counts: BTreeMap<&str, u64> = counts
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
            .collect();
        let count = |name| counts.get(name).copied().unwrap_or_default();
        let io = Io {
            read_bytes: count("rbytes"),
            written_bytes: count("wbytes"),
            reads: count("rios"),
            writes: count("wios"),
        };
        Some((number(device)?, io))
    };
    text.lines().filter_map(device).collect()
}

fn number(text: &str) -> Option<Number> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `/proc/diskstats`: the paths of all devices, and the traffic of those that have any and are no partitions, whose
/// traffic is that of their disks too.
pub(super) fn host(diskstats: &str) -> (BTreeMap<Number, String>, Devices) {
    let found: Vec<(Number, &str, Io)> = diskstats.lines().filter_map(device).collect();
    let names = found.iter().map(|(number, name, _)| (*number, format!("/dev/{name}"))).collect();
    let is_disk = |name: &str| !found.iter().any(|(_, disk, _)| is_partition(name, disk));
    let busy = found.iter().filter(|(_, name, io)| *io != Io::default() && is_disk(name));
    (names, busy.map(|(number, _, io)| (*number, *io)).collect())
}

/// `/proc/self/mountinfo`: what is mounted by the devices of file systems that are on no block device alone.
pub(super) fn mounted(mountinfo: &str) -> BTreeMap<Number, String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let device = number(before.split(' ').nth(2)?)?;
        Some((device, after.split(' ').nth(1)?.to_owned()))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// `8 0 sda 10 0 80 …`: reads, reads that were merged, sectors read, milliseconds, and the same of writes.
fn device(line: &str) -> Option<(Number, &str, Io)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let count = |place: usize| words.get(place)?.parse::<u64>().ok();
    let io = Io {
        reads: count(3)?,
        read_bytes: count(5)? * SECTOR_BYTES,
        writes: count(7)?,
        written_bytes: count(9)? * SECTOR_BYTES,
    };
    Some(((words[0].parse().ok()?, words[1].parse().ok()?), words[2], io))
}

/// `sda1` is one of `sda`, and `nvme0n1p1` of `nvme0n1`; `loop10` is none of `loop1`.
fn is_partition(name: &str, disk: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk) else { return false };
    let ends_in_digit = disk.ends_with(|c: char| c.is_ascii_digit());
    let rest = if ends_in_digit { rest.strip_prefix('p') } else { Some(rest) };
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDA: Io = Io { read_bytes: 4096, written_bytes: 8192, reads: 1, writes: 2 };

    #[test]
    fn both_versions_of_control_groups_say_the_same() {
        let bytes = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Total 12288\nTotal 12288\n";
        let requests = "8:0 Read 1\n8:0 Write 2\n8:0 Discard 9\n8:0 Total 3\nTotal 3\n";
        let stat = "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:1 \n";
        let expected = Devices::from([((8, 0), SDA)]);
        assert_eq!(v1(bytes, requests), expected);
        assert_eq!(v2(stat), Devices::from([((7, 1), Io::default()), ((8, 0), SDA)]));
        assert_eq!((v1("Total 0\n", ""), v2("")), (Devices::new(), Devices::new()));
    }

    #[test]
    fn a_file_system_has_the_name_of_what_is_mounted() {
        let text = "27 1 0:25 / / rw,relatime shared:1 - btrfs /dev/sda2 rw\n23 27 0:22 / /sys rw - sysfs sysfs rw\n";
        let names = mounted(text);
        assert_eq!((names[&(0, 25)].as_str(), names[&(0, 22)].as_str()), ("/dev/sda2", "sysfs"));
    }

    #[test]
    fn a_partitions_traffic_is_that_of_its_disk() {
        let line = |number: &str, name: &str, reads: u64| {
            format!(" {number} {name} {reads} 0 8 0 2 0 16 0 0 0 0\n")
        };
        let text: String = [
            ("8 0", "sda"),
            ("8 1", "sda1"),
            ("259 0", "nvme0n1"),
            ("259 1", "nvme0n1p1"),
            ("7 1", "loop1"),
            ("7 10", "loop10"),
        ]
        .map(|(number, name)| line(number, name, 1))
        .concat();
        let idle = " 8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n";
        let (names, devices) = host(&format!("{text}{idle}"));
        assert_eq!(names.len(), 7);
        assert_eq!(names[&(8, 1)], "/dev/sda1");
        let expected = Io { read_bytes: 4096, written_bytes: 8192, reads: 1, writes: 2 };
        let found: Vec<Number> = devices.keys().copied().collect();
        assert_eq!(found, [(7, 1), (7, 10), (8, 0), (259, 0)]);
        assert_eq!(devices[&(8, 0)], expected);
    }
}
