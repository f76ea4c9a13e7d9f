//! Answers in the encoding that a client takes. Whatever answers makes JSON, and says what is wanted instead: it is made here
//! of the whole, as part of the work that the request is, and takes the place of the JSON after everybody else has read that.
//! Watches alone encode what they tell by themselves.

use std::sync::Arc;

use api_machinery::{ApiError, encode};
use api_types::jiff::Timestamp;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use registry::ResourceDef;
use serde_json::{Value, de::SliceRead};

use crate::{
    cbor, encoded,
    form::{Kinds, Presentation},
    negotiation::{self, Media},
    protobuf,
    respond::{self, Failure, Response, Streamed},
};

/// How many bytes of JSON are encoded in another form before others may have their turn.
const TOGETHER: usize = 256 << 10;

/// A list that is going to be encoded item by item: its value as a whole would take many times its JSON.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) def: Arc<ResourceDef>,
    pub(crate) presentation: Presentation,
    pub(crate) metadata: Value,
    /// The JSON of each.
    pub(crate) items: Vec<Bytes>,
}

/// What is sent instead of an answer's JSON.
#[derive(Clone, Debug)]
struct Encoded {
    media: Media,
    pieces: Vec<Bytes>,
}

/// Says in what an answer is wanted.
pub(crate) fn wanted(media: Media, mut response: Response) -> Response {
    if media != Media::Json {
        response.extensions_mut().insert(media);
    }
    response
}

/// Has an answer encoded as it is wanted. Its JSON stays for those who read it (the audit log) before it is sent.
///
/// # Errors
/// 500 if it has no form in that encoding.
pub(crate) async fn prepared(mut response: Response) -> Result<Response, ApiError> {
    let said = response.extensions_mut().remove::<Media>().unwrap_or(Media::Json);
    // A failure is told as its reader likes it best, whatever was wanted.
    let is_failure = response.extensions().get::<Failure>().is_some();
    if is_failure { Ok(response) } else { also_in(said, response).await }
}

async fn also_in(media: Media, mut response: Response) -> Result<Response, ApiError> {
    if media == Media::Json || !is_json(&response) {
        return Ok(response);
    }
    let listing = response.extensions_mut().remove::<Listing>();
    let (mut parts, body) = response.into_parts();
    let (body, pieces) = match listing.filter(|_| parts.status == StatusCode::OK) {
        Some(listing) => (body, listing.encoded(media).await?),
        None => {
            let json = body.collect().await.map_err(ApiError::internal)?.to_bytes();
            let encoded = encoded_in(media, &encoded::value(&json)?)?;
            (Body::from(json), vec![encoded.into()])
        }
    };
    parts.extensions.insert(Encoded { media, pieces });
    Ok(Response::from_parts(parts, body))
}

/// The answer as it is sent.
pub(crate) async fn represented(headers: &HeaderMap, response: Response) -> Response {
    let is_failure = response.extensions().get::<Failure>().is_some();
    let media = if is_failure { negotiation::failure(headers) } else { Media::Json };
    match also_in(media, response).await {
        Ok(response) => without_json(response),
        Err(error) => respond::failure(&error),
    }
}

fn without_json(mut response: Response) -> Response {
    let Some(Encoded { media, pieces }) = response.extensions_mut().remove() else {
        return response;
    };
    let of_json = response.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let type_ = of_json.unwrap_or_default().replacen(Media::Json.name(), media.name(), 1);
    let type_ = HeaderValue::from_str(&type_).expect("it was a header's value before");
    response.headers_mut().insert(header::CONTENT_TYPE, type_);
    response.map(|_| respond::pieces(pieces).into_body())
}

/// Whether it is JSON that is there as a whole.
fn is_json(response: &Response) -> bool {
    let type_ = response.headers().get(header::CONTENT_TYPE);
    let is_json = type_.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    is_json && response.extensions().get::<Streamed>().is_none()
}

fn encoded_in(media: Media, object: &Value) -> Result<Vec<u8>, ApiError> {
    match media {
        Media::Json => serde_json::to_vec(object).map_err(ApiError::internal),
        Media::Yaml => Ok(encode::yaml(object).into_bytes()),
        Media::Protobuf => Ok(protobuf::encode(object)?),
        Media::Cbor => Ok(cbor::encode(object)),
    }
}

/// The event of a watch, as it is sent. None is wanted in YAML.
pub(crate) fn event(media: Media, kind: &str, object: &Value) -> Result<Vec<u8>, ApiError> {
    match media {
        Media::Json | Media::Yaml => {
            let event = serde_json::json!({ "type": kind, "object": object });
            Ok(format!("{event}\n").into_bytes())
        }
        Media::Protobuf => Ok(protobuf::event(kind, object)?),
        Media::Cbor => Ok(cbor::event(kind, object)),
    }
}

/// The events of a watch that have come in one piece, each without what tells where it ends.
pub(crate) fn events(media: Media, piece: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let mut rest = piece.clone();
    std::iter::from_fn(move || {
        let (length, head) = match media {
            Media::Protobuf => protobuf::first_length(&rest)?,
            _ if rest.is_empty() => return None,
            _ => (cbor::first_length(&rest)?, 0),
        };
        Some(rest.split_to(length).slice(head..))
    })
}

fn read(json: &[u8]) -> serde_json::Deserializer<SliceRead<'_>> {
    serde_json::Deserializer::from_slice(json)
}

impl Listing {
    async fn encoded(self, media: Media) -> Result<Vec<Bytes>, ApiError> {
        let Kinds { api_version, list, item } = self.presentation.kinds(&self.def);
        Ok(match media {
            Media::Protobuf => {
                let list = protobuf::List::new(&api_version, &item, &self.metadata)?;
                let items = self.items(|json| Ok(list.item(&mut read(json))?)).await?;
                list.pieces(items)?
            }
            // JSON is there already.
            Media::Json | Media::Yaml => self.in_yaml().await?,
            Media::Cbor => {
                let head = cbor::list(&api_version, &list, &self.metadata, self.items.len());
                let item = |json: &[u8]| cbor::item(&mut read(json)).map_err(ApiError::internal);
                let items = self.items(item).await?;
                [vec![head], items].concat()
            }
        })
    }

    async fn in_yaml(&self) -> Result<Vec<Bytes>, ApiError> {
        if self.items.is_empty() {
            let empty = self.presentation.list(&self.def, &[], &self.metadata)?;
            return Ok(vec![encode::yaml(&empty).into()]);
        }
        let (head, tail) = self.presentation.yaml_frame(&self.def, &self.metadata)?;
        let items = self.items(|json| Ok(encode::yaml_item(&encoded::value(json)?).into())).await?;
        Ok([vec![head.into()], items, vec![tail.into()]].concat())
    }

    async fn items(
        &self,
        encode: impl Fn(&[u8]) -> Result<Bytes, ApiError>,
    ) -> Result<Vec<Bytes>, ApiError> {
        let now = Timestamp::now();
        let (mut items, mut together) = (Vec::with_capacity(self.items.len()), 0);
        for json in &self.items {
            together += json.len();
            if together > TOGETHER {
                tokio::task::yield_now().await;
                together = json.len();
            }
            items.push(if self.presentation.is_plain() {
                encode(json)?
            } else {
                let object = encoded::value(json)?;
                let shown = self.presentation.element(&self.def, &object, now)?;
                encode(shown.to_string().as_bytes())?
            });
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::{catalogue::Catalogue, query::Query};

    fn config_map(data: &str) -> Value {
        let metadata = json!({ "name": "a" });
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": data}})
    }

    #[tokio::test]
    async fn an_answer_keeps_its_json_until_it_is_sent() {
        let object = config_map("y");
        let answer = wanted(Media::Cbor, respond::json(StatusCode::OK, &object));
        let answer = prepared(answer).await.unwrap();
        assert!(is_json(&answer));
        let sent = represented(&HeaderMap::new(), answer).await;
        assert_eq!(sent.headers()[header::CONTENT_TYPE], Media::Cbor.name());
        let body = sent.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(cbor::decode(&body), Ok(object));
    }

    #[tokio::test]
    async fn what_has_no_form_in_an_encoding_fails_before_it_is_told() {
        let frog = json!({"apiVersion": "pond.io/v1", "kind": "Frog"});
        let answer = wanted(Media::Protobuf, respond::json(StatusCode::OK, &frog));
        assert_eq!(prepared(answer).await.unwrap_err().code(), 500);
    }

    fn listing(accept: &str, objects: &[Value]) -> Listing {
        let catalogue = Catalogue::built_in();
        let def = catalogue.of_key("/registry/core/configmaps/default/a").unwrap().clone();
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let presentation =
            Presentation::of(&headers, &Query::default(), &def, None, false).unwrap();
        let items = objects.iter().map(|object| Bytes::from(object.to_string())).collect();
        Listing { def, presentation, metadata: json!({"resourceVersion": "7"}), items }
    }

    #[tokio::test]
    async fn a_list_in_yaml_is_what_comes_of_it_as_a_whole() {
        let forms = ["Table;v=v1", "PartialObjectMetadataList;v=v1", "Table;v=v1beta1"];
        let forms = forms.map(|form| format!("application/yaml;as={form};g=meta.k8s.io"));
        for accept in forms.iter().map(String::as_str).chain(["application/yaml"]) {
            for objects in [vec![], vec![config_map("a\n\n"), config_map("items: []\n")]] {
                let listing = listing(accept, &objects);
                let Listing { def, presentation, metadata, .. } = &listing;
                let objects: Vec<&Value> = objects.iter().collect();
                let whole = presentation.list(def, &objects, metadata).unwrap();
                let pieces = listing.clone().encoded(Media::Yaml).await.unwrap();
                let text = String::from_utf8(pieces.concat()).unwrap();
                assert_eq!(text, encode::yaml(&whole), "{accept}");
            }
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_while_a_long_list_is_encoded() {
        let listing = listing("*/*", &vec![config_map(&"y".repeat(TOGETHER / 2)); 3]);
        for media in [Media::Yaml, Media::Protobuf, Media::Cbor] {
            let at_once = Listing { items: listing.items[..1].to_vec(), ..listing.clone() };
            assert!(at_once.encoded(media).now_or_never().is_some(), "{media:?}");
            assert!(listing.clone().encoded(media).now_or_never().is_none(), "{media:?}");
            assert_eq!(
                listing.clone().encoded(media).await.unwrap().len(),
                4 + usize::from(media != Media::Cbor)
            );
        }
    }

    #[test]
    fn a_failure_can_be_told_in_every_encoding() {
        let error = ApiError::expired("too old").retry_after(1);
        for media in [Media::Json, Media::Protobuf, Media::Cbor] {
            assert!(encoded_in(media, &json!(error.status())).is_ok(), "{media:?}");
            assert!(event(media, "ERROR", &json!(error.status())).is_ok(), "{media:?}");
        }
    }
}
