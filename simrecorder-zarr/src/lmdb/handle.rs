//! Opens and closes heed's environments safely in the presence of forks.

use std::fs::{self, DirBuilder};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::Path;

use heed::{Env, EnvOpenOptions, WithoutTls};
use simrecorder_core::backend::fork::{is_child, uninterrupted};
use simrecorder_core::backend::random_number;

use super::folder::{DATA, LOCK, data_file, lock_file};

/// An open environment. No fork interrupts opening or closing it: heed has a lock for this, which a
/// child could not recreate.
pub(super) struct EnvHandle(ManuallyDrop<Env<WithoutTls>>);

impl EnvHandle {
    /// Opens the environment in `folder`, or in a single file.
    ///
    /// # Safety
    ///
    /// As for [`EnvOpenOptions::open`].
    pub(super) unsafe fn open(
        options: &EnvOpenOptions<WithoutTls>,
        folder: &Path,
    ) -> heed::Result<Self> {
        // SAFETY: as the caller promises; links lead to the same files.
        let open = |folder: &Path| unsafe { options.open(folder) };
        let opened = uninterrupted(|| match folder.is_file() {
            true => through_links(folder, open),
            false => match open(folder) {
                Err(heed::Error::EnvAlreadyOpened) if is_child() => through_links(folder, open),
                opened => opened,
            },
        });
        opened.map(|env| Self(ManuallyDrop::new(env)))
    }
}

impl Deref for EnvHandle {
    type Target = Env<WithoutTls>;

    fn deref(&self) -> &Env<WithoutTls> {
        &self.0
    }
}

impl Drop for EnvHandle {
    fn drop(&mut self) {
        // SAFETY: it is not used after this.
        uninterrupted(|| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}

/// Opens an environment through a temporary folder with links to its files.
///
/// LMDB needs another flag for a single file than for a folder; the links make the flag
/// unnecessary. In addition, heed opens a path once. In a forked child, heed still considers the
/// parent's environments open, and closing them would not be safe: a thread of the parent may have
/// been changing them.
fn through_links<T>(folder: &Path, open: impl FnOnce(&Path) -> heed::Result<T>) -> heed::Result<T> {
    let name = format!("simrecorder-{:016x}", random_number());
    let links = std::env::temp_dir().join(name);
    let make = || {
        private_folder(&links)?;
        link(&data_file(folder), &links.join(DATA))?;
        link(&lock_file(folder), &links.join(LOCK))
    };
    let opened = match make() {
        Ok(()) => open(&links),
        Err(error) => {
            let message = format!(
                "to open a single file of LMDB, or any recording in a forked process, \
                 simrecorder needs the folder '{}', which cannot be created; set TMPDIR to a \
                 writable folder: {error}",
                links.display()
            );
            Err(io::Error::new(error.kind(), message).into())
        }
    };
    // The files are open now, whatever their names.
    for name in [DATA, LOCK] {
        let _ = fs::remove_file(links.join(name));
    }
    let _ = fs::remove_dir(&links);
    opened
}

/// Creates a folder that only this user can access. Fails if it exists.
fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(unix)]
fn link(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

/// Other systems have no forks.
#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
