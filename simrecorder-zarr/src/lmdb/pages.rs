//! Checks the pages of a data file before LMDB uses them.
//!
//! LMDB trusts its pages: a wrong number in one of them ends the process, and a page that is both
//! free and in use is overwritten later. So opening a file first checks the pages of its trees, in
//! a snapshot, which prevents writers from reusing them meanwhile. A writer also checks the list of
//! free pages and the beginnings of large values. The contents of values are not checked.
//!
//! At most [`MAX_READS`] pages are read, those near the roots first, so that opening takes no
//! longer for larger recordings.
//!
//! The layout is that of `MDB_page` and `MDB_node` in LMDB's `mdb.c`, see [`data_file`].

use std::fs::File;
use std::io;
use std::path::Path;

use simrecorder_core::{Error, ErrorKind, Result};

use super::data_file::{
    self, F_BIGDATA, Meta, NO_PAGE, P_BRANCH, P_LEAF, PAGE_HEADER, TreeRoot, WORD, word, word16,
    word32,
};

/// The maximum number of checked pages: those of about 100 000 entries.
const MAX_READS: usize = 4 << 10;

const P_OVERFLOW: u16 = 0x04;
const F_DUPDATA: u16 = 0x04;
const NODE: usize = 8;
/// LMDB's own bound.
const MAX_DEPTH: u16 = 32;
const MAX_KEY: usize = 511;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// What reading depends on.
    Reading,
    /// What writing depends on.
    Writing,
}

/// Checks the pages that belong to the snapshot of `transaction`, which must stay open meanwhile.
///
/// Returns `false` if a writer was so fast that the roots of this snapshot are no longer known.
pub(super) fn check(path: &Path, transaction: u64, depth: Depth) -> Result<bool> {
    let failed = |error| Error::io("open", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let Some(meta) = data_file::meta_of(&mut file, transaction).map_err(failed)? else {
        return Ok(false);
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut walk = Walk {
        file,
        meta,
        length,
        left: MAX_READS,
        used: Vec::new(),
    };
    match walk.check(depth) {
        Ok(()) | Err(WalkError::TooMany) => Ok(true),
        Err(WalkError::Io(error)) => Err(failed(error)),
        Err(WalkError::Damaged(page, what)) => Err(Error::new(
            ErrorKind::Corrupt,
            "open",
            format!("page {page} of the data file is damaged: {what}"),
        )
        .with_key(path.display().to_string())),
    }
}

/// Why the check ended early.
enum WalkError {
    TooMany,
    Io(io::Error),
    Damaged(u64, &'static str),
}

type Step<T> = std::result::Result<T, WalkError>;

struct Walk {
    file: File,
    meta: Meta,
    length: u64,
    /// How many pages may still be read.
    left: usize,
    /// The first page and the number of pages of everything that is in use or free.
    used: Vec<(u64, u64)>,
}

/// The value of a node of a leaf.
enum Value<'a> {
    Here(&'a [u8]),
    /// In separate pages: the first of them, and the length.
    Apart(u64, usize),
}

impl Walk {
    fn check(&mut self, depth: Depth) -> Step<()> {
        let mut large = Vec::new();
        self.tree(self.meta.main, false, |walk, page, value| {
            if let Value::Apart(first, bytes) = value {
                let pages = walk.pages_of(page, first, bytes)?;
                large.push((first, pages));
            }
            Ok(())
        })?;
        if depth == Depth::Reading {
            return Ok(());
        }
        self.tree(self.meta.free, true, Self::free_pages)?;
        for (first, pages) in large {
            self.large_value(first, pages)?;
        }
        self.used.sort_unstable();
        for pair in self.used.windows(2) {
            if pair[0].0 + pair[0].1 > pair[1].0 {
                return Err(WalkError::Damaged(
                    pair[1].0,
                    "it is in use twice, or free and in use",
                ));
            }
        }
        Ok(())
    }

    /// Checks the pages of a tree, level by level, and calls `leaf` for each value.
    fn tree(
        &mut self,
        root: TreeRoot,
        free: bool,
        mut leaf: impl FnMut(&mut Self, u64, Value<'_>) -> Step<()>,
    ) -> Step<()> {
        if root.page == NO_PAGE && root.depth == 0 {
            return Ok(());
        }
        if !(1..=MAX_DEPTH).contains(&root.depth) {
            return Err(WalkError::Damaged(
                root.page,
                "the depth of its tree is wrong",
            ));
        }
        let mut level = vec![root.page];
        for depth in 1..=root.depth {
            let mut next = Vec::new();
            let flags = if depth == root.depth {
                P_LEAF
            } else {
                P_BRANCH
            };
            for page in level {
                let bytes = self.page(page)?;
                let damaged = |what| WalkError::Damaged(page, what);
                let nodes = nodes(&bytes, page, flags, free).map_err(damaged)?;
                for node in nodes {
                    if flags == P_BRANCH {
                        next.push(node.child());
                    } else {
                        let value = node.value().map_err(damaged)?;
                        leaf(self, page, value)?;
                    }
                }
            }
            level = next;
        }
        Ok(())
    }

    /// Reads a page of a tree, and records that it is in use.
    fn page(&mut self, page: u64) -> Step<Vec<u8>> {
        self.used.push((page, 1));
        self.read(page, 0, self.meta.page_size as usize)
    }

    /// Reads `size` bytes, `skip` bytes after the beginning of a page.
    fn read(&mut self, page: u64, skip: u64, size: usize) -> Step<Vec<u8>> {
        if !(2..=self.meta.last_page).contains(&page) {
            return Err(WalkError::Damaged(page, "there is no such page"));
        }
        let pages = size.div_ceil(self.meta.page_size as usize);
        self.left = self.left.checked_sub(pages).ok_or(WalkError::TooMany)?;
        data_file::read_at(&mut self.file, page * self.meta.page_size + skip, size)
            .map_err(WalkError::Io)?
            .ok_or(WalkError::Damaged(page, "the file ends before it"))
    }

    /// The number of pages of a value. All of them must be in the file.
    fn pages_of(&self, page: u64, first: u64, bytes: usize) -> Step<u64> {
        let pages = (bytes + PAGE_HEADER).div_ceil(self.meta.page_size as usize) as u64;
        let end = first.checked_add(pages);
        match end.and_then(|end| Some((end, end.checked_mul(self.meta.page_size)?))) {
            Some((end, length))
                if first >= 2 && end <= self.meta.last_page + 1 && length <= self.length =>
            {
                Ok(pages)
            }
            _ => Err(WalkError::Damaged(
                page,
                "one of its values is not in the file",
            )),
        }
    }

    /// Checks the beginning of a value that takes at least `pages` pages.
    fn large_value(&mut self, first: u64, pages: u64) -> Step<()> {
        let header = self.read(first, 0, PAGE_HEADER)?;
        let there = u64::from(word32(&header, WORD + 4));
        let right = word(&header, 0) == first
            && word16(&header, WORD + 2) == P_OVERFLOW
            && there >= pages
            && first + there <= self.meta.last_page + 1;
        if !right {
            return Err(WalkError::Damaged(
                first,
                "it is not the first page of a value",
            ));
        }
        self.used.push((first, there));
        Ok(())
    }

    /// Records the pages in one list of free pages: a count and as many numbers, the largest first.
    fn free_pages(&mut self, page: u64, value: Value<'_>) -> Step<()> {
        let apart;
        let list = match value {
            Value::Here(list) => list,
            Value::Apart(first, bytes) => {
                let pages = self.pages_of(page, first, bytes)?;
                self.large_value(first, pages)?;
                apart = self.read(first, PAGE_HEADER as u64, bytes)?;
                &apart
            }
        };
        let mut numbers = list.chunks_exact(WORD).map(|number| word(number, 0));
        let count = numbers.next().and_then(|count| usize::try_from(count).ok());
        let damaged = WalkError::Damaged(page, "it contains an invalid list of free pages");
        let Some(count) = count.filter(|&count| count <= numbers.len()) else {
            return Err(damaged);
        };
        let mut last = self.meta.last_page + 1;
        for number in numbers.take(count) {
            if !(2..last).contains(&number) {
                return Err(damaged);
            }
            self.used.push((number, 1));
            last = number;
        }
        Ok(())
    }
}

/// A node within the bytes of its page.
struct Node<'a> {
    bytes: &'a [u8],
    key: usize,
}

impl<'a> Node<'a> {
    /// The two halves of the number at the beginning of a node.
    fn number(&self) -> u64 {
        let (first, second) = (word16(self.bytes, 0), word16(self.bytes, 2));
        let (low, high) = if cfg!(target_endian = "big") {
            (second, first)
        } else {
            (first, second)
        };
        u64::from(low) | u64::from(high) << 16
    }

    fn flags(&self) -> u16 {
        word16(self.bytes, 4)
    }

    fn key(&self) -> &'a [u8] {
        &self.bytes[NODE..NODE + self.key]
    }

    /// The page to which a node of a branch leads.
    fn child(&self) -> u64 {
        let high = if WORD == 8 { self.flags() } else { 0 };
        self.number() | u64::from(high) << 32
    }

    fn value(&self) -> std::result::Result<Value<'a>, &'static str> {
        let data = &self.bytes[NODE + self.key..];
        let size = self.number() as usize;
        let (value, taken) = if self.flags() & F_BIGDATA == 0 {
            (data.get(..size).map(Value::Here), size)
        } else {
            let first = data.get(..WORD).map(|first| word(first, 0));
            (first.map(|first| Value::Apart(first, size)), WORD)
        };
        let end = NODE + self.key + taken;
        match value {
            // Nodes begin at even offsets.
            Some(value) if end.next_multiple_of(2) >= self.bytes.len() => Ok(value),
            Some(_) | None => Err("one of its entries and its value differ in size"),
        }
    }
}

/// The nodes of a page, in the order of their keys.
fn nodes(
    bytes: &[u8],
    page: u64,
    flags: u16,
    free: bool,
) -> std::result::Result<Vec<Node<'_>>, &'static str> {
    let lower = usize::from(word16(bytes, WORD + 4));
    let upper = usize::from(word16(bytes, WORD + 6));
    let sound = word(bytes, 0) == page
        && word16(bytes, WORD + 2) == flags
        && (PAGE_HEADER..=upper).contains(&lower)
        && lower % 2 == 0
        && upper <= bytes.len();
    if !sound {
        return Err("its header is not valid");
    }
    let places: Vec<usize> = (PAGE_HEADER..lower)
        .step_by(2)
        .map(|place| usize::from(word16(bytes, place)))
        .collect();
    let least = if flags == P_BRANCH && !free { 2 } else { 1 };
    if places.len() < least {
        return Err("it is empty");
    }
    // Each node ends where the next one begins.
    let mut order = places.clone();
    order.sort_unstable();
    order.push(bytes.len());
    if order[0] < upper {
        return Err("one of its entries is misplaced");
    }
    let mut nodes = Vec::with_capacity(places.len());
    for place in places {
        let next = order.partition_point(|&other| other <= place);
        let Some(node) = bytes.get(place..order.get(next).copied().unwrap_or(place)) else {
            return Err("one of its entries is misplaced");
        };
        if place % 2 != 0 || node.len() < NODE {
            return Err("one of its entries is misplaced");
        }
        let key = usize::from(word16(node, 6));
        if key > MAX_KEY || NODE + key > node.len() {
            return Err("one of its keys has a wrong length");
        }
        let node = Node { bytes: node, key };
        if flags == P_LEAF && node.flags() & !F_BIGDATA != 0 {
            return Err(if node.flags() & F_DUPDATA != 0 {
                "one of its entries has several values"
            } else {
                "one of its entries is not a plain value"
            });
        }
        nodes.push(node);
    }
    check_keys(&nodes, flags, free)?;
    Ok(nodes)
}

/// Checks that keys are in order. The first key of a branch is ignored.
fn check_keys(nodes: &[Node<'_>], flags: u16, free: bool) -> std::result::Result<(), &'static str> {
    let keys = &nodes[usize::from(flags == P_BRANCH)..];
    let in_order = if free {
        if keys.iter().any(|node| node.key != WORD) {
            return Err("one of its keys has a wrong length");
        }
        keys.is_sorted_by(|a, b| word(a.key(), 0) < word(b.key(), 0))
    } else {
        keys.iter().all(|node| node.key > 0) && keys.is_sorted_by(|a, b| a.key() < b.key())
    };
    if in_order {
        Ok(())
    } else {
        Err("its keys are not in order")
    }
}
