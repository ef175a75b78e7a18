//! The codecs of Zarr that are compared.

use std::fmt;

use serde_json::{Value as Json, json};

/// A setting of the codec `blosc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blosc {
    name: &'static str,
    level: u8,
    shuffle: &'static str,
}

impl Blosc {
    /// The codec of `Compression::Fast` for floating-point numbers.
    pub const LZ4: Self = Self {
        name: "lz4",
        level: 1,
        shuffle: "shuffle",
    };
    /// The codec of `Compression::Small` for `f64`.
    pub const ZSTD_BYTES: Self = Self {
        name: "zstd",
        level: 6,
        shuffle: "shuffle",
    };
    /// The codec of `Compression::Small` for other numbers.
    pub const ZSTD_BITS: Self = Self {
        shuffle: "bitshuffle",
        ..Self::ZSTD_BYTES
    };
    /// What SimRecorder for Python takes unless told otherwise.
    pub const PYTHON_ORIGINAL: Self = Self {
        name: "blosclz",
        level: 9,
        shuffle: "bitshuffle",
    };

    /// As the workers in Python take it.
    pub fn request(self) -> Json {
        json!({ "name": self.name, "level": self.level, "shuffle": self.shuffle })
    }

    /// As it is in the metadata of an array.
    pub fn zarr(self, item_bytes: usize) -> Json {
        json!({
            "cname": self.name,
            "clevel": self.level,
            "shuffle": self.shuffle,
            "typesize": item_bytes,
            "blocksize": 0,
        })
    }
}

impl fmt::Display for Blosc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.level, self.shuffle)
    }
}
