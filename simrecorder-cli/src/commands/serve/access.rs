//! Who may ask the server: the person who started it, and nobody else.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use simrecorder::{Error, ErrorKind};

/// The longest address of a request, with what it asks for.
const MAX_ADDRESS_BYTES: usize = 16 << 10;

/// On every response. Nothing comes from elsewhere, and no script or style is within the page.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The secret of a server, and the names under which it is reached.
#[derive(Debug)]
pub(super) struct Access {
    token: String,
    /// Cookies are of a host, whatever its port.
    cookie: String,
    host_name: Option<String>,
}

impl Access {
    /// Access to a server at a port, under the loopback names, addresses, and `host_name`.
    pub(super) fn new(port: u16, host_name: Option<String>) -> Result<Self, Error> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| {
            let message = format!("the system gives no random numbers: {error}");
            Error::new(ErrorKind::Unsupported, "serve", message)
        })?;
        Ok(Self {
            token: crate::element::hex(&bytes),
            cookie: format!("simrec-{port}"),
            host_name,
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Whether a request names this server. A page elsewhere may have its name lead here (DNS rebinding), but
    /// the request then has that name.
    fn is_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let name = match host.strip_prefix('[') {
            Some(address) => address.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let is_own_name = self.host_name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok() || is_own_name
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, token)| name == self.cookie && self.is_token(token))
    }

    /// Takes as long for each text of this length.
    fn is_token(&self, text: &str) -> bool {
        let differing = self.token.bytes().zip(text.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
        text.len() == self.token.len() && differing == 0
    }
}

/// What the address that is printed contains.
#[derive(Deserialize)]
pub(super) struct TokenQuery {
    token: Option<String>,
}

/// Answers what is allowed, and refuses the rest.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    Query(query): Query<TokenQuery>,
    request: Request,
    next: Next,
) -> Response {
    let address = request.uri();
    let mut response = if !access.is_host(request.headers()) {
        let message = "this server does not have the name that the request asks for";
        (StatusCode::MISDIRECTED_REQUEST, message).into_response()
    } else if address.path_and_query().is_none_or(|it| it.as_str().len() > MAX_ADDRESS_BYTES) {
        StatusCode::URI_TOO_LONG.into_response()
    } else if query.token.as_deref().is_some_and(|token| access.is_token(token)) {
        // The token leaves the address, and the history of the browser.
        let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", access.cookie, access.token);
        (StatusCode::SEE_OTHER, [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)]).into_response()
    } else if access.has_cookie(request.headers()) {
        next.run(request).await
    } else {
        let message = "open the address that 'simrec serve' printed; it contains a token";
        (StatusCode::FORBIDDEN, message).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
