//! What pages load: all of it ours, and part of the program.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// Name, type and content.
const ALL: [(&str, &str, &str); 5] = [
    ("page.css", "text/css; charset=utf-8", include_str!("../../assets/page.css")),
    ("drawings.css", "text/css; charset=utf-8", include_str!("../../assets/drawings.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("../../assets/page.js")),
    ("preview.js", "text/javascript; charset=utf-8", include_str!("../../assets/preview.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

const TAG: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, content)) = ALL.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A development build changes without a new version.
    let tag = format!("{}-{}\"", TAG.trim_end_matches('"'), content.len());
    let said = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, said).into_response();
    }
    (said, [(header::CONTENT_TYPE, *kind)], *content).into_response()
}
