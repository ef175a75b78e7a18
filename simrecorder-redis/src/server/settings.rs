//! The configuration file of a server.

use std::fmt;
use std::io::Write;
use std::path::Path;

use simrecorder_core::{Error, Result};

/// Settings by name, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(Vec<(String, String)>);

/// The initial settings of a data directory.
const DEFAULTS: [(&str, &str); 5] = [
    ("appendonly", "yes"),
    // Servers cut off less than necessary; `append_only_file.rs` explains this.
    ("aof-load-truncated", "no"),
    ("appendfsync", "everysec"),
    ("save", ""),
    ("maxmemory-policy", "noeviction"),
];

impl Settings {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rfind(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: String, value: String) {
        match self
            .0
            .iter_mut()
            .find(|(it, _)| it.eq_ignore_ascii_case(&name))
        {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// These settings, replaced by those of `others` where both have one.
    pub(super) fn with(mut self, others: &Self) -> Self {
        for (name, value) in &others.0 {
            self.set(name.clone(), value.clone());
        }
        self
    }

    /// Reads the settings of a data directory, or the defaults if it is new.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let defaults = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
                return Ok(Self(defaults.into()));
            }
            Err(error) => return Err(Error::io("start", path, error)),
        };
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        // A name may occur several times in a file that a person wrote.
        let settings = lines.map(|line| {
            let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            (name.to_owned(), unquoted(value.trim()))
        });
        Ok(Self(settings.collect()))
    }

    /// Writes them to a file that only its owner can read.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;

        let io = |e| Error::io("start", path, e);
        let new = path.with_extension("conf.new");
        let mut file = std::fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(io)?;
        for (name, value) in &self.0 {
            // The value of other settings may be several words.
            let one_word = ["requirepass", "masterauth"].contains(&name.as_str());
            writeln!(file, "{name} {}", quoted(value, one_word)).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        std::fs::rename(&new, path).map_err(io)
    }
}

/// Without values that may be passwords.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// A word in the form of the configuration file. Plain lists of words are unchanged, unless it is
/// `one_word`.
fn quoted(value: &str, one_word: bool) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b".:/_-+@*,~&".contains(&byte)
            || (byte == b' ' && !one_word)
    };
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    let escaped = value.bytes().map(|byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The inverse of [`quoted`].
pub(super) fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut bytes = Vec::new();
    let mut rest = inner.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, tail.first(), hex) {
            (b'\\', Some(b'x'), Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            (b'\\', Some(next), _) => {
                bytes.push(*next);
                rest = &tail[1..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_and_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis.conf");
        let mut given = Settings::default();
        given.set("appendfsync".into(), "always".into());
        given.set("requirepass".into(), " a \"b\\#\nü c ".into());
        given.set("masterauth".into(), "correct horse".into());
        let first = Settings::read(&path).unwrap().with(&given);
        first.write(&path).unwrap();
        let second = Settings::read(&path).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(second.get("save"), Some(""));
        assert_eq!(second.get("APPENDFSYNC"), Some("always"));
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains("masterauth \"correct\\x20horse\"\n"));
        assert!(!format!("{second:?}").contains('ü'));
        std::fs::write(&path, "# a comment\n\n  maxmemory   4gb \n").unwrap();
        assert_eq!(Settings::read(&path).unwrap().get("maxmemory"), Some("4gb"));
    }
}
