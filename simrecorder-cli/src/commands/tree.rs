//! `simrec tree`: shows the hierarchy of keys.

use simrecorder::{Child, Key, NodeKind};

use crate::args::NodesArgs;
use crate::exit::{Exit, Result};
use crate::listing::ListingArgs;
use crate::output::Output;
use crate::recording;

const EXAMPLES: &str = "\
    Examples:
  simrec tree run.mdb                 all keys with types, shapes, units and values
  simrec tree -l run.mdb 'net/**'     the group net, with chunks and coordinates";

/// Show the keys of a recording as a tree, with types, shapes, units and values
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    nodes: NodesArgs,

    #[command(flatten)]
    listing: ListingArgs,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let store = recording::open(&args.nodes.recording)?;
    let selected = with_groups(recording::select(&*store, &args.nodes.keys)?);
    let branches = branches(&selected).into_iter();
    let nodes = recording::nodes(&*store, selected).zip(branches);
    let entries = nodes.map(|((child, node), branch)| {
        let name = match child.key.is_root() {
            true => "/",
            false => child.key.name(),
        };
        let text = format!("{branch}{name}");
        (child, text, node)
    });
    args.listing.write(entries, output)?;
    Ok(Exit::Success)
}

/// Adds the groups above the nodes, including the root.
fn with_groups(mut selected: Vec<Child>) -> Vec<Child> {
    let above = selected.iter().flat_map(|child| child.key.ancestors());
    let above: Vec<_> = above.chain([Key::ROOT]).collect();
    selected.extend(
        above
            .into_iter()
            .map(|key| Child::new(key, NodeKind::Group)),
    );
    selected.sort_by(|a, b| a.key.natural_cmp(&b.key));
    selected.dedup_by(|b, a| a.key == b.key);
    selected
}

/// The lines that lead to each node. A group precedes its contents.
fn branches(nodes: &[Child]) -> Vec<String> {
    // For each level, whether more nodes of the same group follow; computed from the last node to
    // the first.
    let mut follows: Vec<bool> = Vec::new();
    let mut branches: Vec<_> = nodes
        .iter()
        .rev()
        .map(|child| {
            let depth = child.key.parts().count();
            let more = follows.get(depth).copied().unwrap_or(false);
            follows.resize(depth + 1, false);
            let above = follows.get(1..depth).unwrap_or_default();
            let mut branch: String = above
                .iter()
                .map(|&follows| if follows { "│   " } else { "    " })
                .collect();
            if depth > 0 {
                branch.push_str(if more { "├── " } else { "└── " });
            }
            follows[depth] = true;
            branch
        })
        .collect();
    branches.reverse();
    branches
}
