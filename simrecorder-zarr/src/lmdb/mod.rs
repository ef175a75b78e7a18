//! Zarr entries in LMDB: many small chunks in one file, and atomic commits.

mod chunk_files;
mod chunk_writer;
mod data_file;
mod entries;
mod environment;
mod errors;
mod file_map;
mod folder;
mod handle;
#[cfg(test)]
mod model_tests;
mod opening;
mod pages;
#[cfg(test)]
mod process_tests;
mod reader_locks;
mod snapshot;
#[cfg(test)]
mod tests;
mod zarr;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use simrecorder_core::backend::errors::{closed, read_only};
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::backend::{WriterLock, check_not_deleted, disk_usage};
use simrecorder_core::{Durability, Error, ErrorKind, OpenMode, RecordingInfo, Result};

use self::chunk_writer::ChunkWriter;
pub(crate) use self::chunk_writer::NewExtent;
pub(crate) use self::entries::MAX_KEY_BYTES;
use self::environment::Environment;
pub(crate) use self::file_map::MappedBytes;
use self::folder::Folder;
use self::reader_locks::LockedReaders;
use self::snapshot::LmdbSnapshot;
use crate::storage::{Change, Chunk, ChunkKey, Snapshot, Storage, WrittenAhead};

/// The name, among the required features of a root, for entries in chunk files.
const CHUNK_FILES: &str = "chunk-files";

/// The approximate number of bytes that are copied in one transaction.
const COPIED_AT_ONCE: usize = 8 << 20;

/// Options for opening an [`LmdbStorage`].
///
/// ```
/// use simrecorder_core::{Durability, OpenMode};
/// use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// let options = LmdbOptions::default()
///     .mode(OpenMode::CreateNew)
///     .durability(Durability::Process);
/// assert!(!LmdbStorage::open(path, &options)?.is_read_only());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LmdbOptions {
    mode: OpenMode,
    durability: Durability,
    map_size: Option<usize>,
}

impl LmdbOptions {
    /// Sets what to do if the recording exists, or if it does not; by default [`OpenMode::Read`].
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what a commit survives once it has returned; by default [`Durability::Power`].
    ///
    /// With [`Durability::Process`], LMDB never waits for the disk, and the system may write pages
    /// in any order. If the process is killed, nothing is lost, but after a power failure or a
    /// system crash it may be impossible to open the file. [`LmdbStorage::close`] waits for the
    /// disk once.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets the number of bytes of virtual memory to reserve at first; by default 1 TiB, or as much
    /// as the system grants.
    ///
    /// The reservation uses neither memory nor disk space, and grows when a recording outgrows it,
    /// so there is no need to set it. Ignored if this process already has the recording open.
    #[must_use]
    pub fn map_size(mut self, bytes: usize) -> Self {
        self.map_size = Some(bytes);
        self
    }
}

/// A recording in LMDB as a Zarr storage. It implements the storage traits of [`zarrs_storage`], so
/// that [`zarrs`] can read and write arrays in it.
///
/// ```
/// use std::sync::Arc;
/// use simrecorder_core::OpenMode;
/// use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
/// use simrecorder_zarr::zarrs_storage::{ReadableStorageTraits, StoreKey, WritableStorageTraits};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("run.mdb");
/// let options = LmdbOptions::default().mode(OpenMode::CreateNew);
/// let storage = LmdbStorage::open(&path, &options)?;
/// storage.set(&StoreKey::new("zarr.json")?, "{}".into())?;
/// storage.close()?;
///
/// let storage = LmdbStorage::open(&path, &LmdbOptions::default())?;
/// assert_eq!(storage.get(&StoreKey::new("zarr.json")?)?, Some("{}".into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Files
///
/// The path is a folder with `data.mdb` and `lock.mdb`, as for every LMDB program. `writer.lock` is
/// locked by the process that writes. `chunks.0`, `chunks.1`, … contain values of more than 2000
/// bytes, and processes that read them lock bytes of `readers.lock`. The unnamed database contains
/// the entries: the key is the Zarr store key in UTF-8, at most 511 bytes, and the value is the
/// stored data or its place in a chunk file. Keys that begin with a zero byte are private: they
/// contain the unfinished chunks of recordings and do not appear in listings. Copy or move a folder
/// only while no program has it open. Do not truncate or replace its files while they are open:
/// they are mapped into memory, and reading beyond their end kills the process.
///
/// # Writers and readers
///
/// There is one writer at a time among all processes, and any number of readers; neither waits for
/// the other. Every later read sees what a writer has committed. One process may open the same
/// recording any number of times. Clones share one opening; [`close`](Self::close) of one of them
/// ends writing for all.
///
/// Reading needs permission to read `data.mdb`. To read while a writer is running, a reader also
/// needs permission to write `lock.mdb`, where it registers. Without it, and on a read-only mount,
/// reading fails with [`ErrorKind::Locked`].
///
/// A single file, which other software creates with `MDB_NOSUBDIR`, can be opened for reading,
/// through a temporary folder with links to it.
///
/// Other LMDB programs can read a recording that simrecorder does not have open. While it is open,
/// programs with LMDB 0.9 (for example py-lmdb) fail with `MDB_VERSION_MISMATCH`, because their
/// `lock.mdb` has another format; programs with LMDB's `mdb.master` branch (for example heed) do
/// not. None of them should write, because they do not know `writer.lock`.
///
/// LMDB does not work on network file systems. Writing there is refused; reading is possible while
/// no program writes.
#[derive(Clone)]
pub struct LmdbStorage(Arc<ProcessLocal<Handle>>);

/// One opening of a recording.
struct Handle {
    path: PathBuf,
    environment: Arc<Environment>,
    read_only: bool,
    /// `None` when read only or closed. Commits take turns with this lock.
    writer: Mutex<Option<Writer>>,
    /// The writer of chunk files; `None` when read only, or if the recording has no chunk files.
    chunks: Option<Arc<ChunkWriter>>,
}

struct Writer {
    durability: Durability,
    /// Released when the writer is dropped.
    lock: WriterLock,
    /// Kept open to notice when it is deleted.
    data: File,
}

impl LmdbStorage {
    /// Opens the recording in the folder `path` with these options.
    ///
    /// Creating a recording also creates missing parent folders, and returns when the new recording
    /// would survive a power failure. An empty folder counts as no recording.
    /// [`OpenMode::Truncate`] deletes the files of the recording and nothing else, provided that
    /// there is a `writer.lock`; readers in other processes keep the files that they have open.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::NotFound`]: there is no recording, and the mode does not create one.
    /// - [`ErrorKind::AlreadyExists`]: there is one, and the mode is [`OpenMode::CreateNew`].
    /// - [`ErrorKind::InvalidArgument`]: the path is empty, a file, or a folder with other
    ///   contents; for [`OpenMode::Truncate`], a database that other software created.
    /// - [`ErrorKind::Locked`]: another writer has it open; for [`OpenMode::Truncate`], this
    ///   process has it open, if only for reading; or see "Writers and readers" above.
    /// - [`ErrorKind::Corrupt`]: `data.mdb` is truncated or not an LMDB file.
    /// - [`ErrorKind::Unsupported`]: `data.mdb` has another version or byte order, or the path is
    ///   on a network file system and the mode writes.
    /// - [`ErrorKind::PermissionDenied`], [`ErrorKind::StorageFull`], [`ErrorKind::Io`]: the system
    ///   reported an error.
    ///
    /// ```
    /// use simrecorder_core::{ErrorKind, OpenMode};
    /// use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("run.mdb");
    /// let error = LmdbStorage::open(&path, &LmdbOptions::default()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    ///
    /// let options = LmdbOptions::default().mode(OpenMode::OpenOrCreate);
    /// let writer = LmdbStorage::open(&path, &options)?;
    /// let error = LmdbStorage::open(&path, &options).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Locked);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: &LmdbOptions) -> Result<Self> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "open",
                "the path is empty or contains a NUL character",
            )
            .with_key(path.display().to_string()));
        }
        let handle = match options.mode.is_writable() {
            true => open_for_writing(path, options)?,
            false => Handle {
                path: path.to_owned(),
                environment: open_for_reading(path, options)?,
                read_only: true,
                writer: Mutex::new(None),
                chunks: None,
            },
        };
        Ok(Self(Arc::new(ProcessLocal::new(handle))))
    }

    /// The path that was passed to [`open`](Self::open).
    ///
    /// ```
    /// # use simrecorder_core::OpenMode;
    /// # use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("run.mdb");
    /// # let options = LmdbOptions::default().mode(OpenMode::CreateNew);
    /// let storage = LmdbStorage::open(&path, &options)?;
    /// assert_eq!(storage.path(), path);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.0.constants().path
    }

    /// Whether the storage was opened with [`OpenMode::Read`].
    ///
    /// ```
    /// # use simrecorder_core::OpenMode;
    /// # use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("run.mdb");
    /// # let options = LmdbOptions::default().mode(OpenMode::CreateNew);
    /// let writer = LmdbStorage::open(&path, &options)?;
    /// let reader = LmdbStorage::open(&path, &LmdbOptions::default())?;
    /// assert!(!writer.is_read_only() && reader.is_read_only());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_read_only(&self) -> bool {
        self.0.constants().read_only
    }

    /// Ends writing for all clones, so that the next writer can open the recording. Reading still
    /// works.
    ///
    /// With [`Durability::Process`], it waits until everything is on disk. Closing twice, or
    /// closing a read-only storage, does nothing. Dropping the last clone does the same and logs
    /// errors.
    ///
    /// # Errors
    ///
    /// An I/O error if the final sync fails. The lock is released even then.
    ///
    /// ```
    /// # use simrecorder_core::OpenMode;
    /// # use simrecorder_zarr::lmdb::{LmdbOptions, LmdbStorage};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("run.mdb");
    /// let options = LmdbOptions::default().mode(OpenMode::OpenOrCreate);
    /// let first = LmdbStorage::open(&path, &options)?;
    /// first.close()?;
    /// let second = LmdbStorage::open(&path, &options)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.0.get("close")?.close()
    }

    /// Calls `read` with a snapshot, as [`Environment::read`] does.
    fn snapshot<T>(&self, read: impl FnMut(&LmdbSnapshot<'_>) -> Result<T>) -> Result<T> {
        self.0.get("read")?.environment.read(read)
    }

    /// Whether a writer of this library has opened the folder before.
    pub(crate) fn was_written_here(folder: &Path) -> bool {
        folder::was_written_here(folder)
    }

    /// Whether the recording is empty.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        self.snapshot(|snapshot| snapshot.is_empty())
    }

    /// Commits `changes` in one transaction while `writer` is locked.
    fn commit_as(&self, writer: &Option<Writer>, changes: &[Change]) -> Result<()> {
        let handle = self.0.get("commit")?;
        let Some(writer) = writer else {
            let error = match handle.read_only {
                true => read_only("commit"),
                false => closed("commit", "store"),
            };
            return Err(error.with_key(handle.path.display().to_string()));
        };
        entries::check(changes)?;
        for change in changes {
            if let Change::MovePath { from, to } = change {
                self.copy_below(from, to)?;
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        if let Some(chunks) = &handle.chunks
            && writer.durability != Durability::Process
        {
            chunks.sync()?;
        }
        let has_chunk_files = handle.chunks.is_some();
        let (transaction, freed) = handle.environment.commit(changes, has_chunk_files)?;
        if let Some(chunks) = &handle.chunks {
            chunks.free_after(transaction, freed);
        }
        check_not_deleted(&handle.path, &[&writer.data, writer.lock.file()])
    }

    /// Puts the bytes of an entry into a chunk file, unless they are few.
    fn place(&self, bytes: Bytes) -> Result<Chunk> {
        match &self.0.get("write")?.chunks {
            Some(chunks) if bytes.len() > entries::INLINE_BYTES => {
                let extent = Arc::new(chunks.write(&bytes)?);
                Ok(Chunk::Written(WrittenAhead::InChunkFile(extent)))
            }
            _ => Ok(Chunk::Bytes(bytes)),
        }
    }
}

impl LmdbStorage {
    /// Copies entries in several transactions, because all of them at once would not fit into
    /// memory.
    fn copy_below(&self, from: &str, to: &str) -> Result<()> {
        let handle = self.0.get("commit")?;
        let (environment, has_chunk_files) = (&handle.environment, handle.chunks.is_some());
        let (from, to) = (entries::prefix_of(from), entries::prefix_of(to));
        let mut last = from.clone();
        while let Some((copies, next)) =
            environment.read(|snapshot| snapshot.copies(&from, &to, &last, COPIED_AT_ONCE))?
        {
            entries::check(&copies)?;
            // Copies replace what a killed rename left, which leads to no chunk file.
            environment.commit(&copies, has_chunk_files)?;
            last = next;
        }
        Ok(())
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        let Some(ending) = writer.take() else {
            return Ok(());
        };
        let mut result = Ok(());
        if let Some(chunks) = &self.chunks {
            if ending.durability == Durability::Process {
                result = chunks.sync();
            }
            chunks.close();
        }
        if ending.durability == Durability::Process {
            result = result.and_then(|()| self.environment.sync("close"));
            // The next writer may use full durability.
            result = result.and(self.environment.set_no_sync(false));
        }
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(path = %self.path.display(), %error, "could not close the recording");
        }
    }
}

impl fmt::Debug for LmdbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LmdbStorage")
            .field("path", &self.path())
            .field("read_only", &self.is_read_only())
            .finish_non_exhaustive()
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .map_err(|error| Error::io("open", path, error))
}

fn refusal(kind: ErrorKind, path: &Path, message: impl Into<String>) -> Error {
    Error::new(kind, "open", message).with_key(path.display().to_string())
}

fn not_found(path: &Path) -> Error {
    refusal(
        ErrorKind::NotFound,
        path,
        "there is no recording at this path",
    )
}

fn open_for_reading(path: &Path, options: &LmdbOptions) -> Result<Arc<Environment>> {
    match folder::look("open", path)? {
        Folder::Recording | Folder::File => {
            Environment::attach(&canonical(path)?, false, options.map_size)
        }
        Folder::Missing | Folder::Empty | Folder::Foreign(_) => Err(not_found(path)),
    }
}

fn open_for_writing(path: &Path, options: &LmdbOptions) -> Result<Handle> {
    let first_existing = folder::first_existing(path);
    folder::check_file_system(&first_existing)?;
    check_mode(path, options.mode)?;
    folder::create(path)?;
    let canonical_path = canonical(path)?;
    let lock = folder::lock_for_writing(&canonical_path)?;
    // Check again, now that no other writer can interfere.
    let is_new = check_mode(path, options.mode)?;
    if is_new {
        environment::while_closed(&canonical_path, || {
            folder::delete_files(&canonical_path)?;
            folder::create_data_file(&canonical_path)
        })?;
    }
    let environment = Environment::attach(&canonical_path, true, options.map_size)?;
    let locked = LockedReaders::open(&canonical_path);
    let locked = locked.map_err(|error| Error::io("open", &canonical_path, error))?;
    if is_new {
        environment.mark_chunk_files()?;
        environment.sync("create")?;
        folder::sync(&canonical_path, &canonical(&first_existing)?)?;
    }
    if options.durability == Durability::Process {
        environment.set_no_sync(true)?;
    }
    let data = canonical_path.join(folder::DATA);
    let data = File::open(&data).map_err(|error| Error::io("open", &data, error))?;
    environment.show_last_commit()?;
    let used = environment.read(|snapshot| match snapshot.mark {
        Some(mark) => Ok(Some((mark, snapshot.txn.id() as u64, snapshot.extents()?))),
        None => Ok(None),
    })?;
    let durability = options.durability;
    let chunks = used.map(|(mark, transaction, used)| {
        // A reader of an older snapshot may read extents to which no entry leads now.
        let is_read = locked.are_before(transaction);
        ChunkWriter::open(&canonical_path, mark, durability, used, locked, is_read)
    });
    Ok(Handle {
        path: path.to_owned(),
        environment,
        read_only: false,
        writer: Mutex::new(Some(Writer {
            durability,
            lock,
            data,
        })),
        chunks: chunks.transpose()?.map(Arc::new),
    })
}

/// Whether the mode creates a new recording at `path`. Fails if the mode does not allow what is
/// there.
fn check_mode(path: &Path, mode: OpenMode) -> Result<bool> {
    let found = match folder::look("open", path) {
        Err(error) if path.join(folder::DATA).is_file() => match mode {
            OpenMode::CreateNew => Ok(Folder::Recording),
            OpenMode::Truncate if data_file::has_magic(&path.join(folder::DATA)) => {
                Ok(Folder::Recording)
            }
            _ => Err(error),
        },
        found => found,
    }?;
    match (found, mode) {
        (Folder::Recording, OpenMode::CreateNew) => Err(refusal(
            ErrorKind::AlreadyExists,
            path,
            "a recording already exists at this path; choose another one, or append to it",
        )),
        (Folder::Recording, OpenMode::Truncate) if !folder::was_written_here(path) => Err(refusal(
            ErrorKind::InvalidArgument,
            path,
            "this is an LMDB database of other software and is not erased: unlike recordings of \
             simrecorder, it has no file 'writer.lock'; delete it, or choose another path",
        )),
        (Folder::Recording, mode) => Ok(mode == OpenMode::Truncate),
        (Folder::File, OpenMode::CreateNew) => Err(refusal(
            ErrorKind::AlreadyExists,
            path,
            "an LMDB database already exists at this path; choose another one",
        )),
        (Folder::File, _) => Err(folder::is_file("open", path)),
        (Folder::Missing | Folder::Empty, OpenMode::Append) => Err(not_found(path)),
        (Folder::Missing | Folder::Empty, _) => Ok(true),
        (Folder::Foreign(name), _) => Err(refusal(
            ErrorKind::InvalidArgument,
            path,
            format!("this folder contains something else ('{name}'); choose another path"),
        )),
    }
}

impl Storage for LmdbStorage {
    fn read(&self, read: &mut dyn FnMut(&dyn Snapshot) -> Result<()>) -> Result<()> {
        self.snapshot(|snapshot| read(snapshot))
    }

    fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let writer = self.0.get("commit")?.writer.lock();
        self.commit_as(&writer, &changes)
    }

    fn write_ahead(&self, _key: &ChunkKey, bytes: Bytes) -> Result<Chunk> {
        self.place(bytes)
    }

    fn add_info(&self, info: &mut RecordingInfo) -> Result<()> {
        "Zarr V3 in LMDB".clone_into(&mut info.format);
        info.bytes = Some(disk_usage(self.path())?);
        // Without permission to read the lock, the answer is unknown.
        info.is_being_written = folder::is_being_written(self.path()).ok();
        self.snapshot(|snapshot| {
            let mut live = 0;
            snapshot.for_each("", |_, len| live += len as u64)?;
            for array in snapshot.tails()? {
                live += snapshot.tail_len(&array)?;
            }
            info.live_bytes = Some(live);
            Ok(())
        })
    }

    fn required_features(&self) -> &'static [&'static str] {
        match self.0.constants().chunks {
            Some(_) => &[CHUNK_FILES],
            None => &[],
        }
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    fn close(&self) -> Result<()> {
        Self::close(self)
    }

    fn is_read_only(&self) -> bool {
        Self::is_read_only(self)
    }
}
