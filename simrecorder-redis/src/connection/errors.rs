//! Converts errors of the client library and the server into the project's error type.

use redis::{ErrorKind as RedisKind, RedisError, ServerError, ServerErrorKind};
use simrecorder_core::{Error, ErrorKind};

pub(crate) fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "read", message)
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, "open", message)
}

/// The error for a reply of another form than the command expects.
pub(crate) fn unexpected(what: &str) -> Error {
    let message = format!("the server's reply is not a {what}");
    Error::new(ErrorKind::Corrupt, "read", message)
}

/// Whether trying again on a new connection may help.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        // A host name that does not exist will not exist a second later, either.
        RedisKind::Io => !error.to_string().contains("failed to lookup address"),
        RedisKind::ClusterConnectionNotFound
        | RedisKind::MasterNameNotFoundBySentinel
        | RedisKind::NoValidReplicasFoundBySentinel => true,
        RedisKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::ReadOnly
        ),
        _ => matches!(error.code(), Some("BUSY" | "NOREPLICAS")),
    }
}

/// Whether the server is running but not ready yet.
pub(crate) fn is_loading(error: &RedisError) -> bool {
    error.kind() == RedisKind::Server(ServerErrorKind::BusyLoading)
}

pub(crate) fn from_redis(operation: &'static str, error: RedisError) -> Error {
    let (kind, message) = match error.kind() {
        RedisKind::AuthenticationFailed => (
            ErrorKind::PermissionDenied,
            "the server rejected the user name or password",
        ),
        RedisKind::Io if error.is_timeout() => (ErrorKind::Io, "the server did not answer in time"),
        RedisKind::Io if error.is_connection_refusal() => (
            ErrorKind::Io,
            "no program listens at this address; is the server running?",
        ),
        RedisKind::Io => (ErrorKind::Io, "the connection to the server failed"),
        RedisKind::Parse | RedisKind::UnexpectedReturnType => (
            ErrorKind::Corrupt,
            "the reply is not from a Redis server; check the address",
        ),
        RedisKind::InvalidClientConfig => (ErrorKind::InvalidArgument, "the address is not valid"),
        _ => of_code(error.code().unwrap_or_default()),
    };
    Error::new(kind, operation, message).with_source(ServerMessage(error.to_string()))
}

/// The message of the client library or the server as one text: its own sources repeat it.
#[derive(Debug)]
struct ServerMessage(String);

impl std::fmt::Display for ServerMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerMessage {}

pub(crate) fn from_server(operation: &'static str, error: &ServerError) -> Error {
    from_redis(operation, error.clone().into())
}

/// The meaning of the first word of a server error.
fn of_code(code: &str) -> (ErrorKind, &'static str) {
    match code {
        "OOM" => (
            ErrorKind::StorageFull,
            "the server is at its memory limit; drain the recording, or raise maxmemory",
        ),
        "MISCONF" => (
            ErrorKind::StorageFull,
            "the server cannot write to its disk and refuses changes; free some space",
        ),
        "WRONGTYPE" => (
            ErrorKind::Corrupt,
            "another program uses a key of this recording for something else",
        ),
        "NOAUTH" => (
            ErrorKind::PermissionDenied,
            "the server requires a password; give it in the URL",
        ),
        "WRONGPASS" => (
            ErrorKind::PermissionDenied,
            "the server rejected the user name or password",
        ),
        "NOPERM" | "DENIED" => (
            ErrorKind::PermissionDenied,
            "the server does not let this user run the commands that simrecorder needs",
        ),
        "LOADING" => (ErrorKind::Io, "the server is still loading its data"),
        "READONLY" => (
            ErrorKind::Io,
            "the server is a replica and accepts no records; connect to its primary",
        ),
        "NOREPLICAS" => (
            ErrorKind::Io,
            "fewer replicas are connected than min-replicas-to-write requires; start them, or \
             lower the setting",
        ),
        "CROSSSLOT" | "MOVED" => (
            ErrorKind::InvalidArgument,
            "the server is part of a cluster; open it with cluster(true) or ?cluster=true",
        ),
        _ => (ErrorKind::Io, "the server reported an error"),
    }
}
