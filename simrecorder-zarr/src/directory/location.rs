//! The location of a recording, and what an open mode does with existing files.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use simrecorder_core::backend::folder_of;
use simrecorder_core::{Durability, Error, ErrorKind, OpenMode, Result};

use super::disk;
use super::owner::Owner;
use super::paths::{Paths, ROOT_METADATA};
use crate::format::node_path::METADATA_OF_ZARR_V2;
use crate::journal;
use crate::zarr_v2;

/// What exists at the path of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Directory {
    Missing,
    Empty,
    /// A directory with Zarr metadata.
    Zarr,
    ZarrV2,
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
        let journal = fs::exists(&paths.journal).map_err(failed)?;
        let directory = match fs::read_dir(&paths.root) {
            Ok(_) if paths.entry(ROOT_METADATA).is_file() => Directory::Zarr,
            Ok(mut entries) => match entries.next() {
                None => Directory::Empty,
                _ if is_zarr_v2(paths) => Directory::ZarrV2,
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
            Directory::Zarr | Directory::ZarrV2 => true,
        }
    }

    /// What opening for writing in a mode has to do.
    pub(super) fn plan(self, mode: OpenMode, paths: &Paths) -> Result<Plan> {
        let absent = match self.directory {
            Directory::Missing => true,
            Directory::Empty => !self.journal,
            Directory::Zarr | Directory::ZarrV2 | Directory::Other => false,
        };
        match mode {
            OpenMode::Append if absent => {
                Err(paths.refuse(ErrorKind::NotFound, "there is no recording to append to"))
            }
            _ if absent => Ok(Plan::Create { replace: false }),
            OpenMode::CreateNew => {
                let message = "something already exists at this path; \
                               append to it, truncate it, or choose another path";
                Err(paths.refuse(ErrorKind::AlreadyExists, message))
            }
            _ if self.directory == Directory::ZarrV2 => {
                Err(zarr_v2::read_only().with_key(paths.root.display().to_string()))
            }
            _ if !self.is_recording() => {
                let message = "the directory is neither empty nor a Zarr recording; \
                               choose another path";
                Err(paths.refuse(ErrorKind::InvalidArgument, message))
            }
            OpenMode::Truncate => {
                self.check_erasable(paths)?;
                Ok(Plan::Create { replace: true })
            }
            _ => Ok(Plan::Continue),
        }
    }

    /// Checks that the directory contains a recording of this library and nothing else.
    fn check_erasable(self, paths: &Paths) -> Result<()> {
        let failed = |error| Error::io("open", &paths.root, error);
        let refuse = |what: &str| {
            let message = format!("{what}, which is not erased; delete it, or choose another path");
            Err(paths.refuse(ErrorKind::InvalidArgument, message))
        };
        let owner = match self.directory {
            Directory::Zarr => {
                let metadata = fs::read(paths.inside("open", ROOT_METADATA)?).map_err(failed)?;
                Owner::of(&metadata)
            }
            _ => Owner::Missing,
        };
        match owner {
            Owner::Recording(_) => {}
            // Its metadata is only in the journal, which `check_beside` recognises.
            Owner::Missing if self.journal => {}
            Owner::Unknown => return refuse("this is a directory with damaged Zarr metadata"),
            _ => return refuse("this is a Zarr directory of other software"),
        }
        match foreign_file(&paths.root).map_err(failed)? {
            None => Ok(()),
            Some(path) => refuse(&format!(
                "the recording also contains '{}'",
                path.strip_prefix(&paths.root).unwrap_or(&path).display()
            )),
        }
    }
}

/// Checks that opening the recording would not replace files of other software next to it.
pub(super) fn check_beside(paths: &Paths, plan: &Plan) -> Result<()> {
    if let Plan::Create { .. } = plan {
        journal::FORMAT.check_replaceable(&paths.journal)?;
    }
    let staging = &paths.staging;
    let is_ours = match fs::read_dir(staging) {
        Ok(mut entries) => entries.all(|entry| {
            let name = entry.map(|entry| entry.file_name());
            name.is_ok_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => false,
        Err(error) => return Err(Error::io("open", staging, error)),
    };
    if is_ours {
        return Ok(());
    }
    let message = format!(
        "next to it is '{}', which other software created; move it away, or choose another path",
        staging.display()
    );
    Err(paths.refuse(ErrorKind::InvalidArgument, message))
}

/// Finds something below a directory that is not part of a Zarr hierarchy.
fn foreign_file(root: &Path) -> io::Result<Option<PathBuf>> {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_symlink() {
                // The target of a link stays.
            } else if !(kind.is_file() && is_zarr_file(entry.file_name().as_encoded_bytes())) {
                return Ok(Some(entry.path()));
            }
        }
    }
    Ok(None)
}

/// Whether a file of this name is metadata or a chunk, such as `c/0/1`, `c.0.1` or `0.1`.
fn is_zarr_file(name: &[u8]) -> bool {
    let numbers = name.strip_prefix(b"c").unwrap_or(name);
    let is_digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    name == ROOT_METADATA.as_bytes() || numbers.iter().all(is_digit)
}

/// Whether the directory is a hierarchy of Zarr V2. A journal next to it does not belong to it.
pub(super) fn is_zarr_v2(paths: &Paths) -> bool {
    let mut names = METADATA_OF_ZARR_V2.iter();
    !paths.entry(ROOT_METADATA).is_file() && names.any(|name| paths.entry(name).is_file())
}

fn not_a_directory(path: &Path) -> Error {
    let message = "this is a file, but a Zarr recording here is a directory";
    Error::new(ErrorKind::InvalidArgument, "open", message).with_key(path.display().to_string())
}

/// Finds the canonical path of the recording, and creates the folders above a new one.
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
                "the path does not end in a name",
            );
        };
        let folder = folder_of(path);
        disk::create_directories(folder, durability != Durability::Process).map_err(failed)?;
        fs::canonicalize(folder).map_err(failed)?.join(name)
    };
    let (Some(parent), Some(name)) = (root.parent(), root.file_name()) else {
        let message = "the root of the file system cannot have a journal next to it";
        return refuse(ErrorKind::InvalidArgument, message);
    };
    if let Some(metadata) = metadata
        && mode.is_writable()
        && metadata.dev() != fs::metadata(parent).map_err(failed)?.dev()
    {
        let message = "this is a mount point, and the journal must be next to the recording \
                       on the same file system; choose a directory inside it";
        return refuse(ErrorKind::InvalidArgument, message);
    }
    Paths::new(parent, name)
}
