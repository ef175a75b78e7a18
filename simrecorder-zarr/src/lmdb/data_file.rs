//! Checks `data.mdb` before LMDB maps it into memory.
//!
//! LMDB trusts its file: one that is too short ends the process with `SIGBUS`. This module checks
//! the two meta pages; [`pages`](super::pages) checks the others.
//!
//! The layout is that of `MDB_page`, `MDB_meta`, `MDB_db` and `MDB_node` in LMDB's `mdb.c`.
//! Integers have the machine's byte order and, where they are `mdb_size_t`, its width.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use simrecorder_core::{Error, ErrorKind, Result};

/// What is at the path of the data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataFile {
    Missing,
    /// Its creation was interrupted, and it is still empty.
    Unfinished,
    /// Sound, as far as the checks go.
    Sound {
        /// The minimum size of the map in bytes.
        needed: u64,
    },
}

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
pub(super) const WORD: usize = size_of::<usize>();
pub(super) const PAGE_HEADER: usize = WORD + 8;
const DB: usize = 8 + 5 * WORD;
const META: usize = 8 + 2 * WORD + 2 * DB + 2 * WORD;
/// LMDB's own bound.
const MAX_PAGE: usize = 0x8000;
pub(super) const P_BRANCH: u16 = 0x01;
pub(super) const P_LEAF: u16 = 0x02;
const P_META: u16 = 0x08;
/// The flags of a file without a folder, and of a tree with numbers as keys.
const F_NO_FOLDER: u16 = 0x4000;
const F_INTEGER_KEYS: u16 = 0x08;
pub(super) const F_BIGDATA: u16 = 0x01;
pub(super) const NO_PAGE: u64 = usize::MAX as u64;

/// Inspects the data file at `path`.
///
/// A file that another process is writing may look damaged for a moment, so a bad result is checked
/// again.
pub(super) fn inspect(operation: &'static str, path: &Path) -> Result<DataFile> {
    let mut tries = 0;
    loop {
        let damage = match look(path) {
            Ok(Ok(state)) => return Ok(state),
            Ok(Err(damage)) => damage,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DataFile::Missing),
            Err(error) => return Err(Error::io(operation, path, error)),
        };
        tries += 1;
        if tries == 5 {
            return Err(Error::new(damage.kind, operation, damage.message)
                .with_key(path.display().to_string()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the file begins like an LMDB data file, sound or not.
pub(super) fn has_magic(path: &Path) -> bool {
    let mut start = [0; PAGE_HEADER + 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let magic = word32(&start, PAGE_HEADER);
    read.is_ok() && (magic == MAGIC || magic == MAGIC.swap_bytes())
}

struct Damage {
    kind: ErrorKind,
    message: String,
}

fn damage<T>(kind: ErrorKind, message: impl Into<String>) -> Result<T, Damage> {
    let message = message.into();
    Err(Damage { kind, message })
}

fn truncated<T>(length: u64, needed: u64) -> Result<T, Damage> {
    damage(
        ErrorKind::Corrupt,
        format!("the data file is truncated: it has {length} bytes and needs {needed}"),
    )
}

fn look(path: &Path) -> io::Result<Result<DataFile, Damage>> {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Ok(damage(
            ErrorKind::Corrupt,
            "this is not a file, so not an LMDB data file",
        ));
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() == 0 {
        return Ok(Ok(DataFile::Unfinished));
    }
    let first = match read_meta(&mut file, 0)? {
        Some(Ok(meta)) => meta,
        Some(Err(damage)) if !is_zero(&mut file)? => return Ok(Err(damage)),
        None if !is_zero(&mut file)? => return Ok(damage(ErrorKind::Corrupt, NOT_LMDB)),
        _ => return Ok(Ok(DataFile::Unfinished)),
    };
    let second = match read_meta(&mut file, first.page_size)? {
        Some(Ok(meta)) => meta,
        // LMDB writes both meta pages of a new file in one call, which a kill may interrupt
        // halfway.
        _ if first.transaction == 0 && metadata.len() < 2 * first.page_size => {
            return Ok(Ok(DataFile::Unfinished));
        }
        Some(Err(damage)) => return Ok(Err(damage)),
        None => return Ok(truncated(metadata.len(), 2 * first.page_size)),
    };
    // Transactions alternate between the two pages.
    let in_turn = first.transaction % 2 == 0
        && (second.transaction % 2 == 1 || (second.transaction, first.transaction) == (0, 0));
    if second.page_size != first.page_size || !in_turn {
        return Ok(damage(ErrorKind::Corrupt, DAMAGED_META));
    }
    let newest = if second.transaction > first.transaction {
        second
    } else {
        first
    };
    let needed = match newest.check() {
        Ok(needed) => needed,
        Err(damage) => return Ok(Err(damage)),
    };
    // Read after the meta pages, because a writer extends the file before it updates them.
    let length = file.metadata()?.len();
    if length < needed && !FreeList::new(&mut file, &newest, length).covers_the_missing_pages()? {
        return Ok(truncated(length, needed));
    }
    Ok(Ok(DataFile::Sound { needed }))
}

const DAMAGED_META: &str = "a meta page of the data file is damaged";
const NOT_LMDB: &str = "this is not an LMDB data file";

/// The contents of a meta page.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) page_size: u64,
    pub(super) free: TreeRoot,
    pub(super) main: TreeRoot,
    pub(super) last_page: u64,
    transaction: u64,
}

/// The root of a tree of pages.
#[derive(Clone, Copy)]
pub(super) struct TreeRoot {
    flags: u16,
    pub(super) depth: u16,
    pub(super) page: u64,
}

impl TreeRoot {
    /// Parses an `MDB_db`.
    fn parse(db: &[u8]) -> Self {
        Self {
            flags: word16(db, 4),
            depth: word16(db, 6),
            page: word(db, 8 + 4 * WORD),
        }
    }
}

/// The meta page of a transaction; `None` if it was replaced or is invalid.
pub(super) fn meta_of(file: &mut File, transaction: u64) -> io::Result<Option<Meta>> {
    let Some(Ok(first)) = read_meta(file, 0)? else {
        return Ok(None);
    };
    let second = read_meta(file, first.page_size)?.and_then(Result::ok);
    Ok([Some(first), second]
        .into_iter()
        .flatten()
        .find(|meta| meta.transaction == transaction && meta.check().is_ok()))
}

/// The meta page at `offset`; `None` if the file ends first.
fn read_meta(file: &mut File, offset: u64) -> io::Result<Option<Result<Meta, Damage>>> {
    let Some(page) = read_at(file, offset, PAGE_HEADER + META)? else {
        return Ok(None);
    };
    Ok(Some(parse_meta(&page)))
}

fn parse_meta(page: &[u8]) -> Result<Meta, Damage> {
    let meta = &page[PAGE_HEADER..];
    match word32(meta, 0) {
        MAGIC => {}
        magic if magic == MAGIC.swap_bytes() => {
            return damage(
                ErrorKind::Unsupported,
                "the data file was written on a machine with the other byte order",
            );
        }
        _ => return damage(ErrorKind::Corrupt, NOT_LMDB),
    }
    let version = word32(meta, 4);
    if version != VERSION {
        return damage(
            ErrorKind::Unsupported,
            format!("the data file has format {version} of LMDB; this build reads {VERSION}"),
        );
    }
    let dbs = 8 + 2 * WORD;
    let end = dbs + 2 * DB;
    let meta = Meta {
        page_size: u64::from(word32(meta, dbs)),
        free: TreeRoot::parse(&meta[dbs..]),
        main: TreeRoot::parse(&meta[dbs + DB..]),
        last_page: word(meta, end),
        transaction: word(meta, end + WORD),
    };
    let sane = meta.page_size.is_power_of_two()
        && (512..=MAX_PAGE as u64).contains(&meta.page_size)
        && word16(page, WORD + 2) & P_META != 0;
    if sane {
        Ok(meta)
    } else {
        damage(ErrorKind::Corrupt, DAMAGED_META)
    }
}

impl Meta {
    /// The size that the file must have, if the meta page is valid.
    fn check(&self) -> Result<u64, Damage> {
        if self.main.flags != 0 {
            return damage(
                ErrorKind::Unsupported,
                "the main database of the data file does not contain plain keys and values",
            );
        }
        let inside = |page| page == NO_PAGE || (2..=self.last_page).contains(&page);
        match self
            .last_page
            .checked_add(1)
            .and_then(|pages| pages.checked_mul(self.page_size))
        {
            Some(needed)
                if self.last_page > 0
                    && self.free.flags & !F_NO_FOLDER == F_INTEGER_KEYS
                    && inside(self.free.page)
                    && inside(self.main.page) =>
            {
                Ok(needed)
            }
            _ => damage(ErrorKind::Corrupt, DAMAGED_META),
        }
    }
}

/// The pages that LMDB has freed.
///
/// A sound file may end before its last page: pages that a transaction took at the end and gave
/// back are listed as free and never written.
struct FreeList<'a> {
    file: &'a mut File,
    meta: &'a Meta,
    length: u64,
    /// Free pages after the end of the file.
    beyond: Vec<u64>,
    budget: u64,
}

impl<'a> FreeList<'a> {
    fn new(file: &'a mut File, meta: &'a Meta, length: u64) -> Self {
        let budget = length / meta.page_size;
        Self {
            file,
            meta,
            length,
            beyond: Vec::new(),
            budget,
        }
    }

    fn covers_the_missing_pages(mut self) -> io::Result<bool> {
        let (root, depth) = (self.meta.free.page, self.meta.free.depth);
        if root == NO_PAGE || self.collect(root, depth)?.is_none() {
            return Ok(false);
        }
        self.beyond.sort_unstable();
        self.beyond.dedup();
        let first_missing = self.length / self.meta.page_size;
        Ok(self.beyond.len() as u64 == self.meta.last_page + 1 - first_missing)
    }

    /// Collects the pages that the tree at `page` lists; `None` if it is invalid.
    fn collect(&mut self, page: u64, depth: u16) -> io::Result<Option<()>> {
        if depth == 0 || self.budget == 0 {
            return Ok(None);
        }
        self.budget -= 1;
        let Some(offset) = page.checked_mul(self.meta.page_size) else {
            return Ok(None);
        };
        let size = self.meta.page_size as usize;
        let Some(bytes) = read_at(self.file, offset, size)? else {
            return Ok(None);
        };
        let flags = word16(&bytes, WORD + 2);
        let lower = usize::from(word16(&bytes, WORD + 4));
        if !(PAGE_HEADER..=size).contains(&lower) {
            return Ok(None);
        }
        for index in 0..(lower - PAGE_HEADER) / 2 {
            let node = usize::from(word16(&bytes, PAGE_HEADER + 2 * index));
            if node + 8 > size {
                return Ok(None);
            }
            let (low, high) = (word16(&bytes, node), word16(&bytes, node + 2));
            let (node_flags, key) = (word16(&bytes, node + 4), word16(&bytes, node + 6));
            let (low, high) = if cfg!(target_endian = "big") {
                (high, low)
            } else {
                (low, high)
            };
            let word = u64::from(low) | u64::from(high) << 16;
            let found = match flags & (P_BRANCH | P_LEAF) {
                P_BRANCH => self.collect(word | u64::from(node_flags) << 32, depth - 1)?,
                P_LEAF => {
                    let data = node + 8 + usize::from(key);
                    self.list(&bytes, data, word as usize, node_flags)?
                }
                _ => None,
            };
            if found.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }

    /// Reads one list of pages: a count and as many page numbers.
    fn list(
        &mut self,
        page: &[u8],
        data: usize,
        size: usize,
        flags: u16,
    ) -> io::Result<Option<()>> {
        let list = if flags & F_BIGDATA == 0 {
            page.get(data..data + size).map(<[u8]>::to_vec)
        } else {
            let Some(pointer) = page.get(data..data + WORD) else {
                return Ok(None);
            };
            let offset = word(pointer, 0).checked_mul(self.meta.page_size);
            match offset {
                Some(offset) if (size as u64) < self.length => {
                    read_at(self.file, offset.saturating_add(PAGE_HEADER as u64), size)?
                }
                _ => None,
            }
        };
        let Some(list) = list.filter(|list| list.len() >= WORD) else {
            return Ok(None);
        };
        let count = word(&list, 0);
        if count > (list.len() / WORD - 1) as u64 {
            return Ok(None);
        }
        let first_missing = self.length / self.meta.page_size;
        for index in 1..=count as usize {
            let page = word(&list, index * WORD);
            if (first_missing..=self.meta.last_page).contains(&page) {
                self.beyond.push(page);
            }
        }
        Ok(Some(()))
    }
}

/// Whether the file is as short as an unfinished one and contains only zeros.
fn is_zero(file: &mut File) -> io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(2 * MAX_PAGE as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.len() <= 2 * MAX_PAGE && bytes.iter().all(|byte| *byte == 0))
}

/// Reads `size` bytes from `offset`; `None` if the file ends first.
pub(super) fn read_at(file: &mut File, offset: u64, size: usize) -> io::Result<Option<Vec<u8>>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; size];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[offset..offset + N]);
    array
}

pub(super) fn word16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, offset))
}

pub(super) fn word32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, offset))
}

pub(super) fn word(bytes: &[u8], offset: usize) -> u64 {
    usize::from_ne_bytes(array(bytes, offset)) as u64
}

#[cfg(test)]
mod tests {
    use simrecorder_core::OpenMode;

    use super::super::tests::{erase_path, get, open, set};
    use super::*;
    use crate::storage::Storage;

    #[test]
    fn a_file_that_ends_before_its_last_page_is_sound_if_the_rest_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let storage = open(folder.path(), OpenMode::CreateNew);
        storage.commit(vec![set("a", b"1")]).unwrap();
        // Leaves free pages for the last commit, so that the only pages it takes at the end are
        // those of the value that it gives back.
        for i in 0..10u8 {
            storage
                .commit(vec![set("a", &[i; 1500]), set("b", &[i; 1500])])
                .unwrap();
        }
        storage
            .commit(vec![
                set("x/big", &vec![1; 400 << 10]),
                erase_path("x"),
                set("b", b"2"),
            ])
            .unwrap();
        drop(storage);
        let data = folder.path().join("data.mdb");
        let length = std::fs::metadata(&data).unwrap().len();
        let DataFile::Sound { needed } = inspect("open", &data).unwrap() else {
            panic!("the file is sound");
        };
        assert!(length < needed, "{length} {needed}: nothing is tested");
        let storage = open(folder.path(), OpenMode::Append);
        assert_eq!(get(&storage, "b").unwrap(), "2");
        drop(storage);

        // One page less, so a page in use is missing.
        let file = std::fs::File::options().write(true).open(&data).unwrap();
        let mut shorter = length;
        while shorter > 2 * 4096 {
            shorter -= 4096;
            file.set_len(shorter).unwrap();
            if inspect("open", &data).is_err() {
                return;
            }
        }
        panic!("a file without its pages was taken for sound");
    }
}
