//! The part of the library that the Python programs of tests need, for `ctypes`.
//!
//! A function that fails returns -1 or null, and writes its error, cut to 255 bytes, to `error`.

#![allow(clippy::missing_safety_doc, missing_docs, reason = "for tests")]

use std::ffi::{CStr, c_char};
use std::ptr;

use simrecorder::{Error, ErrorKind, Recorder, Result, append, create, open};

/// # Safety
/// `text` ends with a NUL and outlives the result.
unsafe fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or_default()
}

/// # Safety
/// There is room for 256 bytes at `error`.
unsafe fn returned<T>(result: Result<T>, failure: T, error: *mut c_char) -> T {
    result.unwrap_or_else(|failed| {
        let mut bytes = failed.to_string().into_bytes();
        bytes.truncate(255);
        bytes.push(0);
        // SAFETY: as the caller promises.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), error.cast(), bytes.len()) };
        failure
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_open(
    mode: *const c_char,
    url: *const c_char,
    error: *mut c_char,
) -> *mut Recorder {
    // SAFETY: the caller passes texts, and room for an error.
    unsafe {
        let opened = match text(mode) {
            "create" => create(text(url)),
            "append" => append(text(url)),
            _ => open(text(url)),
        };
        let made = opened.map(|store| Box::into_raw(Box::new(Recorder::new(store))));
        returned(made, ptr::null_mut(), error)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_record(
    recorder: *const Recorder,
    key: *const c_char,
    value: f64,
    error: *mut c_char,
) -> i64 {
    // SAFETY: the caller passes an open recorder, a text, and room for an error.
    unsafe { returned((*recorder).record(text(key), value).map(|()| 0), -1, error) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_flush(recorder: *const Recorder, error: *mut c_char) -> i64 {
    // SAFETY: as above.
    unsafe { returned((*recorder).flush().map(|()| 0), -1, error) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_close(recorder: *const Recorder, error: *mut c_char) -> i64 {
    // SAFETY: as above.
    unsafe { returned((*recorder).close().map(|()| 0), -1, error) }
}

/// Reads a series whose records are their indices, and returns the number of records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_check(
    recorder: *const Recorder,
    key: *const c_char,
    error: *mut c_char,
) -> i64 {
    let read = |recorder: &Recorder, key: &str| {
        let numbers = recorder.get_all(key)?.read::<f64>()?;
        let expected = (0..numbers.len()).map(|index| index as f64);
        match numbers.iter().copied().eq(expected) {
            true => Ok(numbers.len() as i64),
            false => Err(Error::new(ErrorKind::Corrupt, "check", "a record is wrong")),
        }
    };
    // SAFETY: as above.
    unsafe { returned(read(&*recorder, text(key)), -1, error) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn recorder_free(recorder: *mut Recorder) {
    // SAFETY: the caller passes what `recorder_open` returned, once.
    drop(unsafe { Box::from_raw(recorder) });
}
