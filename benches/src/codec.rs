//! The compared codecs of Zarr.

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
    /// The default of SimRecorder for Python.
    pub const PYTHON_ORIGINAL: Self = Self {
        name: "blosclz",
        level: 9,
        shuffle: "bitshuffle",
    };

    /// In the form that the Python workers expect.
    pub fn request(self) -> Json {
        json!({ "name": self.name, "level": self.level, "shuffle": self.shuffle })
    }

    /// In the form of an array's metadata.
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
