//! The table of functions through which libhdf5 calls a file driver.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

use hdf5_metno_sys::h5::{haddr_t, hbool_t, herr_t};
use hdf5_metno_sys::h5f::{H5F_close_degree_t, H5F_mem_t};
use hdf5_metno_sys::h5i::hid_t;

/// A file that a driver opened.
///
/// libhdf5 stores its own fields at the start. No version has more than eleven words of them.
#[repr(C)]
#[derive(Debug)]
pub(super) struct PublicFields([u64; 16]);

impl PublicFields {
    pub(super) fn new() -> Self {
        Self([0; 16])
    }
}

/// `H5FD_class_t` of libhdf5 1.10 to 2.x. The definition in hdf5-metno-sys lacks fields.
#[repr(C)]
pub(super) struct Class {
    #[cfg(hdf5_1_14)]
    pub(super) version: c_uint,
    #[cfg(hdf5_1_14)]
    pub(super) value: c_int,
    pub(super) name: *const c_char,
    pub(super) maxaddr: haddr_t,
    pub(super) fc_degree: H5F_close_degree_t,
    pub(super) terminate: Unused,
    pub(super) sb_size: Unused,
    pub(super) sb_encode: Unused,
    pub(super) sb_decode: Unused,
    pub(super) fapl_size: usize,
    pub(super) fapl_get: Unused,
    pub(super) fapl_copy: Option<unsafe extern "C" fn(*const c_void) -> *mut c_void>,
    pub(super) fapl_free: Option<unsafe extern "C" fn(*mut c_void) -> herr_t>,
    pub(super) dxpl_size: usize,
    pub(super) dxpl_copy: Unused,
    pub(super) dxpl_free: Unused,
    pub(super) open: Option<Open>,
    pub(super) close: Option<unsafe extern "C" fn(*mut c_void) -> herr_t>,
    pub(super) cmp: Option<unsafe extern "C" fn(*const c_void, *const c_void) -> c_int>,
    pub(super) query: Option<unsafe extern "C" fn(*const c_void, *mut c_ulong) -> herr_t>,
    pub(super) get_type_map: Option<unsafe extern "C" fn(*const c_void, *mut H5F_mem_t) -> herr_t>,
    pub(super) alloc: Unused,
    pub(super) free: Unused,
    pub(super) get_eoa: Option<unsafe extern "C" fn(*const c_void, H5F_mem_t) -> haddr_t>,
    pub(super) set_eoa: Option<unsafe extern "C" fn(*mut c_void, H5F_mem_t, haddr_t) -> herr_t>,
    pub(super) get_eof: Option<unsafe extern "C" fn(*const c_void, H5F_mem_t) -> haddr_t>,
    pub(super) get_handle: Unused,
    pub(super) read: Option<Read>,
    pub(super) write: Option<Write>,
    #[cfg(hdf5_1_14)]
    pub(super) vectors_and_selections: [Unused; 4],
    pub(super) flush: Unused,
    pub(super) truncate: Option<unsafe extern "C" fn(*mut c_void, hid_t, hbool_t) -> herr_t>,
    pub(super) lock: Unused,
    pub(super) unlock: Unused,
    /// Further fields, which depend on the version: functions, and the map of free lists, which
    /// `get_type_map` replaces. Zero is valid for all of them.
    pub(super) version_dependent: [u64; 8],
}

/// A function that this driver does not have.
pub(super) type Unused = Option<unsafe extern "C" fn()>;

type Open = unsafe extern "C" fn(*const c_char, c_uint, hid_t, haddr_t) -> *mut c_void;
type Read =
    unsafe extern "C" fn(*mut c_void, H5F_mem_t, hid_t, haddr_t, usize, *mut c_void) -> herr_t;
type Write =
    unsafe extern "C" fn(*mut c_void, H5F_mem_t, hid_t, haddr_t, usize, *const c_void) -> herr_t;
