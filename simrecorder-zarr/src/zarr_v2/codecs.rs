//! Element types, filters and compressors of Zarr V2 as those of Zarr V3.

use serde::Deserialize;
use serde_json::{Value as Json, json};
use simrecorder_core::DType;

use crate::format::fixed_texts::FixedTexts;

/// The order of the elements in a chunk.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Order {
    #[default]
    C,
    F,
}

/// The elements of an array.
pub(super) struct Elements {
    /// `None` for texts.
    pub(super) dtype: Option<DType>,
    pub(super) are_fixed_texts: bool,
    is_big_endian: bool,
}

impl Elements {
    /// The elements with a `dtype`, or the reason why they cannot be read.
    pub(super) fn of(dtype: &Json, filters: &[Json]) -> Result<Self, String> {
        let Some(name) = dtype.as_str() else {
            return Err(
                "it contains structures; write each of their fields as an array of its own".into(),
            );
        };
        if name == "|O" {
            return Self::of_objects(filters);
        }
        if FixedTexts::of_numpy(name).is_some() {
            return Ok(Self {
                dtype: None,
                are_fixed_texts: true,
                is_big_endian: false,
            });
        }
        let (order, kind) = name.split_at_checked(1).unwrap_or_default();
        let dtype = match kind {
            "b1" => DType::Bool,
            "i1" => DType::I8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            "i8" => DType::I64,
            "u1" => DType::U8,
            "u2" => DType::U16,
            "u4" => DType::U32,
            "u8" => DType::U64,
            "f2" => DType::F16,
            "f4" => DType::F32,
            "f8" => DType::F64,
            "c8" => DType::Complex64,
            "c16" => DType::Complex128,
            _ => return Err(of_other_type(name)),
        };
        match (order, dtype.size()) {
            ("<" | ">", _) | ("|", 1) => Ok(Self {
                dtype: Some(dtype),
                are_fixed_texts: false,
                is_big_endian: order == ">",
            }),
            _ => Err(of_other_type(name)),
        }
    }

    /// Objects become what the first filter decodes them to.
    fn of_objects(filters: &[Json]) -> Result<Self, String> {
        match filters.first().map(id) {
            Some("vlen-utf8") => Ok(Self {
                dtype: None,
                are_fixed_texts: false,
                is_big_endian: false,
            }),
            Some("pickle") => Err(
                "it contains pickled Python objects, which simrecorder never loads, since that can run any \
                 program; if you trust it, load it with the software that wrote it, and record it again"
                    .into(),
            ),
            Some(other) => Err(format!(
                "it contains objects in the codec '{}', which simrecorder does not read; write them again as \
                 texts with the codec 'vlen-utf8'",
                other.escape_debug()
            )),
            None => Err("it contains objects without naming their codec".to_owned()),
        }
    }

    /// Whether a filter encodes them as bytes.
    pub(super) fn are_objects(&self) -> bool {
        self.dtype.is_none() && !self.are_fixed_texts
    }

    /// The data type in Zarr V3.
    pub(super) fn name(&self) -> &'static str {
        self.dtype.map_or("string", DType::as_str)
    }
}

fn of_other_type(name: &str) -> String {
    let what = match name.get(1..2) {
        Some("M") => "dates",
        Some("m") => "durations",
        Some("V") => "raw bytes",
        _ => "elements",
    };
    let name = name.escape_debug();
    format!(
        "it contains {what} ('{name}'), which simrecorder does not read; write them again as numbers"
    )
}

/// The codecs of an array, or the reason why it cannot be read.
pub(super) fn codecs(
    elements: &Elements,
    order: Order,
    axes: usize,
    filters: &[Json],
    compressor: Option<&Json>,
) -> Result<Vec<Json>, String> {
    let mut codecs = Vec::new();
    if order == Order::F && axes > 1 {
        let axes: Vec<_> = (0..axes).rev().collect();
        codecs.push(codec("transpose", json!({ "order": axes })));
    }
    codecs.push(match elements.dtype {
        None if elements.are_objects() => json!({ "name": "vlen-utf8" }),
        None => json!({ "name": "bytes" }),
        Some(dtype) if dtype.size() == 1 => json!({ "name": "bytes" }),
        Some(_) => {
            let endian = match elements.is_big_endian {
                true => "big",
                false => "little",
            };
            codec("bytes", json!({ "endian": endian }))
        }
    });
    let size = elements.dtype.map_or(1, DType::size);
    for filter in filters.iter().chain(compressor) {
        codecs.push(bytes_codec(filter, size)?);
    }
    Ok(codecs)
}

/// A codec of numcodecs from bytes to bytes.
fn bytes_codec(numcodec: &Json, element_size: usize) -> Result<Json, String> {
    let number = |name: &str| numcodec.get(name).and_then(Json::as_u64);
    let text = |name: &str| numcodec.get(name).and_then(Json::as_str);
    let id = id(numcodec);
    Ok(match id {
        "blosc" => {
            // Blosc frames describe themselves: for decoding, this only has to be valid.
            codec(
                "blosc",
                json!({
                    "cname": text("cname").unwrap_or("lz4"),
                    "clevel": 5,
                    "shuffle": "noshuffle",
                    "typesize": element_size,
                    "blocksize": 0,
                }),
            )
        }
        "gzip" => codec("gzip", json!({ "level": 5 })),
        "zlib" => codec("numcodecs.zlib", json!({ "level": 5 })),
        "zstd" => codec("zstd", json!({ "level": 3, "checksum": false })),
        "shuffle" => {
            let size = number("elementsize").unwrap_or(4);
            codec("numcodecs.shuffle", json!({ "elementsize": size }))
        }
        "fletcher32" => json!({ "name": "numcodecs.fletcher32" }),
        "adler32" => {
            let location = text("location").unwrap_or("start");
            codec("numcodecs.adler32", json!({ "location": location }))
        }
        _ => {
            return Err(format!(
                "simrecorder does not read its codec '{}'; write it again with blosc, gzip, zlib or zstd",
                id.escape_debug()
            ));
        }
    })
}

fn codec(name: &str, configuration: Json) -> Json {
    json!({ "name": name, "configuration": configuration })
}

/// The name that numcodecs gives a codec.
fn id(numcodec: &Json) -> &str {
    numcodec
        .get("id")
        .and_then(Json::as_str)
        .unwrap_or_default()
}
