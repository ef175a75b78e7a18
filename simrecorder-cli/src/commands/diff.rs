//! `simrec diff`: compares two recordings.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use simrecorder::{CompareOptions, Comparison, Difference, DifferenceKind};

use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
    Examples:
  simrec diff run.mdb reference.h5
  simrec diff a.mdb b.mdb --rtol 1e-6 --equal-nan
  simrec diff a.mdb b.mdb --ignore-key 'meta/**' --ignore-attribute date

Two numbers a and b are the same if |a - b| <= max(atol, rtol * max(|a|, |b|)); by default both tolerances
are 0, so that every difference counts. Series of timelines are compared tick by tick.

Exit status: 0 they are the same; 1 they differ; 2 an error, or a part that cannot be read.";

/// Compare two recordings, in any stores
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Path or URL of the first recording
    a: PathBuf,

    /// Path or URL of the second recording
    b: PathBuf,

    /// Largest difference between equal numbers, relative to the larger one
    #[arg(long, default_value_t = 0.0, value_name = "TOLERANCE")]
    rtol: f64,

    /// Largest absolute difference between equal numbers
    #[arg(long, default_value_t = 0.0, value_name = "TOLERANCE")]
    atol: f64,

    /// Treat NaN as equal to NaN
    #[arg(long)]
    equal_nan: bool,

    /// Leave out keys that match, and everything below them: * matches within a level, ** any
    /// levels
    #[arg(long, value_name = "GLOB")]
    ignore_key: Vec<String>,

    /// Leave out attributes whose name matches
    #[arg(long, value_name = "GLOB")]
    ignore_attribute: Vec<String>,

    /// Write a JSON object per difference
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let mut options = CompareOptions::new()
        .rtol(args.rtol)
        .atol(args.atol)
        .equal_nan(args.equal_nan);
    for pattern in &args.ignore_key {
        options = options.ignore_key(pattern);
    }
    for pattern in &args.ignore_attribute {
        options = options.ignore_attribute(pattern);
    }
    let (a, b) = (simrecorder::open(&args.a)?, simrecorder::open(&args.b)?);
    let found = simrecorder::compare(&a, &b, &options)?;
    match args.json {
        true => {
            for difference in &found.differences {
                output.json(&as_json(difference))?;
            }
        }
        false => writeln!(output, "{found}")?,
    }
    Ok(exit(&found))
}

fn exit(found: &Comparison) -> Exit {
    match (found.is_same(), found.is_incomplete()) {
        (true, _) => Exit::Success,
        (false, false) => Exit::No,
        (false, true) => Exit::Unknown,
    }
}

fn as_json(difference: &Difference) -> serde_json::Value {
    let (what, details) = match &difference.kind {
        DifferenceKind::OnlyIn {
            side,
            kind,
            key_count,
        } => (
            "only in",
            json!({"side": side.to_string(), "kind": kind.as_str(), "keys": key_count}),
        ),
        DifferenceKind::NodeKind { a, b } => ("kind", json!({"a": a.as_str(), "b": b.as_str()})),
        DifferenceKind::Type { a, b } => ("type", json!({"a": a, "b": b})),
        DifferenceKind::DimensionNames { a, b } => ("dimension names", json!({"a": a, "b": b})),
        DifferenceKind::Attribute { name, a, b } => {
            ("attribute", json!({"name": name, "a": a, "b": b}))
        }
        DifferenceKind::Records { a, b } => (
            "records",
            json!({"a": [a.start, a.end], "b": [b.start, b.end]}),
        ),
        DifferenceKind::Ticks {
            coordinate,
            side,
            count,
            first,
            last,
        } => (
            "ticks",
            json!({
                "coordinate": coordinate, "side": side.to_string(), "count": count,
                "first": first.to_string(), "last": last.to_string(),
            }),
        ),
        DifferenceKind::Values(values) => (
            "values",
            json!({
                "differing": values.differing, "compared": values.compared,
                "both_nan": values.both_nan,
                "largest_absolute": values.largest_absolute,
                "largest_relative": values.largest_relative,
                "index": values.index, "record_in_b": values.record_in_b,
                "a": values.a.to_string(), "b": values.b.to_string(),
            }),
        ),
        DifferenceKind::Unreadable { side, error } => (
            "unreadable",
            json!({"side": side.to_string(), "error": error.to_string()}),
        ),
        other => ("other", json!(other.to_string())),
    };
    let (key, line) = (difference.key.as_str(), difference.kind.to_string());
    json!({"key": key, "difference": what, "line": line, "details": details})
}
