//! A step's call of a function: what is sent, and what is made of the answer.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, uri::PathAndQuery},
};
use serde_json::Value;
use workflow::{MAX_PAYLOAD, RunError};

use crate::{
    calls::Calls,
    error::CallError,
    message::{Message, REQUEST_ID},
};

/// Tells a function that it is asked for the same thing again.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How much of an answer without a type tells why a call failed, in characters.
const MAX_CAUSE: usize = 500;

/// The path of calls, as far as steps need it.
#[async_trait::async_trait]
pub trait CallFunction: Send + Sync + 'static {
    /// Calls a function and gives its answer, whatever its code.
    async fn call(&self, call: FunctionCall) -> Result<Response<Body>, NoAnswer>;

    /// A function is about to be called, and better awake by then.
    fn expect(&self, namespace: &str, function: &str);
}

/// Why there is no answer of the function.
#[derive(Clone, Debug)]
pub struct NoAnswer {
    /// What a caller over HTTP gets for it.
    pub code: StatusCode,
    /// For people.
    pub why: String,
    /// Whether no instance had it: it can't have been done.
    pub not_taken: bool,
}

/// A call on its way.
#[derive(Clone, Debug)]
pub struct FunctionCall {
    /// The function's namespace.
    pub namespace: String,
    /// Its name.
    pub function: String,
    /// What goes with the body.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Vec<u8>,
}

#[async_trait::async_trait]
impl CallFunction for Calls {
    fn expect(&self, namespace: &str, function: &str) {
        Calls::expect(self, namespace, function);
    }

    async fn call(&self, call: FunctionCall) -> Result<Response<Body>, NoAnswer> {
        let FunctionCall { namespace, function, headers, body } = call;
        // A gateway that has just begun takes over runs, and must not say that their functions are missing.
        self.known().await;
        let target = PathAndQuery::from_static("/");
        let message = Message { target, headers, body: Body::from(body) };
        Calls::call(self, &namespace, &function, message).await.map_err(|error| NoAnswer {
            code: StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            why: error.to_string(),
            not_taken: matches!(error, CallError::NotTaken { .. }),
        })
    }
}

impl FunctionCall {
    pub(super) fn new(namespace: &str, run_uid: &str, call: &workflow::Call) -> Self {
        let key = format!("{run_uid}-{}", call.step);
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        for (name, value) in
            [(IDEMPOTENCY_KEY, key.clone()), (REQUEST_ID, format!("{key}-{}", call.attempt))]
        {
            // UIDs and numbers are always fit for a header.
            headers.extend(HeaderValue::try_from(value).map(|value| (name, value)));
        }
        Self {
            namespace: namespace.to_owned(),
            function: call.function.clone(),
            headers,
            body: call.input.to_string().into_bytes(),
        }
    }
}

/// What the function returned, or the error that Retry and Catch know by its name.
pub(super) async fn result(
    functions: &dyn CallFunction,
    call: FunctionCall,
) -> Result<Value, RunError> {
    let function = call.function.clone();
    let answer = functions.call(call).await.map_err(no_answer)?;
    let code = answer.status();
    let body = to_bytes(answer.into_body(), MAX_PAYLOAD).await.map_err(|error| {
        if error.to_string().contains("length limit") {
            return RunError::data_limit(format!(
                "function {function} returned more than {MAX_PAYLOAD} bytes"
            ));
        }
        RunError::new("Function.Broken", format!("function {function} broke off its answer"))
    })?;
    if code.is_success() { returned(&function, &body) } else { Err(failed(code, &body)) }
}

fn no_answer(NoAnswer { code, why, not_taken }: NoAnswer) -> RunError {
    let error = match code {
        _ if not_taken => "Function.NotTaken",
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => return RunError::timeout(why),
        StatusCode::NOT_FOUND => "Function.NotFound",
        StatusCode::TOO_MANY_REQUESTS => "Function.TooManyRequests",
        StatusCode::SERVICE_UNAVAILABLE => "Function.Unavailable",
        _ => "Function.Broken",
    };
    RunError::new(error, why)
}

fn returned(function: &str, body: &[u8]) -> Result<Value, RunError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| {
        RunError::new(
            "Function.InvalidResult",
            format!("function {function} returned no JSON: {error}"),
        )
    })
}

/// A function tells an exception as `{"error": {"type", "message"}}`.
fn failed(code: StatusCode, body: &[u8]) -> RunError {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str);
    let message = text("/error/message").unwrap_or_default();
    match (text("/error/type"), code) {
        (_, StatusCode::GATEWAY_TIMEOUT) => RunError::timeout(message),
        (Some(error), _) => RunError::new(error, message),
        (None, code) => {
            let body: String = String::from_utf8_lossy(body).chars().take(MAX_CAUSE).collect();
            RunError::new(&format!("Function.Status{}", code.as_u16()), body)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Answers(Result<(u16, String), u16>, bool);

    #[async_trait::async_trait]
    impl CallFunction for Answers {
        fn expect(&self, _: &str, _: &str) {}

        async fn call(&self, _: FunctionCall) -> Result<Response<Body>, NoAnswer> {
            match &self.0 {
                Ok((code, body)) => {
                    Ok(Response::builder().status(*code).body(Body::from(body.clone())).unwrap())
                }
                Err(code) => {
                    let code = StatusCode::from_u16(*code).unwrap();
                    Err(NoAnswer { code, why: "no answer".to_owned(), not_taken: self.1 })
                }
            }
        }
    }

    async fn error(answer: Result<(u16, &str), u16>) -> String {
        error_of(Answers(answer.map(|(code, body)| (code, body.to_owned())), false)).await
    }

    async fn error_of(answers: Answers) -> String {
        let step = workflow::Call {
            step: 3,
            attempt: 2,
            function: "f".to_owned(),
            input: json!({"x": 1}),
            timeout: None,
        };
        let call = FunctionCall::new("default", "uid", &step);
        assert_eq!(call.headers[IDEMPOTENCY_KEY], "uid-3");
        assert_eq!(call.headers[REQUEST_ID], "uid-3-2");
        match result(&answers, call).await {
            Ok(value) => value.to_string(),
            Err(error) => format!("{}: {}", error.error, error.cause),
        }
    }

    #[tokio::test]
    async fn every_answer_has_a_name() {
        assert_eq!(error(Ok((200, "{\"x\":1.0}"))).await, "{\"x\":1.0}");
        assert_eq!(error(Ok((204, ""))).await, "null");
        let raised = "{\"error\": {\"type\": \"ValueError\", \"message\": \"no\"}}";
        assert_eq!(error(Ok((500, raised))).await, "ValueError: no");
        assert_eq!(error(Ok((418, "short"))).await, "Function.Status418: short");
        for (answer, name) in [
            (Ok((200, "<html>")), "Function.InvalidResult"),
            (Ok((504, "{\"error\": {\"type\": \"Timeout\"}}")), "States.Timeout"),
            (Err(404), "Function.NotFound"),
            (Err(429), "Function.TooManyRequests"),
            (Err(502), "Function.Broken"),
            (Err(503), "Function.Unavailable"),
            (Err(504), "States.Timeout"),
        ] {
            let found = error(answer).await;
            assert!(found.starts_with(&format!("{name}: ")), "{found}");
        }
        assert_eq!(error_of(Answers(Err(504), true)).await, "Function.NotTaken: no answer");
        let long = "x".repeat(MAX_PAYLOAD + 1);
        assert!(error(Ok((200, &long))).await.starts_with("States.DataLimitExceeded"));
    }
}
