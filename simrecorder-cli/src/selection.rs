//! Selections in Python's syntax: `net/v[-10:, ::2, 3]`.

use simrecorder::ndarray::SliceInfoElem;
use simrecorder::{ArrayView, Error, ErrorKind, Kind, Selection};

/// The contents of the brackets after a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PythonSelection(Vec<Item>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Index(i64),
    Slice {
        start: Option<i64>,
        stop: Option<i64>,
        step: i64,
    },
    /// `...`: all axes without another item.
    Ellipsis,
}

const WHOLE: Item = Item::Slice {
    start: None,
    stop: None,
    step: 1,
};

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, "select", message)
}

/// Splits `net/v[1:3]` into the key and the contents of its brackets.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix(']')?.rsplit_once('[')
}

impl PythonSelection {
    /// Parses the contents of the brackets.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let items: Vec<_> = text.split(',').map(parse_item).collect();
        // As in Python, a comma may end the list.
        let items = match &items[..] {
            [_, .., Err(_)] if text.trim_end().ends_with(',') => &items[..items.len() - 1],
            items => items,
        };
        let parsed = items.iter().cloned().collect::<Result<Vec<_>, _>>();
        let items = parsed.map_err(|e| e.with_key(format!("[{text}]")))?;
        if items.iter().filter(|item| **item == Item::Ellipsis).count() > 1 {
            return Err(refuse("a selection has at most one '...'").with_key(format!("[{text}]")));
        }
        Ok(Self(items))
    }

    /// Whether it selects one record rather than a part of the records.
    pub(crate) fn is_one_record(&self) -> bool {
        matches!(self.0[..], [Item::Index(_), ..])
    }

    /// Whether it selects a part of every record.
    pub(crate) fn has_all_records(&self) -> bool {
        matches!(self.0[..], [WHOLE | Item::Ellipsis, ..])
    }

    /// The selection of a view. As in Python, slices end at the end of the axis.
    pub(crate) fn resolve(&self, view: &dyn ArrayView) -> Result<Selection, Error> {
        let shape = view.shape();
        let is_about_axis = |item: &&Item| **item != Item::Ellipsis;
        let given = self.0.iter().filter(is_about_axis).count();
        if given > shape.len() {
            let message = format!(
                "the selection has {given} axes, the series has {}: {shape:?}",
                shape.len()
            );
            return Err(
                Error::new(ErrorKind::OutOfBounds, "select", message).with_key(view.key().as_str())
            );
        }
        let mut items = Vec::new();
        for &item in &self.0 {
            match item {
                Item::Ellipsis => items.extend(vec![WHOLE; shape.len() - given]),
                item => items.push(item),
            }
        }
        let elements = items.iter().zip(shape).map(|(item, &len)| match *item {
            // Other kinds have no axis that could be dropped.
            Item::Index(index) if view.kind() != Kind::Array => one_record(index, len),
            Item::Index(index) => Ok(SliceInfoElem::Index(index as isize)),
            Item::Slice { start, stop, step } => Ok(slice(start, stop, step, len)),
            Item::Ellipsis => Ok(SliceInfoElem::NewAxis),
        });
        let elements = elements.collect::<Result<Vec<_>, Error>>();
        elements
            .map(Selection::from)
            .map_err(|e| e.with_key(view.key().as_str()))
    }
}

fn one_record(index: i64, len: u64) -> Result<SliceInfoElem, Error> {
    let position = match index < 0 {
        true => len.checked_sub(index.unsigned_abs()),
        false => Some(index as u64),
    };
    match position.filter(|&position| position < len) {
        Some(position) => Ok(SliceInfoElem::Slice {
            start: position as isize,
            end: Some(position as isize + 1),
            step: 1,
        }),
        None => {
            let message = format!("there is no record {index}; the series has {len}");
            Err(Error::new(ErrorKind::OutOfBounds, "select", message))
        }
    }
}

/// A slice of Python over an axis of `len` elements, as a slice of `ndarray`, which reverses the
/// slice for a negative step.
fn slice(start: Option<i64>, stop: Option<i64>, step: i64, len: u64) -> SliceInfoElem {
    // No store has longer axes.
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let clamp = |index: i64, low: i64, high: i64| {
        let from_start = if index < 0 {
            index.saturating_add(len)
        } else {
            index
        };
        from_start.clamp(low, high)
    };
    let (start, end) = match step > 0 {
        true => (
            start.map_or(0, |start| clamp(start, 0, len)),
            stop.map_or(len, |stop| clamp(stop, 0, len)),
        ),
        false => (
            stop.map_or(-1, |stop| clamp(stop, -1, len - 1)) + 1,
            start.map_or(len - 1, |start| clamp(start, -1, len - 1)) + 1,
        ),
    };
    SliceInfoElem::Slice {
        start: start as isize,
        end: Some(end.max(start) as isize),
        step: step as isize,
    }
}

fn parse_item(text: &str) -> Result<Item, Error> {
    let text = text.trim();
    let integer = |part: &str| {
        let part = part.trim();
        let parsed = part.parse::<i64>();
        parsed.map_err(|_| {
            refuse(format!(
                "'{part}' is not an integer; write [5], [-10:], [::2] or [..., 0]"
            ))
        })
    };
    if text == "..." {
        return Ok(Item::Ellipsis);
    }
    let parts: Vec<_> = text.split(':').collect();
    let optional = |index: usize| {
        let part = parts.get(index).filter(|part| !part.trim().is_empty());
        part.map(|part| integer(part)).transpose()
    };
    match parts.len() {
        1 => integer(text).map(Item::Index),
        2 | 3 => {
            let step = optional(2)?.unwrap_or(1);
            if step == 0 {
                return Err(refuse("a step of 0 selects nothing"));
            }
            Ok(Item::Slice {
                start: optional(0)?,
                stop: optional(1)?,
                step,
            })
        }
        _ => Err(refuse(format!("'{text}' has more than two colons"))),
    }
}

#[cfg(test)]
mod tests {
    use simrecorder::{InMemoryDataStore, Recorder, View};

    use super::*;

    fn view() -> View {
        let recorder = Recorder::new(InMemoryDataStore::new());
        for i in 0..10 {
            recorder.record("v", [i, i + 100]).unwrap();
        }
        recorder.get_all("v").unwrap()
    }

    fn first_column(text: &str) -> Vec<i32> {
        let view = view();
        let selection = PythonSelection::parse(text).unwrap();
        let selected = view.select(selection.resolve(&*view).unwrap()).unwrap();
        selected.read::<i32>().unwrap().into_iter().collect()
    }

    /// The expected numbers are those of `list(range(10))[...]` in Python.
    #[test]
    fn slices_are_those_of_python() {
        let of = |slice: &str| first_column(&format!("{slice}, 0"));
        assert_eq!(of("-3:"), [7, 8, 9]);
        assert_eq!(of(":-8"), [0, 1]);
        assert_eq!(of("::4"), [0, 4, 8]);
        assert_eq!(of("::-4"), [9, 5, 1]);
        assert_eq!(of("8:2:-3"), [8, 5]);
        assert_eq!(of("2:8:-1"), [0; 0]);
        assert_eq!(of("5:100"), [5, 6, 7, 8, 9]);
        assert_eq!(of("-100:2"), [0, 1]);
        assert_eq!(of("100:"), [0; 0]);
        assert_eq!(of("-100::-1"), [0; 0]);
        assert_eq!(of("3::-1"), [3, 2, 1, 0]);
        assert_eq!(of("-9223372036854775808:1"), [0]);
        assert_eq!(of("::9223372036854775807"), [0]);
    }

    #[test]
    fn indices_and_an_ellipsis_select_along_any_axis() {
        assert_eq!(first_column("-1"), [9, 109]);
        assert_eq!(first_column("..., -1")[..2], [100, 101]);
        assert_eq!(first_column("3, ...,"), [3, 103]);
    }

    #[test]
    fn invalid_selections_are_refused() {
        for text in [
            "",
            "a",
            "1:2:3:4",
            "::0",
            "1.5",
            "..., ...",
            ",",
            "9223372036854775808",
        ] {
            assert!(PythonSelection::parse(text).is_err(), "{text}");
        }
        let view = view();
        for text in ["10", "-11", "0, 0, 0", "0, 2"] {
            let selection = PythonSelection::parse(text).unwrap();
            let selected = selection.resolve(&*view).and_then(|s| view.select(s));
            assert_eq!(
                selected.unwrap_err().kind(),
                ErrorKind::OutOfBounds,
                "{text}"
            );
        }
    }

    #[test]
    fn a_key_is_divided_from_its_selection() {
        assert_eq!(split("net/v[1:3, 0]"), Some(("net/v", "1:3, 0")));
        assert_eq!(split("v[0][1]"), Some(("v[0]", "1")));
        assert_eq!(split("net/v"), None);
    }
}
