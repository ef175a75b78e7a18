//! The recordings that the server shows, and its caches for them.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value as Json, json};
use simrecorder::backend::expand_home;
use simrecorder::{Child, DataStore, Error, ErrorKind, RecordingInfo};
use tokio::sync::Semaphore;

use super::demo::Demo;
use super::pyramids::Pyramids;
use crate::exit::{Failure, Result};
use crate::recording::select;

/// The numbers of requests that read series and keys at the same time. Others wait.
const SERIES_READERS: usize = 3;
const KEY_READERS: usize = 4;
/// The maximum number of pages that follow recordings.
const FOLLOWERS: usize = 64;
/// How long the known state of a recording is valid if its files do not change.
const STATE_LIFE: Duration = Duration::from_secs(2);

/// How long a list of keys is valid if the files of the recording change.
const KEYS_LIFE: Duration = Duration::from_secs(10);
/// The maximum number of entries of a folder that are checked for changes.
const MOST_ENTRIES: usize = 1000;
/// Longer lists of keys are not cached.
const MOST_KEYS: usize = 300_000;

/// The recordings that the server shows.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) recordings: Vec<Recording>,
    pub(super) pyramids: Pyramids,
    pub(super) series_readers: Arc<Semaphore>,
    pub(super) key_readers: Arc<Semaphore>,
    pub(super) followers: Arc<Semaphore>,
}

#[derive(Debug)]
pub(super) struct Recording {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) location: String,
    /// The path or URL that opens it; the demo is already open.
    path: Option<PathBuf>,
    open: Mutex<Open>,
    /// Locked while all keys are listed. Other requests wait for it.
    listing: Mutex<()>,
}

/// A recording as it was last opened.
#[derive(Debug)]
struct Open {
    store: Option<Arc<dyn DataStore>>,
    file: Option<FileIdentity>,
    id: Option<String>,
    state: Option<Known<Json>>,
    keys: Option<Known<Arc<Vec<Child>>>>,
}

/// The known state of a recording, its time, and its version.
#[derive(Debug)]
struct Known<T> {
    since: Instant,
    version: Option<u64>,
    what: T,
}

/// The identity of the file or folder at a path. An inode number may be reused.
#[derive(Debug, PartialEq)]
struct FileIdentity {
    #[cfg(unix)]
    number: (u64, u64),
    created: Option<SystemTime>,
}

impl Shown {
    pub(super) fn open(paths: &[PathBuf], demo: Option<&Demo>) -> Result<Self> {
        let mut recordings = Vec::new();
        if let Some(demo) = demo {
            recordings.push(Recording {
                number: 0,
                name: "demo".to_owned(),
                location: "a simulation of simrec serve --demo".to_owned(),
                path: None,
                open: Mutex::new(Open::of(Arc::clone(&demo.store), None)),
                listing: Mutex::default(),
            });
        }
        for path in paths {
            let path = match is_url(path) {
                true => path.clone(),
                false => expand_home(path)?,
            };
            let store = simrecorder::open(&path)?;
            recordings.push(Recording {
                number: recordings.len(),
                name: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                location: path.display().to_string(),
                open: Mutex::new(Open::of(store, FileIdentity::of(&path))),
                listing: Mutex::default(),
                path: Some(path),
            });
        }
        Ok(Self {
            recordings,
            pyramids: Pyramids::new(),
            series_readers: Arc::new(Semaphore::new(SERIES_READERS)),
            key_readers: Arc::new(Semaphore::new(KEY_READERS)),
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        })
    }

    /// The recording with a number.
    pub(super) fn recording(&self, number: usize) -> Result<&Recording> {
        let missing = || Failure::Refused(format!("there is no recording {number}"));
        self.recordings.get(number).ok_or_else(missing)
    }

    /// The store of a recording. If another recording has replaced it, it is opened again.
    ///
    /// # Errors
    ///
    /// If it was removed, or cannot be opened.
    pub(super) fn store(&self, recording: &Recording) -> Result<Arc<dyn DataStore>, Error> {
        let mut open = recording.locked();
        let Some(path) = &recording.path else {
            return open.store.clone().ok_or_else(|| removed(Path::new("demo")));
        };
        let is_url = is_url(path);
        let file = FileIdentity::of(path);
        if let Some(store) = &open.store
            && (is_url || file.is_some() && file == open.file)
        {
            return Ok(Arc::clone(store));
        }
        // LMDB can have a recording open only once.
        open.store = None;
        self.pyramids.forget(recording.number);
        if !is_url && file.is_none() {
            return Err(removed(path));
        }
        let store = simrecorder::open(path)?;
        *open = Open::of(Arc::clone(&store), file);
        Ok(store)
    }

    /// Whether a recording is being written, has ended, or was killed, and a number that differs
    /// after each commit, if it can be determined.
    pub(super) fn state(&self, recording: &Recording) -> (Json, Option<u64>) {
        let store = match self.store(recording) {
            Ok(store) => store,
            Err(error) => return (json!({"error": error.to_string()}), None),
        };
        let mut version = recording.path.as_deref().and_then(version);
        if let Some(known) = &recording.locked().state
            && known.is_of(version)
            && known.since.elapsed() < STATE_LIFE
        {
            return (known.what.clone(), version);
        }
        let state = match store.info() {
            Ok(info) => {
                self.check_id(recording, &info);
                version = version.or(info.revision);
                json!(name_of_state(&info))
            }
            Err(error) => json!({"error": error.to_string()}),
        };
        let before = recording
            .locked()
            .state
            .replace(Known::now(version, state.clone()));
        // A writer that resumes a recording may have rewound it first.
        if state == "recording" && before.is_some_and(|before| before.what != state) {
            self.pyramids.forget(recording.number);
        }
        (state, version)
    }

    /// All keys of a recording, in natural order. While it changes, new keys appear a few seconds
    /// later.
    pub(super) fn keys(&self, recording: &Recording) -> Result<Arc<Vec<Child>>> {
        let store = self.store(recording)?;
        let _listing = recording.listing.lock();
        let version = recording.path.as_deref().and_then(version);
        if let Some(known) = &recording.locked().keys
            && (known.is_of(version) || known.since.elapsed() < KEYS_LIFE)
        {
            return Ok(Arc::clone(&known.what));
        }
        let keys = Arc::new(select(&*store, &[])?);
        if keys.len() <= MOST_KEYS {
            recording.locked().keys = Some(Known::now(version, Arc::clone(&keys)));
        }
        Ok(keys)
    }

    /// Marks a recording to be opened again if its id shows that it is another one.
    fn check_id(&self, recording: &Recording, info: &RecordingInfo) {
        let mut open = recording.locked();
        if open.id.is_some() && open.id != info.id && recording.path.is_some() {
            open.store = None;
            self.pyramids.forget(recording.number);
        }
        open.id.clone_from(&info.id);
    }
}

impl Recording {
    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn of(store: Arc<dyn DataStore>, file: Option<FileIdentity>) -> Self {
        Self {
            store: Some(store),
            file,
            id: None,
            state: None,
            keys: None,
        }
    }
}

impl<T> Known<T> {
    fn now(version: Option<u64>, what: T) -> Self {
        Self {
            since: Instant::now(),
            version,
            what,
        }
    }

    /// Whether nothing has changed since.
    fn is_of(&self, version: Option<u64>) -> bool {
        version.is_some() && self.version == version
    }
}

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            #[cfg(unix)]
            number: {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino())
            },
            created: metadata.created().ok(),
        })
    }
}

fn is_url(path: &Path) -> bool {
    path.to_string_lossy().contains("://")
}

fn removed(path: &Path) -> Error {
    let message = "the recording was removed; it is shown again when it is back";
    Error::new(ErrorKind::NotFound, "serve", message).with_key(path.display().to_string())
}

fn name_of_state(info: &RecordingInfo) -> Option<&'static str> {
    match (info.is_being_written, info.is_abandoned()) {
        (Some(true), _) => Some("recording"),
        (_, Some(true)) => Some("killed"),
        (Some(false), _) => Some("ended"),
        (None, _) if info.is_checkpointed == Some(true) => Some("ended"),
        (None, _) => None,
    }
}

/// A number that differs after a commit has changed the files of a recording. It fits into a
/// JavaScript number.
fn version(path: &Path) -> Option<u64> {
    let mut journal = path.as_os_str().to_owned();
    journal.push(".journal");
    let mut hasher = DefaultHasher::new();
    let mut add = |metadata: &Metadata| {
        (metadata.len(), metadata.modified().ok()).hash(&mut hasher);
    };
    let metadata = fs::metadata(path).ok()?;
    add(&metadata);
    if let Ok(journal) = fs::metadata(journal) {
        add(&journal);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).ok()?.flatten().take(MOST_ENTRIES) {
            add(&entry.metadata().ok()?);
        }
    }
    Some(hasher.finish() >> 11)
}
