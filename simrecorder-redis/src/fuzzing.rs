//! The functions of this crate that fuzz targets call.

use simrecorder_core::{Compression, DType, ErrorBound, Records, Schema};

use crate::connection::address::Address;
use crate::format::document::{Document, described};
use crate::format::frame::{FrameFormat, RedisEncoding};

/// Parses a URL.
pub fn address(url: &str) {
    if let Ok(address) = Address::parse(url) {
        assert!(!address.hosts.is_empty());
        let shown = format!("{address} {address:?}");
        for host in &address.hosts {
            let password = host.redis_settings().password().unwrap_or_default();
            // A very short password may be a part of the host by chance.
            assert!(password.len() < 8 || !shown.contains(password));
        }
    }
}

/// Reads the metadata of a key.
pub fn document(bytes: &[u8]) {
    if let Ok(document) = Document::from_json(bytes) {
        let _ = document.kind();
    }
    if let Ok(signature) = std::str::from_utf8(bytes) {
        let _ = described(signature);
    }
}

fn forms() -> Vec<(Schema, FrameFormat)> {
    let schemas = [
        Schema::scalar::<f64>(),
        Schema::array_of(DType::U8, [2, 3]),
        Schema::ragged_of(DType::I16, [2]),
        Schema::text(),
        Schema::array_of(DType::F32, [0]),
    ];
    let bound = ErrorBound::new(0.01).expect("a bound");
    let compressions = [
        Compression::None,
        Compression::Fast,
        Compression::Lossy(bound),
    ];
    let mut forms = Vec::new();
    for schema in schemas {
        for encoding in [RedisEncoding::Arrow, RedisEncoding::Bincode] {
            for compression in compressions {
                let form = FrameFormat {
                    encoding,
                    compression,
                };
                forms.push((schema.clone(), form));
            }
        }
    }
    forms
}

/// Decodes a frame whose schema and format are given by its first byte.
pub fn frame(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else {
        return;
    };
    let forms = forms();
    let (schema, form) = &forms[usize::from(*first) % forms.len()];
    if let Ok(decoded) = form.decode(frame.to_vec(), schema) {
        let (fixed, size) = (schema.kind().is_fixed(), schema.record_bytes().unwrap_or(1));
        let span = decoded.span(0..decoded.count, size, fixed);
        assert_eq!(decoded.data()[span].len(), decoded.data().len());
    }
}

/// Valid frames in the form of [`frame`].
pub fn sound_frames() -> Vec<Vec<u8>> {
    let encode = |(index, (schema, form)): (usize, (Schema, FrameFormat))| {
        let size = schema.record_bytes()?;
        let records = if schema.kind().is_fixed() {
            Records::fixed(schema.into(), 3, (0..3 * size).map(|i| i as u8).collect())
        } else {
            let ends = vec![0, 2 * size as u64, 3 * size as u64];
            Records::variable(schema.into(), ends, vec![b'x'; 3 * size])
        };
        let frame = form.encode(&records.ok()?, 0..3).ok()?.concat();
        Some([&[index as u8], &frame[..]].concat())
    };
    forms().into_iter().enumerate().filter_map(encode).collect()
}
