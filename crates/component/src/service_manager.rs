//! What the program tells the service manager that has started it: systemd, in whose units it is `Type=notify`. Nothing, if it
//! was started otherwise.

use sd_notify::NotifyState;

/// The program serves, or does its work: what is to start after it may.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// The program has been asked to end, and is going to.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
