//! URLs of stores: their schemes, and the parts that errors show.

use std::path::Path;

use simrecorder_core::{Error, ErrorKind};

use crate::detect::Format;

/// The store that a scheme names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Memory,
    File(Format),
    Redis,
}

const SCHEMES: [(&str, Scheme); 7] = [
    ("memory", Scheme::Memory),
    ("zarr", Scheme::File(Format::Lmdb)),
    ("zarr+dir", Scheme::File(Format::Directory)),
    ("hdf5", Scheme::File(Format::Hdf5)),
    ("redis", Scheme::Redis),
    ("rediss", Scheme::Redis),
    (REDIS_SOCKET, Scheme::Redis),
];

const REDIS_SOCKET: &str = "redis+unix";

/// Unknown schemes, and the right ones instead; `None` if a path alone is right.
const MISTAKES: [(&str, Option<&str>); 11] = [
    ("lmdb", Some("zarr")),
    ("mdb", Some("zarr")),
    ("dir", Some("zarr+dir")),
    ("directory", Some("zarr+dir")),
    ("zarr-dir", Some("zarr+dir")),
    ("h5", Some("hdf5")),
    ("hdf", Some("hdf5")),
    ("file", None),
    ("mem", Some("memory")),
    ("valkey", Some("redis")),
    ("valkeys", Some("rediss")),
];

/// Text that begins with a scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Url<'a> {
    text: &'a str,
    pub(crate) scheme: Scheme,
    /// The scheme as it is written.
    pub(crate) name: &'a str,
    /// The text between the scheme and a `?`.
    pub(crate) place: &'a str,
    /// The text after the `?`.
    query: &'a str,
}

impl<'a> Url<'a> {
    /// Parses a URL; `None` if the text does not begin with a scheme and a colon.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        let scheme = scheme_named(name)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some(Self {
            text,
            scheme,
            name,
            place,
            query,
        })
    }

    /// The options in the query, each as `name=value`.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'a str> {
        self.query.split('&').filter(|option| !option.is_empty())
    }

    /// Whether the query may be a part of a password.
    pub(crate) fn query_may_be_secret(&self) -> bool {
        self.scheme == Scheme::Redis && self.name != REDIS_SOCKET && self.query.contains('@')
    }

    /// The URL as errors show it.
    pub(crate) fn shown(&self) -> String {
        shown(self.text)
    }
}

fn scheme_named(name: &str) -> Option<Scheme> {
    let mut schemes = SCHEMES.into_iter();
    let (_, scheme) = schemes.find(|(known, _)| *known == name)?;
    Some(scheme)
}

/// The right scheme for a wrong one, or `Some(None)` if a path alone is right; `None` if that is unknown.
fn meant(name: &str) -> Option<Option<&'static str>> {
    let name = name.to_ascii_lowercase();
    let known = SCHEMES.into_iter().map(|(known, _)| (known, Some(known)));
    let mut all = known.chain(MISTAKES);
    all.find(|(wrong, _)| *wrong == name)
        .map(|(_, right)| right)
}

/// The error for a path without anything, if it looks like a URL rather than a path.
pub(crate) fn mistaken(text: &str) -> Option<Error> {
    let Some((name, rest)) = text.split_once(':') else {
        let what = "there is nothing at this path, and a scheme is followed by a colon";
        return scheme_named(text).map(|_| refuse(text, what));
    };
    if name.is_empty() {
        return Some(refuse(text, "this URL has no scheme"));
    }
    if !is_scheme(name) {
        return None;
    }
    let advice = match meant(name) {
        Some(None) => "; write the path alone".to_owned(),
        Some(Some(right)) => match scheme_named(right) {
            Some(Scheme::File(_)) => format!("; write {right}: in its place, or the path alone"),
            _ => format!("; write {right}: in its place"),
        },
        None if rest.starts_with("//") => String::new(),
        None => "; write ./ before the name of a file that has a colon in it".to_owned(),
    };
    Some(refuse(text, &format!("unknown scheme '{name}'{advice}")))
}

/// The error for text that is neither a path nor a URL, which lists the schemes.
pub(crate) fn refuse(text: &str, what: &str) -> Error {
    let message = format!("{what}; the schemes are {}", schemes());
    Error::new(ErrorKind::InvalidArgument, "open", message).with_key(shown(text))
}

/// Whether this can be the scheme of a URL. One letter is the drive of a path.
fn is_scheme(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The schemes that this build opens.
fn schemes() -> String {
    let mut schemes = vec!["memory:"];
    if cfg!(feature = "zarr") {
        schemes.extend(["zarr:", "zarr+dir:"]);
    }
    if cfg!(feature = "hdf5") {
        schemes.push("hdf5:");
    }
    if cfg!(feature = "redis") {
        schemes.extend(["redis://", "rediss://", "redis+unix:"]);
    }
    schemes.join(", ")
}

/// A path without anything at it and without the extension of a format, as errors show it: it may be a URL without its
/// scheme, so a part that may belong to a password is left out.
pub(crate) fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    match text.split_once('?') {
        _ if text.contains('@') => "the path".to_owned(),
        Some((before, _)) => before.to_owned(),
        None => text.into_owned(),
    }
}

/// A URL without the parts that may belong to a user or a password, even in a malformed one.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let meant = meant(scheme).map(|meant| meant.and_then(scheme_named));
    if meant.is_some_and(|scheme| scheme != Some(Scheme::Redis)) {
        return url.to_owned();
    }
    if scheme.contains('@') {
        return "the URL".to_owned();
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if scheme == REDIS_SOCKET && !place.contains('@') {
        return format!("{scheme}:{place}");
    }
    let hosts = place.strip_prefix("//").filter(|_| !query.contains('@'));
    let hosts = hosts.map(|hosts| hosts.rsplit_once('@').map_or(hosts, |(_, hosts)| hosts));
    let hosts = hosts.and_then(|hosts| hosts.split(['/', '#']).next());
    match hosts.filter(|hosts| hosts.split(',').all(is_host)) {
        Some(hosts) => format!("{scheme}://{hosts}"),
        None if url == scheme => scheme.to_owned(),
        None => format!("{scheme}:"),
    }
}

/// Whether this is a host with or without a port, and not a user with a password.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (text, ""),
    };
    let is_address = name.starts_with('[') && name.ends_with(']');
    port.bytes().all(|b| b.is_ascii_digit())
        && (is_address || !name.is_empty() && !name.contains(':'))
}
