//! Connections to the server: opened on demand, reused, and replaced when they break.

pub(crate) mod address;
pub(crate) mod errors;
pub(crate) mod percent;
pub(crate) mod reply;

use std::collections::BTreeSet;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ConnectionLike, RedisError, RedisResult,
    TlsCertificates, Value,
};
use rustls::crypto::CryptoProvider;
use simrecorder_core::backend::fork::{ProcessLocal, uninterrupted};
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::{Error, Result};

use crate::connection::address::{Address, Topology};
use crate::connection::errors::{from_redis, invalid, is_loading, is_transient, unexpected};
use crate::connection::reply::{Commands, Reply, command};

/// Timeouts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a connection, and for each reply.
    pub(crate) answer: Duration,
    /// For a server that is unavailable.
    pub(crate) retry_for: Duration,
}

/// The maximum number of idle connections.
const MAX_IDLE: usize = 16;
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// One connection, to a server or to a cluster.
pub(crate) enum Link {
    Single(Connection),
    Cluster(Box<ClusterConnection>),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Link::Single",
            Self::Cluster(_) => "Link::Cluster",
        })
    }
}

/// The number of commands that are sent to a cluster at once. The client library sends them
/// together and then waits for each reply, even from a node that no longer replies.
const CLUSTER_GROUP: usize = 8;

impl Link {
    /// Sends all commands at once and returns the reply to each. An error of the server is returned
    /// as a [`Value::ServerError`]. In a cluster, the keys of all commands are in one slot.
    pub(crate) fn exchange(&mut self, commands: &[&Commands]) -> RedisResult<Vec<Value>> {
        let count = commands.iter().map(|it| it.count()).sum();
        match self {
            Self::Single(connection) => {
                // The client does not accept empty blocks.
                let blocks = commands.iter().flat_map(|it| it.blocks());
                for block in blocks.filter(|block| !block.is_empty()) {
                    connection.send_packed_command(&block)?;
                }
                (0..count).map(|_| connection.recv_response()).collect()
            }
            Self::Cluster(connection) => {
                let mut replies = Vec::with_capacity(count);
                for (bytes, count) in commands.iter().flat_map(|it| it.groups(CLUSTER_GROUP)) {
                    replies.extend(connection.req_packed_commands(&bytes, 0, count)?);
                }
                Ok(replies)
            }
        }
    }

    /// Like [`exchange`](Self::exchange), but passes on each reply as soon as it arrives.
    pub(crate) fn exchange_each(
        &mut self,
        commands: &Commands,
        mut take: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Single(connection) => {
                for block in commands.blocks().filter(|block| !block.is_empty()) {
                    connection.send_packed_command(&block)?;
                }
                (0..commands.count()).try_for_each(|_| take(connection.recv_response()?))
            }
            Self::Cluster(_) => self.exchange(&[commands])?.into_iter().try_for_each(take),
        }
    }

    pub(crate) fn one(&mut self, arguments: &[&[u8]]) -> RedisResult<Value> {
        let mut replies = self.exchange(&[&command(arguments)])?;
        Ok(replies.pop().unwrap_or_default())
    }

    /// The nodes of a cluster that store keys; `None` is a server that stores all keys.
    pub(crate) fn primaries(&mut self) -> Result<Vec<Option<Node>>, Failure> {
        if let Self::Single(_) = self {
            return Ok(vec![None]);
        }
        let mut nodes = BTreeSet::new();
        for slots in self.one(&[b"CLUSTER", b"SLOTS"])?.array()? {
            // Its first and last slot, its primary, its replicas.
            let primary = slots.array()?.into_iter().nth(2).unwrap_or_default();
            let mut place = primary.array()?.into_iter();
            let mut next = || place.next().unwrap_or_default();
            let host = next().text()?.unwrap_or_default();
            let port = u16::try_from(next().int()?).map_err(|_| unexpected("port"))?;
            nodes.insert(Node { host, port });
        }
        Ok(nodes.into_iter().map(Some).collect())
    }

    /// Sends one command without keys to one of the [`primaries`](Self::primaries).
    pub(crate) fn ask_node(
        &mut self,
        node: Option<&Node>,
        question: &[&[u8]],
    ) -> RedisResult<Value> {
        match (self, node) {
            (Self::Cluster(connection), Some(Node { host, port })) => {
                let mut command = redis::Cmd::new();
                command.arg(question);
                let (host, port) = (host.clone(), *port);
                let node = SingleNodeRoutingInfo::ByAddress { host, port };
                connection.route_command(&command, RoutingInfo::SingleNode(node))
            }
            (link, _) => link.one(question),
        }
    }

    /// Sets the timeout of a reply.
    pub(crate) fn set_timeout(&self, timeout: Duration) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                connection.set_read_timeout(Some(timeout))?;
                connection.set_write_timeout(Some(timeout))
            }
            Self::Cluster(connection) => {
                connection.set_read_timeout(Some(timeout))?;
                connection.set_write_timeout(Some(timeout))
            }
        }
    }
}

/// The address of a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node {
    host: String,
    port: u16,
}

/// Why work on a connection failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the client library. Trying again may help.
    Redis(RedisError),
    /// Trying again does not help.
    Final(Error),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

enum Target {
    Single(Client),
    Cluster(ClusterClient),
    Sentinel {
        sentinels: Vec<Client>,
        name: String,
    },
}

/// The connections of one store.
pub(crate) struct Connections {
    address: Address,
    target: Target,
    tls: Option<TlsCertificates>,
    pub(crate) timeouts: Timeouts,
    /// The name of the connections on the server.
    name: Option<String>,
    idle: ProcessLocal<Mutex<Vec<Link>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.address).finish()
    }
}

impl Connections {
    pub(crate) fn new(address: Address, timeouts: Timeouts) -> Result<Self> {
        let is_tls = |host: &ConnectionInfo| matches!(host.addr(), ConnectionAddr::TcpTls { .. });
        if address.hosts.iter().any(is_tls) {
            install_crypto();
        }
        let tls = address.tls_ca.as_ref().map(|path| {
            let root_cert = std::fs::read(path).map_err(|e| Error::io("open", path, e))?;
            Ok::<_, Error>(TlsCertificates {
                client_tls: None,
                root_cert: Some(root_cert),
            })
        });
        let tls = tls.transpose()?;
        let clients = || {
            let hosts = address.hosts.iter();
            let clients = hosts.map(|host| client(host.clone(), tls.as_ref()));
            clients.collect::<Result<Vec<Client>>>()
        };
        let target = match &address.topology {
            Topology::Single => {
                let client = clients()?.into_iter().next();
                Target::Single(client.ok_or_else(|| invalid("the URL names no host"))?)
            }
            Topology::Cluster => Target::Cluster(cluster(&address, tls.as_ref(), timeouts)?),
            Topology::Sentinel(name) => Target::Sentinel {
                sentinels: clients()?,
                name: name.clone(),
            },
        };
        Ok(Self {
            address,
            target,
            tls,
            timeouts,
            name: None,
            idle: ProcessLocal::new(Mutex::default()),
        })
    }

    /// Sets the name of all later connections.
    pub(crate) fn set_name(&mut self, name: String) {
        self.name = Some(name);
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Result<Link, Failure> {
        let timeout = self.timeouts.answer;
        let mut link = match &self.target {
            Target::Single(client) => Link::Single(client.get_connection_with_timeout(timeout)?),
            Target::Cluster(client) => Link::Cluster(Box::new(client.get_connection()?)),
            Target::Sentinel { sentinels, name } => {
                Link::Single(self.connect_by_sentinel(sentinels, name)?)
            }
        };
        link.set_timeout(timeout)?;
        if let Link::Single(_) = link {
            // A server that requires a password reports this only for short commands, and one with
            // a full disk does not reply to PING.
            let mut greeting = command(&[b"ECHO", b"simrecorder"]);
            if let Some(name) = &self.name {
                greeting.command(&[b"CLIENT", b"SETNAME", name.as_bytes()]);
            }
            // A server that rejects the name works without it.
            if let Some(Value::ServerError(error)) = link.exchange(&[&greeting])?.into_iter().next()
            {
                return Err(Failure::Redis(error.into()));
            }
        }
        Ok(link)
    }

    /// Asks the sentinels in turn for the address of the server.
    fn connect_by_sentinel(&self, sentinels: &[Client], name: &str) -> Result<Connection, Failure> {
        let timeout = self.timeouts.answer;
        let mut last = Failure::Final(invalid("the URL names no sentinel"));
        for sentinel in sentinels {
            let ask = || {
                let mut info = sentinel.get_connection_info().clone();
                // The URL contains user, password and database of the server.
                info = info.set_redis_settings(Default::default());
                let asked = client(info, self.tls.as_ref())?;
                let mut link = Link::Single(asked.get_connection_with_timeout(timeout)?);
                link.set_timeout(timeout)?;
                let question = b"GET-MASTER-ADDR-BY-NAME";
                let mut place = link
                    .one(&[b"SENTINEL", question, name.as_bytes()])?
                    .array()?;
                let (port, host) = (place.pop(), place.pop());
                let (Some(host), Some(port)) = (host, port) else {
                    let message = format!("the sentinel knows no server named '{name}'");
                    return Err(Failure::Final(invalid(message)));
                };
                let host = host.text()?.unwrap_or_default();
                let scheme = match sentinel.get_connection_info().addr() {
                    ConnectionAddr::TcpTls { .. } => "rediss",
                    _ => "redis",
                };
                Ok(format!("{scheme}://{host}:{}", port.int()?))
            };
            match ask() {
                Ok(url) => {
                    let settings = sentinel.get_connection_info().redis_settings().clone();
                    let found = Address::parse(&url)?;
                    let info = found.hosts.into_iter().next();
                    let info = info.ok_or_else(|| invalid("a sentinel named no host"))?;
                    let server = client(info.set_redis_settings(settings), self.tls.as_ref())?;
                    return Ok(server.get_connection_with_timeout(timeout)?);
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Does `work` on an exclusive connection. If the connection breaks or the server is not ready,
    /// does it again from the start, on a new connection, up to the time limit.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        mut work: impl FnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T> {
        self.run_for(operation, self.timeouts.retry_for, &mut work)
    }

    /// Like [`run`](Self::run), but fails at once if the server is unavailable at first. Waits for
    /// a server that is loading its data.
    pub(crate) fn run_first<T>(
        &self,
        operation: &'static str,
        mut work: impl FnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T> {
        self.run_for(operation, Duration::ZERO, &mut work)
    }

    fn run_for<T>(
        &self,
        operation: &'static str,
        retry_for: Duration,
        work: &mut dyn FnMut(&mut Link) -> Result<T, Failure>,
    ) -> Result<T> {
        let idle = self.idle.get(operation)?;
        let start = Instant::now();
        let mut pause = MIN_PAUSE;
        loop {
            let waiting = idle.lock().pop();
            let attempt = waiting
                .map_or_else(|| self.connect(), Ok)
                .and_then(|mut link| {
                    let done = work(&mut link)?;
                    let mut idle = idle.lock();
                    if idle.len() < MAX_IDLE {
                        idle.push(link);
                    }
                    Ok(done)
                });
            let error = match attempt {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error.with_operation(operation)),
                Err(Failure::Redis(error)) => error,
            };
            // An idle connection may have been closed long ago, and the others with it.
            idle.lock().clear();
            let limit = match is_loading(&error) {
                true => retry_for.max(self.timeouts.retry_for),
                false => retry_for,
            };
            let goes_on = is_transient(&error) && start.elapsed() + pause < limit;
            if !goes_on {
                return Err(self.given_up(operation, error, start.elapsed()));
            }
            tracing::debug!(server = %self.address, %error, ?pause, "trying again");
            sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn given_up(&self, operation: &'static str, error: RedisError, after: Duration) -> Error {
        let error = from_redis(operation, error).with_key(self.address.to_string());
        if after < self.timeouts.answer * 2 {
            return error;
        }
        let message = format!(
            "gave up after {:.1} s of retrying; retry_for sets the limit",
            after.as_secs_f64()
        );
        Error::new(error.kind(), operation, message)
            .with_key(self.address.to_string())
            .with_source(error)
    }
}

fn client(info: ConnectionInfo, tls: Option<&TlsCertificates>) -> Result<Client> {
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    match tls.filter(|_| is_tls) {
        Some(tls) => Client::build_with_tls(info, tls.clone()),
        None => Client::open(info),
    }
    .map_err(|e| from_redis("open", e))
}

fn cluster(
    address: &Address,
    tls: Option<&TlsCertificates>,
    timeouts: Timeouts,
) -> Result<ClusterClient> {
    let mut builder = ClusterClient::builder(address.hosts.clone())
        .connection_timeout(timeouts.answer)
        .response_timeout(timeouts.answer)
        // This module tries again, in the same way for one server and for a cluster.
        .retries(2);
    if let Some(tls) = tls {
        builder = builder.certs(tls.clone());
    }
    builder.build().map_err(|e| from_redis("open", e))
}

/// `rustls` panics if a program has two providers and has not chosen one.
fn install_crypto() {
    uninterrupted(|| {
        if CryptoProvider::get_default().is_none() {
            // Fails if the program has chosen one meanwhile, which then applies.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    });
}
