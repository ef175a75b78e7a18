//! `simrec info`: describes a recording, or one key in full.

use std::io::Write;

use indicatif::HumanBytes;
use serde_json::{Map, Value as Json, json};
use simrecorder::backend::Node;
use simrecorder::{ArrayView, DataStore, DataStoreExt, Key, NodeKind, RecordingInfo};

use crate::args::RecordingArg;
use crate::element::to_json;
use crate::exit::{Exit, Result};
use crate::listing::{Description, ListingArgs};
use crate::output::Output;
use crate::recording;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  simrec info run.mdb            format, size, journal, and timelines with their last tick
  simrec info run.mdb net/v      one series in full, with its attributes";

/// Describe a recording: format, size, journal, timelines; or one key in full
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Key of a series, value or group
    #[arg(value_name = "KEY")]
    key: Option<String>,

    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.recording)?;
    let facts = match &args.key {
        Some(key) => facts_of_key(&*store, key)?,
        None => facts_of_recording(&*store)?,
    };
    match args.json {
        true => output.json(&facts)?,
        false => write_facts(&facts, output)?,
    }
    Ok(Exit::Success)
}

/// Writes each fact in a line, and the facts in a list below its name.
fn write_facts(facts: &Map<String, Json>, output: &mut impl Write) -> Result<()> {
    let mut table = Table::default();
    // Unknown and missing facts are left out.
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_null()) {
        let mut name = name.replace('_', " ");
        let lines = match fact {
            Json::Number(bytes) if name.ends_with("bytes") => {
                vec![HumanBytes(bytes.as_u64().unwrap_or_default()).to_string()]
            }
            Json::Array(facts) if facts.iter().any(Json::is_object) => {
                facts.iter().map(text).collect()
            }
            Json::Object(facts) if !facts.is_empty() => facts
                .iter()
                .map(|(name, fact)| format!("{name}: {}", text(fact)))
                .collect(),
            fact => vec![text(fact)],
        };
        for line in lines {
            table.push(vec![std::mem::take(&mut name), line]);
        }
    }
    Ok(table.write(output)?)
}

fn text(fact: &Json) -> String {
    match fact {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Json::Object(facts) => {
            let facts = facts
                .iter()
                .map(|(name, fact)| format!("{name} {}", text(fact)));
            facts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn facts_of_recording(store: &dyn DataStore) -> Result<Map<String, Json>> {
    let RecordingInfo {
        format,
        version,
        features,
        writer,
        id,
        bytes,
        live_bytes,
        journal_bytes,
        tails,
        is_checkpointed,
        is_being_written,
        lost_writers,
        ..
    } = store.info()?;
    let mut facts = Map::new();
    let mut add = |name: &str, fact: Json| facts.insert(name.to_owned(), fact);
    add("format", format.into());
    // Recordings of other software have none.
    add(
        "version",
        version.map_or_else(|| "not of simrecorder".into(), Json::from),
    );
    add("features", features.into());
    add("writer", writer.into());
    add("id", id.into());
    add("bytes", bytes.into());
    add(
        "free_bytes",
        bytes
            .zip(live_bytes)
            .map(|(bytes, live)| bytes.saturating_sub(live))
            .into(),
    );
    add("journal_bytes", journal_bytes.into());
    add("tails", tails.into());
    add("checkpointed", is_checkpointed.into());
    add("being_written", is_being_written.into());
    if let Some(count) = lost_writers {
        add("lost_writers", count.into());
    }
    let mut counts = [0_u64; 3];
    for child in recording::select(store, &[])? {
        counts[match child.kind {
            NodeKind::Group => 0,
            NodeKind::Value => 1,
            _ => 2,
        }] += 1;
    }
    for (name, count) in ["groups", "values", "series"].into_iter().zip(counts) {
        add(name, count.into());
    }
    add("timelines", timelines(store)?);
    Ok(facts)
}

/// The timelines, each with its coordinate, its number of ticks, and its last tick.
fn timelines(store: &dyn DataStore) -> Result<Json> {
    let mut found = store.timelines_within(&Key::ROOT)?;
    found.sort_by(|(a, _), (b, _)| a.natural_cmp(b));
    let mut timelines = Vec::new();
    for (group, name) in found {
        let Node::Series(coordinate) = store.require_node(&group.join(&name)?, NodeKind::Series)?
        else {
            continue;
        };
        timelines.push(json!({
            "group": group.as_str(),
            "coordinate": name,
            "ticks": coordinate.len(),
            "last": coordinate.last()?.as_ref().map(to_json),
            "units": coordinate.attributes().get("units"),
        }));
    }
    Ok(timelines.into())
}

fn facts_of_key(store: &dyn DataStore, text: &str) -> Result<Map<String, Json>> {
    let key = Key::new_or_root(text)?;
    let node = store.require_node(&key, NodeKind::Series)?;
    let mut facts = Map::new();
    facts.insert("key".to_owned(), key.as_str().into());
    facts.insert("kind".to_owned(), node.kind().as_str().into());
    let listed = ListingArgs {
        long: true,
        stats: false,
        json: true,
    };
    Description::of(&node, listed)?.add_to(&mut facts);
    if let Node::Series(view) = &node {
        let fill = view.schema().fill_value().map(to_json);
        facts.insert("fill_value".to_owned(), fill.into());
        facts.insert("filled_records".to_owned(), view.filled().into());
        facts.insert("dimension_names".to_owned(), json!(view.dimension_names()));
    }
    if node.kind() == NodeKind::Group {
        let children = store.children(&key)?;
        let names = children.iter().map(|child| child.key.name());
        facts.insert("contains".to_owned(), names.collect());
    }
    facts.insert(
        "attributes".to_owned(),
        Json::Object(node.into_attributes()),
    );
    Ok(facts)
}
