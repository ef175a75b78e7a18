//! Who may send requests: only the person who started the server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, HOST, LOCATION,
    REFERRER_POLICY, SET_COOKIE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use simrecorder::{Error, ErrorKind};

use super::query::Query;

/// The longest address of a request, including its query string.
const MAX_ADDRESS_BYTES: usize = 16 << 10;

/// On every response. The page loads nothing from elsewhere, and contains no inline script or
/// style.
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

/// The secret of a server, and the names under which it can be reached.
#[derive(Debug)]
pub(super) struct Access {
    address: SocketAddr,
    token: String,
    /// The name of the cookie. Cookies belong to a host, whatever its port.
    cookie: String,
    host_name: String,
}

impl Access {
    /// Access to a server at an address. A server for other machines can also be reached by the
    /// name of this machine.
    pub(super) fn new(address: SocketAddr) -> Result<Self, Error> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| {
            let message = format!("the system gives no random numbers: {error}");
            Error::new(ErrorKind::Unsupported, "serve", message)
        })?;
        let host_name = match address.ip().is_loopback() {
            true => "localhost".to_owned(),
            false => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        };
        Ok(Self {
            address,
            token: crate::element::hex(&bytes),
            cookie: format!("simrec-{}", address.port()),
            host_name,
        })
    }

    /// The address to open in a browser, with the token.
    pub(super) fn url(&self) -> String {
        let Self { address, token, .. } = self;
        match address.ip().is_unspecified() {
            true => format!(
                "http://{}:{}/?token={token}",
                self.host_name,
                address.port()
            ),
            false => format!("http://{address}/?token={token}"),
        }
    }

    /// Whether the request names this server. A page elsewhere may resolve its own name to this
    /// server (DNS rebinding), but then the request contains that name.
    fn is_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let Some(name) = host.to_str().ok().and_then(name_of_host) else {
            return false;
        };
        // A tunnel may use another port.
        name.eq_ignore_ascii_case("localhost")
            || name.eq_ignore_ascii_case(&self.host_name)
            || name
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback() || !self.address.ip().is_loopback())
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let cookies = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, token)| name == self.cookie && self.is_token(token))
    }

    /// Takes the same time for each text of this length.
    fn is_token(&self, text: &str) -> bool {
        let differing = self
            .token
            .bytes()
            .zip(text.bytes())
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        text.len() == self.token.len() && differing == 0
    }

    /// The response to a request that is rejected.
    fn refusal(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let address = request.uri();
        if !self.is_host(headers) {
            let message = "the host name in the request is not a name of this server";
            return Some((StatusCode::MISDIRECTED_REQUEST, message).into_response());
        }
        if address
            .path_and_query()
            .is_none_or(|it| it.as_str().len() > MAX_ADDRESS_BYTES)
        {
            return Some(StatusCode::URI_TOO_LONG.into_response());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")]).into_response());
        }
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0");
        if has_body {
            return Some(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        }
        let query = Query::parse(address.query().unwrap_or_default());
        if address.path() == "/" && query.get("token").is_some_and(|token| self.is_token(token)) {
            // Removes the token from the address, and so from the history of the browser.
            let cookie = format!(
                "{}={}; Path=/; HttpOnly; SameSite=Strict",
                self.cookie, self.token
            );
            let headers = [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)];
            return Some((StatusCode::SEE_OTHER, headers).into_response());
        }
        if self.has_cookie(headers) {
            return None;
        }
        let message = "open the address that 'simrec serve' printed; it contains a token";
        Some((StatusCode::FORBIDDEN, message).into_response())
    }
}

/// The name in a `Host` header, without the port and the brackets of an IPv6 address.
fn name_of_host(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = rest.is_empty() || rest.strip_prefix(':')?.parse::<u16>().is_ok();
    is_port.then_some(name)
}

/// Passes on allowed requests, and rejects all others.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match access.refusal(&request) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
