//! Texts of the same length within a chunk, padded with NUL, as in NumPy.

use serde_json::{Value as Json, json};

/// The longest text in bytes. One text is always held in memory.
const MAX_LEN: usize = 1 << 20;

/// The length of the texts, and their encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FixedTexts {
    /// The length of one text in bytes, at least 1.
    pub(crate) len: usize,
    pub(crate) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf32Little,
    Utf32Big,
}

impl FixedTexts {
    /// Parses a data type of NumPy, such as `<U8` or `|S8`, unless its texts are longer than is
    /// plausible.
    pub(crate) fn of_numpy(dtype: &str) -> Option<Self> {
        let (encoding, size) = match dtype.get(..2)? {
            "|S" => (Encoding::Utf8, 1),
            "<U" => (Encoding::Utf32Little, 4),
            ">U" => (Encoding::Utf32Big, 4),
            _ => return None,
        };
        let count: u32 = dtype[2..].parse().ok()?;
        let len = usize::try_from(count).ok()?.checked_mul(size)?;
        (1..=MAX_LEN)
            .contains(&len)
            .then_some(Self { len, encoding })
    }

    /// The data type of their bytes in Zarr V3.
    pub(crate) fn bytes_type(self) -> Json {
        json!(format!("r{}", self.len as u128 * 8))
    }

    /// The texts in the bytes of a chunk, and the end of each. `None` if one is not valid Unicode.
    pub(crate) fn texts(self, chunk: &[u8]) -> Option<(Vec<u8>, Vec<u64>)> {
        let (mut texts, mut ends) = (String::new(), Vec::new());
        for text in chunk.chunks_exact(self.len) {
            match self.encoding {
                Encoding::Utf8 => texts.push_str(std::str::from_utf8(text).ok()?),
                Encoding::Utf32Little => self.push_utf32(&mut texts, text, u32::from_le_bytes)?,
                Encoding::Utf32Big => self.push_utf32(&mut texts, text, u32::from_be_bytes)?,
            }
            let start = ends.last().map_or(0, |&end| end as usize);
            let len = texts[start..].trim_end_matches('\0').len();
            texts.truncate(start + len);
            ends.push(texts.len() as u64);
        }
        Some((texts.into_bytes(), ends))
    }

    fn push_utf32(self, texts: &mut String, text: &[u8], number: fn([u8; 4]) -> u32) -> Option<()> {
        for bytes in text.as_chunks().0 {
            texts.push(char::from_u32(number(*bytes))?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_before_their_padding() {
        let texts = |dtype, chunk: &[u8]| {
            let (texts, ends) = FixedTexts::of_numpy(dtype)?.texts(chunk)?;
            Some((String::from_utf8(texts).ok()?, ends))
        };
        let expected = |text: &str, ends: &[u64]| Some((text.to_owned(), ends.to_vec()));
        assert_eq!(
            texts("|S3", b"ab\0\0\0\0\0c\0xyz"),
            expected("ab\0cxyz", &[2, 2, 4, 7])
        );
        let little: Vec<u8> = "a\0🧠ö"
            .chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        assert_eq!(texts("<U2", &little), expected("a🧠ö", &[1, 7]));
        let big: Vec<u8> = "ö\0"
            .chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect();
        assert_eq!(texts(">U1", &big), expected("ö", &[2, 2]));
        assert_eq!(texts("|S1", b"\xFF"), None);
        assert_eq!(texts("<U1", &[0xFF; 4]), None);
        for dtype in [
            "", "|S", "|S0", "|S-1", "<U0", "|U1", "=U1", "<S", "<U300000", "|é",
        ] {
            assert_eq!(FixedTexts::of_numpy(dtype), None, "{dtype}");
        }
    }
}
