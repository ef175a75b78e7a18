//! The files of the page, which the program contains.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

/// The path, the type and the contents of each file of the page. `npm run build` in `web/` creates
/// them.
const FILES: [(&str, &str, &[u8]); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../../../page/index.html"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../page/page.js"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_bytes!("../../../page/page.css"),
    ),
    (
        "/favicon.svg",
        "image/svg+xml",
        include_bytes!("../../../page/favicon.svg"),
    ),
    (
        "/licences.txt",
        "text/plain; charset=utf-8",
        include_bytes!("../../../page/licences.txt"),
    ),
];

pub(super) fn router() -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, of_type, content)| {
            router.route(
                path,
                get(move || async move { ([(CONTENT_TYPE, of_type)], content) }),
            )
        })
}
