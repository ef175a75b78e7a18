//! Follows a recording that another process may be writing.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use simrecorder_core::backend::{Position, Scanned, check_plain_file, path_inside, scan};
use simrecorder_core::{Error, Result};

use super::disk::is_missing;
use super::location::is_zarr_v2;
use super::overlay::Overlay;
use super::owner::{Owner, journal_of_another};
use super::paths::{Paths, ROOT_METADATA, check_key};
use crate::format::recording_id::RecordingId;
use crate::journal::{self, FORMAT};

/// The identity of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl From<&Metadata> for Inode {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
        }
    }
}

/// A state of the files. It changes when a writer has changed something that a snapshot relies on.
///
/// The files stay open so that the system does not reuse their inode numbers.
#[derive(Debug, Default)]
pub(super) struct State {
    root: Option<(Inode, File)>,
    metadata: Option<(Inode, File)>,
    owner: Owner,
    is_zarr_v2: bool,
    number: u64,
}

impl State {
    /// The current state of the files, with a number of its own.
    fn open(paths: &Paths, number: u64) -> io::Result<Self> {
        let open = |path: &Path| match File::open(path) {
            Ok(file) => {
                let inode = Inode::from(&file.metadata()?);
                Ok(Some((inode, file)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        };
        // Open the directory first. If it is replaced now, the inode of the old directory is stored
        // with the metadata of the new one, and the state does not hold.
        let root = open(&paths.root)?;
        let metadata = open(&path_inside(&paths.root, ROOT_METADATA)?)?;
        let owner = match &metadata {
            Some((_, file)) if file.metadata()?.is_file() => {
                let mut bytes = Vec::new();
                let mut file: &File = file;
                file.read_to_end(&mut bytes)?;
                Owner::of(&bytes)
            }
            Some(_) => Owner::Unknown,
            None => Owner::Missing,
        };
        Ok(Self {
            root,
            metadata,
            owner,
            is_zarr_v2: is_zarr_v2(paths),
            number,
        })
    }

    /// The number that distinguishes it from earlier states.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The recording that the files belong to.
    pub(super) fn recording(&self) -> Option<&RecordingId> {
        self.owner.id()
    }

    /// Whether the files are still in this state.
    pub(super) fn holds(&self, paths: &Paths) -> io::Result<bool> {
        let same = |path: &Path, held: &Option<(Inode, File)>| -> io::Result<bool> {
            Ok(inode(path)? == held.as_ref().map(|(inode, _)| *inode))
        };
        Ok(same(&paths.entry(ROOT_METADATA), &self.metadata)? && same(&paths.root, &self.root)?)
    }
}

fn inode(path: &Path) -> io::Result<Option<Inode>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Inode::from(&metadata))),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The part of the journal that was read so far.
#[derive(Debug)]
struct Journal {
    file: Arc<File>,
    inode: Inode,
    position: Position,
    /// The length of the journal when it was last read from the start.
    loaded_at: u64,
}

/// Reads the journal as it grows.
#[derive(Debug, Default)]
pub(super) struct Follower {
    state: Arc<State>,
    journal: Option<Journal>,
    overlay: Arc<Overlay>,
}

impl Follower {
    /// Reads what the writer added. Returns the parts of a snapshot.
    pub(super) fn refresh(&mut self, paths: &Paths) -> Result<(Arc<Overlay>, Arc<State>)> {
        // Read the state before the journal: the documentation of the module `directory` explains
        // why.
        let failed = |error| Error::io("read", &paths.root, error);
        if !self.state.holds(paths).map_err(failed)? {
            self.state = Arc::new(State::open(paths, self.state.number + 1).map_err(failed)?);
        }
        if self.state.root.is_none() || self.state.is_zarr_v2 {
            // The recording was deleted or replaced. A remaining journal is ignored.
            return Ok((Arc::default(), Arc::clone(&self.state)));
        }
        self.follow(paths)?;
        // While one recording replaces another, it may appear with the journal of the other. Then
        // the state does not hold, and the reader starts again.
        let fits = self
            .state
            .owner
            .may_have_journal_of(self.overlay.recording());
        if !fits && self.state.holds(paths).map_err(failed)? {
            return Err(journal_of_another(paths));
        }
        Ok((Arc::clone(&self.overlay), Arc::clone(&self.state)))
    }

    fn follow(&mut self, paths: &Paths) -> Result<()> {
        let path = &paths.journal;
        let named = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => {
                self.journal = None;
                self.overlay = Arc::default();
                return Ok(());
            }
            Err(error) => return Err(Error::io("read", path, error)),
        };
        let length = named.len();
        if let Some(journal) = &mut self.journal
            && journal.inode == Inode::from(&named)
            && length >= journal.position.offset
        {
            if length == journal.position.offset {
                return Ok(());
            }
            let overlay = Arc::make_mut(&mut self.overlay);
            let before = journal.position;
            match replay(&journal.file, paths, before, length, overlay) {
                // A damaged record was left by a kill, or follows a record that was read here and
                // that the writer withdrew. In the second case, the whole journal is read again,
                // once.
                Ok(scanned) if !scanned.damaged || length == journal.loaded_at => {
                    journal.position = scanned.position;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => {
                    // Some of it was applied and must not be applied twice.
                    self.journal = None;
                    return Err(error);
                }
            }
        }
        self.load(paths)
    }

    fn load(&mut self, paths: &Paths) -> Result<()> {
        // Until it is read completely, there is no position from which reading could continue.
        self.journal = None;
        self.overlay = Arc::default();
        if let Some(loaded) = load(paths, false)? {
            self.journal = Some(Journal {
                inode: Inode::from(&loaded.metadata),
                file: loaded.file,
                position: loaded.position,
                loaded_at: loaded.metadata.len(),
            });
            self.overlay = Arc::new(loaded.overlay);
        }
        Ok(())
    }
}

/// A journal that was read from the start.
pub(super) struct LoadedJournal {
    pub(super) file: Arc<File>,
    pub(super) metadata: Metadata,
    pub(super) position: Position,
    pub(super) overlay: Overlay,
}

/// Reads the journal, if it exists.
pub(super) fn load(paths: &Paths, write: bool) -> Result<Option<LoadedJournal>> {
    let failed = |error| Error::io("open", &paths.journal, error);
    check_plain_file(&paths.journal).map_err(failed)?;
    let file = match File::options().read(true).write(write).open(&paths.journal) {
        Ok(file) => Arc::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let start = FORMAT.read_header(&file, &paths.journal)?;
    let mut overlay = Overlay::new(Some(Arc::clone(&file)));
    let position = replay(&file, paths, start, metadata.len(), &mut overlay)?.position;
    Ok(Some(LoadedJournal {
        file,
        metadata,
        position,
        overlay,
    }))
}

fn replay(
    file: &File,
    paths: &Paths,
    from: Position,
    length: u64,
    overlay: &mut Overlay,
) -> Result<Scanned> {
    scan(
        file,
        &paths.journal,
        from,
        length,
        &mut |payload, offset| {
            let ops = journal::decode(payload, offset, |key| check_key(key, 255, Path::new("")))?;
            overlay.apply(&ops);
            Ok(())
        },
    )
}
