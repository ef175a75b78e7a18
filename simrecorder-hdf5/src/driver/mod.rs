//! A file driver for libhdf5 that keeps what is overwritten in a journal.
//!
//! libhdf5 changes its metadata in place, in no order that a kill would respect. This driver does
//! for an HDF5 file what the write-ahead log does for SQLite: `run.h5` is a complete HDF5 file as
//! of the last checkpoint, and `run.h5.journal` has what came since. Its form is in [`journal`].
//!
//! # Writing
//!
//! What libhdf5 writes to *fresh space*, which was not in use at any commit of this journal, goes
//! in place into the main file: nobody reads it yet. What it overwrites goes to *pages*, which are
//! kept in memory until the commit. The content of the file is the main file with the pages of the
//! journal on top, and for the writer itself those in memory on top of these.
//!
//! A *commit* syncs the main file if something was written in place, appends one record with all
//! pages, the end of allocation and a note of the caller to the journal, and syncs that. The
//! record decides: a kill before leaves fresh space that nobody uses, a kill within leaves a
//! record that is not whole.
//!
//! A *checkpoint*
//!
//! 1. makes `changes` in the header of the journal odd, and syncs it;
//! 2. copies every page of the journal to the main file, cuts that to its length, and syncs it;
//! 3. writes a new journal beside the old one, with the note of the caller, and renames it over
//!    the old one. At the end, the old one is removed instead.
//!
//! A kill before the switch leaves the whole journal over a main file that has some of its pages
//! already. Reading through it gives the same, and so does copying again, which the next to open
//! the file does, so that other software can read it. A program that opens it checks first that the
//! superblock is one of those that the journal knows: the file may be another one by then.
//!
//! libhdf5 is not told when a write fails, for a flush that failed leaves it unable to close the
//! file. The writer then keeps in memory what libhdf5 writes, and the commit fails. Whenever a
//! commit fails, what was written since the one before can be *abandoned*: libhdf5 is let finish,
//! nothing of what it wrote is committed, and it opens the file again as of the last commit.
//!
//! # Reading beside a writer
//!
//! A reader loads the journal as it is, and reads the main file through its pages: a snapshot of
//! the last commit, N. It notes `changes` before it looks at the records, and looks at it again
//! after each read. Why this gives one commit, or an error:
//!
//! - Without a checkpoint, the main file changes in fresh space only. What was in use at N is not
//!   fresh at any later commit of the same journal, since the border never moves back.
//! - If the reader noted an even number, any checkpoint that begins later makes it odd before it
//!   changes what was in use; so does a writer that deletes the file to create another. Reads fail
//!   from then on, as *stale*, and the reader opens the file again.
//! - If it noted an odd number, a checkpoint of N is or was being made. It changes the main file in
//!   two ways: to pages that the snapshot has, which hide the change, and after the end of N. No
//!   commit comes between its begin and its end. If it failed, commits may follow, but the next
//!   checkpoint takes the next odd number. If it succeeded, the journal was replaced before the
//!   main file changed otherwise; so in this state a reader looks each time whether the path still
//!   names its journal. It holds the file open, so that no other file gets its inode.
//! - A record that was written but not synced, and therefore cut off, may have been seen. What it
//!   refers to will be overwritten, so the writer adds two to `changes` after the cut. If it is
//!   killed between the two, the next writer does.
//! - Without a journal, nobody writes through this driver. A reader then looks each time that
//!   there still is no journal, and that length and times of the main file are the same. It waits
//!   before it notes them until a change would change them.
//!
//! Readers in the process of the writer do the same as those in others.
//!
//! # Locks
//!
//! A writer holds an exclusive lock on its journal. A new journal is locked before it gets its
//! name, and a program that takes a lock checks that the path still names what was locked. It also holds
//! the lock on the main file that libhdf5 in other programs looks for: shared, so that they may
//! read, and for a checkpoint alone, since they would see it half done. Readers take none, unless
//! to end a checkpoint that was interrupted.

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
