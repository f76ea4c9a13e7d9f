//! What of the data a state is given, and passes on.

use crate::path::Path;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    All,
    /// An empty object.
    Nothing,
    Path(Path),
}
