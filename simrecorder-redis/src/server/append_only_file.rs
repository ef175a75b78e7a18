//! Repairs the end of an append-only file whose server was killed during a write.
//!
//! A server logs a script as one transaction. If the file ends within a command of a transaction,
//! Redis, and Valkey without its change 4342, cut off that command and keep the previous ones. At
//! the next start, these join the commands that were appended since: a part of a commit takes
//! effect, and later commits are lost. So this module cuts off the whole transaction before a
//! server loads the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use simrecorder_core::{Error, Result};

use super::settings::{Settings, unquoted};

/// The maximum length of a line between the arguments of commands.
const MAX_LINE: u64 = 1024;
const BUFFER_BYTES: usize = 1 << 20;

/// Cuts off the unfinished command or transaction at the end of the append-only file. Other damage
/// is left for the server to reject.
pub(super) fn cut_unfinished_end(directory: &Path, settings: &Settings) -> Result<()> {
    let Some(path) = growing_file(directory, settings)? else {
        return Ok(());
    };
    let io = |e| Error::io("start", &path, e);
    let file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(io)?,
    };
    let len = file.metadata().map_err(io)?.len();
    let mut commands = BufReader::with_capacity(BUFFER_BYTES, &file);
    if let Some(finished) = finished_len(&mut commands).map_err(io)? {
        let bytes = len - finished;
        tracing::warn!(
            ?path,
            bytes,
            "a server was killed while it wrote; removing the unfinished transaction"
        );
        file.set_len(finished).map_err(io)?;
        file.sync_all().map_err(io)?;
    }
    Ok(())
}

/// The file to which a server on this directory appends, if there is one.
fn growing_file(directory: &Path, settings: &Settings) -> Result<Option<PathBuf>> {
    let name = settings.get("appendfilename").unwrap_or("appendonly.aof");
    let folder = settings.get("appenddirname").unwrap_or("appendonlydir");
    let folder = directory.join(folder);
    let manifest = folder.join(format!("{name}.manifest"));
    let text = match std::fs::read_to_string(&manifest) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|e| Error::io("start", &manifest, e))?,
    };
    // For example `file appendonly.aof.3.incr.aof seq 3 type i`, in the order of loading.
    let name = text.lines().rev().find_map(|line| {
        let (name, rest) = line.strip_prefix("file ")?.rsplit_once(" seq ")?;
        rest.contains(" type i").then(|| unquoted(name))
    });
    Ok(name.map(|name| folder.join(name)))
}

/// The length of the complete commands and transactions in a file. `None` if all are complete, or
/// if a part of the file is not a command.
fn finished_len(commands: &mut impl BufRead) -> io::Result<Option<u64>> {
    let (mut at, mut finished, mut is_transaction) = (0, 0, false);
    loop {
        if commands.fill_buf()?.is_empty() {
            return Ok((finished < at).then_some(finished));
        }
        match read_command(commands, &mut at) {
            Ok(name) if name.eq_ignore_ascii_case(b"multi") => is_transaction = true,
            Ok(name) if name.eq_ignore_ascii_case(b"exec") => is_transaction = false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(Some(finished)),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(None),
            Err(error) => return Err(error),
        }
        if !is_transaction {
            finished = at;
        }
    }
}

/// Reads a command, or a line with an annotation. Returns the name of the command.
fn read_command(commands: &mut impl BufRead, at: &mut u64) -> io::Result<Vec<u8>> {
    let line = read_line(commands, b"*#", at)?;
    if line[0] == b'#' {
        return Ok(Vec::new());
    }
    let mut name = Vec::new();
    for argument in 0..number(&line)? {
        let len = number(&read_line(commands, b"$", at)?)?;
        let mut bytes = commands.take(len.saturating_add(2));
        let read = match argument {
            0 if len <= MAX_LINE => bytes.read_to_end(&mut name)? as u64,
            _ => io::copy(&mut bytes, &mut io::sink())?,
        };
        *at += read;
        if bytes.limit() > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    name.truncate(name.len().saturating_sub(2));
    Ok(name)
}

/// Reads a line that begins with one of `marks`.
fn read_line(commands: &mut impl BufRead, marks: &[u8], at: &mut u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    commands.take(MAX_LINE).read_until(b'\n', &mut line)?;
    *at += line.len() as u64;
    match line.first() {
        Some(mark) if !marks.contains(mark) => Err(ErrorKind::InvalidData.into()),
        _ if line.ends_with(b"\r\n") => Ok(line),
        _ if line.ends_with(b"\n") || line.len() as u64 == MAX_LINE => {
            Err(ErrorKind::InvalidData.into())
        }
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// The number in a line, after its mark.
fn number(line: &[u8]) -> io::Result<u64> {
    let digits = std::str::from_utf8(&line[1..line.len() - 2]);
    let number = digits.ok().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::reply::command;

    /// A file, and the end of each of its commands and transactions.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let units: [&[&[&[u8]]]; 5] = [
            &[&[b"SELECT", b"0"]],
            &[
                &[b"MULTI"],
                &[b"HSET", b"a\r\n*1\r\n$4\r\nEXEC\r\n", b"", b"$1"],
                &[b"DEL", b"MULTI"],
                &[b"EXEC"],
            ],
            &[&[b"SET", &[b'*'; 3000], b"b"]],
            &[&[b"multi"], &[b"exec"]],
            &[
                &[b"MULTI"],
                &[b"XADD", b"s", b"0-1", b"n", b"5"],
                &[b"EXEC"],
            ],
        ];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for unit in units {
            let commands = unit.iter().map(|it| command(it));
            commands.for_each(|it| {
                it.blocks()
                    .for_each(|block| bytes.extend_from_slice(&block))
            });
            ends.push(bytes.len());
            bytes.extend_from_slice(b"#TS:1700000000\r\n");
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_file_that_ends_anywhere_is_cut_to_what_is_finished() {
        let (bytes, ends) = file();
        for len in 0..=bytes.len() {
            let end = ends.iter().copied().rfind(|end| *end <= len).unwrap();
            let expected = (end < len).then_some(end as u64);
            assert_eq!(finished_len(&mut &bytes[..len]).unwrap(), expected, "{len}");
        }
    }

    #[test]
    fn a_file_that_is_damaged_is_not_cut() {
        let (bytes, _) = file();
        for damage in [
            "\0\0\0",
            "REDIS0010",
            "*1\r\n+1\r\n",
            "*x\r\n",
            "*1\n",
            "*-1\r\n",
        ] {
            let damaged = [&bytes, damage.as_bytes()].concat();
            assert_eq!(finished_len(&mut &damaged[..]).unwrap(), None, "{damage:?}");
        }
        let endless = [b"*".repeat(3000), bytes].concat();
        assert_eq!(finished_len(&mut &endless[..]).unwrap(), None);
    }

    #[test]
    fn the_last_file_that_grows_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let find = |settings: &Settings| growing_file(folder.path(), settings).unwrap();
        let mut settings = Settings::default();
        assert_eq!(find(&settings), None);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "appendonlydir/appendonly.aof.manifest",
            "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.1.incr.aof seq 1 type h\n\
             file appendonly.aof.2.incr.aof seq 2 type i\nfile appendonly.aof.3.incr.aof seq 3 type i\n",
        );
        let found = folder
            .path()
            .join("appendonlydir/appendonly.aof.3.incr.aof");
        assert_eq!(find(&settings), Some(found));
        settings.set("appenddirname".into(), "log".into());
        settings.set("appendfilename".into(), "a b".into());
        write(
            "log/a b.manifest",
            "file \"a b.1.incr.aof\" seq 1 type i startoffset 0\n",
        );
        assert_eq!(
            find(&settings),
            Some(folder.path().join("log/a b.1.incr.aof"))
        );
    }
}
