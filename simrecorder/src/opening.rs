//! Opening stores by path or URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder_core::{
    DataStore, Error, ErrorKind, InMemoryDataStore, OpenMode, Result, expand_home,
};

use crate::detect::{Format, Found, recording_of};
use crate::options::OpenOptions;
use crate::url::{self, Scheme, Url};

/// Creates a recording and opens it for writing. There must be nothing at the path.
///
/// The extension names the format:
///
/// | path | recording | feature |
/// |---|---|---|
/// | `run.mdb` | [`ZarrDataStore`](crate::ZarrDataStore) over LMDB: a folder | `zarr` |
/// | `run.zarr` | [`ZarrDataStore`](crate::ZarrDataStore) over a directory | `zarr` |
/// | `run.h5`, `run.hdf5` | [`Hdf5DataStore`](crate::Hdf5DataStore): a file | `hdf5` |
///
/// In a URL, the scheme names the format instead: see [`open_with`].
///
/// ```
/// use simrecorder::{Recorder, prelude::*};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// # #[cfg(feature = "zarr")] {
/// let recorder = Recorder::new(simrecorder::create(&path)?); // such as "run.mdb"
/// recorder.record("net/v", [1.0, 2.0])?;
/// recorder.close()?;
///
/// let error = simrecorder::create(&path).unwrap_err();
/// assert_eq!(error.kind(), simrecorder::ErrorKind::AlreadyExists);
/// # }
/// # Ok::<(), simrecorder::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::AlreadyExists`] if there is something at the path. An empty folder is allowed if the format is a
///   folder.
/// - [`ErrorKind::InvalidArgument`] for another extension, and for a URL with a `mode=` other than
///   `create-new`.
/// - Otherwise as for [`open_with`].
pub fn create(path_or_url: impl AsRef<Path>) -> Result<Arc<dyn DataStore>> {
    open_in_mode("create", path_or_url.as_ref(), OpenMode::CreateNew)
}

/// Opens a recording for reading.
///
/// A recording at a path is recognised by its contents, not by its extension: a folder with `data.mdb` (Zarr in LMDB)
/// or `zarr.json` (Zarr in a directory), or an HDF5 file. Zarr and HDF5 files of other software open too, including Zarr
/// V2 in a directory, or in LMDB as a folder or a single file.
///
/// ```
/// use simrecorder::{Recorder, prelude::*};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// # #[cfg(feature = "zarr")] {
/// # let recorder = Recorder::new(simrecorder::create(&path)?);
/// # recorder.record("net/v", [1.0, 2.0])?;
/// # recorder.close()?;
/// let recorder = Recorder::new(simrecorder::open(&path)?); // such as "run.mdb"
/// assert_eq!(recorder.get_all("net/v")?.shape(), [1, 2]);
/// # }
/// # Ok::<(), simrecorder::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::NotFound`] if there is nothing at the path, or a folder without a recording.
/// - [`ErrorKind::InvalidArgument`] for a file that is not a recording ([`ErrorKind::Corrupt`] if it has an extension of
///   HDF5), and for a URL with a `mode=` other than `read`.
/// - Otherwise as for [`open_with`].
pub fn open(path_or_url: impl AsRef<Path>) -> Result<Arc<dyn DataStore>> {
    open_in_mode("open", path_or_url.as_ref(), OpenMode::Read)
}

/// Opens an existing recording for appending. The recording is recognised as by [`open`].
///
/// ```
/// use simrecorder::{Recorder, prelude::*};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// # #[cfg(feature = "zarr")] {
/// # simrecorder::create(&path)?.close()?;
/// let recorder = Recorder::new(simrecorder::append(&path)?); // such as "run.mdb"
/// recorder.record("net/v", [3.0, 4.0])?;
/// recorder.close()?;
/// # }
/// # Ok::<(), simrecorder::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Locked`] if another writer has the recording open; otherwise as for [`open`], with the mode `append`
/// instead of `read`.
pub fn append(path_or_url: impl AsRef<Path>) -> Result<Arc<dyn DataStore>> {
    open_in_mode("append", path_or_url.as_ref(), OpenMode::Append)
}

/// Opens a recording with options: read only, unless they set another [`mode`](OpenOptions::mode).
///
/// An argument with one of these schemes is a URL, any other argument is a path:
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
/// **Paths.** The contents of an existing recording choose the format, as in [`open`], and the extension of a new one,
/// as in [`create`]. `~` at the start is the home folder. No other character has a special meaning. A path that looks
/// like a URL, such as `lmdb:run`, is an error unless it exists: write `./lmdb:run` to create a file with that name.
///
/// **URLs.** In the path of a URL, `%` has no special meaning. The query string may contain `mode=` (`read`, `append`,
/// `open-or-create`, `create-new`, `truncate`) and `compression=` (`none`, `fast`, `small`, `lossy:1e-3`), separated by
/// `&`. They take precedence over the options. A recording with a `?` in its name can be opened only by path.
///
/// [`RedisOptions::open`](crate::RedisOptions::open) lists the other parts of the URL of a Redis server. The settings of
/// the server decide how durable a commit is, so [`OpenOptions::durability`] is an error. Errors do not show the
/// password.
///
/// ```
/// use simrecorder::{Durability, OpenMode, OpenOptions};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// # #[cfg(feature = "zarr")] {
/// let options = OpenOptions::new()
///     .mode(OpenMode::OpenOrCreate)
///     .durability(Durability::Process);
/// let store = simrecorder::open_with(&path, &options)?; // such as "run.mdb"
/// # drop(store);
///
/// let url = format!("zarr:{}?mode=append&compression=small", path.display());
/// let store = simrecorder::open_with(&url, &OpenOptions::new())?;
/// # }
/// let error = simrecorder::open("lmdb:run.mdb").unwrap_err();
/// assert!(error.to_string().contains("write zarr: in its place, or the path alone"));
/// # Ok::<(), simrecorder::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::NotFound`] or [`ErrorKind::AlreadyExists`] if the mode needs a recording to exist or not to exist.
/// - [`ErrorKind::InvalidArgument`] for an unknown scheme (the error lists the schemes), an unknown option, a wrong
///   value, an extension that names no format, a scheme that does not fit the recording at the path, and something at
///   the path that is not a recording.
/// - [`ErrorKind::Unsupported`] for a recording or scheme whose feature is off; the error names the feature.
/// - Errors of the file system and the store.
pub fn open_with(
    path_or_url: impl AsRef<Path>,
    options: &OpenOptions,
) -> Result<Arc<dyn DataStore>> {
    open_place("open", path_or_url.as_ref(), options, false)
}

fn open_in_mode(
    operation: &'static str,
    place: &Path,
    mode: OpenMode,
) -> Result<Arc<dyn DataStore>> {
    open_place(operation, place, &OpenOptions::new().mode(mode), true)
}

/// Opens a path or a URL. If the mode is fixed, a URL must not set another.
fn open_place(
    operation: &'static str,
    place: &Path,
    options: &OpenOptions,
    is_mode_fixed: bool,
) -> Result<Arc<dyn DataStore>> {
    let text = place.to_string_lossy();
    let opened = match Url::parse(&text) {
        Some(url) if place.to_str().is_none() => {
            let message = "this URL is not valid UTF-8; give the path alone";
            Err(refusal(ErrorKind::InvalidArgument, message).with_key(url.shown()))
        }
        Some(url) => {
            let fixed = is_mode_fixed.then_some(operation);
            open_url(&url, options, fixed).map_err(|e| e.with_key(url.shown()))
        }
        None => open_path(place, &text, options),
    };
    opened.map_err(|error| match error.operation() {
        "open" => error.with_operation(operation),
        _ => error,
    })
}

fn refusal(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, "open", message)
}

/// Opens a URL; `fixed` is the operation whose mode a URL must not change.
fn open_url(
    url: &Url<'_>,
    options: &OpenOptions,
    fixed: Option<&str>,
) -> Result<Arc<dyn DataStore>> {
    let is_redis = url.scheme == Scheme::Redis;
    let mode = options.mode;
    let mut options = options.clone();
    let mut of_redis = Vec::new();
    for option in url.options() {
        if url.query_may_be_secret() || !options.set(option, is_redis)? {
            of_redis.push(option);
        }
    }
    if let Some(operation) = fixed.filter(|_| options.mode != mode) {
        let message = format!(
            "{operation}() has the mode '{mode}'; use open_with() for mode={}",
            options.mode
        );
        return Err(refusal(ErrorKind::InvalidArgument, message));
    }
    if is_redis && options.durability.is_some() {
        let message = "the server decides what a commit survives: see RedisServerOptions::sync, or \
                       its appendfsync; open it without a durability";
        return Err(refusal(ErrorKind::InvalidArgument, message));
    }
    match url.scheme {
        Scheme::Memory if url.place.is_empty() => {
            Ok(Arc::new(InMemoryDataStore::new().open(options.mode)?))
        }
        Scheme::Memory => {
            let message = "memory: takes no path; it is a new store each time";
            Err(refusal(ErrorKind::InvalidArgument, message))
        }
        Scheme::File(format) => open_url_of_file(url, format, &options),
        Scheme::Redis => {
            let server = format!("{}:{}?{}", url.name, url.place, of_redis.join("&"));
            open_redis(&server, &options)
        }
    }
}

fn open_url_of_file(
    url: &Url<'_>,
    format: Format,
    options: &OpenOptions,
) -> Result<Arc<dyn DataStore>> {
    let (scheme, place) = (url.name, url.place);
    if let Some(path) = place
        .strip_prefix("//")
        .filter(|path| !path.starts_with('/'))
    {
        let message = format!(
            "{scheme}: takes a path and no host; write '{scheme}:{path}', or '{scheme}:/{path}' for \
             an absolute path"
        );
        return Err(refusal(ErrorKind::InvalidArgument, message));
    }
    let path = expand_home(place)?;
    // If the path cannot be inspected, the store reports the reason.
    if let Ok(Found::Recording(other)) = Found::at(&path)
        && other != format
        && !format.is_in(&path).unwrap_or(false)
    {
        let kind = match options.mode {
            OpenMode::CreateNew => ErrorKind::AlreadyExists,
            _ => ErrorKind::InvalidArgument,
        };
        let right = other.scheme();
        let message =
            format!("this is {other}; write '{right}:{place}' or the path alone to open it");
        return Err(refusal(kind, message));
    }
    open_file(format, &path, options)
}

fn open_path(place: &Path, text: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    if text.is_empty() {
        return Err(url::refuse(text, "the path is empty; give a path or a URL"));
    }
    // Removes slashes at the end.
    let path: PathBuf = expand_home(place)?.components().collect();
    let named = Format::of_extension(&path);
    let found = Found::at(&path);
    let shown = match &found {
        Err(_) | Ok(Found::Nothing) if named.is_none() => url::shown_path(place),
        _ => place.display().to_string(),
    };
    let found = found.map_err(|error| undetected(&shown, error))?;
    if found == Found::Nothing
        && let Some(error) = url::mistaken(text)
    {
        return Err(error);
    }
    let format = choose_format(&path, found, named, options.mode)
        .map_err(|(kind, message)| refusal(kind, message).with_key(shown.clone()))?;
    open_file(format, &path, options).map_err(|e| e.with_key(shown))
}

/// The error of a path that cannot be inspected.
fn undetected(path: &str, error: std::io::Error) -> Error {
    let message = match error.kind() {
        std::io::ErrorKind::NotADirectory => "a part of this path is a file, not a folder",
        std::io::ErrorKind::InvalidInput => "no file can have this name",
        _ => return Error::io("open", Path::new(path), error),
    };
    refusal(
        ErrorKind::InvalidArgument,
        format!("{message}; check the path"),
    )
    .with_key(path)
}

/// The format of the store that opens or creates the recording, from what was `found` at the path and the format
/// `named` by its extension. Leaves errors to the store if it reports them itself.
fn choose_format(
    path: &Path,
    found: Found,
    named: Option<Format>,
    mode: OpenMode,
) -> Result<Format, (ErrorKind, String)> {
    let refuse =
        |kind, advice: &str| Err((kind, format!("there is {found} at this path; {advice}")));
    let may_create = !matches!(mode, OpenMode::Read | OpenMode::Append);
    match (found, named) {
        (Found::Recording(format), _) => Ok(format),
        (Found::Nothing, Some(format))
        | (Found::EmptyFolder, Some(format @ (Format::Lmdb | Format::Directory)))
            if may_create =>
        {
            Ok(format)
        }
        (Found::EmptyFile, Some(Format::Hdf5)) if mode == OpenMode::Truncate => Ok(Format::Hdf5),
        (Found::Nothing | Found::EmptyFolder, None) if may_create => {
            Err((ErrorKind::InvalidArgument, no_format(path)))
        }
        _ if mode == OpenMode::CreateNew => refuse(
            ErrorKind::AlreadyExists,
            "delete it, or choose another path",
        ),
        (Found::Nothing, _) if has_options(path) => refuse(ErrorKind::NotFound, OPTIONS_OF_URLS),
        (Found::Nothing | Found::DanglingLink | Found::EmptyFolder | Found::Folder, _)
            if !may_create =>
        {
            refuse(
                ErrorKind::NotFound,
                "check the path, or create the recording first, with create()",
            )
        }
        _ => {
            let kind = match named {
                Some(Format::Hdf5) if found == Found::File => ErrorKind::Corrupt,
                _ => ErrorKind::InvalidArgument,
            };
            match recording_of(path) {
                Some(whole) => {
                    let whole = whole.display();
                    let advice = format!("it belongs to the recording '{whole}': open that");
                    refuse(kind, &advice)
                }
                None if may_create => refuse(kind, "delete it, or choose another path"),
                None => refuse(kind, "choose the path of a recording"),
            }
        }
    }
}

const OPTIONS_OF_URLS: &str =
    "options after a ? need a scheme before the path, as in zarr:run.mdb?mode=append";

/// Whether a path ends with options, which only URLs have.
fn has_options(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let query = text.split_once('?').map_or("", |(_, query)| query);
    ["mode=", "compression="]
        .iter()
        .any(|option| query.starts_with(option))
}

/// The message that the path of a new recording names no format.
fn no_format(path: &Path) -> String {
    if has_options(path) {
        return OPTIONS_OF_URLS.to_owned();
    }
    let what = match path.extension() {
        Some(_) => "its extension names no format",
        None => "it has no extension that names a format",
    };
    format!(
        "{what}; end the path in .mdb (Zarr in LMDB), .zarr (Zarr in a directory), .h5 or .hdf5 \
         (HDF5), or write a scheme before it, as in zarr:PATH"
    )
}

fn open_file(format: Format, path: &Path, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    match format {
        #[cfg(feature = "zarr")]
        Format::Lmdb => open_zarr(simrecorder_zarr::ZarrStorage::Lmdb, path, options),
        #[cfg(feature = "zarr")]
        Format::Directory => open_zarr(simrecorder_zarr::ZarrStorage::Directory, path, options),
        #[cfg(feature = "hdf5")]
        Format::Hdf5 => open_hdf5(path, options),
        #[cfg(not(all(feature = "zarr", feature = "hdf5")))]
        _ => {
            let features = match format {
                Format::Lmdb | Format::Directory => "'zarr'",
                Format::Hdf5 => "'hdf5' or 'hdf5-static'",
            };
            let what = match Found::at(path) {
                Ok(Found::Recording(_)) => format!("this is {format}"),
                _ if options.mode == OpenMode::CreateNew => {
                    format!("this build cannot create {format}")
                }
                _ => format!("this build cannot open {format}"),
            };
            Err(feature_is_off(&what, features))
        }
    }
}

#[cfg(not(all(feature = "zarr", feature = "hdf5", feature = "redis")))]
fn feature_is_off(what: &str, features: &str) -> Error {
    let message = format!("{what}; build simrecorder with the feature {features}");
    refusal(ErrorKind::Unsupported, message)
}

#[cfg(feature = "zarr")]
fn open_zarr(
    storage: simrecorder_zarr::ZarrStorage,
    path: &Path,
    options: &OpenOptions,
) -> Result<Arc<dyn DataStore>> {
    let mut zarr = simrecorder_zarr::ZarrDataStore::options()
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
fn open_hdf5(path: &Path, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    let mut hdf5 = simrecorder_hdf5::Hdf5DataStore::options()
        .mode(options.mode)
        .durability(options.durability.unwrap_or_default())
        .compression(options.compression.unwrap_or_default());
    if let Some(policy) = &options.chunk_policy {
        hdf5 = hdf5.chunk_policy(policy.clone());
    }
    Ok(Arc::new(hdf5.open(path)?))
}

#[cfg(feature = "redis")]
fn open_redis(url: &str, options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
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
fn open_redis(_url: &str, _options: &OpenOptions) -> Result<Arc<dyn DataStore>> {
    Err(feature_is_off(
        "this build cannot open Redis servers",
        "'redis'",
    ))
}
