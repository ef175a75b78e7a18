//! Reads a file through the pages on top of it.

use std::collections::{BTreeMap, btree_map};
use std::fs::File;
use std::io;
use std::iter::Peekable;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;

/// The unit in which overwritten parts of the file are stored.
///
/// libhdf5 overwrites object headers and nodes of indices, of some hundred bytes each, scattered
/// over the file. With pages of 4 KiB, the journal of a thousand series was two to three times as
/// long; with 512 bytes, it was at best a third shorter, for twice the offsets in memory. A
/// superblock begins at a multiple of 512 and is shorter than that, so one page contains it.
pub(super) const PAGE: usize = 1024;
/// The same as a `u64`, for computing with offsets in a file.
pub(super) const PAGE_LEN: u64 = PAGE as u64;

/// Pages that were overwritten since the last commit.
pub(super) type PendingPages = BTreeMap<u64, Box<[u8; PAGE]>>;

/// A file with its overwritten pages.
///
/// Bytes that were never written are zero.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) pending: &'a PendingPages,
    pub(super) committed: &'a BTreeMap<u64, u64>,
    /// Contains the committed pages, if there are any.
    pub(super) journal: Option<&'a File>,
    pub(super) main: &'a File,
}

/// The place of a page.
enum Page<'a> {
    Pending(&'a [u8; PAGE]),
    /// At this offset in the journal.
    Committed(u64),
}

impl<'a> Layers<'a> {
    /// A file that is not being written.
    pub(super) fn committed(
        committed: &'a BTreeMap<u64, u64>,
        journal: Option<&'a File>,
        main: &'a File,
    ) -> Self {
        static NONE: PendingPages = PendingPages::new();
        Self {
            pending: &NONE,
            committed,
            journal,
            main,
        }
    }

    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(last) = (buffer.len() as u64).checked_sub(1) else {
            return Ok(());
        };
        let last = address
            .checked_add(last)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let mut done = 0;
        for (number, page) in self.pages(address / PAGE_LEN..=last / PAGE_LEN) {
            let start = number * PAGE_LEN;
            // Where the page begins in the buffer, or the buffer in the page.
            let (at, skip) = if start >= address {
                (to_usize(start - address)?, 0)
            } else {
                (0, to_usize(address - start)?)
            };
            read_or_zero(self.main, &mut buffer[done..at], address + done as u64)?;
            let end = buffer.len().min(at + PAGE - skip);
            let target = &mut buffer[at..end];
            match page {
                Page::Pending(bytes) => target.copy_from_slice(&bytes[skip..skip + end - at]),
                Page::Committed(offset) => {
                    let journal = self.journal.ok_or(io::ErrorKind::NotFound)?;
                    journal.read_exact_at(target, offset + skip as u64)?;
                }
            }
            done = end;
        }
        read_or_zero(self.main, &mut buffer[done..], address + done as u64)
    }

    /// Reads one page.
    pub(super) fn page(&self, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        let mut page = Box::new([0; PAGE]);
        self.read(number * PAGE_LEN, &mut page[..])?;
        Ok(page)
    }

    fn pages(&self, numbers: RangeInclusive<u64>) -> Merged<'a> {
        Merged {
            pending: self.pending.range(numbers.clone()).peekable(),
            committed: self.committed.range(numbers).peekable(),
        }
    }
}

/// Pages in order. A pending page precedes a committed one of the same number.
struct Merged<'a> {
    pending: Peekable<btree_map::Range<'a, u64, Box<[u8; PAGE]>>>,
    committed: Peekable<btree_map::Range<'a, u64, u64>>,
}

impl<'a> Iterator for Merged<'a> {
    type Item = (u64, Page<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let pending = self.pending.peek().map(|&(&number, _)| number);
        let committed = self.committed.peek().map(|&(&number, _)| number);
        if pending.is_some() && (committed.is_none() || pending <= committed) {
            if pending == committed {
                self.committed.next();
            }
            let (&number, page) = self.pending.next()?;
            return Some((number, Page::Pending(page)));
        }
        let (&number, &offset) = self.committed.next()?;
        Some((number, Page::Committed(offset)))
    }
}

/// Reads from a file. Bytes after its end are zero.
pub(super) fn read_or_zero(file: &File, buffer: &mut [u8], mut address: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], address) {
            Ok(0) => break,
            Ok(count) => {
                done += count;
                address += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer[done..].fill(0);
    Ok(())
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Adjacent committed pages, up to a length, and the place of each in the journal.
pub(super) fn runs(
    pages: &BTreeMap<u64, u64>,
    most: usize,
) -> impl Iterator<Item = (u64, Vec<u64>)> {
    let mut rest = pages.iter().peekable();
    std::iter::from_fn(move || {
        let (&first, &offset) = rest.next()?;
        let mut offsets = vec![offset];
        while offsets.len() < most
            && let Some((_, &offset)) =
                rest.next_if(|&(&number, _)| number == first + offsets.len() as u64)
        {
            offsets.push(offset);
        }
        Some((first, offsets))
    })
}
