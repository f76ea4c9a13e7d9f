//! On Windows, a host process is what a privileged container is elsewhere.

use api_types::api::core::v1::WindowsSecurityContextOptions;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
};

pub(super) static CHECK: Check = Check {
    id: "windowsHostProcess",
    replaces: None,
    revisions: &[Revision { since: 0, verdict: host_process }],
};

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod
        .settings(
            |context| is_host_process(context.windows_options.as_ref()),
            |context| is_host_process(context.windows_options.as_ref()),
        )
        .forbidden(|host_process| host_process)
        .joined_setters()?;
    Some(Violation {
        reason: "hostProcess",
        detail: format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    })
}

fn is_host_process(options: Option<&WindowsSecurityContextOptions>) -> Option<bool> {
    options?.host_process
}
