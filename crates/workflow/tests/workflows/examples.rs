//! The examples, with stand-ins for their functions.

use serde_json::{Value, json};
use workflow::{Call, RunError};

use crate::driver::{Answer, Run, run};

fn order(input: Value, mut function: impl FnMut(&Call) -> Option<Answer>) -> Run {
    let text = include_str!("../../../../examples/order-pipeline/order.asl.json");
    run(&serde_json::from_str(text).unwrap(), input, |call| {
        function(call).unwrap_or_else(|| match call.function.as_str() {
            "price" => Ok(json!(120)),
            other => Ok(json!(other)),
        })
    })
}

#[test]
fn an_order_is_shipped_when_the_carrier_is_no_longer_busy() {
    let run = order(json!({"id": "o1"}), |call| {
        let busy = call.function == "ship" && call.attempt == 1;
        busy.then(|| Err(RunError::new("CarrierBusy", "later")))
    });
    let output = run.output();
    assert_eq!(output["text"], "Order o1 is on its way as ship: 120");
    assert_eq!(output["order"]["gift"], "bookmark");
    assert_eq!(output["order"]["paid"], json!({"payment": "charge"}));
}

#[test]
fn an_order_whose_card_is_declined_is_released_and_fails() {
    let run = order(json!({"id": "o1"}), |call| {
        (call.function == "charge").then(|| Err(RunError::new("CardDeclined", "no")))
    });
    assert_eq!((run.error().error.as_str(), run.error().cause.as_str()), ("CardDeclined", "no"));
    assert!(run.calls.iter().any(|call| call.function == "release"));
}
