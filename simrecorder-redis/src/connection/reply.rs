//! Commands as bytes, and replies.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use redis::Value;
use simrecorder_core::Result;

use crate::connection::errors::{from_server, unexpected};

/// Bytes of an argument that are sent from their place, without a copy of all of them.
pub(crate) trait Payload: fmt::Debug + Send + Sync {
    fn len(&self) -> usize;

    /// The bytes, in consecutive blocks.
    fn blocks(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_>;
}

/// Commands as they are sent to the server, one after another.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    bytes: Vec<u8>,
    /// The offset of each command in `bytes`.
    starts: Vec<usize>,
    /// Payloads that are sent between the bytes before and after an index of `bytes`, in order.
    payloads: Vec<(usize, Arc<dyn Payload>)>,
}

impl Commands {
    pub(crate) fn with_buffer(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Begins a command with `parts` arguments, including its name.
    pub(crate) fn begin(&mut self, parts: usize) {
        self.starts.push(self.bytes.len());
        self.bytes
            .extend_from_slice(format!("*{parts}\r\n").as_bytes());
    }

    pub(crate) fn argument(&mut self, argument: impl AsRef<[u8]>) {
        let argument = argument.as_ref();
        self.bytes.reserve(argument.len() + 32);
        self.argument_of(argument.len(), |commands| commands.extend(argument));
    }

    /// Adds an argument of `len` bytes, which `write` adds with [`extend`](Self::extend) and
    /// [`extend_in_place`](Self::extend_in_place).
    pub(crate) fn argument_of(&mut self, len: usize, write: impl FnOnce(&mut Self)) {
        self.extend(format!("${len}\r\n").as_bytes());
        write(self);
        self.extend(b"\r\n");
    }

    /// Adds bytes of an argument.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bytes of an argument without a copy.
    pub(crate) fn extend_in_place(&mut self, payload: Arc<dyn Payload>) {
        self.payloads.push((self.bytes.len(), payload));
    }

    pub(crate) fn command(&mut self, arguments: &[&[u8]]) {
        self.begin(arguments.len());
        arguments.iter().for_each(|it| self.argument(it));
    }

    /// Appends other commands.
    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.starts
            .extend(other.starts.iter().map(|start| before + start));
        let payloads = other.payloads.iter();
        self.payloads
            .extend(payloads.map(|(at, payload)| (before + at, Arc::clone(payload))));
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// The bytes of all commands, in consecutive blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.blocks_of(0..self.bytes.len())
    }

    /// The bytes of the commands in this range of `bytes`.
    fn blocks_of(&self, range: Range<usize>) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let first = self.payloads.partition_point(|(at, _)| *at < range.start);
        let count = self.payloads[first..].partition_point(|(at, _)| *at < range.end);
        let payloads = &self.payloads[first..first + count];
        let ends = payloads.iter().map(|(at, _)| *at).chain([range.end]);
        let starts = std::iter::once(range.start).chain(ends.clone());
        let between = starts.zip(ends);
        let between = between.map(|(start, end)| Cow::Borrowed(&self.bytes[start..end]));
        let payloads = payloads.iter().map(|(_, payload)| Some(payload));
        between
            .zip(payloads.chain([None]))
            .flat_map(|(bytes, payload)| {
                let blocks = payload.into_iter().flat_map(|payload| payload.blocks());
                std::iter::once(bytes).chain(blocks)
            })
    }

    /// The commands in groups of at most `most` commands: the bytes of each group, and its number
    /// of commands. A command with a payload is a group of its own, because the bytes of a group
    /// are contiguous.
    pub(crate) fn groups(&self, most: usize) -> impl Iterator<Item = (Cow<'_, [u8]>, usize)> {
        let most = if self.payloads.is_empty() { most } else { 1 };
        let groups = self.starts.chunks(most);
        let ends = groups.clone().skip(1).map(|group| group[0]);
        let ends = ends.chain([self.bytes.len()]);
        groups.zip(ends).map(|(group, end)| {
            let mut blocks = self.blocks_of(group[0]..end);
            let first = blocks.next().unwrap_or_default();
            let bytes = blocks.fold(first, |mut bytes, block| {
                bytes.to_mut().extend_from_slice(&block);
                bytes
            });
            (bytes, group.len())
        })
    }

    /// The memory that it takes, used or not, including memory that it shares.
    pub(crate) fn capacity(&self) -> usize {
        let payloads: usize = self.payloads.iter().map(|(_, payload)| payload.len()).sum();
        self.bytes.capacity() + self.starts.capacity() * size_of::<usize>() + payloads
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }
}

/// One command as bytes.
pub(crate) fn command(arguments: &[&[u8]]) -> Commands {
    let mut commands = Commands::default();
    commands.command(arguments);
    commands
}

/// The conversion of a reply to the type that the command expects. An error of the server becomes
/// an `Error`.
pub(crate) trait Reply: Sized {
    fn checked(self) -> Result<Self>;
    fn bytes(self) -> Result<Option<Vec<u8>>>;
    fn text(self) -> Result<Option<String>>;
    fn int(self) -> Result<i64>;
    fn array(self) -> Result<Vec<Value>>;
    /// An array of alternating names and contents.
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
        let expected = b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(bytes(&commands), expected);
        assert_eq!(commands.count(), 2);
        commands.append(&command(&[b"PING"]));
        let groups: Vec<_> = commands.groups(2).collect();
        let ping = &b"*1\r\n$4\r\nPING\r\n"[..];
        assert_eq!(groups, [(expected.into(), 2), (ping.into(), 1)]);
        assert_eq!(Commands::default().groups(2).count(), 0);
    }

    #[derive(Debug)]
    struct Blocks(&'static [&'static [u8]]);

    impl Payload for Blocks {
        fn len(&self) -> usize {
            self.0.concat().len()
        }

        fn blocks(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_> {
            Box::new(self.0.iter().map(|block| Cow::Borrowed(*block)))
        }
    }

    fn bytes(commands: &Commands) -> Vec<u8> {
        commands.blocks().collect::<Vec<_>>().concat()
    }

    #[test]
    fn payloads_are_sent_where_they_belong() {
        let mut with_payloads = command(&[b"PING"]);
        for _ in 0..2 {
            with_payloads.begin(2);
            with_payloads.argument("ECHO");
            with_payloads.argument_of(6, |commands| {
                commands.extend_in_place(Arc::new(Blocks(&[b"a", b"bc"])));
                commands.extend(b"d");
                commands.extend_in_place(Arc::new(Blocks(&[b"ef"])));
            });
        }
        let mut copied = command(&[b"PING"]);
        copied.command(&[b"ECHO", b"abcdef"]);
        copied.command(&[b"ECHO", b"abcdef"]);
        let mut both = Commands::default();
        both.append(&command(&[b"PING"]));
        both.append(&with_payloads);
        assert_eq!(bytes(&with_payloads), bytes(&copied));
        assert_eq!(
            bytes(&both),
            [&b"*1\r\n$4\r\nPING\r\n"[..], &bytes(&copied)].concat()
        );
        let groups: Vec<_> = with_payloads.groups(8).collect();
        assert_eq!(groups, copied.groups(1).collect::<Vec<_>>());
        assert!(with_payloads.capacity() >= 10);
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
