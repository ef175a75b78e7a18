//! The file driver: the functions that libhdf5 calls, and the calls that make libhdf5 use it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hdf5_metno::h5check;
use hdf5_metno_sys::h5::{HADDR_UNDEF, haddr_t, hbool_t, herr_t};
use hdf5_metno_sys::h5ac::H5AC_cache_config_t;
use hdf5_metno_sys::h5f::{
    H5F_ACC_RDONLY, H5F_ACC_RDWR, H5F_close_degree_t, H5F_libver_t, H5F_mem_t, H5Fopen,
};
use hdf5_metno_sys::h5fd::{
    H5FD_FEAT_ACCUMULATE_METADATA, H5FD_FEAT_AGGREGATE_METADATA, H5FD_FEAT_AGGREGATE_SMALLDATA,
    H5FD_FEAT_DATA_SIEVE, H5FD_FEAT_DEFAULT_VFD_COMPATIBLE, H5FDregister,
};
use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5p::{
    H5P_CLS_FILE_ACCESS, H5Pclose, H5Pcreate, H5Pget_driver_info, H5Pget_mdc_config, H5Pset_driver,
    H5Pset_fclose_degree, H5Pset_libver_bounds, H5Pset_mdc_config, H5Pset_meta_block_size,
};
use simrecorder_core::{Error, ErrorKind, Result};

use super::class::{Class, PublicFields};
use super::logged_file::LoggedFile;
use crate::library::locked;

const SUCCESS: herr_t = 0;
const FAILURE: herr_t = -1;
/// The longest file: the system's offsets are signed.
const MAX_ADDRESS: haddr_t = i64::MAX as haddr_t - (1 << 16);
/// The amount of metadata that libhdf5 keeps in memory, as its size in the file. Decoded headers take about 25 times as
/// much.
const METADATA_CACHE: usize = 512 << 10;
/// The space that libhdf5 allocates for metadata at once, so that metadata is not scattered between
/// chunks. With a thousand series, commits of all of them took a quarter less of the journal than
/// with the default of 2 KiB, and commits of few of them a tenth more.
const METADATA_BLOCK: u64 = 16 << 10;

/// A file as libhdf5 sees it.
#[repr(C)]
struct DriverFile {
    public: PublicFields,
    log: Arc<LoggedFile>,
    /// The end of allocation that libhdf5 last set or received.
    eoa: AtomicU64,
}

/// Opens a file with libhdf5: for writing if a writer opened it, otherwise for reading.
///
/// The caller closes it with `H5Fclose`. Until then, it cannot be opened again.
pub(crate) fn open_hdf5(log: &Arc<LoggedFile>) -> Result<hid_t> {
    log.check_detached("open")?;
    let before = log.eoa();
    open(log).inspect_err(|_| log.set_eoa(before))
}

fn open(log: &Arc<LoggedFile>) -> Result<hid_t> {
    let failed = |error: hdf5_metno::Error| {
        let message = "libhdf5 cannot open the file";
        let cause = log.take_error();
        let kind = cause.as_ref().map_or(ErrorKind::Corrupt, Error::kind);
        let source: Box<dyn std::error::Error + Send + Sync> = match cause {
            Some(cause) => Box::new(cause),
            None => Box::new(error),
        };
        Error::new(kind, "open", message)
            .with_key(log.path().display().to_string())
            .with_source(source)
    };
    locked(|| {
        let driver = register().map_err(failed)?;
        // SAFETY: creates a property list, which the guard closes.
        let list = h5check(unsafe { H5Pcreate(*H5P_CLS_FILE_ACCESS) }).map_err(failed)?;
        let list = PropertyList(list);
        set_properties(list.0, driver, log).map_err(failed)?;
        let name = file_name(log)?;
        let flags = if log.is_writer() {
            H5F_ACC_RDWR
        } else {
            H5F_ACC_RDONLY
        };
        // SAFETY: the name ends with NUL, the list is open, and the library is locked.
        h5check(unsafe { H5Fopen(name.as_ptr(), flags, list.0) }).map_err(failed)
    })
}

fn file_name(log: &LoggedFile) -> Result<CString> {
    CString::new(log.path().as_os_str().as_bytes()).map_err(|error| {
        Error::new(
            ErrorKind::InvalidArgument,
            "open",
            "the path contains a NUL",
        )
        .with_source(error)
    })
}

/// A property list that is closed when dropped.
struct PropertyList(hid_t);

impl Drop for PropertyList {
    fn drop(&mut self) {
        // SAFETY: the list is open, and it is dropped with the library locked.
        unsafe { H5Pclose(self.0) };
    }
}

fn set_properties(list: hid_t, driver: hid_t, log: &Arc<LoggedFile>) -> hdf5_metno::Result<()> {
    let mut cache = H5AC_cache_config_t {
        version: 1,
        ..H5AC_cache_config_t::default()
    };
    let info: *const Arc<LoggedFile> = log;
    // SAFETY: the list is open, the driver is registered, and libhdf5 copies the data behind the
    // pointers, the driver's information with `copy_info`.
    unsafe {
        h5check(H5Pset_driver(list, driver, info.cast()))?;
        h5check(H5Pset_meta_block_size(list, METADATA_BLOCK))?;
        h5check(H5Pset_fclose_degree(
            list,
            H5F_close_degree_t::H5F_CLOSE_STRONG,
        ))?;
        h5check(H5Pset_libver_bounds(
            list,
            H5F_libver_t::H5F_LIBVER_V18,
            H5F_libver_t::H5F_LIBVER_V110,
        ))?;
        h5check(H5Pget_mdc_config(list, &raw mut cache))?;
        cache.max_size = METADATA_CACHE;
        cache.initial_size = cache.initial_size.min(METADATA_CACHE);
        cache.min_size = cache.min_size.min(METADATA_CACHE);
        h5check(H5Pset_mdc_config(list, &raw const cache))?;
    }
    Ok(())
}

/// Registers the driver with libhdf5, once. The library must be locked.
fn register() -> hdf5_metno::Result<hid_t> {
    static DRIVER: OnceLock<hid_t> = OnceLock::new();
    if let Some(&driver) = DRIVER.get() {
        return Ok(driver);
    }
    let class = class();
    // SAFETY: the table has the form that this version of libhdf5 expects and is not shorter; the
    // library copies it. The name is static.
    let driver = h5check(unsafe { H5FDregister((&raw const class).cast()) })?;
    Ok(*DRIVER.get_or_init(|| driver))
}

fn class() -> Class {
    Class {
        #[cfg(hdf5_1_14)]
        version: 1,
        // The last of the numbers that are free for any use.
        #[cfg(hdf5_1_14)]
        value: 511,
        name: c"simrecorder".as_ptr(),
        maxaddr: MAX_ADDRESS,
        fc_degree: H5F_close_degree_t::H5F_CLOSE_STRONG,
        terminate: None,
        sb_size: None,
        sb_encode: None,
        sb_decode: None,
        fapl_size: size_of::<Arc<LoggedFile>>(),
        fapl_get: None,
        fapl_copy: Some(copy_info),
        fapl_free: Some(free_info),
        dxpl_size: 0,
        dxpl_copy: None,
        dxpl_free: None,
        open: Some(open_file),
        close: Some(close_file),
        cmp: Some(compare),
        query: Some(query),
        get_type_map: Some(type_map),
        alloc: None,
        free: None,
        get_eoa: Some(get_eoa),
        set_eoa: Some(set_eoa),
        get_eof: Some(get_eof),
        get_handle: None,
        read: Some(read),
        write: Some(write),
        #[cfg(hdf5_1_14)]
        vectors_and_selections: [None; 4],
        flush: None,
        truncate: Some(truncate),
        lock: None,
        unlock: None,
        version_dependent: [0; 8],
    }
}

/// Runs the body of a function that libhdf5 calls: a panic must not reach C.
fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// The file of a pointer that libhdf5 passes back.
///
/// # Safety
///
/// The pointer comes from `open_file`, and `close_file` has not been called with it.
unsafe fn driver_file<'a>(file: *const c_void) -> &'a DriverFile {
    // SAFETY: as the caller promises, this is a `DriverFile` that is alive.
    unsafe { &*file.cast::<DriverFile>() }
}

/// The file, for a function that must not touch it in a forked child: `None` there. In a child,
/// libhdf5 still has the files of the parent open, and writes and closes them when the child ends.
///
/// # Safety
///
/// As for [`driver_file`].
unsafe fn log<'a>(file: *const c_void) -> Option<&'a Arc<LoggedFile>> {
    // SAFETY: as the caller promises.
    let log = unsafe { &driver_file(file).log };
    (!log.is_inherited()).then_some(log)
}

unsafe extern "C" fn copy_info(info: *const c_void) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: the information of this driver is always an `Arc<LoggedFile>`.
        let log = unsafe { &*info.cast::<Arc<LoggedFile>>() };
        Box::into_raw(Box::new(Arc::clone(log))).cast()
    })
}

unsafe extern "C" fn free_info(info: *mut c_void) -> herr_t {
    guard(FAILURE, || {
        // SAFETY: libhdf5 frees the result of `copy_info` once.
        drop(unsafe { Box::from_raw(info.cast::<Arc<LoggedFile>>()) });
        SUCCESS
    })
}

unsafe extern "C" fn open_file(
    name: *const c_char,
    _flags: c_uint,
    list: hid_t,
    _max_address: haddr_t,
) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: the list is open; its information, if any, was made by `copy_info`.
        let info = unsafe { H5Pget_driver_info(list) };
        if info.is_null() || name.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: as above.
        let log = unsafe { &*info.cast::<Arc<LoggedFile>>() };
        // SAFETY: libhdf5 passes the name as a C string.
        let name = unsafe { CStr::from_ptr(name) };
        // If a file has links to other files, libhdf5 opens those with the same driver.
        if name.to_bytes() != log.path().as_os_str().as_bytes() || !log.attach() {
            return ptr::null_mut();
        }
        let file = DriverFile {
            public: PublicFields::new(),
            log: Arc::clone(log),
            eoa: AtomicU64::new(0),
        };
        Box::into_raw(Box::new(file)).cast()
    })
}

unsafe extern "C" fn close_file(file: *mut c_void) -> herr_t {
    guard(FAILURE, || {
        // SAFETY: libhdf5 closes the result of `open_file` once.
        let file = unsafe { Box::from_raw(file.cast::<DriverFile>()) };
        file.log.detach();
        SUCCESS
    })
}

unsafe extern "C" fn compare(one: *const c_void, other: *const c_void) -> c_int {
    // SAFETY: libhdf5 compares files that are open with this driver.
    let (one, other) = unsafe { (&driver_file(one).log, &driver_file(other).log) };
    let (one, other) = (Arc::as_ptr(one), Arc::as_ptr(other));
    one.cmp(&other) as c_int
}

unsafe extern "C" fn query(_file: *const c_void, flags: *mut c_ulong) -> herr_t {
    let features = H5FD_FEAT_AGGREGATE_METADATA
        | H5FD_FEAT_ACCUMULATE_METADATA
        | H5FD_FEAT_DATA_SIEVE
        | H5FD_FEAT_AGGREGATE_SMALLDATA
        | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    if !flags.is_null() {
        // SAFETY: libhdf5 passes a valid pointer for the answer.
        unsafe { *flags = c_ulong::from(features) };
    }
    SUCCESS
}

/// Free space of metadata is used for metadata, that of raw data for raw data.
unsafe extern "C" fn type_map(_file: *const c_void, map: *mut H5F_mem_t) -> herr_t {
    use H5F_mem_t::{H5FD_MEM_DRAW as RAW, H5FD_MEM_SUPER as METADATA};
    let types = [METADATA, METADATA, METADATA, RAW, RAW, METADATA, METADATA];
    // SAFETY: libhdf5 passes room for one entry per type of memory; it has seven types.
    unsafe { ptr::copy_nonoverlapping(types.as_ptr(), map, types.len()) };
    SUCCESS
}

unsafe extern "C" fn get_eoa(file: *const c_void, _type: H5F_mem_t) -> haddr_t {
    guard(HADDR_UNDEF, || {
        // SAFETY: libhdf5 passes an open file.
        let (last, log) = unsafe { (&driver_file(file).eoa, log(file)) };
        let Some(log) = log else {
            return last.load(Ordering::Relaxed);
        };
        let eoa = log.eoa();
        last.store(eoa, Ordering::Relaxed);
        eoa
    })
}

unsafe extern "C" fn set_eoa(file: *mut c_void, _type: H5F_mem_t, address: haddr_t) -> herr_t {
    guard(FAILURE, || {
        if address > MAX_ADDRESS {
            return FAILURE;
        }
        // SAFETY: libhdf5 passes an open file.
        let (last, log) = unsafe { (&driver_file(file).eoa, log(file)) };
        last.store(address, Ordering::Relaxed);
        if let Some(log) = log {
            log.set_eoa(address);
        }
        SUCCESS
    })
}

unsafe extern "C" fn get_eof(file: *const c_void, _type: H5F_mem_t) -> haddr_t {
    guard(HADDR_UNDEF, || {
        // SAFETY: libhdf5 passes an open file.
        let (last, log) = unsafe { (&driver_file(file).eoa, log(file)) };
        log.map_or_else(|| last.load(Ordering::Relaxed), |log| log.length())
    })
}

fn status(result: Result<()>, log: &LoggedFile) -> herr_t {
    match result {
        Ok(()) => SUCCESS,
        Err(error) => {
            log.keep_error(error);
            FAILURE
        }
    }
}

/// Like `status`, but does not report a failure to libhdf5: the commit reports it, and then
/// everything since the previous commit is discarded. libhdf5 1.10 cannot close a file after a
/// failed flush.
fn changed(result: Result<()>, log: &LoggedFile) -> herr_t {
    let status = status(result, log);
    if log.is_writer() { SUCCESS } else { status }
}

unsafe extern "C" fn read(
    file: *mut c_void,
    _type: H5F_mem_t,
    _transfer: hid_t,
    address: haddr_t,
    size: usize,
    buffer: *mut c_void,
) -> herr_t {
    guard(FAILURE, || {
        if size == 0 {
            return SUCCESS;
        }
        // SAFETY: libhdf5 passes an open file, and room for `size` bytes, which may be
        // uninitialised: they are initialised before anything reads them.
        let (log, buffer) = unsafe {
            ptr::write_bytes(buffer.cast::<u8>(), 0, size);
            (
                log(file),
                std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size),
            )
        };
        let Some(log) = log else { return FAILURE };
        status(log.read_at(address, buffer), log)
    })
}

unsafe extern "C" fn write(
    file: *mut c_void,
    _type: H5F_mem_t,
    _transfer: hid_t,
    address: haddr_t,
    size: usize,
    buffer: *const c_void,
) -> herr_t {
    guard(FAILURE, || {
        if size == 0 {
            return SUCCESS;
        }
        // SAFETY: libhdf5 passes an open file, and `size` bytes.
        let (log, bytes) = unsafe {
            (
                log(file),
                std::slice::from_raw_parts(buffer.cast::<u8>(), size),
            )
        };
        let Some(log) = log else { return SUCCESS };
        changed(log.write_at(address, bytes), log)
    })
}

unsafe extern "C" fn truncate(file: *mut c_void, _transfer: hid_t, _closing: hbool_t) -> herr_t {
    guard(FAILURE, || {
        // SAFETY: libhdf5 passes an open file.
        let Some(log) = (unsafe { log(file) }) else {
            return SUCCESS;
        };
        changed(log.extend(), log)
    })
}
