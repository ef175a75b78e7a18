//! Where a recording is, and what an open mode makes of what is there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use simrecorder_core::{Durability, Error, ErrorKind, OpenMode, Result};

use super::disk;
use super::paths::{Paths, ROOT_METADATA};
use crate::format::node_path::METADATA_OF_ZARR_V2;

/// What lies at the path of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directory {
    Missing,
    Empty,
    /// It has Zarr metadata.
    Zarr,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    directory: Directory,
    journal: bool,
}

pub(super) enum Plan {
    Continue,
    Create { replace: bool },
}

impl Content {
    pub(super) fn of(paths: &Paths) -> Result<Self> {
        let failed = |error| Error::io("open", &paths.root, error);
        // No journal is that of a hierarchy of Zarr V2.
        let journal = fs::exists(&paths.journal).map_err(failed)? && !is_zarr_v2(paths);
        let directory = match fs::read_dir(&paths.root) {
            Ok(_) if paths.entry(ROOT_METADATA).is_file() => Directory::Zarr,
            Ok(mut entries) => match entries.next() {
                None => Directory::Empty,
                Some(entry) => entry.map(|_| Directory::Other).map_err(failed)?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Directory::Missing,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(not_a_directory(&paths.root));
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { directory, journal })
    }

    pub(super) fn is_recording(self) -> bool {
        match self.directory {
            Directory::Missing => false,
            Directory::Empty | Directory::Other => self.journal,
            Directory::Zarr => true,
        }
    }

    /// What opening for writing in a mode has to do.
    pub(super) fn plan(self, mode: OpenMode, paths: &Paths) -> Result<Plan> {
        let absent = match self.directory {
            Directory::Missing => true,
            Directory::Empty => !self.journal,
            Directory::Zarr | Directory::Other => false,
        };
        match mode {
            OpenMode::Append if absent => {
                Err(paths.refuse(ErrorKind::NotFound, "there is no recording to append to"))
            }
            _ if absent => Ok(Plan::Create { replace: false }),
            OpenMode::CreateNew => {
                let message = "there is something at this path already; \
                               append to it, truncate it, or choose another path";
                Err(paths.refuse(ErrorKind::AlreadyExists, message))
            }
            _ if !self.is_recording() => {
                let message = "the directory is neither empty nor a Zarr recording; \
                               choose another path";
                refuse_zarr_v2(paths)?;
                Err(paths.refuse(ErrorKind::InvalidArgument, message))
            }
            OpenMode::Truncate => Ok(Plan::Create { replace: true }),
            _ => Ok(Plan::Continue),
        }
    }
}

fn is_zarr_v2(paths: &Paths) -> bool {
    let mut names = METADATA_OF_ZARR_V2.iter();
    !paths.entry(ROOT_METADATA).is_file() && names.any(|name| paths.entry(name).is_file())
}

pub(super) fn refuse_zarr_v2(paths: &Paths) -> Result<()> {
    if is_zarr_v2(paths) {
        let message = "this is Zarr V2; simrecorder reads Zarr V3";
        return Err(paths.refuse(ErrorKind::Unsupported, message));
    }
    Ok(())
}

fn not_a_directory(path: &Path) -> Error {
    let message = "this is a file, and a Zarr recording here is a directory";
    Error::new(ErrorKind::InvalidArgument, "open", message).with_key(path.display().to_string())
}

/// Finds the recording's canonical path, and makes the folders above a new one.
pub(super) fn resolve(path: &Path, mode: OpenMode, durability: Durability) -> Result<Paths> {
    let failed = |error| Error::io("open", path, error);
    let refuse = |kind, message: &str| {
        Err(Error::new(kind, "open", message).with_key(path.display().to_string()))
    };
    if path.as_os_str().is_empty() {
        return refuse(ErrorKind::InvalidArgument, "the path is empty");
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(metadata),
        Ok(_) => return Err(not_a_directory(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let root = if metadata.is_some() {
        fs::canonicalize(path).map_err(failed)?
    } else {
        if matches!(mode, OpenMode::Read | OpenMode::Append) {
            return refuse(ErrorKind::NotFound, "there is nothing at this path");
        }
        if fs::symlink_metadata(path).is_ok() {
            let message = "this is a symbolic link to nothing";
            return refuse(ErrorKind::InvalidArgument, message);
        }
        let Some(name) = path.file_name() else {
            return refuse(
                ErrorKind::InvalidArgument,
                "the path has no last part to create",
            );
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        disk::create_directories(parent, durability != Durability::Process).map_err(failed)?;
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        fs::canonicalize(parent).map_err(failed)?.join(name)
    };
    let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else {
        let message = "the root of the file system has no room beside it for a journal";
        return refuse(ErrorKind::InvalidArgument, message);
    };
    if let Some(metadata) = metadata
        && mode.is_writable()
        && metadata.dev() != fs::metadata(parent).map_err(failed)?.dev()
    {
        let message = "this is a mount point, and the journal must lie beside the recording \
                       on the same file system; choose a directory inside it";
        return refuse(ErrorKind::InvalidArgument, message);
    }
    Paths::new(parent, name)
}
