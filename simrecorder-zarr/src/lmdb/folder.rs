//! The folder of a recording: its contents, its writer, its file system.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use simrecorder_core::backend::errors::process_name;
use simrecorder_core::backend::fork::NotInherited;
use simrecorder_core::backend::{WriterLock, check_plain_file, holder, is_locked};
use simrecorder_core::{Error, ErrorKind, Result};

use super::chunk_files;
use super::data_file::{self, DataFile};
use super::reader_locks;

pub(super) const DATA: &str = "data.mdb";
pub(super) const LOCK: &str = "lock.mdb";
const WRITER: &str = "writer.lock";

/// The data file of the recording at a path. Other software may store an LMDB database as a single
/// file.
pub(super) fn data_file(path: &Path) -> PathBuf {
    match path.is_file() {
        true => path.to_owned(),
        false => path.join(DATA),
    }
}

/// LMDB's lock file for the recording at a path.
pub(super) fn lock_file(path: &Path) -> PathBuf {
    if !path.is_file() {
        return path.join(LOCK);
    }
    let mut lock = path.as_os_str().to_owned();
    lock.push("-lock");
    lock.into()
}

/// What is at the path of a recording.
#[derive(Debug)]
pub(super) enum Folder {
    Missing,
    /// An empty folder, or the remains of an interrupted creation.
    Empty,
    Recording,
    /// A database of other software in a single file.
    File,
    /// A folder with other contents, for example a file of this name.
    Foreign(String),
}

/// Inspects the path of a recording. Fails if it is a file, or if its data is damaged.
pub(super) fn look(operation: &'static str, path: &Path) -> Result<Folder> {
    let failed = |error| Error::io(operation, path, error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(metadata) => {
            // The lock file for the data file of a folder differs from that of a single file.
            let is_single = metadata.is_file() && path.file_name() != Some(DATA.as_ref());
            if !is_single || !data_file::has_magic(path) {
                return Err(is_file(operation, path));
            }
            return data_file::inspect(operation, path).map(|_| Folder::File);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Folder::Missing),
        Err(error) => return Err(failed(error)),
    }
    match data_file::inspect(operation, &path.join(DATA))? {
        DataFile::Sound { .. } => return Ok(Folder::Recording),
        DataFile::Unfinished => return Ok(Folder::Empty),
        DataFile::Missing => {}
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry
            .map_err(failed)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name != WRITER && name != reader_locks::NAME && !name.starts_with(LOCK) {
            return Ok(Folder::Foreign(name));
        }
    }
    Ok(Folder::Empty)
}

/// The error for a file instead of a folder.
pub(super) fn is_file(operation: &'static str, path: &Path) -> Error {
    let message = "this is a file; a recording in LMDB is a folder, which contains data.mdb";
    Error::new(ErrorKind::InvalidArgument, operation, message).with_key(path.display().to_string())
}

/// Whether a writer of this library has opened the folder before.
pub(super) fn was_written_here(folder: &Path) -> bool {
    folder.join(WRITER).is_file()
}

/// Creates the folder and its missing parents.
pub(super) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io("create", path, error))
}

/// Makes a new recording survive a power failure: syncs the folder, which contains the names of its
/// files, and its new parents.
pub(super) fn sync(path: &Path, first_existing: &Path) -> Result<()> {
    for folder in path.ancestors() {
        sync_folder(folder).map_err(|error| Error::io("create", folder, error))?;
        if folder == first_existing {
            break;
        }
    }
    Ok(())
}

/// The closest existing folder at or above `path`.
pub(super) fn first_existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let existing = path.ancestors().find(|path| path.is_dir());
    existing.unwrap_or(&path).to_owned()
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    use io::ErrorKind as Io;
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // Some file systems cannot sync a folder, and this process may lack access to a parent. The
        // recording is then as safe as anything else there.
        Err(error) if matches!(error.kind(), Io::InvalidInput | Io::PermissionDenied) => Ok(()),
        result => result,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Creates an empty data file, with the permissions of other new files of this process. Files that
/// LMDB creates are only accessible to their owner.
pub(super) fn create_data_file(folder: &Path) -> Result<()> {
    let path = folder.join(DATA);
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map(drop)
        .map_err(|error| Error::io("create", &path, error))
}

/// Deletes the files of a recording, except its writer's lock. No environment of this process may
/// have them open.
pub(super) fn delete_files(folder: &Path) -> Result<()> {
    let chunks =
        chunk_files::numbers(folder).map_err(|error| Error::io("create", folder, error))?;
    let chunks = chunks
        .into_iter()
        .map(|number| chunk_files::path_of(folder, number));
    // Delete the data file last: without it, the owner of the other files is unknown.
    for path in chunks.chain([LOCK, DATA].map(|name| folder.join(name))) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("create", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Creates LMDB's lock file with all its blocks, if there is none.
///
/// LMDB would create a sparse file and write to it through a map, and on a full disk the system
/// would send `SIGBUS`. LMDB derives the number of readers from the size of the file. An existing
/// file is never opened here: closing it would drop the locks that this process has on it.
pub(super) fn prepare_lock_file(recording: &Path) -> io::Result<()> {
    /// 1024 slots of 64 bytes, and a page for the header.
    const SIZE: usize = 1024 * 64 + 4096;
    static UNIQUE: AtomicU32 = AtomicU32::new(0);

    let path = lock_file(recording);
    check_plain_file(&path)?;
    if path.exists() {
        return Ok(());
    }
    let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.{unique}", std::process::id()));
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(&[0; SIZE]));
    if written.is_ok() {
        // Fails if another process was faster, which is fine, or if there are no links: then LMDB
        // creates its own file.
        let _ = fs::hard_link(&temporary, &path);
    }
    let removed = match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    written.and(removed)
}

/// Distinguishes a file from all others while it is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl FileId {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(path).map(|metadata| Self((metadata.dev(), metadata.ino())))
        }
        #[cfg(not(unix))]
        path.canonicalize().map(Self)
    }

    /// The id of a recording's data file.
    pub(super) fn of_data(recording: &Path) -> io::Result<Self> {
        Self::of(&data_file(recording))
    }

    /// The id of LMDB's lock file, if it exists.
    pub(super) fn of_lock(recording: &Path) -> Option<Self> {
        Self::of(&lock_file(recording)).ok()
    }
}

/// Whether a process holds the writer's lock.
pub(super) fn is_being_written(folder: &Path) -> io::Result<bool> {
    is_locked(&folder.join(WRITER))
}

/// The lock of the only writer of a folder. A reader that cannot register with LMDB also holds it,
/// during one read.
pub(super) fn lock_for_writing(folder: &Path) -> Result<WriterLock> {
    WriterLock::acquire(&folder.join(WRITER), folder)
}

/// Blocks writers during one read, for readers that cannot register with LMDB.
pub(super) struct ReadGuard {
    _file: Option<(NotInherited, File)>,
}

impl ReadGuard {
    pub(super) fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(WRITER);
        let file = match File::open(&path) {
            Ok(file) => file,
            // Written by other software, or not accessible: the writer cannot be determined.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(Self { _file: None });
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        let not_inherited = NotInherited::new(&file);
        match file.try_lock_shared() {
            Ok(()) => Ok(Self {
                _file: Some((not_inherited, file)),
            }),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "{} is writing it, and a reader cannot register without permission to write \
                     {LOCK}; ask for that permission, or wait until the writer has closed the recording",
                    process_name(holder(&file))
                );
                Err(Error::new(ErrorKind::Locked, "read", message)
                    .with_key(folder.display().to_string()))
            }
            Err(TryLockError::Error(error)) => Err(Error::io("read", &path, error)),
        }
    }
}

/// Whether the folder is on a file system that is mounted read only.
#[cfg(unix)]
pub(super) fn is_read_only(folder: &Path) -> bool {
    rustix::fs::statvfs(folder)
        .is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

#[cfg(not(unix))]
pub(super) fn is_read_only(_: &Path) -> bool {
    false
}

/// Whether the file system has less than `bytes` left.
#[cfg(unix)]
pub(super) fn lacks_space(folder: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < bytes)
}

#[cfg(not(unix))]
pub(super) fn lacks_space(_: &Path, _: u64) -> bool {
    false
}

/// Whether a limit of the process forbids the data file to grow by `bytes`.
#[cfg(unix)]
pub(super) fn may_not_grow(folder: &Path, bytes: u64) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    let len = fs::metadata(folder.join(DATA)).map_or(0, |data| data.len());
    limit.is_some_and(|limit| len.saturating_add(bytes) >= limit)
}

#[cfg(not(unix))]
pub(super) fn may_not_grow(_: &Path, _: u64) -> bool {
    false
}

/// Whether LMDB may use this error for a write that was cut short.
#[cfg(unix)]
pub(super) fn is_short_write(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(not(unix))]
pub(super) fn is_short_write(_: &io::Error) -> bool {
    false
}

/// Whether the system uses this error for a map that is too large for a file.
#[cfg(unix)]
pub(super) fn is_overflow(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::OVERFLOW.raw_os_error())
}

#[cfg(not(unix))]
pub(super) fn is_overflow(_: &io::Error) -> bool {
    false
}

/// Refuses to write on a network file system.
pub(super) fn check_file_system(folder: &Path) -> Result<()> {
    let Some(name) = network_file_system(folder) else {
        return Ok(());
    };
    let message = format!(
        "this is on a network file system ({name}), where LMDB loses data; write to a local disk, \
         or record into a directory store (ZarrDataStore with zarr+dir:)"
    );
    Err(Error::new(ErrorKind::Unsupported, "open", message).with_key(folder.display().to_string()))
}

/// File systems that several hosts share, by the number that `statfs` returns.
///
/// From Linux' `include/uapi/linux/magic.h`. The numbers of Lustre, GPFS, BeeGFS, PanFS and GFS2
/// come from their own sources, as listed in `stat` of GNU coreutils.
#[cfg(target_os = "linux")]
const NETWORK_FILE_SYSTEMS: [(u32, &str); 15] = [
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFE53_4D42, "SMB2"),
    (0xFF53_4D42, "CIFS"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636F, "OCFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x0116_1970, "GFS2"),
];

/// File systems in user space share one number. These names, from `/proc/self/mountinfo`, are of
/// those that reach other hosts.
#[cfg(target_os = "linux")]
const NETWORK_FUSE: [&str; 9] = [
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.ceph-fuse",
    "fuse.beegfs",
    "fuse.juicefs",
    "fuse.curlftpfs",
];

/// The name of the network file system that contains the folder.
#[cfg(target_os = "linux")]
pub(super) fn network_file_system(folder: &Path) -> Option<&'static str> {
    const FUSE: u32 = 0x6573_5546;
    // The field is signed on some machines and longer on others; the numbers have 32 bits.
    let number = rustix::fs::statfs(folder).ok()?.f_type as u32;
    if number == FUSE {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(folder).ok()?.dev();
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        return network_fuse(&mounts, &format!("{major}:{minor}"));
    }
    NETWORK_FILE_SYSTEMS
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(target_os = "linux")]
fn network_fuse(mounts: &str, device: &str) -> Option<&'static str> {
    let mount = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(device))?;
    let kind = mount.split_once(" - ")?.1.split(' ').next()?;
    NETWORK_FUSE.into_iter().find(|name| *name == kind)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_distinguished_from_local_ones() {
        assert_eq!(network_file_system(Path::new("/")), None);
        assert_eq!(network_file_system(Path::new("/proc")), None);
        let mounts = "\
            36 35 98:0 / /mnt rw,noatime shared:1 - ext4 /dev/root rw\n\
            40 35 0:52 / /srv/a/far rw,nosuid - fuse.sshfs host:/data rw,user_id=0\n\
            41 35 0:53 / /srv/a/near rw,nosuid - fuse.bindfs /data rw,user_id=0\n";
        assert_eq!(network_fuse(mounts, "0:52"), Some("fuse.sshfs"));
        assert_eq!(network_fuse(mounts, "0:53"), None);
        assert_eq!(network_fuse(mounts, "98:0"), None);
        assert_eq!(network_fuse(mounts, "0:99"), None);
        assert_eq!(network_fuse("no mounts", "0:52"), None);
    }
}
