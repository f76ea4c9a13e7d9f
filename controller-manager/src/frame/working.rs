//! The keys that workers are looking at, by queue: a look that hangs shows here long before it is done.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use tokio::time::Instant;

use super::ObjectKey;

/// By key, since when.
type Keys = Mutex<HashMap<ObjectKey, Instant>>;

/// The keys of one queue.
pub(super) type Working = Arc<Keys>;

/// Those of all queues. A queue that is gone works on nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct AllWorking(Arc<Mutex<BTreeMap<&'static str, Weak<Keys>>>>);

impl AllWorking {
    pub(super) fn set(&self, name: &'static str, working: &Working) {
        self.0.lock().insert(name, Arc::downgrade(working));
    }
}

/// A gauge for each queue, worked out from its keys' seconds when it is asked for.
pub(super) struct WorkingSeconds {
    pub(super) all: AllWorking,
    pub(super) of: fn(&mut dyn Iterator<Item = f64>) -> f64,
}

impl fmt::Debug for WorkingSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkingSeconds").field("all", &self.all).finish_non_exhaustive()
    }
}

impl EncodeMetric for WorkingSeconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (name, working) in &*self.all.0.lock() {
            let working = working.upgrade().unwrap_or_default();
            let working = working.lock();
            let mut seconds = working.values().map(|since| since.elapsed().as_secs_f64());
            let value = (self.of)(&mut seconds);
            encoder.encode_family(&[("name", *name)])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}
