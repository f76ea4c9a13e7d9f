//! APIServices: those of what this server serves are made and kept, those of other servers are checked, and requests go by
//! what comes of that.

mod availability;
mod beginning;
mod documents;
mod probe;
mod registration;
mod trust_map;

use api_types::apiregistration::v1::APIService;

use crate::{objects, state::State};

pub(crate) use self::{availability::follow, beginning::begin, registration::keep};

const PREFIX: &str = "/registry/apiregistration.k8s.io/apiservices/";
const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// All, as the cache has them.
fn all(state: &State) -> Vec<APIService> {
    objects::read_all(&state.storage, PREFIX)
}
