//! DELETE of all objects of a collection that selectors select.

use api_machinery::ApiError;
use http::StatusCode;
use serde_json::{Value, json};

use super::delete::{self, Outcome};
use crate::{
    call::Call,
    query::{ReadAt, Selection},
    respond::{self, Response},
    server::Server,
    storage::Address,
};

/// Deletes what is there now, each object by itself. One that is gone before its turn is no error.
pub(super) async fn delete_collection(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let options = delete::options(call)?;
    let def = &call.info.def;
    let selection = Selection::of(&call.query, def)?;
    let prefix = def.prefix(call.info.namespace.as_deref());
    let snapshot = server.storage.list(&prefix, ReadAt::MostRecent).await?;
    let mut deleted: Vec<Value> = Vec::new();
    for item in snapshot.items.iter().filter(|i| i.object.matches(&selection)) {
        let namespace = item.object.field("metadata.namespace").filter(|n| !n.is_empty());
        let name = item.object.field("metadata.name").unwrap_or_default();
        let at = Address { def, namespace, name };
        match delete::delete_one(server, call, at, &options).await {
            Ok(Outcome::Removed(object) | Outcome::Terminating(object)) => deleted.push(object),
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let metadata = json!({ "resourceVersion": snapshot.revision.to_string() });
    let items: Vec<&Value> = deleted.iter().collect();
    Ok(respond::json(StatusCode::OK, &call.presentation.list(def, &items, &metadata)))
}
