//! Chunk files: they contain the bytes of large entries, and the database contains their places.
//!
//! An entry of the database that is not metadata begins with a tag. [`INLINE`] is followed by the
//! bytes of the entry. [`EXTENT`] is followed by the place of the bytes in a chunk file and the
//! number of the transaction that put them there. So two entries of a key that lead to different
//! bytes are never equal: if a reader finds the entry unchanged after it has read from the file, it
//! has read the right bytes, although space in the files is reused.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder_core::backend::random_number;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::{Error, ErrorKind, Result};

use super::file_map::{FileMap, MappedBytes};
use crate::storage::{Entry, EntryFile, ends_early};

const MAGIC: [u8; 8] = *b"\x89SRC\r\n\x1a\n";
const VERSION: u32 = 1;
/// The number of bytes before the first extent of a file.
pub(super) const HEADER_BYTES: u64 = 24;
/// The beginning of the names of chunk files; a number follows.
const NAME: &str = "chunks.";
/// The maximum number of files that are kept open for reading.
const MAX_OPEN: usize = 64;

/// The tags of entries.
const INLINE: u8 = 0;
const EXTENT: u8 = 1;
const EXTENT_ENTRY_BYTES: usize = 29;

/// What the database of a recording with chunk files says about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkMark {
    /// A random number that distinguishes its files from those of other recordings.
    token: u64,
}

impl ChunkMark {
    pub(super) fn new() -> Self {
        Self {
            token: random_number(),
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        [&VERSION.to_le_bytes()[..], &self.token.to_le_bytes()].concat()
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let version = u32_at(bytes, 0);
        match (version, u64_at(bytes, 4)) {
            (Some(VERSION), Some(token)) if bytes.len() == 12 => Ok(Self { token }),
            (Some(version), _) if version > VERSION => {
                let message = format!(
                    "the recording has chunk files of version {version}; this version of \
                     simrecorder reads version {VERSION}: use a newer one"
                );
                Err(Error::new(ErrorKind::Unsupported, "open", message))
            }
            _ => {
                let message = "the metadata of the chunk files cannot be decoded";
                Err(Error::new(ErrorKind::Corrupt, "open", message))
            }
        }
    }

    /// The header of a file.
    fn header(self, number: u32) -> [u8; HEADER_BYTES as usize] {
        let mut header = [0; HEADER_BYTES as usize];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&number.to_le_bytes());
        header[16..].copy_from_slice(&self.token.to_le_bytes());
        header
    }
}

/// A part of a chunk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// An entry of the database, in a recording with chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored<'a> {
    Inline(&'a [u8]),
    Extent(Extent),
}

impl<'a> Stored<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self> {
        let extent = || {
            (value.len() == EXTENT_ENTRY_BYTES).then_some(Extent {
                file: u32_at(value, 1)?,
                offset: u64_at(value, 5)?,
                len: u64_at(value, 13)?,
            })
        };
        let parsed = match value.first() {
            Some(&INLINE) => Some(Self::Inline(&value[1..])),
            Some(&EXTENT) => extent().map(Self::Extent),
            _ => None,
        };
        parsed.ok_or_else(|| {
            let message = "an entry of the database does not say where its bytes are";
            Error::new(ErrorKind::Corrupt, "read", message)
        })
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Extent(extent) => usize::try_from(extent.len).unwrap_or(usize::MAX),
        }
    }
}

/// The entry for bytes that stay in the database.
pub(super) fn inline_entry(bytes: &[u8]) -> Vec<u8> {
    [&[INLINE], bytes].concat()
}

/// The entry for bytes in a chunk file, as a transaction writes it.
pub(super) fn extent_entry(extent: Extent, transaction: u64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(EXTENT_ENTRY_BYTES);
    entry.push(EXTENT);
    entry.extend(extent.file.to_le_bytes());
    entry.extend(extent.offset.to_le_bytes());
    entry.extend(extent.len.to_le_bytes());
    entry.extend(transaction.to_le_bytes());
    entry
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

pub(super) fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{NAME}{number}"))
}

/// The numbers of the chunk files in a folder, sorted.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(digits) = name.to_str().and_then(|name| name.strip_prefix(NAME))
            && let Ok(number) = digits.parse::<u32>()
            // `chunks.007` and `chunks.+7` belong to other software.
            && number.to_string() == digits
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates a chunk file.
pub(super) fn create(folder: &Path, mark: ChunkMark, number: u32) -> io::Result<File> {
    let path = path_of(folder, number);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all_at(&mark.header(number), 0)?;
    Ok(file)
}

/// Opens a chunk file and checks that it belongs to the recording.
pub(super) fn open(folder: &Path, mark: ChunkMark, number: u32, write: bool) -> Result<File> {
    let path = path_of(folder, number);
    let failed = |error| Error::io("open", &path, error);
    let file = OpenOptions::new().read(true).write(write).open(&path);
    let file = file.map_err(failed)?;
    let mut header = [0; HEADER_BYTES as usize];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) if header == mark.header(number) => return Ok(file),
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(failed(error)),
    }
    let message = "this is not the chunk file that belongs to the recording";
    Err(Error::new(ErrorKind::Corrupt, "open", message).with_key(path.display().to_string()))
}

/// The chunk files that are open for reading.
#[derive(Debug)]
pub(super) struct ChunkFiles {
    folder: PathBuf,
    open: Mutex<BTreeMap<u32, Arc<OpenFile>>>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    path: Arc<Path>,
    /// `None` until it is needed, or if the system refuses.
    map: Mutex<Option<Arc<FileMap>>>,
}

impl ChunkFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: Mutex::default(),
        }
    }

    /// The bytes of an extent, not read yet. They are in memory if they cannot change.
    pub(super) fn entry(
        &self,
        mark: ChunkMark,
        extent: Extent,
        stays: bool,
    ) -> Result<Entry<'static>> {
        let opened = self.open.lock().get(&extent.file).cloned();
        let opened = opened.map_or_else(|| self.open(mark, extent.file), Ok)?;
        let metadata = opened.file.metadata();
        let file_len = metadata
            .map_err(|error| Error::io("read", &opened.path, error))?
            .len();
        let end = extent.offset.checked_add(extent.len);
        let end = end.filter(|end| *end <= file_len);
        let range = end
            .and_then(|end| Some(usize::try_from(extent.offset).ok()?..usize::try_from(end).ok()?));
        let range = range.ok_or_else(|| ends_early(&opened.path))?;
        if stays && let Some(bytes) = opened.map(range.clone(), file_len) {
            return Ok(Entry::MappedFile(bytes));
        }
        Ok(Entry::File(EntryFile {
            file: Arc::clone(&opened.file),
            offset: extent.offset,
            len: range.len(),
            path: Arc::clone(&opened.path),
        }))
    }

    fn open(&self, mark: ChunkMark, number: u32) -> Result<Arc<OpenFile>> {
        let path = path_of(&self.folder, number);
        let file = open(&self.folder, mark, number, false).map_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                return error.with_operation("read");
            }
            let missing = Error::new(ErrorKind::Corrupt, "read", "the chunk file is missing");
            missing.with_key(path.display().to_string())
        })?;
        let opened = Arc::new(OpenFile {
            file: Arc::new(file),
            path: path.into(),
            map: Mutex::default(),
        });
        let mut open = self.open.lock();
        if open.len() >= MAX_OPEN {
            open.pop_first();
        }
        open.insert(number, Arc::clone(&opened));
        Ok(opened)
    }
}

impl OpenFile {
    /// Bytes of the file, which is `len` bytes long and does not change them; `None` if it cannot
    /// be mapped.
    #[allow(unsafe_code, reason = "mapped bytes must not change")]
    fn map(&self, range: Range<usize>, file_len: u64) -> Option<MappedBytes> {
        let mut map = self.map.lock();
        if map.as_ref().is_none_or(|map| map.len() < file_len) {
            *map = FileMap::new(&self.file, file_len).map(Arc::new);
        }
        // SAFETY: the file has these bytes, and no writer of this library changes or truncates
        // bytes that an entry of a locked snapshot leads to. It is impossible to prevent other
        // programs from doing so; as for LMDB's data file, the documentation of `LmdbStorage`
        // forbids it.
        unsafe { map.as_ref()?.bytes(range) }
    }
}
