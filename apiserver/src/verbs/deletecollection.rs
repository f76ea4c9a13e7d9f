//! DELETE of all objects of a collection that selectors select.

use api_machinery::{ApiError, FieldErrors, FieldPath};
use http::StatusCode;
use serde_json::Value;

use super::{delete, list};
use crate::{
    call::Call,
    encoded,
    query::ListOptions,
    respond::{self, Response},
    state::WritePath,
    storage::Address,
};

/// Deletes what the list of the same options shows, each object by itself: with a limit so many, the answer telling
/// where to go on. One that is gone before its turn is no error.
pub(super) async fn delete_collection(
    path: WritePath<'_>,
    call: &Call,
) -> Result<Response, ApiError> {
    let def = &call.info.def;
    let selection = ListOptions::of_list(&call.query, def)?;
    let options = delete::options(call)?;
    if delete::may_be_unread(&options) {
        return Err(only_of_one(call));
    }
    let listed = list::select(path.storage, call, &selection).await?;
    let mut deleted: Vec<Value> = Vec::new();
    for item in &listed.items {
        let object = encoded::value(item)?;
        let text = |field: &str| object["metadata"][field].as_str().filter(|s| !s.is_empty());
        let (namespace, name) = (text("namespace"), text("name").unwrap_or_default());
        let at = Address { def, namespace, name };
        match delete::delete_one(path, call, at, &options).await {
            Ok(outcome) => deleted.extend(outcome.into_object()),
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let items: Vec<&Value> = deleted.iter().collect();
    let shown = call.presentation.list(def, &items, &listed.metadata())?;
    Ok(respond::json(StatusCode::OK, &shown))
}

/// Nobody removes a whole collection without having read it.
fn only_of_one(call: &Call) -> ApiError {
    let mut errors = FieldErrors::default();
    let why = "is not allowed with DELETECOLLECTION, try again after removing the option";
    errors.invalid(&FieldPath::new(delete::UNREAD), true, why);
    call.invalid_options(&errors)
}
