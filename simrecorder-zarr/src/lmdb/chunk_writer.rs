//! Writes chunk files ahead of commits, from several threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use simrecorder_core::backend::errors::closed;
use simrecorder_core::backend::fork::ProcessLocal;
use simrecorder_core::backend::sync::{Condvar, Mutex};
use simrecorder_core::backend::sync_directory;
use simrecorder_core::{Durability, Error, ErrorKind, Result};

use super::chunk_files::{self, ChunkMark, Extent, HEADER_BYTES};
use super::reader_locks::LockedReaders;
use crate::blocks::{self, BLOCK};

/// The maximum size of a file, so that empty files can be deleted.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Writes the chunk files of a recording, and holds its lock.
///
/// It appends new extents to the last file. Freed extents are given back to the file system, or
/// reused if the file system cannot take them back.
pub(super) struct ChunkWriter {
    folder: PathBuf,
    mark: ChunkMark,
    durability: Durability,
    max_file_bytes: u64,
    readers: LockedReaders,
    state: Mutex<State>,
    /// Signalled when no thread is writing.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u32, ChunkFile>,
    /// The number of the next file.
    next: u32,
    /// The file to which new extents are appended.
    growing: Option<u32>,
    /// Files with bytes that may not be on disk yet.
    unsynced: BTreeSet<u32>,
    /// Whether the folder may lack the names of some files on disk.
    folder_unsynced: bool,
    /// Extents that become free once no snapshot before a transaction is being read, the oldest
    /// first.
    pending: VecDeque<(u64, Vec<Extent>)>,
    /// The number of threads that are writing.
    writing: usize,
    /// Whether the file system takes nothing back, so that free extents are reused.
    reuses: bool,
    closed: bool,
    /// Why the contents of the disk are unknown.
    broken: Option<Error>,
}

struct ChunkFile {
    file: Arc<File>,
    end: u64,
    /// The beginning and end of each free range. No two are adjacent.
    free: BTreeMap<u64, u64>,
}

/// Bytes in a chunk file that no commit has named yet.
pub(crate) struct NewExtent {
    extent: Extent,
    writer: ProcessLocal<Arc<ChunkWriter>>,
    is_named: AtomicBool,
}

impl NewExtent {
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.extent.len).unwrap_or(usize::MAX)
    }

    /// The extent, for a commit that may become valid from now on.
    pub(super) fn name(&self) -> Extent {
        self.is_named.store(true, Ordering::Relaxed);
        self.extent
    }
}

impl Drop for NewExtent {
    fn drop(&mut self) {
        if !*self.is_named.get_mut()
            && let Ok(writer) = self.writer.get("drop")
        {
            writer.free(self.extent);
        }
    }
}

impl std::fmt::Debug for NewExtent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.extent.fmt(f)
    }
}

impl ChunkWriter {
    /// Opens the files of a recording whose database entries lead to `used`. Everything else in
    /// them was left by a killed writer and is given back, unless an older state is being read.
    pub(super) fn open(
        folder: &Path,
        mark: ChunkMark,
        durability: Durability,
        mut used: Vec<Extent>,
        readers: LockedReaders,
        is_read: bool,
    ) -> Result<Self> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::io("open", &path, error)
        };
        used.sort_unstable();
        let mut state = State::default();
        let numbers = chunk_files::numbers(folder).map_err(failed(folder))?;
        state.next = numbers.last().map_or(0, |last| last.saturating_add(1));
        for &number in &numbers {
            let path = chunk_files::path_of(folder, number);
            let first = used.partition_point(|extent| extent.file < number);
            let after = used.partition_point(|extent| extent.file <= number);
            // The last file stays so that no number is used twice: readers keep files open.
            let is_last = numbers.last() == Some(&number);
            if first == after && !is_last && !is_read {
                fs::remove_file(&path).map_err(failed(&path))?;
                continue;
            }
            let file = match chunk_files::open(folder, mark, number, true) {
                Ok(file) => file,
                // Reading from it reports the error.
                Err(error) if error.kind() == ErrorKind::Corrupt => continue,
                Err(error) => return Err(error),
            };
            let len = file.metadata().map_err(failed(&path))?.len();
            let mut chunk_file = ChunkFile::new(file, &used[first..after]);
            if is_last && chunk_file.end <= len {
                state.growing = Some(number);
            }
            if is_read {
                // The next writer frees it.
                chunk_file.free.clear();
                chunk_file.end = chunk_file.end.max(len);
            }
            let gaps = chunk_file.free.iter().map(|(&start, &end)| start..end);
            for gap in gaps.chain(std::iter::once(chunk_file.end..len)) {
                state.reuses |= !blocks::give_back(&chunk_file.file, gap);
            }
            state.files.insert(number, chunk_file);
        }
        Ok(Self {
            folder: folder.to_owned(),
            mark,
            durability,
            max_file_bytes: MAX_FILE_BYTES,
            readers,
            state: Mutex::new(state),
            idle: Condvar::new(),
        })
    }

    /// Writes bytes. They are durable when [`sync`](Self::sync) has returned.
    pub(super) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<NewExtent> {
        let (file, extent) = {
            let mut state = self.state.lock();
            state.check("write")?;
            let place = self.allocate(&mut state, bytes.len() as u64)?;
            state.writing += 1;
            place
        };
        let written = file.write_all_at(bytes, extent.offset);
        if written.is_ok() && self.durability != Durability::Process {
            blocks::start_writing(&file, extent.offset, extent.len);
        }
        let mut state = self.state.lock();
        state.writing -= 1;
        if state.writing == 0 {
            self.idle.notify_all();
        }
        match written {
            Ok(()) => {
                state.unsynced.insert(extent.file);
                Ok(NewExtent {
                    extent,
                    writer: ProcessLocal::new(Arc::clone(self)),
                    is_named: AtomicBool::new(false),
                })
            }
            Err(error) => {
                state.free(&self.folder, extent);
                Err(Error::io("write", &self.path_of(extent.file), error))
            }
        }
    }

    fn path_of(&self, number: u32) -> PathBuf {
        chunk_files::path_of(&self.folder, number)
    }

    /// Allocates a place for bytes.
    fn allocate(&self, state: &mut State, len: u64) -> Result<(Arc<File>, Extent)> {
        if state.reuses
            && let Some(place) = state.take_free(len)
        {
            return Ok(place);
        }
        let has_room = |number: &u32| {
            let file = state.files.get(number);
            file.is_some_and(|file| file.end < self.max_file_bytes)
        };
        let number = match state.growing.filter(has_room) {
            Some(number) => number,
            None => self.create_file(state)?,
        };
        let defect = || Error::new(ErrorKind::Internal, "write", "no chunk file grows");
        let file = state.files.get_mut(&number).ok_or_else(defect)?;
        let offset = file.end;
        file.end += len;
        let extent = Extent {
            file: number,
            offset,
            len,
        };
        Ok((Arc::clone(&file.file), extent))
    }

    /// Creates a file, to which new extents are appended from now on.
    fn create_file(&self, state: &mut State) -> Result<u32> {
        let number = state.next;
        let file = chunk_files::create(&self.folder, self.mark, number)
            .map_err(|error| Error::io("create", &self.path_of(number), error))?;
        state.next = number.saturating_add(1);
        state.folder_unsynced = true;
        state.growing = Some(number);
        state.files.insert(number, ChunkFile::new(file, &[]));
        Ok(number)
    }

    /// Waits until everything that was written is on disk.
    pub(super) fn sync(&self) -> Result<()> {
        let (files, folder) = {
            let mut state = self.state.lock();
            state.check("commit")?;
            let unsynced = std::mem::take(&mut state.unsynced);
            let file = |number: u32| Some((number, Arc::clone(&state.files.get(&number)?.file)));
            let files: Vec<_> = unsynced.into_iter().filter_map(file).collect();
            (files, std::mem::take(&mut state.folder_unsynced))
        };
        let sync = || {
            for (number, file) in files {
                let synced = file.sync_data();
                synced.map_err(|error| Error::io("write", &self.path_of(number), error))?;
            }
            let synced = if folder {
                sync_directory(&self.folder)
            } else {
                Ok(())
            };
            synced.map_err(|error| Error::io("write", &self.folder, error))
        };
        // The system forgets failed writes, so a second attempt would seem to succeed.
        sync().inspect_err(|error| self.state.lock().broken = Some(error.clone()))
    }

    /// Frees extents to which no entry leads after a transaction, once no older state is being
    /// read.
    pub(super) fn free_after(&self, transaction: u64, extents: Vec<Extent>) {
        let mut state = self.state.lock();
        if !extents.is_empty() {
            state.pending.push_back((transaction, extents));
        }
        self.free_pending(&mut state);
    }

    fn free_pending(&self, state: &mut State) {
        while let Some((transaction, extents)) = state.pending.pop_front() {
            if self.readers.are_before(transaction) {
                state.pending.push_front((transaction, extents));
                return;
            }
            for extent in extents {
                state.free(&self.folder, extent);
            }
        }
    }

    /// Frees an extent to which no entry ever led.
    fn free(&self, extent: Extent) {
        let mut state = self.state.lock();
        // Another writer may have opened the recording by now.
        if !state.closed {
            state.free(&self.folder, extent);
        }
    }

    /// The ranges that are not free, with the number of their file.
    #[cfg(test)]
    pub(super) fn used(&self) -> Vec<(u32, u64, u64)> {
        let mut used = Vec::new();
        for (&number, file) in &self.state.lock().files {
            let mut at = HEADER_BYTES;
            for (&start, &end) in file.free.iter().chain([(&file.end, &file.end)]) {
                used.extend((at < start).then_some((number, at, start)));
                at = end;
            }
        }
        used
    }

    /// Ends writing, once the writing threads have finished.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if !state.closed {
            self.free_pending(&mut state);
        }
        state.closed = true;
        while state.writing > 0 {
            self.idle.wait(&mut state);
        }
    }
}

impl State {
    fn check(&self, operation: &'static str) -> Result<()> {
        match &self.broken {
            _ if self.closed => Err(closed(operation, "store")),
            None => Ok(()),
            Some(cause) => {
                let message = "after an earlier failure of the disk, it is unknown what was written; \
                               open the recording again to continue";
                Err(Error::new(cause.kind(), operation, message).with_source(cause.clone()))
            }
        }
    }

    /// Takes the first free range that is large enough.
    fn take_free(&mut self, len: u64) -> Option<(Arc<File>, Extent)> {
        for (&number, file) in &mut self.files {
            let found = file.free.iter().find(|(start, end)| *end - *start >= len);
            if let Some((&offset, &end)) = found {
                file.free.remove(&offset);
                if offset + len < end {
                    file.free.insert(offset + len, end);
                }
                let extent = Extent {
                    file: number,
                    offset,
                    len,
                };
                return Some((Arc::clone(&file.file), extent));
            }
        }
        None
    }

    fn free(&mut self, folder: &Path, extent: Extent) {
        let Some(file) = self.files.get_mut(&extent.file) else {
            return;
        };
        let (start, end) = file.free(extent);
        if self.growing != Some(extent.file) && (start, end) == (HEADER_BYTES, file.end) {
            // Nothing leads there; otherwise, a later writer deletes it.
            let _ = fs::remove_file(chunk_files::path_of(folder, extent.file));
            self.files.remove(&extent.file);
            self.unsynced.remove(&extent.file);
            return;
        }
        // The blocks of the extent, including those at its ends that have become free.
        let start = start.max(extent.offset / BLOCK * BLOCK);
        let end = end.min((extent.offset + extent.len).next_multiple_of(BLOCK));
        self.reuses |= !blocks::give_back(&file.file, start..end);
    }
}

impl ChunkFile {
    /// Creates a file with `used` extents, which are sorted.
    fn new(file: File, used: &[Extent]) -> Self {
        let mut free = BTreeMap::new();
        let mut end = HEADER_BYTES;
        for extent in used {
            if extent.offset > end {
                free.insert(end, extent.offset);
            }
            end = end.max(extent.offset.saturating_add(extent.len));
        }
        Self {
            file: Arc::new(file),
            end,
            free,
        }
    }

    /// Adds an extent to the free ranges. Returns the range that now contains it.
    fn free(&mut self, extent: Extent) -> (u64, u64) {
        let (mut start, mut end) = (extent.offset, extent.offset + extent.len);
        if let Some((&before, &until)) = self.free.range(..start).next_back()
            && until == start
        {
            start = before;
        }
        if let Some(until) = self.free.remove(&end) {
            end = until;
        }
        self.free.insert(start, end);
        (start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(folder: &Path, mark: ChunkMark, used: Vec<Extent>) -> ChunkWriter {
        let readers = LockedReaders::open(folder).unwrap();
        ChunkWriter::open(folder, mark, Durability::Process, used, readers, false).unwrap()
    }

    fn read(folder: &Path, extent: Extent) -> Vec<u8> {
        let mut bytes = vec![0; extent.len as usize];
        let file = File::open(chunk_files::path_of(folder, extent.file)).unwrap();
        file.read_exact_at(&mut bytes, extent.offset).unwrap();
        bytes
    }

    fn blocks(folder: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let files = fs::read_dir(folder).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
            .sum()
    }

    #[derive(Clone, Debug)]
    enum Act {
        Write(usize),
        /// Writes bytes that no commit names.
        Waste(usize),
        Free(prop::sample::Index),
        /// Reopens the files as the previous writer left them, or as a kill left them.
        Reopen,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            4 => (1..30_000_usize).prop_map(Act::Write),
            1 => (1..30_000_usize).prop_map(Act::Waste),
            3 => any::<prop::sample::Index>().prop_map(Act::Free),
            1 => Just(Act::Reopen),
        ];
        prop::collection::vec(act, 1..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn extents_keep_their_bytes_whatever_is_freed_next_to_them(acts in acts(), reuses: bool) {
            let folder = tempfile::tempdir().unwrap();
            let mark = ChunkMark::new();
            let new = |used: &[(Extent, u8)]| {
                let mut writer = open(folder.path(), mark, used.iter().map(|it| it.0).collect());
                writer.max_file_bytes = 100_000;
                writer.state.lock().reuses = reuses;
                Arc::new(writer)
            };
            let mut used: Vec<(Extent, u8)> = Vec::new();
            let mut writer = new(&used);
            for (i, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Write(len) => {
                        let extent = writer.write(&vec![i as u8; len]).unwrap();
                        used.push((extent.name(), i as u8));
                    }
                    Act::Waste(len) => drop(writer.write(&vec![0xff; len]).unwrap()),
                    Act::Free(_) if used.is_empty() => {}
                    Act::Free(index) => {
                        let (extent, _) = used.swap_remove(index.index(used.len()));
                        writer.free(extent);
                    }
                    Act::Reopen => {
                        std::mem::forget(writer.write(&[0xee; 5000]).unwrap());
                        writer = new(&used);
                    }
                }
                for (extent, byte) in &used {
                    prop_assert!(read(folder.path(), *extent).iter().all(|it| it == byte));
                }
                let free: u64 = used.iter().map(|(extent, _)| extent.len).sum();
                let taken: u64 = writer.used().iter().map(|(_, start, end)| end - start).sum();
                prop_assert_eq!(free, taken);
            }
            let bytes: u64 = used.iter().map(|(extent, _)| extent.len).sum();
            if !reuses {
                // Each may occupy two blocks partially.
                prop_assert!(blocks(folder.path()) <= bytes + (used.len() as u64 + 4) * 2 * BLOCK);
            }
        }
    }

    #[test]
    fn a_file_in_which_nothing_is_left_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(folder.path(), ChunkMark::new(), Vec::new());
        writer.max_file_bytes = 10_000;
        let writer = Arc::new(writer);
        let extents: Vec<_> = (0..4)
            .map(|_| writer.write(&[1; 6000]).unwrap().name())
            .collect();
        let files: Vec<u32> = extents.iter().map(|extent| extent.file).collect();
        assert_eq!(files, [0, 0, 1, 1]);
        extents[..2].iter().for_each(|extent| writer.free(*extent));
        assert_eq!(chunk_files::numbers(folder.path()).unwrap(), [1]);
        // Its number is not used for another file.
        assert_eq!(writer.write(&[1; 10]).unwrap().name().file, 2);
    }

    #[test]
    fn nothing_is_freed_once_another_writer_may_have_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let mark = ChunkMark::new();
        let writer = Arc::new(open(folder.path(), mark, Vec::new()));
        let unnamed = writer.write(&[1; 50_000]).unwrap();
        writer.close();
        assert_eq!(writer.write(&[1]).unwrap_err().kind(), ErrorKind::Closed);
        let next = Arc::new(open(folder.path(), mark, Vec::new()));
        let extent = next.write(&[2; 50_000]).unwrap().name();
        drop(unnamed);
        writer.free(extent);
        assert_eq!(read(folder.path(), extent), [2; 50_000]);
    }
}
