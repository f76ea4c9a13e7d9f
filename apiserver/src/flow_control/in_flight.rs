//! A limit on requests without regard to whose they are, where Priority and Fairness is turned off
//! (Kubernetes: `k8s.io/apiserver/pkg/server/filters/maxinflight.go`).

use std::sync::Arc;

use api_machinery::ApiError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::too_many_requests;
use crate::identity::Identity;

/// See the module.
#[derive(Debug)]
pub(crate) struct InFlight {
    reads: Option<Arc<Semaphore>>,
    writes: Option<Arc<Semaphore>>,
}

/// The place of a request among those under way.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    /// With these limits; 0 is none.
    pub(crate) fn new(reads: u32, writes: u32) -> Self {
        let limit = |most: u32| {
            let most = usize::try_from(most).ok().filter(|most| *most > 0)?;
            Some(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
        };
        Self { reads: limit(reads), writes: limit(writes) }
    }

    /// Counts a request in. Administrators always get in.
    ///
    /// # Errors
    /// 429 if there are as many as there may be.
    pub(crate) fn admit(&self, identity: &Identity, is_write: bool) -> Result<Place, ApiError> {
        let limit = if is_write { &self.writes } else { &self.reads };
        let Some(limit) = limit.as_ref().filter(|_| !identity.is_in("system:masters")) else {
            return Ok(Place { _permit: None });
        };
        let permit = limit.clone().try_acquire_owned();
        let permit = permit.map_err(|_| too_many_requests(1))?;
        Ok(Place { _permit: Some(permit) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_have_limits_of_their_own_and_masters_none() {
        let limits = InFlight::new(1, 0);
        let jane = Identity::new("jane", &[]);
        let first = limits.admit(&jane, false).unwrap();
        let error = limits.admit(&jane, false).unwrap_err();
        assert_eq!((error.code(), error.retry_after_seconds()), (429, Some(1)));
        limits.admit(&Identity::admin(), false).unwrap();
        limits.admit(&jane, true).unwrap();
        drop(first);
        limits.admit(&jane, false).unwrap();
    }
}
