//! What is going on, as text for people: `/debug/api_priority_and_fairness/…`
//! (Kubernetes: `util/flowcontrol/apf_controller_debug.go`).

use std::fmt::{Display, Write};

use super::FlowControl;

const LEVELS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUES: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];

impl FlowControl {
    /// A row for each level.
    pub(crate) fn dump_levels(&self) -> String {
        let mut text = row(&LEVELS);
        for (name, level) in &self.current.load().levels {
            let dump = level.dump();
            let active = dump.queues.iter().filter(|queue| queue.waiting > 0).count();
            text += &row::<&dyn Display>(&[
                name,
                &active,
                &(dump.waiting + dump.executing == 0),
                &false,
                &dump.waiting,
                &dump.executing,
                &dump.dispatched,
                &dump.rejected,
                &dump.timed_out,
                &dump.cancelled,
            ]);
        }
        text
    }

    /// A row for each queue that is not empty.
    pub(crate) fn dump_queues(&self) -> String {
        let mut text = row(&QUEUES);
        for (name, level) in &self.current.load().levels {
            for queue in level.dump().queues {
                text += &row::<&dyn Display>(&[
                    name,
                    &queue.index,
                    &queue.waiting,
                    &queue.executing,
                    &queue.seats_in_use,
                    &format_args!("{:.8}ss", queue.next),
                    &queue.seats_waiting,
                    &queue.seats_waiting,
                    &format_args!("{:.8}ss", queue.work_waiting),
                ]);
            }
        }
        text
    }
}

fn row<T: Display>(columns: &[T]) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        // Writing to a string doesn't fail.
        let _ = write!(text, "{separator}{column}");
    }
    text + "\n"
}
