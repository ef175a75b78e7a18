//! Rows of variable length: text and bytes, each stored separately in heaps.

use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::sync::Arc;

use hdf5_metno_sys::h5t::hvl_t;
use simrecorder_core::backend::{Rows, RowsRef, zeroed};
use simrecorder_core::{Error, ErrorKind, Region, Result};

use crate::format::attributes::fixed_text;
use crate::format::dataset::{Dataset, rows};
use crate::format::datatype::{StoredType, bytes_type};
use crate::library::{Handle, c_string, reclaim, simple_space};

/// The rows of a dataset of variable length.
#[derive(Clone, Debug)]
pub(crate) enum VariableType {
    /// Text, with its type in memory; `escaped` if this library wrote it.
    Text {
        memory: Arc<Handle>,
        escaped: bool,
    },
    /// Text of a fixed number of bytes, from other software.
    FixedText {
        size: usize,
        padding: u8,
        memory: Arc<Handle>,
    },
    Bytes,
}

/// In HDF5, text ends at a NUL. This noncharacter of Unicode, followed by `0`, represents a NUL;
/// followed by `1`, it represents itself.
const ESCAPE: char = '\u{10ffff}';

/// Text in a form that HDF5 can store.
pub(crate) fn escape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return text.into();
    }
    let escaped = text.chars().flat_map(|character| match character {
        '\0' => [Some(ESCAPE), Some('0')],
        ESCAPE => [Some(ESCAPE), Some('1')],
        other => [Some(other), None],
    });
    escaped.flatten().collect()
}

/// Undoes [`escape`].
pub(crate) fn unescape(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return text.into();
    }
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            ESCAPE => match characters.next() {
                Some('0') => '\0',
                _ => ESCAPE,
            },
            other => other,
        });
    }
    unescaped.into()
}

impl VariableType {
    /// `None` for elements of fixed size.
    pub(crate) fn of(stored: &StoredType, is_ours: bool) -> Option<Self> {
        match stored {
            StoredType::Elements { .. } => None,
            StoredType::Text(memory) => Some(Self::Text {
                memory: Arc::clone(memory),
                escaped: is_ours,
            }),
            StoredType::FixedText {
                size,
                padding,
                memory,
            } => Some(Self::FixedText {
                size: *size,
                padding: *padding,
                memory: Arc::clone(memory),
            }),
            StoredType::Bytes => Some(Self::Bytes),
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        !matches!(self, Self::Bytes)
    }

    /// Appends the rows of `range` in the dataset to `out`.
    pub(crate) fn read(&self, dataset: &Dataset, range: Range<u64>, out: &mut Rows) -> Result<()> {
        let count = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        self.read_region(dataset, &rows(range), count, out)
    }

    /// The same for a dataset of one element without axes.
    pub(crate) fn read_scalar(&self, dataset: &Dataset, out: &mut Rows) -> Result<()> {
        self.read_region(dataset, &Region::all(&[]), 1, out)
    }

    fn read_region(
        &self,
        dataset: &Dataset,
        region: &Region,
        count: usize,
        out: &mut Rows,
    ) -> Result<()> {
        match self {
            Self::Text { memory, escaped } => {
                let mut texts: Vec<*mut c_char> = vec![std::ptr::null_mut(); count];
                read_variable(dataset, memory, region, &mut texts, |&text| {
                    let text = match text.is_null() {
                        true => "".into(),
                        // SAFETY: the library returns texts that end with a NUL, or null.
                        false => unsafe { CStr::from_ptr(text) }.to_string_lossy(),
                    };
                    push(
                        out,
                        match escaped {
                            true => unescape(&text),
                            false => text.as_ref().into(),
                        }
                        .as_bytes(),
                    );
                })
            }
            Self::FixedText {
                size,
                padding,
                memory,
            } => {
                let mut bytes = zeroed(count.saturating_mul(*size))?;
                // SAFETY: there is room for this many texts of that size.
                unsafe { dataset.read(memory, region, bytes.as_mut_ptr().cast())? };
                for text in bytes.chunks_exact((*size).max(1)) {
                    push(out, fixed_text(text, *padding).as_bytes());
                }
                Ok(())
            }
            Self::Bytes => {
                let mut lists = Vec::new();
                lists.resize_with(count, hvl_t::default);
                read_variable(dataset, &bytes_type()?, region, &mut lists, |list| {
                    let bytes: &[u8] = match list.p.is_null() {
                        true => &[],
                        // SAFETY: the library returns lists of the given length.
                        false => unsafe { std::slice::from_raw_parts(list.p.cast(), list.len) },
                    };
                    push(out, bytes);
                })
            }
        }
    }

    /// Checks that rows can be written, as far as this depends on their contents.
    pub(crate) fn check(&self, new: RowsRef<'_>) -> Result<()> {
        match self {
            Self::Text { .. } => parts(new).try_for_each(|part| text(part).map(drop)),
            Self::FixedText { .. } | Self::Bytes => Ok(()),
        }
    }

    /// Writes rows from the row `first` on. The dataset is long enough for them.
    pub(crate) fn write(&self, dataset: &Dataset, first: u64, new: RowsRef<'_>) -> Result<()> {
        let region = rows(first..first + new.count);
        let parts = parts(new);
        match self {
            Self::Text { memory, .. } => {
                let texts = parts.map(|part| c_string(&escape(text(part)?)));
                let texts = texts.collect::<Result<Vec<_>>>()?;
                let pointers: Vec<*const c_char> = texts.iter().map(|text| text.as_ptr()).collect();
                // SAFETY: as many pointers as rows, to texts that end with a NUL and outlive the
                // call.
                unsafe { dataset.write(memory, &region, pointers.as_ptr().cast()) }
            }
            Self::Bytes => {
                let lists: Vec<hvl_t> = parts
                    .map(|part| hvl_t {
                        len: part.len(),
                        p: part.as_ptr().cast_mut().cast(),
                    })
                    .collect();
                // SAFETY: as many lists as rows, of bytes that outlive the call, which only reads
                // them.
                unsafe { dataset.write(&bytes_type()?, &region, lists.as_ptr().cast()) }
            }
            Self::FixedText { .. } => {
                let message = "rows of a form that was refused before";
                Err(Error::new(ErrorKind::Internal, "commit", message))
            }
        }
    }
}

/// The rows, one at a time.
fn parts(rows: RowsRef<'_>) -> impl Iterator<Item = &[u8]> {
    let mut start = rows.base;
    rows.ends.iter().map(move |&end| {
        let part = (start - rows.base) as usize..(end - rows.base) as usize;
        start = end;
        &rows.data[part]
    })
}

fn text(row: &[u8]) -> Result<&str> {
    std::str::from_utf8(row).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "commit", "a text is not UTF-8").with_source(error)
    })
}

fn push(out: &mut Rows, row: &[u8]) {
    out.extend(1, row, &[row.len() as u64]);
}

/// Reads elements that the library allocates, passes each to `found`, and frees them.
fn read_variable<T>(
    dataset: &Dataset,
    memory: &Handle,
    region: &Region,
    elements: &mut [T],
    mut each: impl FnMut(&T),
) -> Result<()> {
    let space = simple_space(&[elements.len() as u64], None)?;
    // SAFETY: there is room for as many elements as the region has; the memory that the library
    // allocates for them is freed once, and not used afterwards.
    unsafe {
        let read = dataset.read(memory, region, elements.as_mut_ptr().cast());
        if read.is_ok() {
            elements.iter().for_each(&mut each);
        }
        reclaim(memory, &space, elements.as_mut_ptr().cast());
        read
    }
}
