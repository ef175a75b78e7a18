//! Recognising the recording at a path by its contents.
//!
//! This module, and not the backends, recognises all formats, because a build without a backend names the feature that
//! opens its recordings. Detection reads a few bytes and never locks, writes or waits. It does not check whether the
//! recording is sound; its store does.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How a file or a folder stores a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Zarr in an LMDB database: a folder with `data.mdb`, or a single file of other software.
    Lmdb,
    /// Zarr in a directory.
    Directory,
    Hdf5,
}

/// The data file of LMDB.
const LMDB_DATA: &str = "data.mdb";

/// The metadata files at the root of a Zarr hierarchy, of versions 3 and 2.
const ZARR_METADATA: [&str; 3] = ["zarr.json", ".zgroup", ".zarray"];

/// The number after the header of the first page of an LMDB data file, in the byte order of its machine.
const LMDB_MAGIC: u32 = 0xBEEF_C0DE;

const JOURNAL_SUFFIX: &str = ".journal";

/// The first bytes of the journal of a Zarr directory.
const ZARR_JOURNAL: [u8; 8] = *b"\x89SRJ\r\n\x1a\n";

/// The first bytes of an HDF5 superblock.
const HDF5_SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

impl Format {
    /// The format that the extension of `path` names.
    pub(crate) fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match &*extension {
            "mdb" => Some(Self::Lmdb),
            "zarr" => Some(Self::Directory),
            "h5" | "hdf5" => Some(Self::Hdf5),
            _ => None,
        }
    }

    /// The scheme of its URLs.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Lmdb => "zarr",
            Self::Directory => "zarr+dir",
            Self::Hdf5 => "hdf5",
        }
    }

    /// Whether a folder contains a recording of this format.
    pub(crate) fn is_in(self, folder: &Path) -> io::Result<bool> {
        match self {
            Self::Lmdb => folder.join(LMDB_DATA).try_exists(),
            Self::Directory => {
                for name in ZARR_METADATA {
                    if folder.join(name).try_exists()? {
                        return Ok(true);
                    }
                }
                has_zarr_journal(folder)
            }
            Self::Hdf5 => Ok(false),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lmdb => "a Zarr recording in LMDB",
            Self::Directory => "a Zarr recording in a directory",
            Self::Hdf5 => "an HDF5 file",
        })
    }
}

/// The contents of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    DanglingLink,
    /// A folder without files, or only with the locks of LMDB, which an interrupted creation leaves.
    EmptyFolder,
    /// A folder with other contents.
    Folder,
    EmptyFile,
    /// A file with other contents.
    File,
    /// A pipe, a device or a socket.
    Special,
    Recording(Format),
}

impl Found {
    /// Inspects `path` and follows links. It opens only plain files, since opening a pipe would wait.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(match fs::symlink_metadata(path) {
                    Ok(_) => Self::DanglingLink,
                    Err(_) => Self::Nothing,
                });
            }
            metadata => metadata?,
        };
        if metadata.is_dir() {
            return Self::in_folder(path);
        }
        Ok(match metadata.len() {
            _ if !metadata.is_file() => Self::Special,
            0 => Self::EmptyFile,
            length if is_hdf5(path, length)? => Self::Recording(Format::Hdf5),
            _ if is_lmdb(path)? => Self::Recording(Format::Lmdb),
            _ => Self::File,
        })
    }

    fn in_folder(folder: &Path) -> io::Result<Self> {
        for format in [Format::Lmdb, Format::Directory] {
            if format.is_in(folder)? {
                return Ok(Self::Recording(format));
            }
        }
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            if !name.to_str().is_some_and(is_lmdb_lock) {
                return Ok(Self::Folder);
            }
        }
        Ok(Self::EmptyFolder)
    }
}

impl fmt::Display for Found {
    /// A phrase that completes "there is ... at this path".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::DanglingLink => "a symbolic link to nothing",
            Self::EmptyFolder => "an empty folder",
            Self::Folder => "a folder without a recording (no data.mdb, zarr.json or .zgroup)",
            Self::EmptyFile => "an empty file",
            Self::File => "a file that is neither HDF5 nor LMDB",
            Self::Special => "something that is neither a file nor a folder",
            Self::Recording(format) => return format.fmt(f),
        })
    }
}

/// Whether LMDB or its writer keeps a file with this name next to the data file.
fn is_lmdb_lock(name: &str) -> bool {
    name == "writer.lock" || name.starts_with("lock.mdb")
}

/// The path of the recording that `file` is a part of, such as the folder of `data.mdb`.
pub(crate) fn recording_of(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    let is_inside = name == LMDB_DATA || is_lmdb_lock(name) || ZARR_METADATA.contains(&name);
    let whole = match name.strip_suffix(JOURNAL_SUFFIX) {
        Some(name) => file.with_file_name(name),
        None if is_inside => match file.parent()? {
            parent if parent.as_os_str().is_empty() => PathBuf::from("."),
            parent => parent.to_owned(),
        },
        None => return None,
    };
    matches!(Found::at(&whole), Ok(Found::Recording(_))).then_some(whole)
}

/// Whether the journal of a Zarr directory is next to `folder`, which is then a recording even before it has metadata.
fn has_zarr_journal(folder: &Path) -> io::Result<bool> {
    let mut journal = fs::canonicalize(folder)?.into_os_string();
    journal.push(JOURNAL_SUFFIX);
    let journal = Path::new(&journal);
    match fs::metadata(journal) {
        Ok(metadata) if metadata.is_file() => bytes_at(&mut File::open(journal)?, 0, ZARR_JOURNAL),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file has a superblock at one of the places that HDF5 allows: 0, 512, 1024, 2048, ...
fn is_hdf5(path: &Path, length: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let doubled = std::iter::successors(Some(512_u64), |offset| offset.checked_mul(2));
    for offset in std::iter::once(0).chain(doubled) {
        if offset >= length {
            break;
        }
        if bytes_at(&mut file, offset, HDF5_SIGNATURE)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file is an LMDB database by itself. The data file of a folder is not: it is locked
/// elsewhere.
fn is_lmdb(path: &Path) -> io::Result<bool> {
    if path.file_name().is_some_and(|name| name == LMDB_DATA) {
        return Ok(false);
    }
    let mut start = [0; size_of::<usize>() + 8 + 4];
    match File::open(path)?.read_exact(&mut start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| {
            let magic = start.last_chunk().copied().map(u32::from_ne_bytes);
            magic == Some(LMDB_MAGIC) || magic == Some(LMDB_MAGIC.swap_bytes())
        }),
    }
}

/// Whether a file has these bytes at `offset`.
fn bytes_at(file: &mut File, offset: u64, expected: [u8; 8]) -> io::Result<bool> {
    let mut bytes = [0; 8];
    file.seek(SeekFrom::Start(offset))?;
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| bytes == expected),
    }
}
