//! An HDF5 dataset: creating, opening and describing it, and its raw chunks.

use hdf5_metno_sys::h5::hsize_t;
use hdf5_metno_sys::h5d::{
    H5D_alloc_time_t, H5D_fill_value_t, H5D_layout_t, H5Dcreate_anon, H5Dcreate2,
    H5Dget_create_plist, H5Dget_space, H5Dget_storage_size, H5Dget_type, H5Dread, H5Dread_chunk,
    H5Dset_extent, H5Dwrite, H5Dwrite_chunk,
};
use hdf5_metno_sys::h5i::{H5I_type_t, hid_t};
use hdf5_metno_sys::h5p::{
    H5P_CLS_DATASET_CREATE, H5P_CLS_LINK_CREATE, H5P_DEFAULT, H5Pfill_value_defined, H5Pget_chunk,
    H5Pget_fill_value, H5Pget_filter2, H5Pget_layout, H5Pget_nfilters, H5Pset_alloc_time,
    H5Pset_char_encoding, H5Pset_chunk, H5Pset_deflate, H5Pset_fill_value, H5Pset_layout,
    H5Pset_obj_track_times, H5Pset_shuffle,
};
use hdf5_metno_sys::h5s::{H5S_ALL, H5Sselect_none};
use hdf5_metno_sys::h5t::H5T_cset_t;
use hdf5_metno_sys::h5z::H5Zfilter_avail;
use simrecorder_core::backend::room;
use simrecorder_core::{AxisRange, Error, ErrorKind, Region, Result};

use crate::format::attributes::{self, CUT_COUNT};
use crate::format::datatype::StoredType;
use crate::format::filters::{DEFLATE, FLETCHER32, Filter, Pipeline, SHUFFLE};
use crate::library::{
    Handle, MAX_AXES, c_string, extent, failed, locked, property_list, read_ok, select,
    simple_space, write_ok,
};

unsafe extern "C" {
    /// The stored size of a chunk in bytes; 0 if it was never written. Missing in hdf5-metno-sys;
    /// in libhdf5 since 1.10.2.
    fn H5Dget_chunk_storage_size(
        dataset: hid_t,
        offset: *const hsize_t,
        bytes: *mut hsize_t,
    ) -> hdf5_metno_sys::h5::herr_t;
}

/// An open dataset.
#[derive(Debug)]
pub(crate) struct Dataset(Handle);

/// The fixed properties of a dataset, and its shape.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) shape: Vec<u64>,
    pub(crate) type_: StoredType,
    /// The shape of chunks, if it has chunks.
    pub(crate) chunk_shape: Option<Vec<u64>>,
    /// The filters, if this library supports all of them.
    pub(crate) pipeline: Option<Pipeline>,
    /// The bytes in memory of an element that was never written; zero if unknown.
    pub(crate) fill_value: Option<Vec<u8>>,
}

/// The layout of a new dataset.
#[derive(Debug)]
pub(crate) struct NewDataset<'a> {
    pub(crate) type_: &'a Handle,
    pub(crate) shape: &'a [u64],
    pub(crate) storage: Storage<'a>,
    pub(crate) fill_value: Option<&'a [u8]>,
}

/// Where the elements of a new dataset are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Storage<'a> {
    /// In chunks of this shape, with these filters: the dataset can grow.
    Chunks(&'a [u64], &'a Pipeline),
    /// In one piece, for a dataset of fixed length.
    Contiguous,
    /// In the object header, for a small dataset of fixed length.
    Compact,
}

/// The maximum size of a dataset in the object header.
const COMPACT_BYTES: u64 = 2 << 10;

impl Storage<'_> {
    /// For a dataset of fixed length and this size.
    pub(crate) fn of_fixed(bytes: u64) -> Self {
        match bytes {
            0..=COMPACT_BYTES => Self::Compact,
            _ => Self::Contiguous,
        }
    }
}

/// A property list for links: their names are UTF-8.
pub(crate) fn link_creation() -> Result<Handle> {
    locked(|| {
        let list = property_list(*H5P_CLS_LINK_CREATE)?;
        // SAFETY: the list is ours.
        let status = unsafe { H5Pset_char_encoding(list.id(), H5T_cset_t::H5T_CSET_UTF8) };
        write_ok(status, "set the encoding of names")?;
        Ok(list)
    })
}

impl NewDataset<'_> {
    /// Creates the dataset `name` in a group.
    pub(crate) fn create(&self, group: &Handle, name: &str) -> Result<Dataset> {
        let name = c_string(name)?;
        locked(|| {
            let (list, space) = self.properties()?;
            let links = link_creation()?;
            // SAFETY: the name ends with a NUL and outlives the call.
            let id = unsafe {
                H5Dcreate2(
                    group.id(),
                    name.as_ptr(),
                    self.type_.id(),
                    space.id(),
                    links.id(),
                    list.id(),
                    H5P_DEFAULT,
                )
            };
            Handle::write(id, "make a dataset").map(Dataset)
        })
    }

    /// Creates a dataset without a link.
    pub(crate) fn create_unlinked(&self, root: &Handle) -> Result<Dataset> {
        locked(|| {
            let (list, space) = self.properties()?;
            // SAFETY: all handles are open.
            let id = unsafe {
                H5Dcreate_anon(
                    root.id(),
                    self.type_.id(),
                    space.id(),
                    list.id(),
                    H5P_DEFAULT,
                )
            };
            Handle::write(id, "make a dataset").map(Dataset)
        })
    }

    fn properties(&self) -> Result<(Handle, Handle)> {
        let list = self.creation_list()?;
        let grows = matches!(self.storage, Storage::Chunks(..));
        let growing = grows.then(|| self.growing_axes());
        Ok((list, simple_space(self.shape, growing.as_deref())?))
    }

    /// The first axis can grow. HDF5 requires that chunks are not longer than an axis of fixed
    /// length, so an axis of length 0 can grow, too.
    fn growing_axes(&self) -> Vec<Option<u64>> {
        let axes = self.shape.iter().enumerate();
        axes.map(|(axis, &len)| (axis > 0 && len > 0).then_some(len))
            .collect()
    }

    fn creation_list(&self) -> Result<Handle> {
        let list = property_list(*H5P_CLS_DATASET_CREATE)?;
        // SAFETY: the list is ours; arrays have the given number of elements, the fill value is an
        // element of the type, and all of them outlive the calls.
        unsafe {
            // So that the same calls create the same file.
            write_ok(H5Pset_obj_track_times(list.id(), 0), "set properties")?;
            match self.storage {
                Storage::Chunks(chunk_shape, pipeline) => {
                    set_chunks(&list, chunk_shape, pipeline)?;
                }
                Storage::Contiguous => {}
                Storage::Compact => {
                    let compact = H5D_layout_t::H5D_COMPACT;
                    write_ok(H5Pset_layout(list.id(), compact), "set properties")?;
                }
            }
            if let Some(value) = self.fill_value {
                let value = value.as_ptr().cast();
                let status = H5Pset_fill_value(list.id(), self.type_.id(), value);
                write_ok(status, "set the fill value")?;
            }
        }
        Ok(list)
    }
}

fn set_chunks(list: &Handle, chunk_shape: &[u64], pipeline: &Pipeline) -> Result<()> {
    let axes = chunk_shape.len() as i32;
    // SAFETY: the list is open; the shape has the given number of elements, and outlives the call.
    unsafe {
        write_ok(
            H5Pset_chunk(list.id(), axes, chunk_shape.as_ptr()),
            "choose chunks",
        )?;
        let incremental = H5D_alloc_time_t::H5D_ALLOC_TIME_INCR;
        write_ok(H5Pset_alloc_time(list.id(), incremental), "set properties")?;
        for filter in &pipeline.0 {
            let status = match filter {
                Filter::Shuffle { .. } => H5Pset_shuffle(list.id()),
                Filter::Deflate { level } => H5Pset_deflate(list.id(), *level),
                Filter::Fletcher32 => hdf5_metno_sys::h5p::H5Pset_fletcher32(list.id()),
            };
            write_ok(status, "choose filters")?;
        }
    }
    Ok(())
}

impl Dataset {
    /// The dataset of a handle; `None` if it is another object.
    pub(crate) fn from_handle(handle: Handle) -> Option<Self> {
        (handle.kind() == H5I_type_t::H5I_DATASET).then_some(Self(handle))
    }

    /// The dataset of a handle, if it is one.
    pub(crate) fn borrow(handle: &Handle) -> Result<Option<Self>> {
        Ok(Self::from_handle(handle.share()?))
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> Result<u64> {
        Ok(self.shape()?.first().copied().unwrap_or(0))
    }

    /// The stored size of its elements in bytes, encoded.
    pub(crate) fn stored_bytes(&self) -> u64 {
        // SAFETY: the handle is a dataset.
        locked(|| unsafe { H5Dget_storage_size(self.0.id()) })
    }

    /// The number of cuts so far.
    pub(crate) fn cut_count(&self) -> Result<u64> {
        let cuts = attributes::read_named(&self.0, CUT_COUNT)?;
        Ok(cuts.and_then(|cuts| cuts.as_u64()).unwrap_or(0))
    }

    /// Counts a cut.
    pub(crate) fn add_cut(&self) -> Result<()> {
        self.set_cut_count(self.cut_count()? + 1)
    }

    /// Sets the number from which cuts are counted.
    pub(crate) fn set_cut_count(&self, count: u64) -> Result<()> {
        attributes::write_number(&self.0, CUT_COUNT, count)
    }

    pub(crate) fn into_handle(self) -> Handle {
        self.0
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0
    }

    fn space(&self) -> Result<Handle> {
        // SAFETY: the handle is a dataset.
        locked(|| Handle::read(unsafe { H5Dget_space(self.0.id()) }, "get a data space"))
    }

    pub(crate) fn shape(&self) -> Result<Vec<u64>> {
        locked(|| Ok(extent(&self.space()?)?.0))
    }

    /// Whether its first axis can grow without bound.
    pub(crate) fn grows(&self) -> Result<bool> {
        let (_, max) = locked(|| extent(&self.space()?))?;
        Ok(max.first() == Some(&None))
    }

    /// Describes the dataset, or fails with what this library does not support.
    pub(crate) fn describe(&self) -> Result<Description> {
        locked(|| {
            // SAFETY: the handle is a dataset; arrays have enough room.
            unsafe {
                let (shape, _) = extent(&self.space()?)?;
                let type_ = StoredType::of(&self.stored_type()?)?;
                let list = H5Dget_create_plist(self.0.id());
                let list = Handle::read(list, "get the layout of a dataset")?;
                let chunk_shape = chunk_shape(&list)?;
                if chunk_shape
                    .as_ref()
                    .is_some_and(|chunk| chunk.len() != shape.len())
                {
                    return Err(failed(ErrorKind::Corrupt, "get the shape of chunks"));
                }
                Ok(Description {
                    shape,
                    chunk_shape,
                    pipeline: pipeline(&list)?,
                    fill_value: fill_value(&list, &type_),
                    type_,
                })
            }
        })
    }

    /// The shape of its chunks and their filters, if it has chunks and this library supports the
    /// filters.
    pub(crate) fn chunks(&self) -> Result<Option<(Vec<u64>, Pipeline)>> {
        // SAFETY: the handle is a dataset.
        locked(|| unsafe {
            let list = H5Dget_create_plist(self.0.id());
            let list = Handle::read(list, "get the layout of a dataset")?;
            Ok(chunk_shape(&list)?.zip(pipeline(&list)?))
        })
    }

    /// Whether it has chunks.
    pub(crate) fn is_chunked(&self) -> Result<bool> {
        // SAFETY: the handle is a dataset.
        locked(|| unsafe {
            let list = H5Dget_create_plist(self.0.id());
            let list = Handle::read(list, "get the layout of a dataset")?;
            Ok(H5Pget_layout(list.id()) == H5D_layout_t::H5D_CHUNKED)
        })
    }

    /// The number of a filter of this dataset that libhdf5 does not have.
    fn missing_filter(&self) -> Result<Option<i32>> {
        // SAFETY: the handle is a dataset, and any number is allowed.
        locked(|| unsafe {
            let list = H5Dget_create_plist(self.0.id());
            let list = Handle::read(list, "get the layout of a dataset")?;
            let filters = filters(&list)?;
            Ok(filters
                .iter()
                .map(|filter| filter.0)
                .find(|&id| H5Zfilter_avail(id) <= 0))
        })
    }

    /// Checks that records can be appended: the first axis can grow, libhdf5 has the filters, and
    /// the type can be written.
    pub(crate) fn check_grows(&self) -> Result<()> {
        let refused = |message: &str| Err(Error::new(ErrorKind::Unsupported, "plan", message));
        if !self.grows()? {
            return refused(
                "the dataset was made with a fixed number of records; record under another key",
            );
        }
        if let Some(id) = self.missing_filter()? {
            return refused(&format!(
                "the HDF5 filter {id} of this dataset is not available"
            ));
        }
        let stored = self.stored_type()?;
        match StoredType::of(&stored)?.is_written(&stored) {
            true => Ok(()),
            false => refused(
                "texts of fixed length and enumerations in the other byte order can be read, but \
                 not appended to",
            ),
        }
    }

    fn stored_type(&self) -> Result<Handle> {
        // SAFETY: the handle is a dataset.
        locked(|| Handle::read(unsafe { H5Dget_type(self.0.id()) }, "get a data type"))
    }

    /// Sets the number of rows.
    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        let mut shape = self.shape()?;
        let Some(rows) = shape.first_mut().filter(|rows| **rows != len) else {
            return Ok(());
        };
        *rows = len;
        locked(|| {
            // SAFETY: `shape` has as many axes as the dataset.
            let status = unsafe { H5Dset_extent(self.0.id(), shape.as_ptr()) };
            write_ok(status, "change the length of a dataset")
        })
    }

    /// Writes the chunk that begins at `origin`, without the filters of libhdf5.
    pub(crate) fn write_chunk(&self, origin: &[u64], bytes: &[u8], mask: u32) -> Result<()> {
        // SAFETY: `origin` has as many axes as the dataset; `bytes` outlives the call.
        locked(|| unsafe {
            let status = H5Dwrite_chunk(
                self.0.id(),
                H5P_DEFAULT,
                mask,
                origin.as_ptr(),
                bytes.len(),
                bytes.as_ptr().cast(),
            );
            write_ok(status, "write a chunk")
        })
    }

    /// Reads the chunk that begins at `origin`, without the filters of libhdf5, to the start of
    /// `buffer`, which grows as needed. Returns its length, and a bit for each filter that was not
    /// applied. `None` if it was never written; between other chunks this is an error unless
    /// `may_be_missing` is set. A chunk has at most `limit` bytes.
    pub(crate) fn read_chunk(
        &self,
        origin: &[u64],
        limit: usize,
        may_be_missing: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<(usize, u32)>> {
        locked(|| {
            let (mut size, mut mask) = (0, 0);
            // SAFETY: `origin` has as many axes as the dataset.
            let status =
                unsafe { H5Dget_chunk_storage_size(self.0.id(), origin.as_ptr(), &raw mut size) };
            match read_ok(status, "look up a chunk") {
                // libhdf5 reports a missing chunk between others as a failure.
                Err(error) if may_be_missing && is_never_written(&error) => return Ok(None),
                looked => looked?,
            }
            if size == 0 {
                return Ok(None);
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if size > limit {
                let message = format!("a chunk has an impossible size, {size} bytes");
                return Err(Error::new(ErrorKind::Corrupt, "read", message));
            }
            let buffer = room(buffer, size)?;
            #[cfg(hdf5_2)]
            let mut room = buffer.len();
            // SAFETY: `origin` has as many axes as the dataset; `buffer` has room for the chunk.
            let status = unsafe {
                H5Dread_chunk(
                    self.0.id(),
                    H5P_DEFAULT,
                    origin.as_ptr(),
                    &raw mut mask,
                    buffer.as_mut_ptr().cast(),
                    #[cfg(hdf5_2)]
                    &raw mut room,
                )
            };
            read_ok(status, "read a chunk")?;
            Ok(Some((size, mask)))
        })
    }

    /// Reads a part with libhdf5, whatever its layout and filters, as elements of the type
    /// `memory`.
    ///
    /// # Safety
    ///
    /// `out` has room for the elements of the region.
    pub(crate) unsafe fn read(
        &self,
        memory: &Handle,
        region: &Region,
        out: *mut std::ffi::c_void,
    ) -> Result<()> {
        locked(|| {
            let spaces = self.spaces(region)?;
            // SAFETY: the spaces select as many elements as `out` has room for.
            let status = unsafe {
                H5Dread(
                    self.0.id(),
                    memory.id(),
                    spaces.memory_id(),
                    spaces.file.id(),
                    H5P_DEFAULT,
                    out,
                )
            };
            read_ok(status, "read a dataset").map_err(|error| match self.missing_filter() {
                Ok(Some(id)) => {
                    let message = format!("the HDF5 filter {id} of this dataset is not available");
                    Error::new(ErrorKind::Unsupported, "read", message).with_source(error)
                }
                _ => error,
            })
        })
    }

    /// Writes a part with libhdf5.
    ///
    /// # Safety
    ///
    /// `elements` contains the elements of the region, of the type `memory`.
    pub(crate) unsafe fn write(
        &self,
        memory: &Handle,
        region: &Region,
        elements: *const std::ffi::c_void,
    ) -> Result<()> {
        locked(|| {
            let spaces = self.spaces(region)?;
            // SAFETY: the spaces select as many elements as exist.
            let status = unsafe {
                H5Dwrite(
                    self.0.id(),
                    memory.id(),
                    spaces.memory_id(),
                    spaces.file.id(),
                    H5P_DEFAULT,
                    elements,
                )
            };
            write_ok(status, "write a dataset")
        })
    }

    fn spaces(&self, region: &Region) -> Result<Spaces> {
        let file = self.space()?;
        if region.axes().is_empty() {
            return Ok(Spaces { file, memory: None });
        }
        if region.is_empty() {
            // SAFETY: the space is ours.
            let status = unsafe { H5Sselect_none(file.id()) };
            read_ok(status, "select nothing")?;
        } else {
            select(&file, region.axes())?;
        }
        let memory = Some(simple_space(&region.shape(), None)?);
        Ok(Spaces { file, memory })
    }
}

/// Whether libhdf5 failed because a chunk was never written.
fn is_never_written(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.is_some_and(|cause| cause.to_string().contains("chunk storage is not allocated"))
}

/// The elements of a dataset to transfer to or from memory.
pub(crate) struct Spaces {
    file: Handle,
    memory: Option<Handle>,
}

impl Spaces {
    fn memory_id(&self) -> hid_t {
        self.memory.as_ref().map_or(H5S_ALL, Handle::id)
    }
}

/// Rows of a dataset as a region: only the first axis matters.
pub(crate) fn rows(range: std::ops::Range<u64>) -> Region {
    Region::new(vec![AxisRange::contiguous(range)])
}

/// The shape of the chunks of a dataset, if it has chunks.
fn chunk_shape(list: &Handle) -> Result<Option<Vec<u64>>> {
    let mut chunk = vec![0; MAX_AXES];
    // SAFETY: the list is open; `chunk` has room for the given number of elements.
    let axes = unsafe {
        if H5Pget_layout(list.id()) != H5D_layout_t::H5D_CHUNKED {
            return Ok(None);
        }
        H5Pget_chunk(list.id(), MAX_AXES as i32, chunk.as_mut_ptr())
    };
    chunk.truncate(usize::try_from(axes).unwrap_or(0));
    if chunk.is_empty() || chunk.contains(&0) {
        return Err(failed(ErrorKind::Corrupt, "get the shape of chunks"));
    }
    Ok(Some(chunk))
}

/// The filters of a dataset: the number of each, and its first parameter.
fn filters(list: &Handle) -> Result<Vec<(i32, Option<u32>)>> {
    // SAFETY: the list is ours; `values` has room for the given number of elements.
    unsafe {
        let count = u32::try_from(H5Pget_nfilters(list.id()))
            .map_err(|_| failed(ErrorKind::Corrupt, "get the filters of a dataset"))?;
        let filter = |index| {
            let (mut flags, mut config) = (0, 0);
            let (mut length, mut values) = (8, [0_u32; 8]);
            let id = H5Pget_filter2(
                list.id(),
                index,
                &raw mut flags,
                &raw mut length,
                values.as_mut_ptr(),
                0,
                std::ptr::null_mut(),
                &raw mut config,
            );
            (id, (length > 0).then_some(values[0]))
        };
        Ok((0..count).map(filter).collect())
    }
}

/// The filters of a dataset, or `None` if this library does not support one of them.
fn pipeline(list: &Handle) -> Result<Option<Pipeline>> {
    let known = |(id, value): (i32, Option<u32>)| match (id, value) {
        (DEFLATE, level) => Some(Filter::Deflate {
            level: level.unwrap_or_default(),
        }),
        (SHUFFLE, Some(size)) => Some(Filter::Shuffle {
            size: size as usize,
        }),
        (FLETCHER32, _) => Some(Filter::Fletcher32),
        _ => None,
    };
    let filters = filters(list)?.into_iter().map(known);
    Ok(filters.collect::<Option<_>>().map(Pipeline))
}

fn fill_value(list: &Handle, type_: &StoredType) -> Option<Vec<u8>> {
    let StoredType::Elements { dtype, memory, .. } = type_ else {
        return None;
    };
    let mut value = vec![0; dtype.size()];
    let mut defined = H5D_fill_value_t::H5D_FILL_VALUE_ERROR;
    // SAFETY: the list is ours, and `value` has room for an element.
    let status = unsafe {
        H5Pfill_value_defined(list.id(), &raw mut defined);
        match defined {
            H5D_fill_value_t::H5D_FILL_VALUE_USER_DEFINED => {
                H5Pget_fill_value(list.id(), memory.id(), value.as_mut_ptr().cast())
            }
            _ => -1,
        }
    };
    (status >= 0).then_some(value)
}
