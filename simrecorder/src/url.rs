//! Opening stores by URL.

use std::sync::Arc;

use simrecorder_core::{
    ChunkPolicy, Compression, DataStore, Durability, Error, ErrorKind, InMemoryDataStore, OpenMode,
    Result,
};

/// How [`open_with`] opens a store: what all backends understand.
///
/// ```
/// use simrecorder::{Compression, OpenMode, OpenOptions};
///
/// let options = OpenOptions::new().mode(OpenMode::CreateNew).compression(Compression::Small);
/// let store = simrecorder::open_with("memory:", &options)?;
/// assert!(!store.is_read_only());
/// # use simrecorder::prelude::*;
/// # Ok::<(), simrecorder::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    mode: OpenMode,
    durability: Option<Durability>,
    chunk_policy: Option<ChunkPolicy>,
    compression: Option<Compression>,
}

impl OpenOptions {
    /// Read only, and for the rest what each backend does by default.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do with the recording that is, or is not, there.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// What a commit survives; not for Redis servers, whose own settings say.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// How the records of new series are cut into chunks, unless their schema says.
    #[must_use]
    pub fn chunk_policy(mut self, policy: ChunkPolicy) -> Self {
        self.chunk_policy = Some(policy);
        self
    }

    /// How the chunks of new series are compressed, unless their schema says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }
}

/// Opens the store at `url` for reading, whatever the URL says: one with another `mode=` is refused.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for such a mode; else see [`open_with`].
pub fn open(url: &str) -> Result<Arc<dyn DataStore>> {
    open_checked(url, &OpenOptions::new(), true)
}

/// Opens the store at `url`.
///
/// | URL | store | feature |
/// |---|---|---|
/// | `memory:` | [`InMemoryDataStore`], a new one each time | |
/// | `zarr:PATH` | [`ZarrDataStore`](crate::ZarrDataStore) over LMDB | `zarr` |
/// | `zarr+dir:PATH` | [`ZarrDataStore`](crate::ZarrDataStore) over a directory | `zarr` |
/// | `hdf5:PATH` | [`Hdf5DataStore`](crate::Hdf5DataStore) | `hdf5` |
/// | `redis://HOST:PORT?run=NAME` | [`RedisDataStore`](crate::RedisDataStore) | `redis` |
/// | `rediss://HOST?run=NAME` | the same with TLS | `redis` |
/// | `redis+unix:PATH?run=NAME` | the same at a Unix socket | `redis` |
///
/// A path is taken as it is, with `~` for the home folder; `%` has no special meaning. Behind a
/// `?` may stand `mode=` (`read`, `append`, `open-or-create`, `create-new`, `truncate`) and
/// `compression=` (`none`, `fast`, `small`, `lossy:1e-3`), joined by `&`; they take precedence over
/// the options. A path that has a `?` in its name cannot be opened by URL.
///
/// What else may stand in the URL of a Redis server is in
/// [`RedisOptions::open`](crate::RedisOptions::open). How safe a commit is there, the settings of the
/// server say; [`OpenOptions::durability`] is refused. Errors do not show the password.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb").display().to_string();
/// # #[cfg(feature = "zarr")] {
/// let store = simrecorder::open_with(&format!("zarr:{path}?mode=create-new"), &Default::default())?;
/// # }
/// let error = simrecorder::open("zar:run.mdb").unwrap_err();
/// assert!(error.to_string().contains("memory"));
/// # Ok::<(), simrecorder::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an unknown scheme (naming those there are), an unknown
/// option, and a wrong value; [`ErrorKind::Unsupported`] for a scheme whose feature is off,
/// naming the feature; else what the store reports.
pub fn open_with(url: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    open_checked(url, options, false)
}

fn open_checked(url: &str, options: &OpenOptions, only_reads: bool) -> Result<Arc<dyn DataStore>> {
    let refuse =
        |kind, message: String| Err(Error::new(kind, "open", message).with_key(shown(url)));
    let Some((scheme, rest)) = url.split_once(':') else {
        let message = format!("a URL begins with a scheme; there are {}", schemes());
        return refuse(ErrorKind::InvalidArgument, message);
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_redis = REDIS_SCHEMES.contains(&scheme);
    if !is_redis && !FILE_SCHEMES.contains(&scheme) {
        let named = match scheme.contains('@') {
            true => "this begins with no scheme".to_owned(),
            false => format!("there is no scheme '{}'", scheme.escape_debug()),
        };
        let message = format!("{named}; there are {}", schemes());
        return refuse(ErrorKind::InvalidArgument, message);
    }
    let mut options = options.clone();
    let mut of_redis = Vec::new();
    // With an @ in it, it may be a piece of a password.
    let is_doubtful = is_redis && scheme != "redis+unix" && query.contains('@');
    for option in query.split('&').filter(|option| !option.is_empty()) {
        if is_doubtful {
            of_redis.push(option);
            continue;
        }
        match options.set(option, is_redis) {
            Ok(true) => {}
            Ok(false) => of_redis.push(option),
            Err(error) => return Err(error.with_key(shown(url))),
        }
    }
    if only_reads && options.mode != OpenMode::Read {
        let message = format!(
            "open() only reads; use open_with() for mode={}",
            options.mode.as_str()
        );
        return refuse(ErrorKind::InvalidArgument, message);
    }
    if is_redis && options.durability.is_some() {
        let message = "the server decides what a commit survives: see RedisServerOptions::sync, or \
                       its appendfsync; open it without a durability";
        return refuse(ErrorKind::InvalidArgument, message.to_owned());
    }
    match scheme {
        "memory" if path.is_empty() => Ok(Arc::new(InMemoryDataStore::new().open(options.mode)?)),
        "memory" => {
            let message = "memory: takes no path; it is a new store each time".to_owned();
            refuse(ErrorKind::InvalidArgument, message)
        }
        "zarr" | "zarr+dir" => open_zarr(scheme, path, &options),
        "hdf5" => open_hdf5(path, &options),
        _ => {
            let server = format!("{scheme}:{path}?{}", of_redis.join("&"));
            open_redis(scheme, &server, &options).map_err(|e| e.with_key(shown(url)))
        }
    }
}

const REDIS_SCHEMES: [&str; 3] = ["redis", "rediss", "redis+unix"];

const FILE_SCHEMES: [&str; 4] = ["memory", "zarr", "zarr+dir", "hdf5"];

/// A URL without what may be a piece of a user or a password, if only by mistake.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    if FILE_SCHEMES.contains(&scheme) {
        return url.to_owned();
    }
    if scheme.contains('@') {
        return "the URL".to_owned();
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if scheme == "redis+unix" && !place.contains('@') {
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

impl OpenOptions {
    /// Takes one `name=value` of a URL. Whether it is one of these options; if not, that is an
    /// error, unless the backend has `more` of its own.
    fn set(&mut self, option: &str, more: bool) -> Result<bool> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "mode" => {
                let mode = value.parse::<OpenMode>();
                self.mode = mode.map_err(|e| e.with_operation("open"))?;
            }
            "compression" => {
                let compression = value.parse::<Compression>();
                self.compression = Some(compression.map_err(|e| e.with_operation("open"))?);
            }
            _ if more => return Ok(false),
            _ => {
                let message = format!(
                    "there is no option '{}'; there are mode and compression",
                    name.escape_debug()
                );
                return Err(Error::new(ErrorKind::InvalidArgument, "open", message));
            }
        }
        Ok(true)
    }
}

#[cfg(feature = "zarr")]
fn open_zarr(scheme: &str, path: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    use simrecorder_zarr::{ZarrDataStore, ZarrStorage};

    let storage = if scheme == "zarr+dir" {
        ZarrStorage::Directory
    } else {
        ZarrStorage::Lmdb
    };
    let mut zarr = ZarrDataStore::options()
        .mode(options.mode)
        .storage(storage)
        .durability(options.durability.unwrap_or_default())
        .compression(options.compression.unwrap_or_default());
    if let Some(policy) = &options.chunk_policy {
        zarr = zarr.chunk_policy(policy.clone());
    }
    Ok(Arc::new(zarr.open(path)?))
}

#[cfg(feature = "hdf5")]
fn open_hdf5(path: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    let mut hdf5 = simrecorder_hdf5::Hdf5DataStore::options()
        .mode(options.mode)
        .durability(options.durability.unwrap_or_default())
        .compression(options.compression.unwrap_or_default());
    if let Some(policy) = &options.chunk_policy {
        hdf5 = hdf5.chunk_policy(policy.clone());
    }
    Ok(Arc::new(hdf5.open(path)?))
}

#[cfg(not(feature = "zarr"))]
fn open_zarr(scheme: &str, _path: &str, _options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    Err(feature_is_off(scheme, "Zarr", "'zarr'"))
}

#[cfg(not(feature = "hdf5"))]
fn open_hdf5(_path: &str, _options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    Err(feature_is_off("hdf5", "HDF5", "'hdf5' or 'hdf5-static'"))
}

#[cfg(not(all(feature = "zarr", feature = "hdf5", feature = "redis")))]
fn feature_is_off(scheme: &str, what: &str, features: &str) -> Error {
    let message =
        format!("this build cannot open {what}; switch the feature {features} of simrecorder on");
    Error::new(ErrorKind::Unsupported, "open", message).with_key(format!("{scheme}:"))
}

#[cfg(feature = "redis")]
fn open_redis(_scheme: &str, url: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    let mut redis = simrecorder_redis::RedisDataStore::options().mode(options.mode);
    if let Some(policy) = &options.chunk_policy {
        redis = redis.chunk_policy(policy.clone());
    }
    if let Some(compression) = options.compression {
        redis = redis.compression(compression);
    }
    Ok(Arc::new(redis.open(url)?))
}

#[cfg(not(feature = "redis"))]
fn open_redis(scheme: &str, _url: &str, _options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    Err(feature_is_off(scheme, "Redis servers", "'redis'"))
}
