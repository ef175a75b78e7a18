//! The names of the keys on the server.

use simrecorder_core::Key;

use crate::connection::percent::{percent_decoded, percent_encoded};

/// The names of the keys of one recording. `docs/format.md` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The name of the recording with special characters escaped.
    run: String,
    /// Changes when the recording is deleted and created again.
    generation: String,
}

/// The key that marks a recording and describes its encoding.
pub(crate) fn root(run: &str) -> String {
    format!("simrecorder:{{{}}}:root", escape(run))
}

/// A pattern that matches the keys of [`root`], and possibly others.
pub(crate) const ROOTS: &str = "simrecorder:{*}:root";

/// The recording whose root is this key.
pub(crate) fn run_of_root(key: &str) -> Option<String> {
    let run = key.strip_prefix("simrecorder:{")?.strip_suffix("}:root")?;
    let run = percent_decoded(run).ok()?;
    (root(&run) == key).then_some(run)
}

/// Generations that are to be deleted.
pub(crate) fn garbage(run: &str) -> String {
    format!("simrecorder:{{{}}}:garbage", escape(run))
}

/// The name of a recording as a part of the names of its keys. Braces would end the part of a name
/// that a cluster hashes.
fn escape(run: &str) -> String {
    percent_encoded(run, |byte| {
        byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)
    })
}

impl Names {
    pub(crate) fn new(run: &str, generation: &str) -> Self {
        Self {
            run: escape(run),
            generation: generation.to_owned(),
        }
    }

    pub(crate) fn generation(&self) -> &str {
        &self.generation
    }

    pub(crate) fn root(&self) -> String {
        format!("simrecorder:{{{}}}:root", self.run)
    }

    /// A key of the hierarchy. All of them are in one slot of a cluster.
    fn hierarchy(&self, name: &str) -> String {
        format!("simrecorder:{{{}}}:{}:{name}", self.run, self.generation)
    }

    /// Hash: the metadata of each key.
    pub(crate) fn nodes(&self) -> String {
        self.hierarchy("nodes")
    }

    /// Hash: the attributes of each key.
    pub(crate) fn attributes(&self) -> String {
        self.hierarchy("attributes")
    }

    /// Hash, in a cluster: the keys of removed series.
    pub(crate) fn removed(&self) -> String {
        self.hierarchy("removed")
    }

    /// Hash: the last commit of each writer.
    pub(crate) fn commits(&self) -> String {
        self.hierarchy("commits")
    }

    /// Hash: the last claim of each group.
    pub(crate) fn claims(&self) -> String {
        self.hierarchy("claims")
    }

    /// Hash: the writers.
    pub(crate) fn writers(&self) -> String {
        self.hierarchy("writers")
    }

    /// The prefix of the names of groups; the key of the group follows.
    pub(crate) fn groups(&self) -> String {
        self.hierarchy("group:")
    }

    /// Hash: the children of a group.
    pub(crate) fn group(&self, key: &Key) -> String {
        self.groups() + key.as_str()
    }

    /// The prefix of the names of stored values.
    pub(crate) fn values(&self) -> String {
        self.hierarchy("value:")
    }

    /// The keys in the slot of a series, or of a group with its series.
    pub(crate) fn slot(&self, key: &Key) -> SlotNames {
        SlotNames(format!("{}{}}}:", self.all_series(), hash(key)))
    }

    /// The keys of a series with a slot of its own.
    pub(crate) fn series(&self, key: &Key) -> SeriesNames {
        let slot = self.slot(key);
        let prefix = slot.0.clone();
        SeriesNames { slot, prefix }
    }

    /// The keys of a series in the slot of its group.
    pub(crate) fn series_in_slot_of_group(&self, key: &Key) -> SeriesNames {
        let slot = self.slot(&group_of(key));
        let prefix = format!("{}{}:", slot.0, hash(key));
        SeriesNames { slot, prefix }
    }

    /// The prefix of the names of the keys of all series; a hash of the key of the series follows.
    pub(crate) fn all_series(&self) -> String {
        format!("simrecorder:{{{}:{}:", self.run, self.generation)
    }
}

/// The parent group of a series.
pub(crate) fn group_of(series: &Key) -> Key {
    series.parent().unwrap_or(Key::ROOT)
}

fn hash(key: &Key) -> String {
    let mut hash = sha1_smol::Sha1::from(key.as_str()).digest().to_string();
    hash.truncate(16);
    hash
}

/// The names of keys in one slot of a cluster: of one series, or of the series of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SlotNames(String);

impl SlotNames {
    /// Hash: the last commit of each writer, in a cluster.
    pub(crate) fn commits(&self) -> String {
        format!("{}commits", self.0)
    }

    /// Hash: the last claim of the group, in a cluster.
    pub(crate) fn claims(&self) -> String {
        format!("{}claims", self.0)
    }

    /// Hash: the states of all series in the slot of their group.
    pub(crate) fn states(&self) -> String {
        format!("{}states", self.0)
    }
}

/// The names of the keys of one series, all of them in one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeriesNames {
    slot: SlotNames,
    prefix: String,
}

impl SeriesNames {
    /// The keys in the same slot.
    pub(crate) fn slot(&self) -> &SlotNames {
        &self.slot
    }

    /// Whether other series of its group have the same slot.
    pub(crate) fn shares_slot(&self) -> bool {
        !self.state_fields().is_empty()
    }

    /// The prefix of all of them; the name of a frame follows.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Hash: the number of records. Series in one slot share it, so that one command reads the
    /// states of all of them.
    pub(crate) fn state(&self) -> String {
        match self.shares_slot() {
            true => self.slot.states(),
            false => format!("{}state", self.prefix),
        }
    }

    /// The prefix of the names of its fields in that hash.
    pub(crate) fn state_fields(&self) -> &str {
        &self.prefix[self.slot.0.len()..]
    }

    /// Stream: which frame contains which records.
    pub(crate) fn index(&self) -> String {
        format!("{}index", self.prefix)
    }
}

/// The name of a writer.
pub(crate) fn writer_name(id: u64) -> String {
    format!("{id:016x}")
}

/// The names of the strings that contain a frame: several if it was split.
pub(crate) fn part_names(
    prefix: &str,
    frame: &str,
    part_count: usize,
) -> impl Iterator<Item = String> {
    (0..part_count).map(move |part| part_name(prefix, frame, part_count, part))
}

/// The name of one of them.
pub(crate) fn part_name(prefix: &str, frame: &str, part_count: usize, part: usize) -> String {
    match part_count {
        1 => format!("{prefix}{frame}"),
        _ => format!("{prefix}{frame}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_cannot_leave_their_part() {
        assert_eq!(root("a b}{%ü"), "simrecorder:{a%20b%7d%7b%25%c3%bc}:root");
        assert_ne!(root("a:b"), root("a%3ab"));
        for run in ["", "a b}{%ü", "a/b-c", "x}:root"] {
            assert_eq!(run_of_root(&root(run)).as_deref(), Some(run));
        }
        for other in [
            "simrecorder:{a}:g:group:x}:root",
            "simrecorder:{%zz}:root",
            "x",
        ] {
            assert_eq!(run_of_root(other), None, "{other}");
        }
    }

    #[test]
    fn parts_are_numbered_only_if_there_are_several() {
        assert_eq!(part_names("p:", "f", 1).collect::<Vec<_>>(), ["p:f"]);
        assert_eq!(
            part_names("p:", "f", 2).collect::<Vec<_>>(),
            ["p:f.0", "p:f.1"]
        );
    }
}
