//! Slurm, as its commands on the login node show it.

mod cancel;
mod observe;
mod options;
mod queue;
mod rows;
mod script;
mod state;
mod submit;
mod task;
mod withdraw;

pub use cancel::cancel;
pub use observe::{Observed, observe};
pub use queue::{Partition, Queue, QueuedJob, queue, queue_position};
pub use script::{batch_script, compile_script, output_patterns};
pub use state::State;
pub use submit::{Submission, look_up, submit_once};
pub use task::{Submitted, Task};
pub use withdraw::withdraw;
