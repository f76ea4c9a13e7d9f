//! Metrics with their series, made anew for each scrape from a sample.

use component::Metrics;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// Names and values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A metric with all its series.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the `_total` of a counter.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    series: Vec<(Labels, f64)>,
}

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Counter, series: Vec::new() }
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Gauge, series: Vec::new() }
    }

    /// With a series, if its value is known.
    pub(super) fn with(mut self, labels: &[(&'static str, &str)], value: Option<f64>) -> Self {
        self.add(labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), value);
        self
    }

    /// Adds a series, if its value is known.
    pub(super) fn add(&mut self, labels: Labels, value: Option<f64>) {
        self.series.extend(value.map(|value| (labels, value)));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for (labels, value) in &self.series {
            match &labels[..] {
                [] => self.write(&mut metric, *value)?,
                _ => self.write(&mut metric.encode_family(labels)?, *value)?,
            }
        }
        Ok(())
    }

    fn write(&self, series: &mut MetricEncoder<'_>, value: f64) -> std::fmt::Result {
        match self.kind {
            MetricType::Counter => series.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            _ => series.encode_gauge(&value),
        }
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let known = self.0.iter().filter(|family| !family.series.is_empty());
        known.into_iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

/// As they are served.
pub(super) fn metrics(families: Vec<Family>) -> Metrics {
    let metrics = Metrics::default();
    metrics.collect(Families(families));
    metrics
}

/// Fifty-three bits are enough for bytes, and for nanoseconds of a hundred days.
#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are no others")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// From nanoseconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

/// Since 1970.
pub(super) fn moment(time: api_types::jiff::Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
