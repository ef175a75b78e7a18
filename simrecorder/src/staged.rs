//! Recordings that appear at their path only when they are complete.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use simrecorder_core::backend::{folder_of, random_number, sync_directory};
use simrecorder_core::{DataStore, Error, ErrorKind, OpenMode, Result, expand_home};

use crate::opening::open_with;
use crate::options::OpenOptions;
use crate::url::{Scheme, Url};

/// A new recording that appears at its path only when it is complete, for copies and exports.
///
/// A recording in files is written in a hidden folder next to its path. [`publish`](Self::publish) moves it to the path.
/// Dropping a `StagedRecording` that was not published removes it. If the process is killed, the hidden folder
/// `.NAME.partial-…` remains, and there is nothing at the path. A recording on a server has its name from the start, and
/// is deleted on drop unless it was published.
///
/// ```
/// use simrecorder::{OpenOptions, Recorder, StagedRecording, copy, prelude::*};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.mdb");
/// # #[cfg(feature = "zarr")] {
/// # let from = simrecorder::InMemoryDataStore::new();
/// # Recorder::new(from.clone()).record("x", 1.5)?;
/// let staged = StagedRecording::create(&path, &OpenOptions::new())?; // such as "run.mdb"
/// copy(&from, staged.store(), Default::default())?;
/// assert!(!path.exists());
/// staged.publish()?;
/// assert!(path.exists());
/// # }
/// # Ok::<(), simrecorder::Error>(())
/// ```
#[derive(Debug)]
pub struct StagedRecording {
    store: Arc<dyn DataStore>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Written to `staged` in the hidden `folder`.
    Files {
        folder: PathBuf,
        staged: PathBuf,
        path: PathBuf,
    },
    Server {
        #[cfg_attr(
            not(feature = "redis"),
            expect(dead_code, reason = "no server is reached")
        )]
        url: String,
    },
    Memory,
    Published,
}

impl StagedRecording {
    /// Creates a recording. `path_or_url` is as for [`create`](crate::create); the mode of `options` is ignored.
    ///
    /// # Errors
    /// As for [`open_with`] with the mode `create-new`.
    pub fn create(path_or_url: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let place = path_or_url.as_ref();
        let options = options.clone().mode(OpenMode::CreateNew);
        let text = place.to_string_lossy();
        let Some(url) = Url::parse(&text) else {
            return Self::in_files(expand_home(place)?, &options, |path| path.into());
        };
        match url.scheme {
            Scheme::File(_) => Self::in_files(expand_home(url.place)?, &options, |path| {
                let query = url.options().collect::<Vec<_>>().join("&");
                format!("{}:{}?{query}", url.name, path.display()).into()
            }),
            Scheme::Redis => Ok(Self {
                store: open_with(place, &options)?,
                place: Place::Server {
                    url: text.into_owned(),
                },
            }),
            Scheme::Memory => Ok(Self {
                store: open_with(place, &options)?,
                place: Place::Memory,
            }),
        }
    }

    /// Creates a recording next to `path`; `text` makes the path or URL that opens it.
    fn in_files(
        path: PathBuf,
        options: &OpenOptions,
        text: impl Fn(&Path) -> PathBuf,
    ) -> Result<Self> {
        // Removes slashes at the end.
        let path: PathBuf = path.components().collect();
        let at = |e: Error| {
            e.with_operation("create")
                .with_key(path.display().to_string())
        };
        let io = |error| Error::io("create", &path, error);
        if !is_vacant(&path).map_err(io)? {
            let message = "something already exists at this path; choose another one";
            return Err(at(Error::new(ErrorKind::AlreadyExists, "create", message)));
        }
        let Some(name) = path.file_name() else {
            return open_with(text(&path), options).and_then(|_| Err(at(no_name())));
        };
        let mut hidden = OsStr::new(".").to_owned();
        hidden.push(name);
        hidden.push(format!(".partial-{:x}", random_number()));
        let folder = path.with_file_name(hidden);
        fs::create_dir(&folder).map_err(io)?;
        let staged = folder.join(name);
        let place = Place::Files {
            folder: folder.clone(),
            staged: staged.clone(),
            path: path.clone(),
        };
        match open_with(text(&staged), options) {
            Ok(store) => Ok(Self { store, place }),
            Err(error) => {
                // The first error is more useful than that of removing an empty folder.
                let _ = fs::remove_dir_all(&folder);
                Err(at(error))
            }
        }
    }

    /// Returns the store that writes the recording.
    pub fn store(&self) -> &Arc<dyn DataStore> {
        &self.store
    }

    /// Closes the recording and moves it to its path.
    ///
    /// # Errors
    /// The errors of closing, and [`ErrorKind::AlreadyExists`] if something was created at the path in the meantime. The
    /// recording is removed then.
    pub fn publish(mut self) -> Result<()> {
        self.store.close()?;
        if let Place::Files {
            folder,
            staged,
            path,
        } = &self.place
        {
            move_to(staged, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                    let message =
                        "something was created at this path meanwhile; choose another one";
                    Error::new(ErrorKind::AlreadyExists, "create", message)
                        .with_key(path.display().to_string())
                }
                _ => Error::io("create", path, error),
            })?;
            // The recording is published, even if the empty folder cannot be removed.
            let _ = fs::remove_dir_all(folder);
        }
        self.place = Place::Published;
        Ok(())
    }
}

impl Drop for StagedRecording {
    fn drop(&mut self) {
        if matches!(self.place, Place::Published) {
            return;
        }
        // Drop cannot return an error.
        let _ = self.store.close();
        match &self.place {
            Place::Files { folder, .. } => drop(fs::remove_dir_all(folder)),
            #[cfg(feature = "redis")]
            Place::Server { url } => drop(simrecorder_redis::RedisDataStore::delete(url)),
            _ => {}
        }
    }
}

fn no_name() -> Error {
    let message = "this path names no file; give one such as run.mdb";
    Error::new(ErrorKind::InvalidArgument, "create", message)
}

/// Whether there is nothing at a path, or an empty folder.
fn is_vacant(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(fs::read_dir(path)?.next().is_none()),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Moves a file or a folder to a path where there is nothing, or an empty folder.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match from.is_dir() {
        true => fs::rename(from, to)?,
        // Unlike renaming, linking never replaces a file.
        false => match fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // Not every file system supports links.
            Err(_) => fs::rename(from, to)?,
            Ok(()) => {}
        },
    }
    sync_directory(folder_of(to))
}
