//! Reading by coordinate.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::Harness;
use super::support::{attributes, check_numbers, expect_error, open, recorder, write_and_check};
use crate::error::{ErrorKind, Result};
use crate::model::chunk::ChunkPolicy;
use crate::model::key::Key;
use crate::model::labeled::Labeled;
use crate::model::record::{IntoValue, Ragged};
use crate::model::records::Records;
use crate::model::schema::Schema;
use crate::reading::selection::Region;
use crate::reading::view::View;
use crate::recorder::{Coordinate, Recorder, TIMELINE_ATTRIBUTE};
use crate::store::array_view::ArrayView;
use crate::store::node::Node;
use crate::store::open_mode::OpenMode;

const TICKS: u64 = 100;

/// The coordinate of a tick: 0.5, 2.5, 4.5, ….
fn time(tick: u64) -> f64 {
    tick as f64 * 2.0 + 0.5
}

/// A group with a coordinate, a scalar, a field with a static coordinate, rows and texts.
fn declare_net(recorder: &Recorder) {
    let policy = || ChunkPolicy::records(8);
    let time = Schema::scalar::<f64>().with_units("s");
    let time = time.with_dimension_names(["time"]);
    recorder
        .declare("net/time", time.with_chunk_policy(policy()))
        .unwrap();
    let n = Schema::scalar::<u64>().with_dimension_names(["time"]);
    recorder
        .declare("net/n", n.with_chunk_policy(policy()))
        .unwrap();
    let u = Schema::array::<f32>([3]).with_dimension_names(["time", "x"]);
    recorder.declare("net/u", u).unwrap();
    let rows = Schema::ragged::<u32>([]).with_dimension_names(["time"]);
    recorder.declare("net/rows", rows).unwrap();
    let text = Schema::text().with_dimension_names(["time"]);
    recorder.declare("net/text", text).unwrap();
    recorder
        .set("net/x", Labeled::new([-1.0, 0.0, 1.0], ["x"]).units("m"))
        .unwrap();
}

fn record_ticks(recorder: &Recorder, ticks: Range<u64>) {
    for tick in ticks {
        recorder.record("net/time", time(tick)).unwrap();
        recorder.record("net/n", tick).unwrap();
        recorder.record("net/u", [tick as f32; 3]).unwrap();
        recorder
            .record("net/rows", Ragged(vec![7_u32; tick as usize % 3]))
            .unwrap();
        recorder.record("net/text", tick.to_string()).unwrap();
    }
}

fn mark_as_timeline(recorder: &Recorder) {
    let timeline = attributes(json!({ TIMELINE_ATTRIBUTE: "time" }));
    recorder.set_attributes("net", timeline).unwrap();
}

#[track_caller]
fn check_coordinate(view: &View, axis: usize, expected: &[f64]) {
    let found = view
        .coordinate(axis)
        .unwrap()
        .expect("there is a coordinate");
    assert_eq!(found.read::<f64>().unwrap().as_slice(), Some(expected));
}

fn times(ticks: Range<u64>) -> Vec<f64> {
    ticks.map(time).collect()
}

fn check_net(recorder: &Recorder) {
    let group = recorder.group("net").unwrap();
    for get in [
        &|name: &str| recorder.get_all(format!("net/{name}")).unwrap() as View,
        &|name: &str| group.view(name).unwrap().clone(),
    ] as [&dyn Fn(&str) -> View; 2]
    {
        for name in ["time", "n", "u", "rows", "text"] {
            let view = get(name);
            check_coordinate(&view, 0, &times(0..TICKS));
            let part = view.select_by("time", 20.0..=30.5).unwrap();
            check_coordinate(&part, 0, &times(10..16));
            assert_eq!(part.len(), 6, "{name}");
            assert_eq!(view.nearest("time", 31.4).unwrap(), 15, "{name}");
            assert_eq!(part.nearest("time", 0).unwrap(), 0);
            check_coordinate(&part.refresh().unwrap(), 0, &times(10..16));
        }
        let coordinate = get("n").coordinate(0).unwrap().unwrap();
        assert_eq!(coordinate.attributes()["units"], "s");
        check_numbers(&get("n").select_by("time", ..6.5).unwrap(), 0..3);
        check_numbers(&get("n").select_by("time", 190..).unwrap(), 95..100);
        check_numbers(&get("n").select_by("time", 3.0..4.0).unwrap(), 0..0);
        check_numbers(&get("n").select_by("time", ..).unwrap(), 0..TICKS);
        let texts = get("text").select_by("time", 8.0_f32..=10.5).unwrap();
        assert_eq!(texts.read_text().unwrap(), ["4", "5"]);

        let u = get("u");
        check_coordinate(&u, 1, &[-1.0, 0.0, 1.0]);
        let part = u.select_by("x", -0.5..).unwrap();
        let part = part.select_by("time", ..=time(3)).unwrap();
        assert_eq!(part.shape(), [4, 2]);
        check_coordinate(&part, 0, &times(0..4));
        check_coordinate(&part, 1, &[0.0, 1.0]);
        let x = part.coordinate(1).unwrap().unwrap();
        assert_eq!(
            (x.key().as_str(), &x.attributes()["units"]),
            ("net/x", &json!("m"))
        );
        assert_eq!(
            part.nearest("x", 0.5).unwrap(),
            0,
            "ties go to the lower index"
        );
    }
}

/// Series, selections of them and views of a group have coordinates: a series of scalars along the records,
/// a value along another axis.
pub fn a_view_is_read_by_the_coordinates_of_its_axes(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        declare_net(recorder);
        record_ticks(recorder, 0..TICKS);
    };
    write_and_check(harness, write, check_net);
}

/// The same for a timeline, whose coordinate is not read completely.
pub fn a_timeline_is_read_by_its_coordinate(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        declare_net(recorder);
        mark_as_timeline(recorder);
        record_ticks(recorder, 0..TICKS);
    };
    write_and_check(harness, write, check_net);
}

/// Combinations of steps, reversals, single records and new axes.
pub fn the_coordinate_of_a_selection_has_the_same_selection(harness: &dyn Harness) {
    use ndarray::{NewAxis, s};

    let write = |recorder: &Recorder| {
        declare_net(recorder);
        record_ticks(recorder, 0..TICKS);
    };
    let check = |recorder: &Recorder| {
        let u = recorder.get_all("net/u").unwrap();
        let part = u.select(s![10..20;-3, NewAxis, ..;-1]).unwrap();
        let expected: Vec<_> = [19, 16, 13, 10].map(time).into();
        check_coordinate(&part, 0, &expected);
        assert!(part.coordinate(1).unwrap().is_none());
        check_coordinate(&part, 2, &[1.0, 0.0, -1.0]);
        assert_eq!(part.nearest("time", time(16)).unwrap(), 1);
        let part = part.select_by("time", ..time(17)).unwrap();
        check_coordinate(&part, 0, &expected[1..]);
        let part = part.select(s![..;-2, 0, 1..]).unwrap();
        check_coordinate(&part, 0, &[time(10), time(16)]);
        check_coordinate(&part, 1, &[0.0, -1.0]);
        let record = u.select(s![5, ..]).unwrap();
        check_coordinate(&record, 0, &[-1.0, 0.0, 1.0]);
        let by_time = record.select_by("time", ..);
        expect_error(
            by_time,
            ErrorKind::InvalidArgument,
            &["net/u", "'time'", "'x'"],
        );
        // A coordinate is its own coordinate, with its selection.
        let time_of_part = part.coordinate(0).unwrap().unwrap();
        let late = time_of_part.select_by("time", time(11)..).unwrap();
        assert_eq!(
            late.read::<f64>().unwrap().as_slice(),
            Some(&[time(16)][..])
        );
    };
    write_and_check(harness, write, check);
}

/// The coordinate of a view has as many elements as the view has records, even after further records, a checkpoint or
/// a close; a refreshed view has the new elements.
pub fn a_coordinate_has_the_length_of_its_view(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_net(&writer);
    mark_as_timeline(&writer);
    let mut taken = Vec::new();
    let mut len = 0;
    let check = |taken: &[(View, View, u64)]| {
        for (view, of_group, len) in taken {
            check_coordinate(view, 0, &times(0..*len));
            check_coordinate(of_group, 0, &times(0..*len));
            check_coordinate(
                &view.select(s_last(*len)).unwrap(),
                0,
                &times(len.saturating_sub(2)..*len),
            );
        }
    };
    for (round, more) in [0, 1, 4, 7, 8, 30].into_iter().enumerate() {
        record_ticks(&writer, len..len + more);
        len += more;
        let group = writer.group("net").unwrap();
        let of_group = group.view("n").unwrap().clone();
        taken.push((writer.get_all("net/n").unwrap(), of_group, len));
        match round % 3 {
            0 => writer.flush().unwrap(),
            1 => writer.checkpoint().unwrap(),
            _ => {}
        }
        check(&taken);
    }
    check_coordinate(&taken[1].0.refresh().unwrap(), 0, &times(0..len));
    check_coordinate(&taken[1].1.refresh().unwrap(), 0, &times(0..len));
    writer.close().unwrap();
    check(&taken);
    drop(writer);
    check(&taken);
}

/// The last two records.
fn s_last(len: u64) -> Range<u64> {
    len.saturating_sub(2)..len
}

/// A coordinate that is shorter than its axis is an error, and so are records that were cut off: no tick is paired with
/// the record of another tick.
pub fn a_coordinate_that_does_not_fit_its_view_is_refused(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_net(&writer);
    record_ticks(&writer, 0..20);
    let before = writer.get_all("net/n").unwrap();
    writer.record("net/n", 20_u64).unwrap();
    let longer = writer.get_all("net/n").unwrap();
    expect_error(
        longer.coordinate(0),
        ErrorKind::OutOfBounds,
        &["'net/n'", "'net/time'", "20 elements", "21"],
    );
    check_numbers(
        &longer
            .select(..20)
            .unwrap()
            .select_by("time", time(18)..)
            .unwrap(),
        18..20,
    );
    check_numbers(&before.select_by("time", time(18)..).unwrap(), 18..20);

    for key in ["net/time", "net/n"] {
        writer.truncate(key, 10).unwrap();
    }
    for tick in 10..25 {
        writer.record("net/time", time(tick) + 1.0).unwrap();
        writer.record("net/n", tick).unwrap();
    }
    writer.flush().unwrap();
    for view in [&before, &longer] {
        expect_error(
            view.coordinate(0),
            ErrorKind::OutOfBounds,
            &["net/n", "take a new view"],
        );
        expect_error(
            view.nearest("time", 1.0),
            ErrorKind::OutOfBounds,
            &["net/n"],
        );
    }
    let now = writer.get_all("net/n").unwrap();
    check_numbers(
        &now.select_by("time", time(9)..=time(10) + 1.0).unwrap(),
        9..11,
    );

    // A value must have exactly one element for each index.
    writer
        .set("net/x", Labeled::new([0.0, 1.0], ["x"]))
        .unwrap();
    let u = writer.get_all("net/u").unwrap();
    expect_error(
        u.coordinate(1),
        ErrorKind::OutOfBounds,
        &["net/x", "2 elements", "3"],
    );
    writer.close().unwrap();
}

/// Each error says what is wrong, and what to do.
pub fn what_cannot_be_selected_by_is_refused_with_a_reason(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        declare_net(recorder);
        record_ticks(recorder, 0..3);
        recorder.record("plain", [1.0, 2.0]).unwrap();
        let names = Schema::array::<u8>([2]).with_dimension_names(["name", "flag"]);
        recorder.declare("odd/v", names).unwrap();
        for name in ["a", "b"] {
            recorder.record("odd/v", [1_u8, 2]).unwrap();
            recorder.record("odd/name", name).unwrap();
        }
        recorder
            .set("odd/flag", Labeled::new([true, false], ["flag"]))
            .unwrap();
        let order = Schema::scalar::<u8>().with_dimension_names(["x"]);
        recorder.declare("mixed/v", order).unwrap();
        for x in [3.0, f64::NAN, 1.0, 2.0] {
            recorder.record("mixed/x", x).unwrap();
            recorder.record("mixed/v", x as u8).unwrap();
        }
        let empty = Schema::scalar::<u8>().with_dimension_names(["y"]);
        recorder.declare("empty/v", empty).unwrap();
        recorder
            .declare("empty/y", Schema::scalar::<f64>())
            .unwrap();
    };
    let check = |recorder: &Recorder| {
        let get = |key: &str| recorder.get_all(key).unwrap();
        let (wrong, kinds) = (ErrorKind::InvalidArgument, ErrorKind::TypeMismatch);
        let n = get("net/n");
        expect_error(
            n.select_by("tme", ..1.0),
            wrong,
            &["select_by 'net/n'", "'tme'", "'time'"],
        );
        expect_error(n.select_by("time", 2.0..1.0), wrong, &["swap its bounds"]);
        expect_error(n.select_by("time", f64::NAN..), wrong, &["NaN"]);
        expect_error(n.select_by("time", ..=f64::NAN), wrong, &["NaN"]);
        expect_error(
            n.nearest("time", f64::NAN),
            wrong,
            &["nearest 'net/n'", "NaN"],
        );
        expect_error(n.coordinate(1), ErrorKind::OutOfBounds, &["axis 1"]);
        let plain = get("plain");
        expect_error(
            plain.select_by("x", ..1.0),
            wrong,
            &["with_dimension_names"],
        );
        assert!(plain.coordinate(0).unwrap().is_none());

        let odd = get("odd/v");
        let name = odd.coordinate(0).unwrap().unwrap();
        assert_eq!(name.read_text().unwrap(), ["a", "b"]);
        expect_error(
            odd.select_by("name", ..1),
            kinds,
            &["'odd/name' is text", "select()"],
        );
        expect_error(odd.nearest("flag", 1), kinds, &["'odd/flag' is", "bool"]);

        let mixed = get("mixed/v");
        check_elements(&mixed.select_by("x", 0.5..2.5).unwrap(), &[1, 2]);
        expect_error(
            mixed.select_by("x", 1.5..),
            wrong,
            &["'mixed/v'", "not sorted", "0 and 3"],
        );
        assert_eq!(mixed.nearest("x", 0).unwrap(), 2);
        let empty = get("empty/v");
        assert!(empty.select_by("y", 1.0..).unwrap().is_empty());
        expect_error(
            empty.nearest("y", 1),
            ErrorKind::OutOfBounds,
            &["'empty/v'", "no elements"],
        );
    };
    write_and_check(harness, write, check);
}

#[track_caller]
fn check_elements(view: &View, expected: &[u8]) {
    assert_eq!(view.read::<u8>().unwrap().as_slice(), Some(expected));
}

/// The error names a dimension without a coordinate.
pub fn a_dimension_without_a_coordinate_is_named(harness: &dyn Harness) {
    let write = |recorder: &Recorder| {
        let schema = Schema::array::<u8>([2]).with_dimension_names(["time", "a/b"]);
        recorder.declare("net/v", schema).unwrap();
        recorder.record("net/v", [1_u8, 2]).unwrap();
        recorder.record("time", 1.0).unwrap();
    };
    let check = |recorder: &Recorder| {
        let v = recorder.get_all("net/v").unwrap();
        for (axis, name) in ["time", "a/b"].into_iter().enumerate() {
            assert!(v.coordinate(axis).unwrap().is_none());
            expect_error(
                v.select_by(name, ..2),
                ErrorKind::NotFound,
                &["'net/v'", name, "select()"],
            );
        }
    };
    write_and_check(harness, write, check);
}

/// 64-bit integers are compared exactly, and numbers of other types without conversion.
pub fn coordinates_of_every_real_type_are_searched(harness: &dyn Harness) {
    const BIG: u64 = u64::MAX - 4;

    fn write<T: IntoValue + Copy>(recorder: &Recorder, group: &str, elements: &[T]) {
        let schema = Schema::scalar::<u64>().with_dimension_names(["t"]);
        recorder.declare(format!("{group}/v"), schema).unwrap();
        for (&x, index) in elements.iter().zip(0_u64..) {
            recorder.record(format!("{group}/t"), x).unwrap();
            recorder.record(format!("{group}/v"), index).unwrap();
        }
    }
    let write = |recorder: &Recorder| {
        write(recorder, "u64", &[BIG, BIG + 1, BIG + 2, BIG + 3]);
        write(recorder, "i64", &[i64::MIN, -1, 5, i64::MAX]);
        write(recorder, "i8", &[-128_i8, -1, 5, 127]);
        write(recorder, "f32", &[-1.5_f32, 0.0, 0.5, 1e30]);
        write(
            recorder,
            "f16",
            &[-1.5, 0.0, 0.5, 100.0].map(half::f16::from_f32),
        );
    };
    let check = |recorder: &Recorder| {
        let get = |key: &str| recorder.get_all(format!("{key}/v")).unwrap();
        check_numbers(&get("u64").select_by("t", BIG + 1..BIG + 3).unwrap(), 1..3);
        assert_eq!(get("u64").nearest("t", BIG + 2).unwrap(), 2);
        assert_eq!(get("u64").nearest("t", -1).unwrap(), 0);
        check_numbers(&get("u64").select_by("t", ..0).unwrap(), 0..0);
        check_numbers(&get("i64").select_by("t", -3..6).unwrap(), 1..3);
        check_numbers(&get("i64").select_by("t", 0.5..).unwrap(), 2..4);
        check_numbers(&get("i64").select_by("t", ..u64::MAX).unwrap(), 0..4);
        check_numbers(&get("i8").select_by("t", -1_i8..=5).unwrap(), 1..3);
        check_numbers(&get("f32").select_by("t", 0..1).unwrap(), 1..3);
        check_numbers(&get("f16").select_by("t", ..=0.5).unwrap(), 0..3);
    };
    write_and_check(harness, write, check);
}

/// While a thread records, the coordinate of each view fits its records, and that of each group fits its views.
pub fn coordinates_fit_their_views_while_ticks_are_recorded(harness: &dyn Harness) {
    let writer = Recorder::new(open(harness, OpenMode::CreateNew));
    let mut net = writer.timeline("net", Coordinate::new("step")).unwrap();
    net.advance(0_u64).unwrap();
    net.record("n", 0_u64).unwrap();
    let check = |n: &View| {
        let ticks = n.coordinate(0).unwrap().expect("there is a coordinate");
        assert_eq!(ticks.len(), n.len());
        let middle = n.len() / 2;
        let part = n.select_by("step", 2 * middle..).unwrap();
        check_numbers(&part, middle..n.len());
        assert_eq!(n.nearest("step", u64::MAX).unwrap(), n.len() - 1);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for tick in 1..4000_u64 {
                net.advance(2 * tick).unwrap();
                net.record("n", tick).unwrap();
            }
            net.finish().unwrap();
        });
        let mut len = 0;
        while len < 4000 {
            let n = writer.get_all("net/n").unwrap();
            len = n.len();
            if len > 0 {
                check(&n);
                check(writer.group("net").unwrap().view("n").unwrap());
            }
        }
    });
    writer.close().unwrap();
}

/// Counts how many elements of the coordinate are read.
#[derive(Clone, Debug)]
struct CountedView {
    view: View,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    elements: AtomicU64,
}

impl ArrayView for CountedView {
    fn key(&self) -> &Key {
        self.view.key()
    }

    fn schema(&self) -> &Arc<Schema> {
        self.view.schema()
    }

    fn shape(&self) -> &[u64] {
        self.view.shape()
    }

    fn chunk_shape(&self) -> &[u64] {
        self.view.chunk_shape()
    }

    fn read_into(&self, region: &Region, out: &mut [u8]) -> Result<()> {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        let elements = region.len().unwrap() as u64;
        self.counts.elements.fetch_add(elements, Ordering::Relaxed);
        self.view.read_into(region, out)
    }

    fn read_records(&self, range: Range<u64>, max_bytes: usize) -> Result<Records> {
        self.view.read_records(range, max_bytes)
    }

    fn refresh(&self) -> Result<Arc<dyn ArrayView>> {
        ArrayView::refresh(&self.view)
    }

    fn sibling_nodes(&self, keys: &[Key]) -> Result<Vec<Option<Node>>> {
        let counted = |node| match node {
            Some(Node::Series(view)) => Some(Node::Series(View::from(Arc::new(Self {
                view,
                counts: Arc::clone(&self.counts),
            })))),
            other => other,
        };
        let nodes = self.view.sibling_nodes(keys)?;
        Ok(nodes.into_iter().map(counted).collect())
    }

    fn to_arc(&self) -> Arc<dyn ArrayView> {
        Arc::new(self.clone())
    }
}

/// A search reads only a few blocks of a thousand elements of the coordinate of a timeline.
pub fn no_more_of_a_timeline_is_read_than_a_search_needs(harness: &dyn Harness) {
    const LEN: u64 = 200_000;

    let writer = recorder(harness, OpenMode::CreateNew);
    let policy = || ChunkPolicy::records(1 << 12);
    let step = Schema::scalar::<u64>().with_dimension_names(["step"]);
    writer
        .declare("net/step", step.with_chunk_policy(policy()))
        .unwrap();
    let v = Schema::scalar::<u8>().with_dimension_names(["step"]);
    writer.declare("net/v", v).unwrap();
    let (step, v) = (
        writer.series::<u64>("net/step").unwrap(),
        writer.series::<u8>("net/v").unwrap(),
    );
    for index in 0..LEN {
        step.record(index * 10).unwrap();
        v.record(index as u8).unwrap();
    }
    let timeline = attributes(json!({ TIMELINE_ATTRIBUTE: "step" }));
    writer.set_attributes("net", timeline).unwrap();
    writer.close().unwrap();
    drop(writer);

    let store = open(harness, OpenMode::Read);
    let counts = Arc::new(Counts::default());
    let counted = CountedView {
        view: Recorder::new(Arc::clone(&store)).get_all("net/v").unwrap(),
        counts: Arc::clone(&counts),
    };
    let counted = View::from(Arc::new(counted));
    let take = || {
        let reads = counts.reads.swap(0, Ordering::Relaxed);
        (reads, counts.elements.swap(0, Ordering::Relaxed))
    };
    let part = counted.select_by("step", 123_456..1_234_567).unwrap();
    assert_eq!(part.len(), (1_234_560 - 123_460) / 10 + 1);
    let (reads, elements) = take();
    assert!(
        reads <= 24 && elements <= reads << 10,
        "{reads} reads of {elements} elements"
    );
    assert_eq!(counted.nearest("step", 1_234_567).unwrap(), 123_457);
    let (reads, elements) = take();
    assert!(
        reads <= 12 && elements <= reads << 10,
        "{reads} reads of {elements} elements"
    );
    // Finding a coordinate reads none of its elements.
    let coordinate = counted.coordinate(0).unwrap().unwrap();
    assert_eq!(coordinate.len(), LEN);
    assert_eq!(take(), (0, 0));
    store.close().unwrap();
}
