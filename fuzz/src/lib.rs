//! What is done with inputs that anybody may send, and what holds of what comes of them. `tests/fuzz_inputs.rs` takes these
//! functions through `seeds/`, where inputs that once broke something stay.

pub mod apply;
pub mod definitions;
pub mod documents;
pub mod expressions;
pub mod patches;
pub mod quantities;
pub mod selectors;

/// The JSON documents of an input, a line each.
fn documents(input: &[u8]) -> impl Iterator<Item = serde_json::Value> {
    let lines = input.split(|byte| *byte == b'\n');
    lines.map_while(|line| api_machinery::decode::json(line).ok()).map(|decoded| decoded.value)
}
