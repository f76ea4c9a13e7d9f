//! Pages that come back from a server that was asked: what they link to on that server is below the path that leads there.
//! (Kubernetes: `apimachinery/pkg/util/proxy/transport.go`.)

use std::sync::Arc;

use axum::BoxError;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, header};
use lol_html::{
    MemorySettings, element,
    send::{Element, HtmlRewriter, Settings},
};
use parking_lot::Mutex;

/// Where elements have links.
const LINKS: [(&str, &[&str]); 27] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("td", &["background"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// What is kept of a page until it is known what it is, as a tag that does not end.
const MOST: usize = 1 << 20;

/// Whether an answer is a page whose links can be seen: as text, of a kind that says letters as ASCII does.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text(header::CONTENT_TYPE).to_ascii_lowercase();
    let is_html = kind.split(';').next().is_some_and(|kind| kind.trim() == "text/html");
    let coding = text(header::CONTENT_ENCODING);
    is_html && !kind.contains("utf-16") && (coding.is_empty() || coding == "identity")
}

/// The page with the links as `link` has them, as it comes. What can't be read is passed on as it is.
pub(super) fn with_links<E: Into<BoxError>>(
    page: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    link: impl Fn(&str) -> String + Clone + Send + 'static,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    async_stream::try_stream! {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let out = written.clone();
        let sink = move |piece: &[u8]| out.lock().extend_from_slice(piece);
        let mut rewriter = Some(HtmlRewriter::new(settings(&link), sink));
        for await piece in page {
            let piece = piece.map_err(Into::into)?;
            let Some(mut whole) = rewriter.take() else {
                yield piece;
                continue;
            };
            // After a failure the rest of the piece is there all the same.
            rewriter = whole.write(&piece).is_ok().then_some(whole);
            let made = std::mem::take(&mut *written.lock());
            if !made.is_empty() {
                yield made.into();
            }
        }
        if let Some(rewriter) = rewriter {
            let _ = rewriter.end();
            let made = std::mem::take(&mut *written.lock());
            yield made.into();
        }
    }
}

fn settings<L>(link: &L) -> Settings<'static, 'static>
where
    L: Fn(&str) -> String + Clone + Send + 'static,
{
    let memory = MemorySettings::new()
        .with_max_allowed_memory_usage(MOST)
        .with_graceful_bail_out_on_memory_limit_exceeded(true);
    let settings = Settings::new_send().with_memory_settings(memory).with_strict(false);
    LINKS.into_iter().fold(settings, |settings, (name, attributes)| {
        let link = link.clone();
        settings.append_element_content_handler(element!(name, move |element: &mut Element<
            '_,
            '_,
        >| {
            for attribute in attributes {
                if let Some(given) = element.get_attribute(attribute) {
                    let wanted = link(&given);
                    if wanted != given {
                        element.set_attribute(attribute, &wanted)?;
                    }
                }
            }
            Ok(())
        }))
    })
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    async fn shown(pieces: Vec<String>) -> String {
        let page = stream::iter(pieces).map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        let link = |given: &str| match given.starts_with('/') {
            true => format!("/proxy{given}"),
            false => given.to_owned(),
        };
        let pieces: Vec<_> = with_links(page, link).map(Result::unwrap).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn links_are_changed_where_elements_have_them() {
        let check = async |given: &str, expected: &str| {
            let halves = given.split_at(given.len() / 2);
            for pieces in [vec![given], vec![halves.0, halves.1]] {
                let pieces = pieces.into_iter().map(str::to_owned).collect();
                assert_eq!(shown(pieces).await, expected);
            }
        };
        check("<a href=\"/x\">/x</a>", "<a href=\"/proxy/x\">/x</a>").await;
        check("<A HREF=/x?a=1&amp;b>y", "<A HREF=\"/proxy/x?a=1&amp;b\">y").await;
        check("<img src='/i' alt=\"/i\">", "<img src=\"/proxy/i\" alt=\"/i\">").await;
        let as_it_is = "<!-- <a href=\"/x\"> --><p href=\"/x\" ><a  href='x'><script>'<a href=/x>'";
        check(as_it_is, as_it_is).await;
    }

    #[tokio::test]
    async fn a_tag_without_end_is_passed_on() {
        let endless = format!("<a href=\"{}", "x".repeat(2 * MOST));
        let found = shown(vec![endless.clone(), "<a href=\"/x\">".to_owned()]).await;
        assert!(found == endless + "<a href=\"/x\">", "{} bytes", found.len());
    }

    #[test]
    fn pages_are_text_that_is_not_compressed() {
        let check = |given: &[(&'static str, &'static str)], expected: bool| {
            let value = |it: &str| it.parse().unwrap();
            let headers = given.iter().map(|(name, it)| (name.parse().unwrap(), value(it)));
            assert_eq!(is_page(&headers.collect()), expected, "{given:?}");
        };
        check(&[("content-type", "text/html; charset=utf-8")], true);
        check(&[("content-type", "Text/HTML")], true);
        check(&[("content-type", "text/html; charset=UTF-16LE")], false);
        check(&[("content-type", "application/json")], false);
        check(&[("content-type", "text/html"), ("content-encoding", "gzip")], false);
        check(&[], false);
    }
}
