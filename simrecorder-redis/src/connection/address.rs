//! The address of a server, parsed from a URL.

use std::fmt;
use std::path::PathBuf;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};
use simrecorder_core::{Result, expand_home};

use crate::connection::errors::{from_redis, invalid};
use crate::connection::percent::percent_decoded;

/// The kind of servers that the hosts of a URL are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One server that stores everything.
    #[default]
    Single,
    /// Nodes of a cluster.
    Cluster,
    /// Sentinels, which know the address of the server with this name.
    Sentinel(String),
}

/// A parsed URL.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) hosts: Vec<ConnectionInfo>,
    pub(crate) topology: Topology,
    pub(crate) run: Option<String>,
    pub(crate) tls_ca: Option<PathBuf>,
}

const SCHEMES: [&str; 4] = ["redis", "rediss", "redis+unix", "unix"];
const OPTIONS: &str = "run, cluster, sentinel and tls_ca, and for a Unix socket db, user and pass";

impl Address {
    /// Parses a URL. Errors do not show the URL, because it may contain a password.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = place.split_once(':').unwrap_or((place, ""));
        if !SCHEMES.contains(&scheme) {
            return Err(invalid(
                "this URL does not begin with a scheme of Redis; use redis://, rediss:// or redis+unix:",
            ));
        }
        let is_socket = scheme.ends_with("unix");
        if !is_socket {
            check_user(scheme, &url[scheme.len()..])?;
        }
        let mut address = Self {
            hosts: Vec::new(),
            topology: Topology::Single,
            run: None,
            tls_ca: None,
        };
        let mut of_socket = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match name {
                "run" => address.run = Some(percent_decoded(value)?),
                "cluster" if value == "true" => address.topology = Topology::Cluster,
                "cluster" if value == "false" => {}
                "cluster" => return Err(invalid("cluster= must be true or false")),
                "sentinel" => address.topology = Topology::Sentinel(percent_decoded(value)?),
                "tls_ca" => address.tls_ca = Some(expand_home(percent_decoded(value)?)?),
                "db" | "user" | "pass" if is_socket => of_socket.push(option),
                _ if is_socket && query.contains("pass=") => {
                    let message =
                        format!("an option is not one of {OPTIONS}; in a password, write & as %26");
                    return Err(invalid(message));
                }
                _ => {
                    let is_name = |b: u8| b.is_ascii_lowercase() || b == b'_';
                    let named = match option.contains('=') && name.bytes().all(is_name) {
                        true => format!("unknown option '{name}'"),
                        false => "unknown option".to_owned(),
                    };
                    return Err(invalid(format!("{named}; the options are {OPTIONS}")));
                }
            }
        }
        if is_socket {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let path = match path.strip_prefix("~/") {
                Some(below) => format!("{}/{below}", home_in_url()?),
                None => path.to_owned(),
            };
            let url = format!("redis+unix://{path}?{}", of_socket.join("&"));
            address.hosts.push(connection_info(&url)?);
        } else {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, hosts) = match authority.rsplit_once('@') {
                Some((user, hosts)) => (format!("{user}@"), hosts),
                None => (String::new(), authority),
            };
            for host in hosts.split(',') {
                let url = format!("{scheme}://{user}{host}/{database}");
                address.hosts.push(connection_info(&url)?);
            }
        }
        if address.hosts.len() > 1 && address.topology == Topology::Single {
            let message =
                "several hosts need to be a cluster or sentinels; add cluster=true or sentinel=";
            return Err(invalid(message));
        }
        Ok(address)
    }
}

/// Checks that the part after a scheme names hosts, with user and password in their places.
/// Otherwise, errors would show a part of a password that is mistaken for something else.
fn check_user(scheme: &str, rest: &str) -> Result<()> {
    let Some(rest) = rest.strip_prefix("://") else {
        return Err(invalid(format!("the address begins with {scheme}://")));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match rest[authority.len()..].contains('@') {
        true => Err(invalid(
            "there is an @ after a /, ? or #; in a password write / as %2f, ? as %3f and # as %23, \
             in an option @ as %40",
        )),
        false => Ok(()),
    }
}

fn connection_info(url: &str) -> Result<ConnectionInfo> {
    let info = url.into_connection_info().map_err(|e| {
        // For a URL that it cannot parse, the URL library's error does not contain any part of the
        // URL.
        from_redis("open", e).with_key("the URL of the Redis server")
    })?;
    // A commit ends with a small packet, which must not wait for the reply to the previous one.
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// The home folder, as the beginning of the path of a URL.
fn home_in_url() -> Result<String> {
    let home = expand_home("~")?.display().to_string();
    let encoded = [('%', "%25"), ('?', "%3F"), ('#', "%23")];
    Ok(encoded
        .into_iter()
        .fold(home, |home, (plain, code)| home.replace(plain, code)))
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.hosts.iter().enumerate() {
            let scheme = match host.addr() {
                redis::ConnectionAddr::TcpTls { .. } => "rediss://",
                redis::ConnectionAddr::Unix(_) => "redis+unix:",
                _ => "redis://",
            };
            let scheme = if index == 0 { scheme } else { "," };
            write!(f, "{scheme}{}", host.addr())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simrecorder_core::ErrorKind;

    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let address = Address::parse("redis://u:p%40ss@host:1,other/3?run=a%20b&cluster=true");
        let address = address.unwrap();
        assert_eq!(address.to_string(), "redis://host:1,other:6379");
        assert_eq!(address.run.as_deref(), Some("a b"));
        assert_eq!(address.topology, Topology::Cluster);
        let settings = address.hosts[1].redis_settings();
        assert_eq!(settings.password(), Some("p@ss"));
        assert_eq!(settings.db(), 3);
        let socket = Address::parse("redis+unix:/tmp/x.sock?db=2&pass=secret&run=r").unwrap();
        assert_eq!(socket.to_string(), "redis+unix:/tmp/x.sock");
        assert_eq!(socket.hosts[0].redis_settings().db(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (url, part) in [
            ("http://:secret@host", "redis://"),
            ("redis:host", "redis://"),
            ("redis://:secret@host?rum=x", "'rum'"),
            ("redis://:secret@host?db=1", "'db'"),
            ("redis://:secret@host?run=%zz", "%"),
            ("redis://:secret@a,b", "cluster=true"),
            ("redis://:secret@host/x", "database"),
            ("redis://:secret@host:port", "URL"),
            ("redis://:secret@", "URL"),
            ("redis://:secret@host?cluster=yes", "true or false"),
            ("redis://:pa?secret@host", "%3f"),
            ("redis://user:12?run=secret@host", "%3f"),
            ("redis://user:12#secret@host", "%23"),
            ("redis://user:12/secret@host", "%2f"),
            ("redis://host?password=secret", "'password'"),
            ("redis+unix:/s?pass=a&secret", "%26"),
            ("redis+unix:/s?pass=a&secret=b", "%26"),
            ("redis:/:secret@host", "redis://"),
            ("redis:secret@host", "redis://"),
            ("secret@host:6379", "redis://"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}: {error}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(part), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let address = Address::parse("redis://user:secret@host?run=%40").unwrap();
        assert_eq!(address.run.as_deref(), Some("@"));
        assert!(!format!("{address} {address:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn any_url_is_taken_apart_or_refused_without_its_password(
            parts in prop::collection::vec(prop_oneof![
                prop::sample::select(vec![
                    "redis", "rediss", "redis+unix", "unix", ":", "//", "@", "host", ",", "/", "?",
                    "&", "=", "run", "cluster", "true", "sentinel", "tls_ca", "db", "pass", "%",
                    "%zz", "%41", "[::1]", "6379", "99999", "~", "#", "sesame-open",
                ]).prop_map(str::to_owned),
                "[a-z0-9@:/?&=%#.\\[\\]-]{0,6}",
                any::<String>(),
            ], 0..16),
            begin in prop::sample::select(vec!["", "redis://", "rediss://:sesame-open@", "redis+unix:"]),
        ) {
            let url = format!("{begin}{}", parts.concat());
            match Address::parse(&url) {
                Ok(address) => {
                    prop_assert!(!address.hosts.is_empty());
                    for host in &address.hosts {
                        if host.redis_settings().password() == Some("sesame-open") {
                            let shown = format!("{address}");
                            let host = shown.matches("sesame-open").count();
                            prop_assert!(host <= parts.iter().filter(|it| it.contains("sesame-open")).count());
                        }
                    }
                }
                Err(error) => prop_assert!(
                    matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::Unsupported),
                    "{error}"
                ),
            }
        }

        #[test]
        fn a_password_of_a_sound_url_is_not_shown(
            password in "[a-zA-Z0-9%$!*+.-]{8,20}",
            host in "[A-Z]{0,3}\\.[a-z]{1,5}",
            rest in "(/[0-9]{0,3})?(\\?[a-z]{0,5}=[a-z]{0,4})?",
        ) {
            let shown = match Address::parse(&format!("redis://:{password}@{host}{rest}")) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains(&password), "{shown}");
        }

        #[test]
        fn no_piece_of_a_password_that_was_not_escaped_is_shown(
            pieces in prop::collection::vec(prop_oneof![
                Just("SESAME"), Just("SESAME"), Just("?"), Just("&"), Just("/"), Just("#"), Just("%"),
                Just("="), Just(":"), Just("@"), Just("run="), Just("7"),
            ], 0..10),
            begin in prop::sample::select(vec![
                "redis://:", "rediss://user:", "redis://", "redis:", "redis:/:",
            ]),
            rest in "(/[0-9]{0,3})?(\\?[a-z]{0,5}=[a-z]{0,4})?",
        ) {
            let shown = match Address::parse(&format!("{begin}{}@host{rest}", pieces.concat())) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("SESAME"), "{shown}");
        }

        #[test]
        fn no_piece_of_the_password_of_a_socket_is_shown(
            pieces in prop::collection::vec(prop_oneof![
                Just("SESAME"), Just("SESAME"), Just("?"), Just("&"), Just("/"), Just("#"), Just("%"),
                Just("="), Just("@"), Just("7"),
            ], 0..10),
            rest in "(&[a-z]{0,5}=[a-z]{0,4})?",
        ) {
            let url = format!("redis+unix:/socket?pass={}{rest}", pieces.concat());
            let shown = match Address::parse(&url) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("SESAME"), "{shown}");
        }
    }
}
