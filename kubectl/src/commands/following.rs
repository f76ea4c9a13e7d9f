//! Following one object.

use std::{pin::pin, time::Duration};

use futures::TryStreamExt;
use serde_json::Value;

use super::target::Target;
use crate::{
    Failure,
    api::{Api, Call},
    object,
};

/// Between two looks at an object when the watches between them end.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Watches an object from its present version until it is as wanted. There is none before it is made, and when it is gone.
pub(super) async fn until(
    api: &Api,
    target: &Target,
    is_wanted: impl Fn(Option<&Value>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let collection = Target { name: None, ..target.clone() };
    let field = format!("metadata.name={}", target.name.as_deref().unwrap_or_default());
    let mut pause = Duration::ZERO;
    loop {
        // A server whose watches end at once is not asked without pause.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let list = api.call(Call::get(collection.path()).query("fieldSelector", &field)).await?;
        if is_wanted(object::list(&list, "/items").first())? {
            return Ok(());
        }
        let call = Call::get(collection.path())
            .query("fieldSelector", &field)
            .query("resourceVersion", object::text(&list, "/metadata/resourceVersion"));
        let mut events = pin!(api.watch(call).await?);
        // A watch that ends or fails is begun anew from a fresh list.
        while let Ok(Some(event)) = events.try_next().await {
            let now = match object::text(&event, "/type") {
                "ERROR" => break,
                "DELETED" => None,
                _ => Some(&event["object"]),
            };
            if is_wanted(now)? {
                return Ok(());
            }
            pause = Duration::ZERO;
        }
    }
}
