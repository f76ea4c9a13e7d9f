//! What time it is. How long something takes is told by tokio's `Instant`, which tests can pause and advance.

use api_types::jiff::Timestamp;
use tokio::time::Instant;

/// The clock that controllers go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<(Timestamp, Instant)>);

impl Clock {
    /// One that shows this time now, and goes on as fast as tokio's time does.
    pub fn starting_at(time: Timestamp) -> Self {
        Self(Some((time, Instant::now())))
    }

    /// The time; by default, the system's.
    pub fn now(self) -> Timestamp {
        self.0.map_or_else(Timestamp::now, |(start, since)| start + since.elapsed())
    }
}
