//! Which form of an answer a client wants, and in which encoding (Kubernetes:
//! `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`).

use std::cmp::Reverse;

use api_machinery::ApiError;
use http::{HeaderMap, header};

use crate::{cbor, protobuf};

/// So many media types are read of what a client takes, and so many parameters of each: it is read before anybody knows who asks.
const RANGES: usize = 32;
const PARAMETERS: usize = 16;

const ONLY_JSON: &str = "only the following media types are accepted: application/json";

/// How an answer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    /// Of whole answers alone: a watch has no form in it.
    Yaml,
    Protobuf,
    Cbor,
}

impl Media {
    /// All there are, those before others that a client likes as much.
    const ALL: [Self; 4] = [Self::Json, Self::Yaml, Self::Protobuf, Self::Cbor];

    /// The content type of one document.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
            Self::Cbor => cbor::MEDIA_TYPE,
        }
    }

    /// The content type of a watch's events.
    pub(crate) fn of_events(self) -> &'static str {
        match self {
            Self::Json | Self::Yaml => self.name(),
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Self::Cbor => cbor::SEQUENCE,
        }
    }
}

/// A form in which objects can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// As rows with printed columns.
    Table(MetaVersion),
    /// Their metadata alone.
    PartialObject(MetaVersion),
}

/// The versions of the forms that all kinds have, which say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// One range of an `Accept` header with the parameters that matter here.
#[derive(Debug, Default)]
struct Range<'a> {
    media: &'a str,
    form: &'a str,
    group: &'a str,
    version: &'a str,
    /// In thousandths, of which there may be no more than that.
    quality: u16,
    stream: &'a str,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let mut range = Self { media, quality: 1000, ..Self::default() };
        for (name, value) in parts.take(PARAMETERS).filter_map(|p| p.split_once('=')) {
            match name {
                "as" => range.form = value,
                "g" => range.group = value,
                "v" => range.version = value,
                "q" => range.quality = quality(value),
                "stream" => range.stream = value,
                _ => {}
            }
        }
        range
    }

    /// What comes first is asked first: what is liked more, or, if as much, what says more.
    fn rank(&self) -> (Reverse<u16>, bool, bool) {
        let is_any = self.media == "*/*" || self.media == "*";
        (Reverse(self.quality), is_any, self.media.ends_with("/*"))
    }

    fn takes(&self, media: Media, is_watch: bool) -> bool {
        let is_sequence = is_watch && media == Media::Cbor && self.media == cbor::SEQUENCE;
        let is_named = matches!(self.media, "application/*" | "*/*" | "*");
        let has_stream = match self.stream {
            "" => true,
            stream => stream == "watch" && media != Media::Yaml,
        };
        has_stream && (is_named || is_sequence || self.media == media.name())
    }

    fn is_plain(&self) -> bool {
        self.form.is_empty() && self.group.is_empty() && self.version.is_empty()
    }

    fn meta(&self) -> Option<MetaVersion> {
        match (self.group, self.version) {
            ("meta.k8s.io", "v1") => Some(MetaVersion::V1),
            ("meta.k8s.io", "v1beta1") => Some(MetaVersion::V1Beta1),
            _ => None,
        }
    }
}

fn quality(value: &str) -> u16 {
    let quality = value.parse::<f32>().unwrap_or_default().clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
    let thousandths = (quality * 1000.0) as u16;
    thousandths
}

/// The first form of the `Accept` header that this server has. Without the header, the object as JSON. Whether the objects
/// themselves have a form in protobuf is asked where it matters.
pub(crate) fn objects(
    headers: &HeaderMap,
    is_watch: bool,
    has_protobuf: impl Fn() -> bool,
) -> Result<(Media, Form), ApiError> {
    let form = |range: &Range<'_>, media| match range.form {
        "" if media == Media::Protobuf && !has_protobuf() => None,
        "" => range.is_plain().then_some(Form::Object),
        // Tables have no form but these (Kubernetes: `AllowsMediaTypeTransform`).
        "Table" if matches!(media, Media::Json | Media::Yaml) => range.meta().map(Form::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" => {
            range.meta().map(Form::PartialObject)
        }
        _ => None,
    };
    first(headers, is_watch, form).unwrap_or(Ok((Media::Json, Form::Object)))
}

/// How a document is to be encoded that has but one form.
pub(crate) fn document(headers: &HeaderMap) -> Result<Media, ApiError> {
    let form = |range: &Range<'_>, _| range.is_plain().then_some(());
    first(headers, false, form).map_or(Ok(Media::Json), |found| found.map(|(media, ())| media))
}

/// The same of a failure, which is told to everybody.
pub(crate) fn failure(headers: &HeaderMap) -> Media {
    document(headers).unwrap_or(Media::Json)
}

/// Whether the client would rather have discovery in one document, and how that is to be encoded.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Result<(Media, bool), ApiError> {
    let form = |range: &Range<'_>, _| match (range.form, range.group, range.version) {
        ("", "", "") => Some(false),
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(true),
        _ => None,
    };
    first(headers, false, form).unwrap_or(Ok((Media::Json, false)))
}

/// Fails unless the client takes JSON.
pub(crate) fn json(headers: &HeaderMap) -> Result<(), ApiError> {
    let form = |range: &Range<'_>, media| (range.is_plain() && media == Media::Json).then_some(());
    match first(headers, false, form) {
        Some(Err(_)) => Err(not_acceptable(ONLY_JSON)),
        _ => Ok(()),
    }
}

/// Whether the client would rather have a document in a form that has one of these names than as JSON. Fails if it takes
/// neither.
pub(crate) fn is_rather(headers: &HeaderMap, names: &[&str]) -> Result<bool, ApiError> {
    let Some(ranges) = ranked(headers) else { return Ok(false) };
    let is_json = |range: &Range<'_>| range.is_plain() && range.takes(Media::Json, false);
    let form = |range: &Range<'_>| {
        if names.contains(&range.media) { Some(true) } else { is_json(range).then_some(false) }
    };
    ranges.iter().find_map(form).ok_or_else(|| not_acceptable(ONLY_JSON))
}

fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).take(RANGES)
}

/// The ranges, those first that are liked more. `None` if the client says nothing.
fn ranked(headers: &HeaderMap) -> Option<Vec<Range<'_>>> {
    let accepted: Vec<&str> = ranges(headers).collect();
    if matches!(*accepted, [] | [""]) {
        return None;
    }
    let mut ranges: Vec<Range<'_>> = accepted.into_iter().map(Range::parse).collect();
    ranges.sort_by_key(Range::rank);
    Some(ranges)
}

fn first<T>(
    headers: &HeaderMap,
    is_watch: bool,
    choose: impl Fn(&Range<'_>, Media) -> Option<T>,
) -> Option<Result<(Media, T), ApiError>> {
    let found = ranked(headers)?.iter().find_map(|range| {
        let mut taken = Media::ALL.into_iter().filter(|media| range.takes(*media, is_watch));
        taken.find_map(|media| Some((media, choose(range, media)?)))
    });
    // As with Kubernetes it is not looked for what else might do.
    let found = found.filter(|(media, _)| !is_watch || *media != Media::Yaml);
    Some(found.ok_or_else(|| not_acceptable(&supported(is_watch))))
}

/// In Kubernetes' words, which name protobuf also where an object has no form in it.
fn supported(is_watch: bool) -> String {
    let name = |media: Media| match media {
        Media::Json if is_watch => "application/json;stream=watch",
        media if is_watch => media.of_events(),
        media => media.name(),
    };
    let all = Media::ALL.into_iter().filter(|media| !is_watch || *media != Media::Yaml);
    let names: Vec<&str> = all.map(name).collect();
    format!("only the following media types are accepted: {}", names.join(", "))
}

/// There is no answer in a form that the client takes.
pub(crate) fn not_acceptable(message: &str) -> ApiError {
    ApiError::new(406, "NotAcceptable", message)
}

#[cfg(test)]
mod tests {
    use super::{
        MetaVersion::{V1, V1Beta1},
        *,
    };

    /// Whether objects have a form in protobuf, and whether they are watched.
    type Answered = (bool, bool);

    const BUILT_IN: Answered = (true, false);

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        headers
    }

    #[track_caller]
    fn check(answered: Answered, accept: &str, expected: Option<(Media, Form)>) {
        let (has_protobuf, is_watch) = answered;
        let found = objects(&headers(accept), is_watch, || has_protobuf);
        assert_eq!(found.ok(), expected, "{accept}");
    }

    #[test]
    fn the_first_form_that_is_known_wins() {
        let check = |accept: &str, form: Option<Form>| {
            check(BUILT_IN, accept, form.map(|form| (Media::Json, form)));
        };
        check("application/json", Some(Form::Object));
        check("*/*", Some(Form::Object));
        check("application/*", Some(Form::Object));
        check("text/html, */*;q=0.8", Some(Form::Object));
        let table = |version: &str| format!("application/json;as=Table;v={version};g=meta.k8s.io");
        let or_plain = |version: &str| format!("{},application/json", table(version));
        check(&or_plain("v1"), Some(Form::Table(V1)));
        check(&or_plain("v1beta1"), Some(Form::Table(V1Beta1)));
        check(&or_plain("v1alpha1"), Some(Form::Object));
        check(&table("v1alpha1"), None);
        let metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        check(metadata, Some(Form::PartialObject(V1)));
        check(&format!("{metadata}beta1"), Some(Form::PartialObject(V1Beta1)));
        check("text/html", None);
        check("application/json;as=Frog;g=meta.k8s.io;v=v1", None);
        check("application/json;stream=frogs", None);
    }

    #[test]
    fn what_is_liked_more_or_said_first_is_the_encoding() {
        let check = |accept: &str, media: Media| {
            check(BUILT_IN, accept, Some((media, Form::Object)));
        };
        check("application/vnd.kubernetes.protobuf, application/json", Media::Protobuf);
        check("application/vnd.kubernetes.protobuf,*/*", Media::Protobuf);
        check("*/*, application/vnd.kubernetes.protobuf", Media::Protobuf);
        check("application/json,application/vnd.kubernetes.protobuf", Media::Json);
        check("application/json;q=0.9,application/vnd.kubernetes.protobuf", Media::Protobuf);
        check("application/json;q=0.9,application/cbor", Media::Cbor);
        check("application/cbor;q=0.1, application/json;q=0.2", Media::Json);
        check("application/cbor;q=frogs, application/json;q=0.2", Media::Json);
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
        check(&format!("{table},application/vnd.kubernetes.protobuf"), Media::Protobuf);
    }

    #[test]
    fn no_more_is_read_of_what_is_taken_than_anybody_means() {
        let after = |unknown: usize, taken: Option<Media>| {
            let accept = format!("{}application/cbor", "text/html,".repeat(unknown));
            check(BUILT_IN, &accept, taken.map(|media| (media, Form::Object)));
        };
        after(RANGES - 1, Some(Media::Cbor));
        after(RANGES, None);
        check(BUILT_IN, "", Some((Media::Json, Form::Object)));
        check(BUILT_IN, &",".repeat(256 << 10), None);
    }

    #[test]
    fn a_document_of_two_forms_comes_in_the_one_that_is_liked_more() {
        let check = |accept: &str, expected: Option<bool>| {
            let found = is_rather(&headers(accept), &["application/x@v1+protobuf"]);
            assert_eq!(found.ok(), expected, "{accept}");
        };
        check("", Some(false));
        check("*/*", Some(false));
        check("application/json", Some(false));
        check("application/x@v1+protobuf", Some(true));
        check("application/x@v1+protobuf, application/json", Some(true));
        check("application/json, application/x@v1+protobuf", Some(false));
        check("application/x@v1+protobuf;q=0.5, application/json", Some(false));
        check("application/yaml", None);
    }

    #[test]
    fn what_comes_from_data_has_no_protobuf_but_metadata_have() {
        let custom = (false, false);
        let protobuf = "application/vnd.kubernetes.protobuf";
        check(custom, protobuf, None);
        check(custom, &format!("{protobuf},application/json"), Some((Media::Json, Form::Object)));
        check(custom, "application/cbor", Some((Media::Cbor, Form::Object)));
        let metadata = format!("{protobuf};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        check(custom, &metadata, Some((Media::Protobuf, Form::PartialObject(V1))));
        assert_eq!(failure(&headers(&metadata)), Media::Json);
        assert_eq!(failure(&headers(&format!("{metadata},{protobuf}"))), Media::Protobuf);
    }

    #[test]
    fn everything_but_a_watch_has_a_form_in_yaml() {
        let table = ";as=Table;v=v1;g=meta.k8s.io";
        for answered in [BUILT_IN, (false, false)] {
            check(answered, "application/yaml", Some((Media::Yaml, Form::Object)));
            let table = format!("application/yaml{table}");
            check(answered, &table, Some((Media::Yaml, Form::Table(V1))));
        }
        check(BUILT_IN, "application/*", Some((Media::Json, Form::Object)));
        let streamed = "application/yaml;stream=watch";
        check(BUILT_IN, streamed, None);
        let watch = (true, true);
        check(watch, streamed, None);
        check(watch, &format!("{streamed},*/*"), Some((Media::Json, Form::Object)));
        check(watch, "application/yaml", None);
        check(watch, "application/yaml,application/json", None);
        check(watch, "application/json,application/yaml", Some((Media::Json, Form::Object)));
        assert_eq!(failure(&headers("application/yaml")), Media::Yaml);
        let refused = objects(&headers("text/html"), false, || true).unwrap_err().to_string();
        assert!(refused.ends_with(": application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor"), "{refused}");
    }

    #[test]
    fn a_sequence_is_taken_for_what_a_watch_is_answered_with() {
        let watch = (true, true);
        check(watch, "application/cbor-seq", Some((Media::Cbor, Form::Object)));
        check(watch, "application/cbor", Some((Media::Cbor, Form::Object)));
        let protobuf = "application/vnd.kubernetes.protobuf;stream=watch";
        check(watch, protobuf, Some((Media::Protobuf, Form::Object)));
        check(BUILT_IN, "application/cbor-seq", None);
        let refused = objects(&headers("text/html"), true, || true).unwrap_err().to_string();
        assert!(refused.ends_with("application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch, application/cbor-seq"), "{refused}");
    }
}
