//! What Prometheus' client libraries say about the process itself: `process_*`.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// In which the kernel tells times, whatever it counts in itself (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Looks at the process whenever it is asked for metrics. What can't be found out is not told.
#[derive(Debug)]
pub struct ProcessMetrics;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Process {
    cpu_seconds: f64,
    start_time_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        if let Some(process) = Process::this() {
            let cpu = ConstCounter::new(process.cpu_seconds);
            add(encoder, "process_cpu_seconds", "CPU time used", &cpu)?;
            let begun = ConstGauge::new(process.start_time_seconds);
            add(encoder, "process_start_time_seconds", "Its start, in seconds since 1970", &begun)?;
            let memory = ConstGauge::new(process.virtual_bytes);
            add(encoder, "process_virtual_memory_bytes", "Memory that it may use", &memory)?;
            let memory = ConstGauge::new(process.resident_bytes);
            add(encoder, "process_resident_memory_bytes", "Memory that it uses", &memory)?;
        }
        let Ok(files) = fs::read_dir("/proc/self/fd") else { return Ok(()) };
        // One is the folder itself.
        let open = u64::try_from(files.count().saturating_sub(1)).unwrap_or(u64::MAX);
        add(encoder, "process_open_fds", "Open files", &ConstGauge::new(open))
    }
}

fn add(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

impl Process {
    fn this() -> Option<Self> {
        let read = |file: &str| fs::read_to_string(file).ok();
        Self::parse(&read("/proc/self/stat")?, &read("/proc/self/status")?, &read("/proc/stat")?)
    }

    /// proc(5).
    fn parse(stat: &str, status: &str, host: &str) -> Option<Self> {
        // The second field may contain anything; the third is the first here.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let kib = |name| number(status, name).map(|kib: u64| kib * 1024);
        Some(Self {
            cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
            start_time_seconds: number::<f64>(host, "btime")? + ticks(22)? / TICKS_PER_SECOND,
            virtual_bytes: kib("VmSize:")?,
            resident_bytes: kib("VmRSS:")?,
        })
    }
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn what_the_kernel_tells_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 8 0 1200 999 11 18446744073709551615";
        let status = "Name:\ta\nVmPeak:\t  99 kB\nVmSize:\t  20 kB\nVmRSS:\t  10 kB\n";
        let process = Process {
            cpu_seconds: 3.0,
            start_time_seconds: 1012.0,
            virtual_bytes: 20480,
            resident_bytes: 10240,
        };
        let host = "cpu  1 2 3\nbtime 1000\n";
        assert_eq!(Process::parse(stat, status, host), Some(process));
        assert_eq!(Process::parse(stat, status, "cpu 1"), None);
        assert_eq!(Process::parse("7 (a) S 1", status, host), None);
    }

    #[test]
    fn a_process_tells_about_itself() {
        let metrics = Metrics::default();
        metrics.collect(ProcessMetrics);
        let text = metrics.encode().unwrap();
        let value = |name: &str| number::<f64>(&text, &format!("{name} ")).unwrap();
        assert!(value("process_cpu_seconds_total") >= 0.0);
        let start = value("process_start_time_seconds");
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((start - 2.0..start + 86_400.0).contains(&now), "{start} {now}");
        let (resident, all) =
            (value("process_resident_memory_bytes"), value("process_virtual_memory_bytes"));
        assert!((1e6..all).contains(&resident), "{resident} of {all}");
        assert!(value("process_open_fds") >= 3.0);
    }
}
