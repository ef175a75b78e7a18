//! The names of the keys on the server.

use simrecorder_core::Key;

use crate::connection::percent::{percent_decoded, percent_encoded};

/// The names of the keys of one recording. `docs/format.md` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The name of the recording with what is special in it escaped.
    run: String,
    /// Changes when the recording is deleted and created anew.
    generation: String,
}

/// The key that says that there is a recording, and how it is written.
pub(crate) fn root(run: &str) -> String {
    format!("simrecorder:{{{}}}:root", escape(run))
}

/// What the keys of [`root`] match, and perhaps others.
pub(crate) const ROOTS: &str = "simrecorder:{*}:root";

/// The recording that a key is the root of.
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

    /// A key of the hierarchy, all of which lies in one slot of a cluster.
    fn hierarchy(&self, name: &str) -> String {
        format!("simrecorder:{{{}}}:{}:{name}", self.run, self.generation)
    }

    /// Hash: what there is at each key.
    pub(crate) fn nodes(&self) -> String {
        self.hierarchy("nodes")
    }

    /// Hash: the attributes of each key.
    pub(crate) fn attributes(&self) -> String {
        self.hierarchy("attributes")
    }

    /// Hash, in a cluster: the keys of series that were removed.
    pub(crate) fn removed(&self) -> String {
        self.hierarchy("removed")
    }

    /// Hash: the last commit of each writer.
    pub(crate) fn commits(&self) -> String {
        self.hierarchy("commits")
    }

    /// Hash: who the writers are.
    pub(crate) fn writers(&self) -> String {
        self.hierarchy("writers")
    }

    /// What the names of the groups begin with; the key of the group follows.
    pub(crate) fn groups(&self) -> String {
        self.hierarchy("group:")
    }

    /// Hash: what is right below a group.
    pub(crate) fn group(&self, key: &Key) -> String {
        self.groups() + key.as_str()
    }

    /// What the names of stored values begin with.
    pub(crate) fn values(&self) -> String {
        self.hierarchy("value:")
    }

    /// The keys of a series.
    pub(crate) fn series(&self, key: &Key) -> SeriesNames {
        let hash = sha1_smol::Sha1::from(key.as_str()).digest().to_string();
        SeriesNames(format!("{}{}}}:", self.all_series(), &hash[..16]))
    }

    /// What the names of the keys of all series begin with; a hash of the key of the series follows.
    pub(crate) fn all_series(&self) -> String {
        format!("simrecorder:{{{}:{}:", self.run, self.generation)
    }
}

/// The names of the keys of one series, all of which lie in one slot of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeriesNames(String);

impl SeriesNames {
    /// What all of them begin with; the name of a frame follows.
    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    /// Hash: how many records there are.
    pub(crate) fn state(&self) -> String {
        format!("{}state", self.0)
    }

    /// Stream: which frame holds which records.
    pub(crate) fn index(&self) -> String {
        format!("{}index", self.0)
    }

    /// Hash: the last commit of each writer, in a cluster.
    pub(crate) fn commits(&self) -> String {
        format!("{}commits", self.0)
    }
}

/// The name of a writer.
pub(crate) fn writer_name(id: u64) -> String {
    format!("{id:016x}")
}

/// The names of the strings that hold a frame: more than one if it was split.
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
