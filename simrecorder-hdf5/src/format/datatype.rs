//! Element types and the corresponding HDF5 types.

use std::sync::Arc;

use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5t::{
    H5T_C_S1, H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_I8LE, H5T_STD_I16LE, H5T_STD_I32LE,
    H5T_STD_I64LE, H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE, H5T_VARIABLE,
    H5T_class_t, H5T_cset_t, H5T_order_t, H5T_str_t, H5Tcopy, H5Tcreate, H5Tenum_create,
    H5Tenum_insert, H5Tequal, H5Tget_class, H5Tget_cset, H5Tget_size, H5Tget_strpad, H5Tget_super,
    H5Tinsert, H5Tis_variable_str, H5Tset_cset, H5Tset_ebias, H5Tset_fields, H5Tset_order,
    H5Tset_precision, H5Tset_size, H5Tset_strpad, H5Tvlen_create,
};
use simrecorder_core::{DType, Error, ErrorKind, Result};

use crate::library::{Handle, locked, read_ok, write_ok};

const MAKE: &str = "create a data type";

/// A copy of one of the library's own types.
fn copy(id: hid_t) -> Result<Handle> {
    // SAFETY: the identifier is a type of the library or of a handle.
    locked(|| Handle::write(unsafe { H5Tcopy(id) }, MAKE))
}

/// A float of 16 bits with an exponent of `exponent` bits, in little-endian order.
fn half(exponent: usize) -> Result<Handle> {
    let mantissa = 15 - exponent;
    locked(|| {
        let half = copy(*H5T_IEEE_F32LE)?;
        let bias = (1 << (exponent - 1)) - 1;
        // SAFETY: the type is ours.
        unsafe {
            write_ok(
                H5Tset_fields(half.id(), 15, mantissa, exponent, 0, mantissa),
                MAKE,
            )?;
            write_ok(H5Tset_precision(half.id(), 16), MAKE)?;
            write_ok(H5Tset_size(half.id(), 2), MAKE)?;
            write_ok(H5Tset_ebias(half.id(), bias), MAKE)?;
        }
        Ok(half)
    })
}

/// `bool` as in h5py: an enumeration of FALSE and TRUE.
fn boolean() -> Result<Handle> {
    locked(|| {
        // SAFETY: names end with a NUL, values are bytes like the base type, and both outlive the
        // calls.
        unsafe {
            let boolean = Handle::write(H5Tenum_create(*H5T_STD_I8LE), MAKE)?;
            for (name, value) in [(c"FALSE", 0_i8), (c"TRUE", 1)] {
                let value = (&raw const value).cast();
                write_ok(H5Tenum_insert(boolean.id(), name.as_ptr(), value), MAKE)?;
            }
            Ok(boolean)
        }
    })
}

/// Complex numbers as in h5py: a compound of `r` and `i`.
fn complex(part: hid_t, part_size: usize) -> Result<Handle> {
    locked(|| {
        // SAFETY: names end with a NUL and outlive the calls.
        unsafe {
            let id = H5Tcreate(H5T_class_t::H5T_COMPOUND, 2 * part_size);
            let complex = Handle::write(id, MAKE)?;
            write_ok(H5Tinsert(complex.id(), c"r".as_ptr(), 0, part), MAKE)?;
            write_ok(
                H5Tinsert(complex.id(), c"i".as_ptr(), part_size, part),
                MAKE,
            )?;
            Ok(complex)
        }
    })
}

/// The type of elements in a file, which is also their type in memory.
pub(crate) fn element_type(dtype: DType) -> Result<Handle> {
    // libhdf5 initialises its types in its first call.
    locked(|| match dtype {
        DType::Bool => boolean(),
        DType::I8 => copy(*H5T_STD_I8LE),
        DType::I16 => copy(*H5T_STD_I16LE),
        DType::I32 => copy(*H5T_STD_I32LE),
        DType::I64 => copy(*H5T_STD_I64LE),
        DType::U8 => copy(*H5T_STD_U8LE),
        DType::U16 => copy(*H5T_STD_U16LE),
        DType::U32 => copy(*H5T_STD_U32LE),
        DType::U64 => copy(*H5T_STD_U64LE),
        DType::F16 => half(5),
        DType::BF16 => half(8),
        DType::F32 => copy(*H5T_IEEE_F32LE),
        DType::F64 => copy(*H5T_IEEE_F64LE),
        DType::Complex64 => complex(*H5T_IEEE_F32LE, 4),
        DType::Complex128 => complex(*H5T_IEEE_F64LE, 8),
        _ => {
            let message = format!("HDF5 recordings do not support {dtype}");
            Err(Error::new(ErrorKind::Unsupported, "plan", message))
        }
    })
}

/// UTF-8 text of any length, or of `size` bytes.
pub(crate) fn text_type(size: Option<usize>) -> Result<Handle> {
    locked(|| {
        let text = copy(*H5T_C_S1)?;
        // SAFETY: the type is ours.
        unsafe {
            write_ok(H5Tset_size(text.id(), size.unwrap_or(H5T_VARIABLE)), MAKE)?;
            if size.is_some() {
                write_ok(H5Tset_strpad(text.id(), H5T_str_t::H5T_STR_NULLPAD), MAKE)?;
            }
            write_ok(H5Tset_cset(text.id(), H5T_cset_t::H5T_CSET_UTF8), MAKE)?;
        }
        Ok(text)
    })
}

/// ASCII text of `size` bytes, the last of which is NUL.
pub(crate) fn mark_type(size: usize) -> Result<Handle> {
    locked(|| {
        let text = copy(*H5T_C_S1)?;
        // SAFETY: the type is ours.
        write_ok(unsafe { H5Tset_size(text.id(), size) }, MAKE)?;
        Ok(text)
    })
}

/// Bytes of any length.
pub(crate) fn bytes_type() -> Result<Handle> {
    // SAFETY: no pointers.
    locked(|| Handle::write(unsafe { H5Tvlen_create(*H5T_STD_U8LE) }, MAKE))
}

/// The elements of an array in a file.
#[derive(Clone, Debug)]
pub(crate) enum StoredType {
    /// Numbers.
    Elements {
        dtype: DType,
        /// Whether they are stored in the file as they are in memory.
        as_in_memory: bool,
        /// The type in which libhdf5 reads them.
        memory: Arc<Handle>,
    },
    /// Text of any length, with its type in the file.
    Text(Arc<Handle>),
    /// Text of a fixed number of bytes, padded at its end.
    FixedText {
        size: usize,
        padding: u8,
        memory: Arc<Handle>,
    },
    /// Bytes of any length.
    Bytes,
}

impl StoredType {
    /// Whether libhdf5 converts written elements. HDF5 cannot convert numbers to enumerations.
    pub(crate) fn is_written(&self, stored: &Handle) -> bool {
        let is_enum = |type_: &Handle| {
            // SAFETY: the handle is a type.
            locked(|| unsafe { H5Tget_class(type_.id()) == H5T_class_t::H5T_ENUM })
        };
        match self {
            Self::Elements { memory, .. } => is_enum(stored) == is_enum(memory),
            Self::Text(_) | Self::Bytes => true,
            Self::FixedText { .. } => false,
        }
    }

    pub(crate) fn of(stored: &Handle) -> Result<Self> {
        locked(|| {
            // SAFETY: the handle is a type.
            match unsafe { H5Tget_class(stored.id()) } {
                H5T_class_t::H5T_STRING => text(stored),
                H5T_class_t::H5T_VLEN if equal(stored, &bytes_type()?) => Ok(Self::Bytes),
                H5T_class_t::H5T_ENUM => enumeration(stored),
                _ => elements(stored)?.ok_or_else(|| unknown("HDF5 data type")),
            }
        })
    }
}

fn unknown(what: &str) -> Error {
    let message = format!(
        "this {what} is not supported; numbers, booleans, complex numbers, text and bytes can be read"
    );
    Error::new(ErrorKind::Unsupported, "read", message)
}

fn equal(a: &Handle, b: &Handle) -> bool {
    // SAFETY: both are types.
    locked(|| unsafe { H5Tequal(a.id(), b.id()) > 0 })
}

/// Numbers whose type is one of ours, in either byte order.
fn elements(stored: &Handle) -> Result<Option<StoredType>> {
    for dtype in DType::ALL {
        let ours = element_type(dtype)?;
        let as_in_memory = equal(stored, &ours);
        if as_in_memory || equal(stored, &big_endian(dtype, &ours)?) {
            let memory = Arc::new(ours);
            return Ok(Some(StoredType::Elements {
                dtype,
                as_in_memory,
                memory,
            }));
        }
    }
    Ok(None)
}

/// The type of the same numbers in the other byte order.
fn big_endian(dtype: DType, ours: &Handle) -> Result<Handle> {
    let reversed = |type_: Handle| {
        // SAFETY: the type is ours.
        let status = unsafe { H5Tset_order(type_.id(), H5T_order_t::H5T_ORDER_BE) };
        write_ok(status, MAKE).map(|()| type_)
    };
    locked(|| match dtype {
        DType::Complex64 => complex(reversed(copy(*H5T_IEEE_F32LE)?)?.id(), 4),
        DType::Complex128 => complex(reversed(copy(*H5T_IEEE_F64LE)?)?.id(), 8),
        // A byte has no order, and the order of an enumeration cannot be set once it has members.
        DType::Bool => copy(ours.id()),
        _ => reversed(copy(ours.id())?),
    })
}

/// An enumeration is a `bool` if it is h5py's, otherwise the numbers of its names.
fn enumeration(stored: &Handle) -> Result<StoredType> {
    let boolean = boolean()?;
    if equal(stored, &boolean) {
        return Ok(StoredType::Elements {
            dtype: DType::Bool,
            as_in_memory: true,
            memory: Arc::new(boolean),
        });
    }
    // SAFETY: the handle is an enumeration.
    let base = Handle::read(unsafe { H5Tget_super(stored.id()) }, "get a data type")?;
    let Some(StoredType::Elements {
        dtype,
        as_in_memory,
        ..
    }) = elements(&base)?
    else {
        return Err(unknown("HDF5 enumeration"));
    };
    let memory = match as_in_memory {
        // Nothing is converted, because a conversion would not preserve numbers without a name.
        true => stored.share()?,
        false => element_type(dtype)?,
    };
    Ok(StoredType::Elements {
        dtype,
        as_in_memory,
        memory: Arc::new(memory),
    })
}

fn text(stored: &Handle) -> Result<StoredType> {
    // SAFETY: the handle is a string type.
    unsafe {
        if H5Tis_variable_str(stored.id()) > 0 {
            let memory = copy(*H5T_C_S1)?;
            write_ok(H5Tset_size(memory.id(), H5T_VARIABLE), MAKE)?;
            write_ok(H5Tset_cset(memory.id(), H5Tget_cset(stored.id())), MAKE)?;
            return Ok(StoredType::Text(Arc::new(memory)));
        }
        let size = H5Tget_size(stored.id());
        read_ok(if size == 0 { -1 } else { 0 }, "get the size of a text")?;
        let padding = match H5Tget_strpad(stored.id()) {
            H5T_str_t::H5T_STR_SPACEPAD => b' ',
            _ => 0,
        };
        let memory = Arc::new(copy(stored.id())?);
        Ok(StoredType::FixedText {
            size,
            padding,
            memory,
        })
    }
}
