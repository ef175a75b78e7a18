//! The parameters of a request.

use std::str::FromStr;

use super::shown::{Recording, Shown};
use crate::exit::{Failure, Result};

/// The parameters of a request. Some may occur several times.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.0.iter().filter(move |(key, _)| key == name);
        of_name.map(|(_, value)| &**value)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let of_name = self.0.iter().find(|(key, _)| key == name);
        of_name.map(|(_, value)| &**value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let refused =
            |_| Failure::Refused(format!("'{text}' is not a value of the parameter {name}"));
        text.parse().map(Some).map_err(refused)
    }

    /// The recordings with the given numbers.
    pub(super) fn recordings<'a>(&self, shown: &'a Shown) -> Result<Vec<&'a Recording>> {
        let recordings = self.all("recording").map(|text| {
            let refused =
                |_| Failure::Refused(format!("'{text}' is not the number of a recording"));
            shown.recording(text.parse().map_err(refused)?)
        });
        recordings.collect()
    }

    pub(super) fn recording<'a>(&self, shown: &'a Shown) -> Result<&'a Recording> {
        let missing = || Failure::Refused("the parameter recording is missing".to_owned());
        self.recordings(shown)?.first().copied().ok_or_else(missing)
    }
}
