//! The records of peers: numbers in memory, as records of some keys.

use std::fmt;

/// Numbers of one type.
#[derive(Clone, PartialEq)]
pub enum Numbers {
    /// Double precision.
    F64(Vec<f64>),
    /// Single precision.
    F32(Vec<f32>),
    /// Counts.
    U32(Vec<u32>),
}

impl Numbers {
    /// The numbers as they are in memory.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::F64(values) => bytemuck::cast_slice(values),
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::U32(values) => bytemuck::cast_slice(values),
        }
    }

    /// The size of one number.
    pub fn item_bytes(&self) -> usize {
        match self {
            Self::F64(_) => 8,
            Self::F32(_) | Self::U32(_) => 4,
        }
    }

    /// NumPy's name of the type.
    pub fn numpy_name(&self) -> &'static str {
        match self {
            Self::F64(_) => "f8",
            Self::F32(_) => "f4",
            Self::U32(_) => "u4",
        }
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {}", self.bytes().len(), self.numpy_name())
    }
}

/// The wrapping sum of words: of 64 bits if the numbers have as many, otherwise of 32.
pub fn checksum_of_bytes(bytes: &[u8], item_bytes: usize) -> u64 {
    if item_bytes == 8 {
        let words = bytes.as_chunks().0.iter();
        words.fold(0, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
    } else {
        let words = bytes.as_chunks().0.iter();
        words.fold(0, |sum, word| {
            sum.wrapping_add(u32::from_ne_bytes(*word).into())
        })
    }
}

/// Records for all keys, in turn.
#[derive(Clone, Debug)]
pub struct Load {
    /// The keys.
    pub keys: Vec<String>,
    /// The numbers of one key, which are repeated.
    pub numbers: Numbers,
    /// The shape of one record.
    pub shape: Vec<usize>,
    /// The number of records of each key.
    pub count: usize,
}

impl Load {
    /// The size of one record.
    pub fn record_bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.numbers.item_bytes()
    }

    /// The size of all records.
    pub fn bytes(&self) -> usize {
        self.keys.len() * self.count * self.record_bytes()
    }

    /// The number of records in a chunk of about 1 MiB.
    pub fn chunk_rows(&self) -> usize {
        ((1 << 20) / self.record_bytes()).max(1)
    }

    /// The same load with one of `divisor` records, at least one.
    #[must_use]
    pub fn part(&self, divisor: usize) -> Self {
        Self {
            count: (self.count / divisor).max(1),
            ..self.clone()
        }
    }

    /// Calls `record` with the number of a step and the bytes of its record.
    pub fn steps<E>(&self, mut record: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let records = self.numbers.bytes().chunks_exact(self.record_bytes());
        records.cycle().take(self.count).try_for_each(&mut record)
    }

    /// The checksum of all records.
    pub fn checksum(&self) -> u64 {
        let mut sum = 0_u64;
        let bytes = self.numbers.bytes();
        let item = self.numbers.item_bytes();
        let whole = bytes.len() / self.record_bytes();
        let turns = (self.count / whole) as u64;
        let rest = (self.count % whole) * self.record_bytes();
        let whole = &bytes[..whole * self.record_bytes()];
        sum = sum.wrapping_add(checksum_of_bytes(whole, item).wrapping_mul(turns));
        sum = sum.wrapping_add(checksum_of_bytes(&bytes[..rest], item));
        sum.wrapping_mul(self.keys.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_all_records() {
        let load = Load {
            keys: vec!["a".to_owned(), "b".to_owned()],
            numbers: Numbers::U32((0..10).map(|x| x * 1_000_003).collect()),
            shape: vec![3],
            count: 8,
        };
        let mut sum = 0_u64;
        load.steps(|record| {
            sum = sum.wrapping_add(checksum_of_bytes(record, 4));
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(load.checksum(), 2 * sum);
        assert_eq!(load.part(4).count, 2);
        assert_eq!(load.part(100).count, 1);
    }
}
