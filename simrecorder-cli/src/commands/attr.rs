//! `simrec attr`: lists and changes attributes.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value as Json;
use simrecorder::{Attributes, DataStoreExt, Key, NodeKind, Recorder, TIMELINE_ATTRIBUTE};

use crate::args::RecordingArg;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
    Examples:
  simrec attr run.mdb                              those of the recording
  simrec attr run.mdb net/v                        those of a group, value or series
  simrec attr run.mdb net/v units=mV area=0.5      sets two
  simrec attr run.mdb / --delete comment           deletes one

The text after = is read as JSON if it is valid JSON, and otherwise as text.";

/// List or change the attributes of a recording, group, value or series
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Key of a group, value or series; / is the recording itself
    #[arg(default_value = "/")]
    key: String,

    /// Attributes to set
    #[arg(value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Attributes to delete
    #[arg(long, value_name = "NAME")]
    delete: Vec<String>,

    /// Write JSON
    #[arg(long, conflicts_with_all = ["set", "delete"])]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let key = Key::new_or_root(&args.key)?;
    match args.set.is_empty() && args.delete.is_empty() {
        true => list(args, &key, output),
        false => change(args, &key),
    }
}

fn list(args: &Args, key: &Key, output: &mut Output) -> Result<Exit> {
    let store = simrecorder::open(&args.recording.recording)?;
    let node = store.require_node(key, NodeKind::Series)?;
    // The order must not depend on the backend.
    let attributes: BTreeMap<_, _> = node.attributes().iter().collect();
    if args.json {
        output.json(&attributes)?;
        return Ok(Exit::Success);
    }
    for (name, value) in attributes {
        writeln!(output, "{} = {value}", name.escape_debug())?;
    }
    Ok(Exit::Success)
}

fn change(args: &Args, key: &Key) -> Result<Exit> {
    let store = simrecorder::append(&args.recording.recording)?;
    let mut attributes = store.require_node(key, NodeKind::Series)?.into_attributes();
    for text in &args.set {
        let Some((name, value)) = text.split_once('=') else {
            return Err(refuse(key, &format!("'{text}' is not NAME=VALUE")));
        };
        check(key, name)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Json::from(value));
        attributes.insert(name.to_owned(), value);
    }
    for name in &args.delete {
        check(key, name)?;
        if attributes.remove(name).is_none() {
            let there = names(&attributes);
            return Err(refuse(
                key,
                &format!("there is no attribute '{name}'; the attributes are: {there}"),
            ));
        }
    }
    let recorder = Recorder::new(store);
    recorder.set_attributes(key, attributes)?;
    recorder.close()?;
    Ok(Exit::Success)
}

/// Checks that users may change an attribute.
fn check(key: &Key, name: &str) -> Result<()> {
    match name {
        TIMELINE_ATTRIBUTE => {
            let message =
                format!("'{name}' names the coordinate of a timeline and cannot be changed");
            Err(refuse(key, &message))
        }
        _ => Ok(()),
    }
}

fn refuse(key: &Key, message: &str) -> Failure {
    Failure::Refused(format!("attr '{key}': {message}"))
}

fn names(attributes: &Attributes) -> String {
    match attributes.is_empty() {
        true => "none".to_owned(),
        false => {
            let mut names: Vec<_> = attributes.keys().cloned().collect();
            names.sort();
            names.join(", ")
        }
    }
}
