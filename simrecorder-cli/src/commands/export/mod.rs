//! `simrec export`: series as a file that other software reads.

mod arrow;
mod image;
mod npy;
mod table;
mod text;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use simrecorder::backend::Node;
use simrecorder::{DataStore, Error, ErrorKind, Key, NodeKind, View};

use self::table::Table;
use crate::args::{RangeArgs, SeriesArgs};
use crate::exit::{Exit, Result};
use crate::file;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::recording;

const EXAMPLES: &str = "\
Examples:
  simrec export run.mdb 'net/*' -o net.parquet             the series of a timeline as one table
  simrec export run.mdb net/rate --from 10 -o rate.csv     with its coordinate, from 10 on
  simrec export run.mdb net/v -o v.npy                     one array for numpy
  simrec export run.mdb net/v net/u -o net.npz             several
  simrec export run.mdb 'frames[-1]' -o frame.png          the pixels of one record";

/// Export series as CSV, Parquet, Arrow IPC, JSON lines, .npy or .npz, or a record as PNG
///
/// The series of a table are its columns, after their coordinate; they have the same number of records.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    series: SeriesArgs,

    /// The file: .csv, .parquet, .arrow, .jsonl, .npy, .npz or .png
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Replace an existing file
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    range: RangeArgs,
}

/// The format, from the extension of a file.
#[derive(Clone, Copy)]
enum Format {
    Csv,
    Parquet,
    Arrow,
    JsonLines,
    Npy,
    Npz,
    Png,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        match file::extension(path).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some("arrow" | "ipc" | "feather") => Ok(Self::Arrow),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("npy") => Ok(Self::Npy),
            Some("npz") => Ok(Self::Npz),
            Some("png") => Ok(Self::Png),
            _ => Err(refuse(
                path,
                "its extension names no format; end it in .csv, .parquet, .arrow, .jsonl, \
                 .npy, .npz or .png",
            )),
        }
    }
}

fn refuse(path: &Path, message: &str) -> Error {
    let error = Error::new(ErrorKind::InvalidArgument, "export", message);
    error.with_key(path.display().to_string())
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let path = &args.output;
    let format = Format::of(path)?;
    file::check_new("export", path, args.force)?;
    let store = recording::open(&args.series.recording)?;
    let views = match format {
        Format::Png => vec![image::select(&*store, &args.series.keys)?],
        _ => series(&*store, args)?,
    };
    let interrupt = Interrupt::watch()?;
    file::write("export", path, |file| {
        export(format, views, interrupt, file)
    })?;
    Ok(Exit::Success)
}

/// The series to which the keys refer, as of one commit.
fn series(store: &dyn DataStore, args: &Args) -> Result<Vec<View>> {
    let mut keys: Vec<Key> = Vec::new();
    for child in recording::select(store, &args.series.keys)? {
        if child.kind == NodeKind::Series {
            keys.push(child.key);
        }
    }
    let mut views = Vec::new();
    for (node, key) in store.nodes(&keys)?.into_iter().zip(&keys) {
        match node {
            Some(Node::Series(view)) => views.push(args.range.select(view)?),
            Some(Node::Unreadable { error, .. }) => return Err(error.into()),
            _ => {
                let error = Error::new(ErrorKind::NotFound, "export", "it was removed meanwhile");
                return Err(error.with_key(key.as_str()).into());
            }
        }
    }
    match views.is_empty() {
        true => Err(refuse(
            &args.output,
            "the keys name no series; values are printed by 'simrec cat'",
        )
        .into()),
        false => Ok(views),
    }
}

fn export(
    format: Format,
    views: Vec<View>,
    interrupt: Interrupt,
    file: &mut File,
) -> Result<(), Error> {
    let out = &mut BufWriter::new(file);
    match format {
        Format::Csv => text::write_csv(&Table::of(views, interrupt)?, out)?,
        Format::JsonLines => text::write_json_lines(&Table::of(views, interrupt)?, out)?,
        Format::Parquet => arrow::write_parquet(&Table::of(views, interrupt)?, out)?,
        Format::Arrow => arrow::write_ipc(&Table::of(views, interrupt)?, out)?,
        Format::Npy => npy::write_npy(&views, &interrupt, out)?,
        Format::Npz => npy::write_npz(&views, &interrupt, out)?,
        Format::Png => {
            for view in &views {
                out.write_all(&image::png(view)?).map_err(failed)?;
            }
        }
    }
    out.flush().map_err(failed)
}

/// The error for a file that cannot be written. Its path is added later, where it is known.
fn failed(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::StorageFull,
        _ => ErrorKind::Io,
    };
    Error::new(kind, "export", "the file cannot be written").with_source(error)
}
