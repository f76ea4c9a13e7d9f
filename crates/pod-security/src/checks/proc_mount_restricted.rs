//! What is masked of `/proc` must stay masked: what the baseline no longer says of every pod.

use crate::{
    check::{Check, Revision},
    checks::proc_mount::{self, unmasked},
};

pub(super) static CHECK: Check = Check {
    id: "procMount_restricted",
    replaces: Some(proc_mount::ID),
    revisions: &[Revision { since: 35, verdict: unmasked }],
};
