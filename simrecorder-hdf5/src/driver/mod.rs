//! A file driver for libhdf5 that stores overwritten data in a journal.
//!
//! libhdf5 changes its metadata in place, in an order that does not survive a kill. This driver
//! does for an HDF5 file what the write-ahead log does for SQLite: `run.h5` is a complete HDF5 file
//! as of the last checkpoint, and `run.h5.journal` contains all later changes. [`journal`]
//! describes its form.
//!
//! # Writing
//!
//! What libhdf5 writes to *fresh space*, which was not in use at any commit of this journal, is
//! written in place into the main file: no reader uses this space yet. What it overwrites is stored
//! in *pages*, which are kept in memory until the commit. The contents of the file are the main
//! file with the pages of the journal on top, and for the writer itself the pages in memory on top
//! of these.
//!
//! A *commit* syncs the main file if something was written in place. It then appends one record
//! with all pages, the end of allocation and a note of the caller to the journal, and syncs the
//! journal. Only a complete record makes the commit valid: a kill before leaves unused fresh space,
//! and a kill during the append leaves an incomplete record.
//!
//! A *checkpoint*
//!
//! 1. makes `changes` in the header of the journal odd, and syncs it;
//! 2. copies every page of the journal to the main file, truncates the main file to its length, and
//!    syncs it;
//! 3. writes a new journal next to the old one, with the note of the caller, and renames it over
//!    the old one. On closing, the old journal is removed instead.
//!
//! A kill before the switch leaves the whole journal and a main file that already has some of its
//! pages. Reading through the journal gives the same contents. So does copying the pages again,
//! which the next process that opens the file does, so that other software can read it. A program
//! that opens the file first checks that the superblock is one of those that the journal knows,
//! because another file may have taken its place.
//!
//! libhdf5 is not told when a write fails, because after a failed flush it could not close the
//! file. Instead, the writer keeps libhdf5's further writes in memory, and the commit fails.
//! Whenever a commit fails, the writes since the previous commit can be *abandoned*: libhdf5 closes
//! the file, none of its writes are committed, and it opens the file again as of the last commit.
//!
//! # Reading while a writer is running
//!
//! A reader loads the journal as it is, and reads the main file through its pages: a snapshot of
//! the last commit, N. It notes `changes` before it reads the records, and checks it again after
//! each read. This gives the contents of one commit, or an error:
//!
//! - Without a checkpoint, the main file changes only in fresh space. Space that was in use at N is
//!   not fresh at any later commit of the same journal, because the border never moves back.
//! - If the reader noted an even number, any checkpoint that begins later makes it odd before it
//!   changes space in use. A writer that deletes the file to create another one does the same. From
//!   then on, reads fail as *stale*, and the reader opens the file again.
//! - If it noted an odd number, a checkpoint of N is or was in progress. It changes the main file
//!   in two ways: pages that the snapshot contains, so that the change is hidden, and space after
//!   the end of N. No commit comes between its beginning and its end. If it failed, commits may
//!   follow, but the next checkpoint uses the next odd number. If it succeeded, the journal was
//!   replaced before the main file changed in another way. So in this state, a reader checks each
//!   time whether the path still names its journal. It keeps the file open, so that no other file
//!   gets its inode.
//! - A reader may have seen a record that was written but not synced, and was therefore cut off.
//!   The space that it refers to will be overwritten, so the writer adds two to `changes` after the
//!   cut. If it is killed between the two, the next writer does this.
//! - Without a journal, no process writes through this driver. A reader then checks each time that
//!   there is still no journal, and that length and times of the main file are unchanged. Before it
//!   notes them, it waits until a change would change them.
//!
//! Readers in the process of the writer do the same as those in other processes.
//!
//! # Locks
//!
//! A writer holds an exclusive lock on its journal. A new journal is locked before it gets its
//! name, and a program that takes a lock checks that the path still names the locked file. The
//! writer also holds the lock on the main file that libhdf5 takes in other programs: shared, so
//! that they can read, and exclusive for a checkpoint, because they would see an incomplete one.
//! Readers take no lock, except to complete an interrupted checkpoint.

mod class;
#[cfg(test)]
mod crash_tests;
mod disk;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod hdf5_tests;
pub(crate) mod journal;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod lock_tests;
pub(crate) mod locks;
pub(crate) mod logged_file;
#[cfg(test)]
mod model_tests;
pub(crate) mod open;
mod pages;
#[cfg(test)]
mod power_tests;
mod reader;
#[cfg(test)]
mod session_tests;
pub(crate) mod superblock;
#[cfg(test)]
mod thread_tests;
pub(crate) mod vfd;
#[cfg(test)]
mod watch_tests;
mod writer;
