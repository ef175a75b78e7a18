//! Arrays as NumPy files.

use std::io::{Seek, Write};

use simrecorder::{ArrayView, DType, Error, ErrorKind, Kind, View};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::failed;
use crate::blocks::for_each_block;
use crate::interrupt::Interrupt;

/// The length of a file's header is a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes one array.
pub(super) fn write_npy(
    views: &[View],
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> Result<(), Error> {
    match views {
        [view] => write_array(view, interrupt, out),
        _ => {
            let message = format!(
                "a .npy file contains one array, but the keys name {}; use .npz",
                views.len()
            );
            Err(Error::new(ErrorKind::InvalidArgument, "export", message))
        }
    }
}

/// Writes several arrays by key.
pub(super) fn write_npz(
    views: &[View],
    interrupt: &Interrupt,
    out: &mut (impl Write + Seek),
) -> Result<(), Error> {
    let failed_zip = |error: zip::result::ZipError| failed(error.into());
    let mut archive = ZipWriter::new(out);
    // Uncompressed, like `numpy.savez`.
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .large_file(true);
    for view in views {
        let name = format!("{}.npy", view.key());
        archive.start_file(name, options).map_err(failed_zip)?;
        write_array(view, interrupt, &mut archive)?;
    }
    archive.finish().map(drop).map_err(failed_zip)
}

fn write_array(view: &View, interrupt: &Interrupt, out: &mut impl Write) -> Result<(), Error> {
    let write = |out: &mut dyn Write, bytes: &[u8]| out.write_all(bytes).map_err(failed);
    write(out, &header(view)?)?;
    for_each_block(view, |_, records| {
        write(out, records.data())?;
        interrupt.check("export")
    })
}

/// The header in version 1 of the format. It ends with a line break at a multiple of 64 bytes.
fn header(view: &View) -> Result<Vec<u8>, Error> {
    let dtype = type_of(view)?;
    let shape: String = view.shape().iter().map(|len| format!("{len}, ")).collect();
    let dictionary =
        format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut header = b"\x93NUMPY\x01\x00\x00\x00".to_vec();
    header.extend(dictionary.as_bytes());
    header.resize((header.len() + 1).next_multiple_of(ALIGNMENT) - 1, b' ');
    header.push(b'\n');
    let len = u16::try_from(header.len() - 10).map_err(|_| {
        let message = "the array has too many axes for a .npy file";
        Error::new(ErrorKind::Unsupported, "export", message).with_key(view.key().as_str())
    })?;
    header[8..10].copy_from_slice(&len.to_le_bytes());
    Ok(header)
}

/// NumPy's name for the type of the elements, in the byte order of this machine, which is little
/// endian.
fn type_of(view: &View) -> Result<&'static str, Error> {
    let dtype = view.dtype().filter(|_| view.kind() == Kind::Array);
    Ok(match dtype {
        Some(DType::Bool) => "|b1",
        Some(DType::I8) => "|i1",
        Some(DType::I16) => "<i2",
        Some(DType::I32) => "<i4",
        Some(DType::I64) => "<i8",
        Some(DType::U8) => "|u1",
        Some(DType::U16) => "<u2",
        Some(DType::U32) => "<u4",
        Some(DType::U64) => "<u8",
        Some(DType::F16) => "<f2",
        Some(DType::F32) => "<f4",
        Some(DType::F64) => "<f8",
        Some(DType::Complex64) => "<c8",
        Some(DType::Complex128) => "<c16",
        _ => {
            let message = format!(
                "numpy has no array of {}; export it as .parquet, .arrow or .jsonl",
                view.schema()
            );
            let error = Error::new(ErrorKind::Unsupported, "export", message);
            return Err(error.with_key(view.key().as_str()));
        }
    })
}
