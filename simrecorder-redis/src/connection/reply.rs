//! Commands as bytes, and what came back.

use redis::Value;
use simrecorder_core::Result;

use crate::connection::errors::{from_server, unexpected};

/// Commands in the form in which they go to the server, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    /// Where each command begins.
    starts: Vec<usize>,
}

impl Commands {
    pub(crate) fn with_buffer(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self {
            bytes,
            starts: Vec::new(),
        }
    }

    /// Begins a command of `parts` arguments, its name among them.
    pub(crate) fn begin(&mut self, parts: usize) {
        self.starts.push(self.bytes.len());
        self.bytes
            .extend_from_slice(format!("*{parts}\r\n").as_bytes());
    }

    pub(crate) fn argument(&mut self, argument: impl AsRef<[u8]>) {
        let argument = argument.as_ref();
        self.argument_of(argument.len(), |bytes| bytes.extend_from_slice(argument));
    }

    /// An argument of `len` bytes that `write` appends.
    pub(crate) fn argument_of(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.reserve(len + 32);
        self.bytes
            .extend_from_slice(format!("${len}\r\n").as_bytes());
        let start = self.bytes.len();
        write(&mut self.bytes);
        debug_assert_eq!(self.bytes.len() - start, len);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn command(&mut self, arguments: &[&[u8]]) {
        self.begin(arguments.len());
        arguments.iter().for_each(|it| self.argument(it));
    }

    /// Adds the commands of another.
    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.starts
            .extend(other.starts.iter().map(|start| before + start));
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// The commands in groups of no more than `most`: the bytes of each, and how many it has.
    pub(crate) fn groups(&self, most: usize) -> impl Iterator<Item = (&[u8], usize)> {
        let groups = self.starts.chunks(most);
        let ends = groups.clone().skip(1).map(|group| group[0]);
        let ends = ends.chain([self.bytes.len()]);
        let bytes = |(group, end): (&[usize], usize)| (&self.bytes[group[0]..end], group.len());
        groups.zip(ends).map(bytes)
    }

    /// Room for `bytes` more, so that the buffer grows once.
    /// The memory that it takes, used or not.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * size_of::<usize>()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// One command as bytes.
pub(crate) fn command(arguments: &[&[u8]]) -> Commands {
    let mut commands = Commands::default();
    commands.command(arguments);
    commands
}

/// A reply as its command asks for it; an error of the server becomes one of ours.
pub(crate) trait Reply: Sized {
    fn checked(self) -> Result<Self>;
    fn bytes(self) -> Result<Option<Vec<u8>>>;
    fn text(self) -> Result<Option<String>>;
    fn int(self) -> Result<i64>;
    fn array(self) -> Result<Vec<Value>>;
    /// An array of names and contents in turn.
    fn pairs(self) -> Result<Vec<(String, Vec<u8>)>>;
}

impl Reply for Value {
    fn checked(self) -> Result<Self> {
        match self {
            Self::ServerError(error) => Err(from_server("read", &error)),
            other => Ok(other),
        }
    }

    fn bytes(self) -> Result<Option<Vec<u8>>> {
        match self.checked()? {
            Self::Nil => Ok(None),
            Self::BulkString(bytes) => Ok(Some(bytes)),
            Self::SimpleString(text) => Ok(Some(text.into_bytes())),
            Self::Okay => Ok(Some(b"OK".to_vec())),
            Self::Int(number) => Ok(Some(number.to_string().into_bytes())),
            _ => Err(unexpected("string")),
        }
    }

    fn text(self) -> Result<Option<String>> {
        let bytes = self.bytes()?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|e| unexpected("text").with_source(e))
    }

    fn int(self) -> Result<i64> {
        match self.checked()? {
            Self::Int(number) => Ok(number),
            other => match other.text()?.map(|text| text.parse()) {
                Some(Ok(number)) => Ok(number),
                _ => Err(unexpected("number")),
            },
        }
    }

    fn array(self) -> Result<Vec<Value>> {
        match self.checked()? {
            Self::Array(items) => Ok(items),
            Self::Nil => Ok(Vec::new()),
            _ => Err(unexpected("list")),
        }
    }

    fn pairs(self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut items = self.array()?.into_iter();
        let mut pairs = Vec::with_capacity(items.len() / 2);
        while let Some(name) = items.next() {
            let name = name.text()?.ok_or_else(|| unexpected("name"))?;
            let contents = items.next().map(Reply::bytes).transpose()?.flatten();
            pairs.push((name, contents.ok_or_else(|| unexpected("content"))?));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_form_of_the_protocol() {
        let mut commands = command(&[b"GET", b"a\r\n"]);
        commands.command(&[b"PING"]);
        assert_eq!(
            commands.bytes(),
            b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nPING\r\n"
        );
        assert_eq!(commands.count(), 2);
        let again = commands.bytes().to_vec();
        commands.append(&command(&[b"PING"]));
        let groups: Vec<_> = commands.groups(2).collect();
        assert_eq!(groups, [(&again[..], 2), (&b"*1\r\n$4\r\nPING\r\n"[..], 1)]);
        assert_eq!(Commands::default().groups(2).count(), 0);
    }

    #[test]
    fn replies_of_another_form_are_errors() {
        assert!(Value::Okay.array().is_err());
        assert!(Value::Array(vec![]).bytes().is_err());
        assert!(Value::Nil.int().is_err());
        assert!(Value::BulkString(vec![0xff]).text().is_err());
        assert!(Value::Array(vec![Value::Okay]).pairs().is_err());
        assert_eq!(Value::BulkString(b"-12".to_vec()).int().unwrap(), -12);
        assert_eq!(Value::Nil.array().unwrap(), []);
    }
}
