//! Comparing two recordings.

mod criterion;
mod difference;
mod ticks;
mod values;

use std::collections::BTreeMap;
use std::ops::Range;

use glob::Pattern;

pub use criterion::Criterion;
pub use difference::{Comparison, Difference, DifferenceKind, Side, ValueDifference};
use ticks::Ticks;
use values::{Blocks, Comparer, Unreadable};

use crate::error::Result;
use crate::model::key::Key;
use crate::model::kind::NodeKind;
use crate::model::schema::Attributes;
use crate::model::value::Value;
use crate::reading::view::View;
use crate::recorder::timeline_of;
use crate::store::array_view::ArrayView;
use crate::store::data_store::{DataStore, DataStoreExt};
use crate::store::node::{Child, Node};
use crate::tools::key_patterns::{OPTIONS, compile};

/// How many series of a group that is not a timeline are opened at once.
const SERIES_AT_ONCE: usize = 256;

/// Compares two recordings in any stores and lists the differences.
///
/// It compares keys, kinds of nodes, attributes, names of axes, types, shapes, values and records, but not how they are
/// stored (chunks, compression, fill values). [`Criterion`] defines equal numbers; text, bytes and objects are equal if
/// their bytes are.
///
/// - Timelines with the same coordinate are compared tick by tick, at the ticks that both have. Ticks that only one
///   has, because a run began later, ended earlier or left out ticks, are a difference of the group. Ticks are the same
///   if their coordinates are equal, or if floating-point coordinates differ by at most a relative 1e-9.
/// - Other series are compared record by record, up to the length of the shorter one.
/// - A key that cannot be read is a difference. The comparison continues with the next key.
/// - Both recordings may be written at the same time. Each key is compared as it is when the comparison reaches it.
/// - It uses about 100 MiB of memory, or a few times the largest value, record or chunk if that is more.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, InMemoryDataStore, Recorder, compare};
///
/// let stores = [0.5, 0.5000001].map(|rate| {
///     let store = InMemoryDataStore::new();
///     let recorder = Recorder::new(store.clone());
///     recorder.record("net/rate", 0.25)?;
///     recorder.record("net/rate", rate)?;
///     recorder.close()?;
///     Ok::<_, simrecorder::Error>(store)
/// });
/// let [a, b] = stores;
/// let (a, b) = (a?, b?);
/// let exact = compare(&a, &b, &CompareOptions::new())?;
/// assert_eq!(
///     exact.differences[0].to_string(),
///     "net/rate: 1 of 2 differ, by up to 1.000e-7 (2.000e-7 relative); \
///      first at [1]: 0.5 in A, 0.5000001 in B"
/// );
/// assert!(compare(&a, &b, &CompareOptions::new().rtol(1e-6))?.is_same());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// - [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) names a pattern that is not valid, or a
///   tolerance that is negative or NaN.
/// - The error of a store whose root cannot be read.
pub fn compare(
    a: &dyn DataStore,
    b: &dyn DataStore,
    options: &CompareOptions,
) -> Result<Comparison> {
    let mut comparing = Comparing::new(options)?;
    for store in [a, b] {
        store.children(&Key::ROOT)?;
    }
    let mut open = vec![Key::ROOT];
    while let Some(group) = open.pop() {
        let mut groups = comparing.compare_group(a, b, &group);
        groups.reverse();
        open.append(&mut groups);
    }
    Ok(comparing.found)
}

/// Compares two views as [`compare`] does, record by record.
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::{CompareOptions, InMemoryDataStore, Recorder, compare_views};
///
/// let recorder = Recorder::new(InMemoryDataStore::new());
/// for x in [1.0, 2.0, 1.0, 2.5] {
///     recorder.record("x", x)?;
/// }
/// let x = recorder.get_all("x")?;
/// let found = compare_views(&x.select(..2)?, &x.select(2..)?, &CompareOptions::new().atol(0.5))?;
/// assert!(found.is_same());
/// # Ok::<(), simrecorder_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) as for [`compare`].
pub fn compare_views(a: &View, b: &View, options: &CompareOptions) -> Result<Comparison> {
    let mut comparing = Comparing::new(options)?;
    comparing.compare_series(a, b, &Pairs::InViews);
    Ok(comparing.found)
}

/// Options of [`compare`].
///
/// ```
/// # use simrecorder_core as simrecorder;
/// use simrecorder::CompareOptions;
///
/// // Two versions of a simulation: allow rounding errors, ignore when they ran.
/// let options = CompareOptions::new().rtol(1e-6).equal_nan(true).ignore_attribute("date").ignore_key("log");
/// ```
///
/// | option | default |
/// |---|---|
/// | [`rtol`](Self::rtol), [`atol`](Self::atol) | 0: every difference counts |
/// | [`equal_nan`](Self::equal_nan) | NaN differs from NaN |
/// | [`ignore_key`](Self::ignore_key) | all keys are compared |
/// | [`ignore_attribute`](Self::ignore_attribute) | all attributes are compared |
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CompareOptions {
    criterion: Criterion,
    ignored_keys: Vec<String>,
    ignored_attributes: Vec<String>,
}

impl CompareOptions {
    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the largest difference between equal numbers, relative to the larger one: see [`Criterion`].
    pub fn rtol(mut self, rtol: f64) -> Self {
        self.criterion.rtol = rtol;
        self
    }

    /// Sets the largest absolute difference between equal numbers: see [`Criterion`].
    pub fn atol(mut self, atol: f64) -> Self {
        self.criterion.atol = atol;
        self
    }

    /// Sets whether NaN equals NaN.
    pub fn equal_nan(mut self, equal_nan: bool) -> Self {
        self.criterion.equal_nan = equal_nan;
        self
    }

    /// Ignores keys that match `pattern`, with everything below them. Patterns are those of
    /// [`CopyOptions::include`](crate::CopyOptions::include).
    pub fn ignore_key(mut self, pattern: impl Into<String>) -> Self {
        self.ignored_keys.push(pattern.into());
        self
    }

    /// Ignores attributes whose names match `pattern`, such as `date` or `*_version`.
    pub fn ignore_attribute(mut self, pattern: impl Into<String>) -> Self {
        self.ignored_attributes.push(pattern.into());
        self
    }
}

/// Which records of two series are compared with each other.
enum Pairs {
    /// Those of the same tick.
    Ticks(Ticks),
    /// Those with the same index in their series, whose first records a store may have freed.
    InSeries,
    /// Those with the same index in their views.
    InViews,
}

struct Comparing {
    criterion: Criterion,
    ignored_keys: Vec<Pattern>,
    ignored_attributes: Vec<Pattern>,
    found: Comparison,
}

impl Comparing {
    fn new(options: &CompareOptions) -> Result<Self> {
        let criterion = options.criterion;
        criterion.check()?;
        Ok(Self {
            criterion,
            ignored_keys: compile(&options.ignored_keys, "compare")?,
            ignored_attributes: compile(&options.ignored_attributes, "compare")?,
            found: Comparison {
                criterion,
                key_count: 0,
                record_count: 0,
                differences: Vec::new(),
            },
        })
    }

    fn add(&mut self, key: &Key, kind: DifferenceKind) {
        let key = key.clone();
        self.found.differences.push(Difference { key, kind });
    }

    fn add_unreadable(&mut self, key: &Key, (side, error): Unreadable) {
        self.add(key, DifferenceKind::Unreadable { side, error });
    }

    /// The result of a read; `None` if it failed, which is then a difference.
    fn readable<T>(&mut self, key: &Key, side: Side, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.add_unreadable(key, (side, error)))
            .ok()
    }

    /// Compares a group and the values and series right below it; returns the groups that both have.
    fn compare_group(&mut self, a: &dyn DataStore, b: &dyn DataStore, group: &Key) -> Vec<Key> {
        let attributes = [(Side::A, a), (Side::B, b)].map(|(side, store)| {
            let attributes = self.readable(group, side, store.attributes(group));
            attributes.flatten().unwrap_or_default()
        });
        self.compare_attributes(group, &attributes[0], &attributes[1]);
        let (mut groups, mut values, mut series) = (Vec::new(), Vec::new(), Vec::new());
        for (key, kinds) in self.children(a, b, group) {
            match kinds {
                [Some(of_a), Some(of_b)] if of_a == of_b => match of_a {
                    NodeKind::Group => groups.push(key),
                    NodeKind::Value => values.push(key),
                    NodeKind::Series => series.push(key),
                },
                [Some(a), Some(b)] => self.add(&key, DifferenceKind::NodeKind { a, b }),
                [Some(kind), None] => self.add_only_in(a, Side::A, Child::new(key, kind)),
                [None, Some(kind)] => self.add_only_in(b, Side::B, Child::new(key, kind)),
                [None, None] => {}
            }
        }
        for key in values {
            self.compare_value(a, b, &key);
        }
        let coordinate = timeline_of(&attributes[0]);
        match coordinate.filter(|_| coordinate == timeline_of(&attributes[1])) {
            Some(coordinate) => {
                // The ticks of all of them are those of one commit.
                if let Some(key) = group.join(coordinate).ok().filter(|key| self.ignores(key)) {
                    series.push(key);
                }
                let nodes = self.series(a, b, &series);
                self.compare_timeline(group, coordinate, nodes);
            }
            None => {
                for keys in series.chunks(SERIES_AT_ONCE) {
                    for (a, b) in self.series(a, b, keys) {
                        self.compare_series(&a, &b, &Pairs::InSeries);
                    }
                }
            }
        }
        groups
    }

    /// The keys right below a group, without the ignored ones.
    fn children(
        &mut self,
        a: &dyn DataStore,
        b: &dyn DataStore,
        group: &Key,
    ) -> BTreeMap<Key, [Option<NodeKind>; 2]> {
        let mut found: BTreeMap<Key, [Option<NodeKind>; 2]> = BTreeMap::new();
        for (side, store) in [(Side::A, a), (Side::B, b)] {
            let children = self.readable(group, side, store.children(group));
            for child in children.unwrap_or_default() {
                if !self.ignores(&child.key) {
                    found.entry(child.key).or_default()[side as usize] = Some(child.kind);
                }
            }
        }
        found
    }

    fn ignores(&self, key: &Key) -> bool {
        let mut patterns = self.ignored_keys.iter();
        patterns.any(|pattern| pattern.matches_with(key.as_str(), OPTIONS))
    }

    /// Adds the difference, unless everything in the group is ignored.
    fn add_only_in(&mut self, store: &dyn DataStore, side: Side, child: Child) {
        let Child { key, kind } = child;
        let mut key_count = 1;
        if kind == NodeKind::Group {
            let Some(keys) = self.readable(&key, side, store.keys_within(&key)) else {
                return;
            };
            let is_empty = keys.is_empty();
            let is_within_ignored =
                |child: &Child| child.key.ancestors().any(|it| self.ignores(&it));
            let counted = keys
                .iter()
                .filter(|child| !self.ignores(&child.key) && !is_within_ignored(child));
            key_count = counted.count() as u64;
            if key_count == 0 && !is_empty {
                return;
            }
        }
        let only_in = DifferenceKind::OnlyIn {
            side,
            kind,
            key_count,
        };
        self.add(&key, only_in);
    }

    fn compare_attributes(&mut self, key: &Key, a: &Attributes, b: &Attributes) {
        let names = a
            .keys()
            .chain(b.keys().filter(|name| !a.contains_key(*name)));
        for name in names {
            let is_ignored = |pattern: &Pattern| pattern.matches(name);
            let (a, b) = (a.get(name), b.get(name));
            if a != b && !self.ignored_attributes.iter().any(is_ignored) {
                let attribute = DifferenceKind::Attribute {
                    name: name.clone(),
                    a: a.cloned(),
                    b: b.cloned(),
                };
                self.add(key, attribute);
            }
        }
    }

    fn compare_value(&mut self, a: &dyn DataStore, b: &dyn DataStore, key: &Key) {
        self.found.key_count += 1;
        let nodes = [(Side::A, a), (Side::B, b)].map(|(side, store)| {
            match self.readable(key, side, store.node(key))? {
                Some(Node::Value { value, attributes }) => {
                    Some((self.readable(key, side, value)?, attributes))
                }
                // It was removed or replaced in between.
                _ => None,
            }
        });
        let [Some((a, of_a)), Some((b, of_b))] = nodes else {
            return;
        };
        self.compare_attributes(key, &of_a, &of_b);
        if let (Value::Array(a), Value::Array(b)) = (&a, &b) {
            self.compare_names(key, a.dimension_names(), b.dimension_names());
        }
        let shape = |value: &Value| value.as_array().map(|array| array.shape().to_vec());
        let is_same = a.dtype() == b.dtype()
            && shape(&a) == shape(&b)
            && std::mem::discriminant(&a) == std::mem::discriminant(&b);
        if !is_same {
            let (a, b) = (a.describe(), b.describe());
            return self.add(key, DifferenceKind::Type { a, b });
        }
        let criterion = self.criterion;
        let mut comparer = Comparer::new(&criterion);
        let compared = comparer.compare_values(&a, &b);
        self.add_values(key, comparer, compared);
    }

    fn compare_names(
        &mut self,
        key: &Key,
        a: Option<&[Option<String>]>,
        b: Option<&[Option<String>]>,
    ) {
        if a != b {
            let (a, b) = (a.map(<[_]>::to_vec), b.map(<[_]>::to_vec));
            self.add(key, DifferenceKind::DimensionNames { a, b });
        }
    }

    fn add_values(&mut self, key: &Key, comparer: Comparer<'_>, compared: Result<(), Unreadable>) {
        self.found.record_count += comparer.record_count;
        if let Some(values) = comparer.finish() {
            self.add(key, DifferenceKind::Values(values));
        }
        if let Err(unreadable) = compared {
            self.add_unreadable(key, unreadable);
        }
    }

    /// The series at `keys` of both stores, those of each as of one commit.
    fn series(&mut self, a: &dyn DataStore, b: &dyn DataStore, keys: &[Key]) -> Vec<(View, View)> {
        let [of_a, of_b] = [(Side::A, a), (Side::B, b)].map(|(side, store)| {
            let nodes = store.each_node(keys).into_iter().zip(keys);
            let views = nodes.map(|(node, key)| match self.readable(key, side, node)?? {
                Node::Series(view) => Some(view),
                _ => None,
            });
            views.collect::<Vec<_>>()
        });
        of_a.into_iter()
            .zip(of_b)
            .filter_map(|(a, b)| a.zip(b))
            .collect()
    }

    /// Compares series at the ticks that both timelines have.
    fn compare_timeline(&mut self, group: &Key, coordinate: &str, series: Vec<(View, View)>) {
        let is_coordinate = |(a, _): &&(View, View)| a.key().name() == coordinate;
        let ticks = series.iter().find(is_coordinate).cloned();
        let ticks = ticks.map_or(Ok(None), |(a, b)| Ticks::new(a, b));
        let pairs = match ticks {
            Ok(Some((ticks, differences))) => {
                for difference in differences {
                    self.add(group, difference);
                }
                Pairs::Ticks(ticks)
            }
            // The coordinates have different types, or one is missing, which is reported as a separate difference.
            Ok(None) => Pairs::InSeries,
            Err(unreadable) => return self.add_unreadable(group, unreadable),
        };
        for (a, b) in &series {
            if !self.ignores(a.key()) {
                self.compare_series(a, b, &pairs);
            }
        }
    }

    fn compare_series(&mut self, a: &View, b: &View, pairs: &Pairs) {
        let key = a.key();
        self.found.key_count += 1;
        self.compare_attributes(key, a.attributes(), b.attributes());
        self.compare_names(key, a.dimension_names(), b.dimension_names());
        if a.schema().check_same_records(b.schema()).is_err() {
            let (a, b) = (a.schema().to_string(), b.schema().to_string());
            return self.add(key, DifferenceKind::Type { a, b });
        }
        let criterion = self.criterion;
        let mut comparer = Comparer::new(&criterion);
        let compared = match pairs {
            _ if a.shape().is_empty() => compare_elements(&mut comparer, a, b),
            Pairs::Ticks(ticks) => {
                let (mut in_a, mut in_b) = (Blocks::new(a, Side::A), Blocks::new(b, Side::B));
                ticks.for_each_run(|(at_a, at_b, len)| {
                    comparer.compare_records((&mut in_a, &mut in_b), (at_a, at_b), len)
                })
            }
            Pairs::InSeries | Pairs::InViews => {
                let indices = |view: &View| match pairs {
                    Pairs::InSeries => view.first_record()..view.first_record() + view.len(),
                    _ => 0..view.len(),
                };
                let (of_a, of_b) = (indices(a), indices(b));
                if of_a != of_b {
                    let (a, b) = (of_a.clone(), of_b.clone());
                    self.add(key, DifferenceKind::Records { a, b });
                }
                compare_common(&mut comparer, (a, of_a), (b, of_b))
            }
        };
        self.add_values(key, comparer, compared);
    }
}

/// Compares the records whose indices both series have.
fn compare_common(
    comparer: &mut Comparer<'_>,
    (a, of_a): (&View, Range<u64>),
    (b, of_b): (&View, Range<u64>),
) -> Result<(), Unreadable> {
    let common = of_a.start.max(of_b.start)..of_a.end.min(of_b.end);
    if common.is_empty() {
        return Ok(());
    }
    comparer.compare_records(
        (&mut Blocks::new(a, Side::A), &mut Blocks::new(b, Side::B)),
        (common.start - of_a.start, common.start - of_b.start),
        common.end - common.start,
    )
}

/// Compares selections of single elements, which have no axes.
fn compare_elements(comparer: &mut Comparer<'_>, a: &View, b: &View) -> Result<(), Unreadable> {
    let read = |side, view: &View| view.read_value().map_err(|error| (side, error));
    comparer.compare_values(&read(Side::A, a)?, &read(Side::B, b)?)
}
