//! `simrec rm`: removes keys.

use simrecorder::{DataStore, DataStoreExt, Key, KeyPatterns, NodeKind, Recorder};

use crate::args::RecordingArg;
use crate::confirm::confirm;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
    Examples:
  simrec rm run.mdb net/v                a value or a series
  simrec rm run.mdb net --yes            a group with everything in it, without a question
  simrec rm run.mdb '**/spikes'          all series of this name

Later records reuse the space; 'simrec copy' makes a smaller file.";

/// Remove keys and everything below them
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    recording: RecordingArg,

    /// Keys, groups or globs: * matches within a level, ** any levels
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &Args, _: &mut Output) -> Result<Exit> {
    let store = simrecorder::append(&args.recording.recording)?;
    let mut keys = Vec::new();
    for text in &args.keys {
        keys.extend(named(&*store, text)?);
    }
    keys.sort();
    keys.dedup();
    // Removing a group removes everything below it.
    keys.dedup_by(|key, before| key.is_within(before));
    let mut count = 0;
    for key in &keys {
        count += store.keys_within(key)?.len().max(1);
    }
    let what = match &keys[..] {
        [key] if count == 1 => format!("remove '{key}'"),
        [key] => format!("remove '{key}' with {count} keys"),
        keys => format!("remove {} keys, '{}' and others", count, keys[0]),
    };
    let is_agreed = confirm(&what, args.yes)?;
    if is_agreed {
        let recorder = Recorder::new(store.clone());
        keys.iter().try_for_each(|key| recorder.remove(key))?;
        recorder.close()?;
    }
    store.close()?;
    Ok(match is_agreed {
        true => Exit::Success,
        false => Exit::No,
    })
}

/// The key that a text names, or otherwise the values and series that it matches as a glob.
fn named(store: &dyn DataStore, text: &str) -> Result<Vec<Key>> {
    let key = Key::new(text)?;
    if !text.contains(['*', '?', '[']) || store.node(&key)?.is_some() {
        store.require_node(&key, NodeKind::Series)?;
        return Ok(vec![key]);
    }
    let selected = KeyPatterns::new().include(text).select(store)?;
    let matched = selected
        .into_iter()
        .filter(|child| child.kind != NodeKind::Group);
    Ok(matched.map(|child| child.key).collect())
}
