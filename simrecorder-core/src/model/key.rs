//! Keys: the paths of groups, values and series.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::natural_order::natural_order;

/// The path of a group, a value or a series, in its normal form.
///
/// - Levels are separated by `/`; leading, trailing and doubled `/` are ignored.
/// - No part is `.` or `..`.
/// - No part contains a control character (NUL, newline, …).
/// - Any other text is a key, Unicode included. Texts that look alike but have different code points are different
///   keys.
/// - The empty key is the root group: [`Key::ROOT`]. [`Key::new`] refuses it.
/// - A key is at most [`Key::MAX_BYTES`] long. A backend may have a lower limit, which its error names.
///
/// Cloning is cheap.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::Key;
///
/// let key = Key::new("/net//v/")?;
/// assert_eq!(key.as_str(), "net/v");
/// assert_eq!(key, "net/v".parse()?);
/// assert_eq!(key.name(), "v");
/// assert_eq!(key.parent(), Some(Key::new("net")?));
/// assert_eq!(key.parts().collect::<Vec<_>>(), ["net", "v"]);
/// assert_eq!(Key::new("größe/Δt 🧠")?.name(), "Δt 🧠");
/// assert!(Key::new("").is_err());
/// assert!(Key::new("a/../b").is_err());
/// assert!(Key::new("line\nbreak").is_err());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Root,
    Path(Arc<str>),
}

impl Key {
    /// The root group, above all other keys.
    pub const ROOT: Self = Self(Repr::Root);

    /// The longest key that is accepted, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 4096;

    /// Converts `text` to its normal form and checks the rules.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] names the rule that `text` breaks.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let key = Self::new_or_root(text)?;
        if key.is_root() {
            return Err(invalid(
                text,
                "the key is empty; use a name such as 'net/v'",
            ));
        }
        Ok(key)
    }

    /// Like [`Key::new`], except that the empty text, or slashes alone, is the root group.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] names the rule that `text` breaks.
    pub fn new_or_root(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.len() > Self::MAX_BYTES {
            let message = format!(
                "the key has {} bytes; at most {} are allowed",
                text.len(),
                Self::MAX_BYTES
            );
            return Err(invalid(text, message));
        }
        let mut normal = String::with_capacity(text.len());
        for part in text.split('/').filter(|part| !part.is_empty()) {
            if part == "." || part == ".." {
                return Err(invalid(
                    text,
                    "'.' and '..' are not names; keys are absolute",
                ));
            }
            if let Some(c) = part.chars().find(|c| c.is_control()) {
                let message = format!("the key contains the control character {c:?}; remove it");
                return Err(invalid(text, message));
            }
            if !normal.is_empty() {
                normal.push('/');
            }
            normal.push_str(part);
        }
        Ok(if normal.is_empty() {
            Self::ROOT
        } else {
            Self(Repr::Path(normal.into()))
        })
    }

    /// Returns the normal form; empty for the root.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Root => "",
            Repr::Path(path) => path,
        }
    }

    /// Whether this is the root group.
    pub fn is_root(&self) -> bool {
        matches!(self.0, Repr::Root)
    }

    /// Iterates over the names of the levels, from the top; none for the root.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.as_str().split('/').filter(|part| !part.is_empty())
    }

    /// Returns the last part; empty for the root.
    pub fn name(&self) -> &str {
        self.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// Returns the group that contains this key; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        match &self.0 {
            Repr::Root => None,
            Repr::Path(path) => Some(match path.rsplit_once('/') {
                Some((parent, _)) => Self(Repr::Path(parent.into())),
                None => Self::ROOT,
            }),
        }
    }

    /// Iterates over the groups above this key, the nearest first, without the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent).filter(|key| !key.is_root())
    }

    /// A text that sorts after this key and all keys below it, and before the next ones, for searching. It is not a
    /// valid key, since it ends with a control character.
    pub(crate) fn end_of_subtree(&self) -> Self {
        Self(Repr::Path(format!("{}\0", self.as_str()).into()))
    }

    /// Returns the key of `name` below this one; `name` may have several levels.
    ///
    /// ```
    /// # use simrecorder_core::Key;
    /// let net = Key::new("net")?;
    /// assert_eq!(net.join("e/rate")?.as_str(), "net/e/rate");
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidKey`] names the rule that the new key breaks.
    pub fn join(&self, name: impl AsRef<str>) -> Result<Self> {
        match self.is_root() {
            true => Self::new(name),
            false => Self::new(format!("{}/{}", self.as_str(), name.as_ref())),
        }
    }

    /// Whether this key is `group` or below it.
    ///
    /// ```
    /// # use simrecorder_core::Key;
    /// let net = Key::new("net")?;
    /// assert!(Key::new("net/v")?.is_within(&net));
    /// assert!(!Key::new("network")?.is_within(&net));
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    pub fn is_within(&self, group: &Self) -> bool {
        is_path_within(self.as_str(), group.as_str())
    }

    /// Compares two keys level by level, and numbers in names by their value: `demo_2` is before `demo_10`, and a group
    /// is before its contents.
    ///
    /// ```
    /// # use simrecorder_core::Key;
    /// let mut keys = ["demo_10/v", "demo_2/v", "demo_2"].map(|key| Key::new(key).unwrap());
    /// keys.sort_by(Key::natural_cmp);
    /// assert_eq!(keys.map(|key| key.to_string()), ["demo_2", "demo_2/v", "demo_10/v"]);
    /// ```
    pub fn natural_cmp(&self, other: &Self) -> Ordering {
        let (mut parts, mut others) = (self.parts(), other.parts());
        loop {
            match (parts.next(), others.next()) {
                (Some(part), Some(other)) => match natural_order(part, other) {
                    Ordering::Equal => {}
                    order => return order,
                },
                (part, other) => return part.is_some().cmp(&other.is_some()),
            }
        }
    }

    /// Returns the key that this one becomes when `from` is renamed to `to`; `None` if it is not within `from`.
    ///
    /// ```
    /// # use simrecorder_core as simrecorder;
    /// use simrecorder::Key;
    ///
    /// let (from, to) = (Key::new("net")?, Key::new("old/net")?);
    /// assert_eq!(Key::new("net/v")?.rebase(&from, &to)?, Some(Key::new("old/net/v")?));
    /// assert_eq!(Key::new("network")?.rebase(&from, &to)?, None);
    /// # Ok::<(), simrecorder_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidKey`](ErrorKind::InvalidKey) if the new key is too long.
    pub fn rebase(&self, from: &Self, to: &Self) -> Result<Option<Self>> {
        if !self.is_within(from) {
            return Ok(None);
        }
        let rest = &self.as_str()[from.as_str().len()..];
        Self::new(format!("{to}{rest}")).map(Some)
    }
}

/// Whether a path is `group` or below it; the empty one is the root.
pub fn is_path_within(path: &str, group: &str) -> bool {
    let rest = path.strip_prefix(group);
    group.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn invalid(text: &str, message: impl Into<String>) -> Error {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Error::new(ErrorKind::InvalidKey, "check key", message).with_key(&text[..end])
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Keys are ordered part by part, so that a group is right before its contents.
impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let (a, b) = (self.as_str().as_bytes(), other.as_str().as_bytes());
        // A name that ends is before one that continues with any character.
        let rank = |byte: u8| (byte != b'/', byte);
        match a.iter().zip(b).position(|(a, b)| a != b) {
            Some(at) => rank(a[at]).cmp(&rank(b[at])),
            None => a.len().cmp(&b.len()),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Key {
    type Err = Error;

    /// As for [`Key::new`].
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_in_normal_form_or_refused_and_never_panics(text in any::<String>()) {
            if let Ok(key) = Key::new(&text) {
                prop_assert_eq!(Key::new(key.as_str()).unwrap(), key.clone());
                prop_assert!(!key.as_str().contains("//"));
                prop_assert_eq!(key.parts().collect::<Vec<_>>().join("/"), key.as_str());
            }
        }

        #[test]
        fn a_joined_key_lies_within_its_parent(a in "[a-z]{1,3}(/[a-z]{1,3}){0,3}", b in "[a-z]{1,4}") {
            let parent = Key::new(a).unwrap();
            let child = parent.join(&b).unwrap();
            prop_assert_eq!(child.parent(), Some(parent.clone()));
            prop_assert!(child.is_within(&parent));
            prop_assert_eq!(child.name(), b);
        }

        #[test]
        fn keys_are_ordered_part_by_part(a in "[ab!~ü/]{1,6}", b in "[ab!~ü/]{1,6}") {
            if let (Ok(a), Ok(b)) = (Key::new(a), Key::new(b)) {
                prop_assert_eq!(a.cmp(&b), a.parts().cmp(b.parts()));
                let end = a.end_of_subtree();
                prop_assert_eq!(b < end, b.is_within(&a) || b < a);
            }
        }
    }

    #[test]
    fn a_group_is_right_before_its_contents() {
        let mut keys = ["a-b", "a/b", "a", "b"].map(|key| Key::new(key).unwrap());
        keys.sort();
        assert_eq!(keys.map(|key| key.to_string()), ["a", "a/b", "a-b", "b"]);
    }
}
