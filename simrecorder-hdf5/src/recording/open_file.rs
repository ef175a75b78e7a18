//! The file of a recording, while libhdf5 has it open.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hdf5_metno_sys::h5f::{H5F_scope_t, H5Fflush};
use hdf5_metno_sys::h5i::H5I_type_t;
use simrecorder_core::backend::sync::Mutex;
use simrecorder_core::{Error, ErrorKind, Result};

use crate::driver::logged_file::LoggedFile;
use crate::driver::open::{find_superblock, open_main};
use crate::driver::vfd::open_hdf5;
use crate::format::dataset::Dataset;
use crate::format::declared::DeclaredSeries;
use crate::format::root::{self, FileId};
use crate::format::tail::Tails;
use crate::library::{Handle, has_link, locked, open_object, write_ok};

/// A file that libhdf5 has open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The root group.
    pub(crate) root: Handle,
    file: Mutex<Option<Handle>>,
    pub(crate) log: Arc<LoggedFile>,
    /// The id of the recording, if it has one.
    id: OnceLock<FileId>,
    /// Series that are not in the file yet.
    declared: DeclaredSeries,
}

impl OpenFile {
    pub(crate) fn new(log: Arc<LoggedFile>, declared: DeclaredSeries) -> Result<Self> {
        let id = open_hdf5(&log)?;
        let file = locked(|| Handle::read(id, "open the file"))?;
        let root = open_object(&file, "/")?;
        Ok(Self {
            root,
            file: Mutex::new(Some(file)),
            log,
            id: OnceLock::new(),
            declared,
        })
    }

    /// The id of the recording, if it has one.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id.get().copied()
    }

    /// Checks the version of the recording, and that the journal belongs to it.
    pub(crate) fn check(&self) -> Result<()> {
        let stored = root::read_id(&self.root)?;
        if let Some(id) = stored {
            self.id.get_or_init(|| id);
        }
        match (self.log.file_id(), stored) {
            (Some(of_journal), Some(of_file)) if of_journal != of_file => {
                let message =
                    "the journal next to the file belongs to another file; move one of them away";
                Err(Error::new(ErrorKind::Corrupt, "open", message))
            }
            _ => Ok(()),
        }
    }

    /// Makes a file of other software that is opened for writing a recording. Returns whether it
    /// was changed.
    pub(crate) fn mark(&self) -> Result<bool> {
        let stored = root::read_id(&self.root)?;
        let id = stored
            .or_else(|| self.log.file_id())
            .unwrap_or_else(root::new_id);
        self.log.set_file_id(id)?;
        self.id.get_or_init(|| id);
        if stored.is_none() {
            root::write_id(&self.root, id)?;
        }
        Ok(stored.is_none())
    }

    /// The dataset at `path`, which existed before.
    pub(crate) fn dataset(&self, path: &str) -> Result<Dataset> {
        Dataset::from_handle(open_object(&self.root, path)?)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "read", "the dataset no longer exists"))
    }

    /// The base from which the cuts of a dataset are counted that is not in the file yet.
    pub(crate) fn declared_cut_base(&self, path: &str) -> Option<u64> {
        let (_, declaration) = self.declared.owner_of(path)?;
        Some(declaration.cut_base)
    }

    /// Whether there is an object at `path`.
    pub(crate) fn has_object(&self, path: &str) -> Result<bool> {
        let mut group = self.root.share()?;
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            if group.kind() != H5I_type_t::H5I_GROUP || !has_link(&group, name)? {
                return Ok(false);
            }
            if names.peek().is_some() {
                group = open_object(&group, name)?;
            }
        }
        Ok(true)
    }

    /// Closes the file in libhdf5. All its identifiers become invalid.
    pub(crate) fn close(&self) -> Result<()> {
        match self.file.lock().take() {
            Some(file) => file.close("close the file"),
            None => Ok(()),
        }
    }

    /// Writes libhdf5's cached data to the file.
    pub(crate) fn flush(&self) -> Result<()> {
        locked(|| {
            // SAFETY: the handle is an object of the file.
            let status = unsafe { H5Fflush(self.root.id(), H5F_scope_t::H5F_SCOPE_LOCAL) };
            write_ok(status, "write its buffers")
        })
    }

    /// The error that caused a failure of libhdf5, if the file reported one.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.log.take_error() {
            Some(cause) => cause,
            None => error,
        }
    }
}

/// How often a read is tried again when the file changes meanwhile.
pub(crate) const ATTEMPTS: usize = 100;

/// Opens a file for reading, as of its last commit.
pub(crate) fn open_for_reading(path: &Path) -> Result<(Arc<LoggedFile>, Tails)> {
    loop {
        let mut tails = Tails::default();
        let log = LoggedFile::read(path, &mut |changes, range| {
            tails.apply(changes, range.offset)
        })?;
        // If it changed meanwhile, changes may be missing.
        if !log.is_stale() {
            return Ok((log, tails));
        }
    }
}

/// The file that truncating deletes, if it exists: an empty file or a recording.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] describes anything else.
pub(crate) fn erasable_file(path: &Path) -> Result<Option<File>> {
    let refuse = |what: &str| {
        let message = format!("{what}, which is not erased; delete it, or choose another path");
        Err(Error::new(ErrorKind::InvalidArgument, "open", message))
    };
    let file = match open_main(path, false) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => refuse("this is a symbolic link to nothing"),
                Err(_) => Ok(None),
            };
        }
        file => file?,
    };
    let length = file.metadata().map_err(|e| Error::io("open", path, e))?;
    if length.len() == 0 {
        return Ok(Some(file));
    }
    if find_superblock(&file, path).is_err() {
        return refuse("this is a file that is not HDF5");
    }
    let is_recording = retry_while_changing(|| {
        let (log, _) = open_for_reading(path)?;
        let open = OpenFile::new(Arc::clone(&log), DeclaredSeries::default());
        Ok((log, open.and_then(|open| root::is_recording(&open.root))))
    });
    match is_recording {
        Ok(true) => Ok(Some(file)),
        Ok(false) => refuse("this is an HDF5 file of other software"),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            let damaged = refuse("this is a damaged HDF5 file, perhaps of other software");
            damaged.map_err(|refused| refused.with_source(error))
        }
        Err(error) => Err(error),
    }
}

/// Opens a file that other processes may be writing. Tries again if it changed while libhdf5 read
/// it.
pub(crate) fn retry_while_changing<T>(
    mut open: impl FnMut() -> Result<(Arc<LoggedFile>, Result<T>)>,
) -> Result<T> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (log, opened) = open()?;
        match opened {
            _ if log.is_stale() && attempt < ATTEMPTS => {}
            Err(error) => {
                let error = log.take_error().unwrap_or(error);
                if let Err(error) = log.give_up() {
                    tracing::warn!(%error, "an empty journal could not be removed");
                }
                return Err(error);
            }
            opened => return opened,
        }
    }
}
