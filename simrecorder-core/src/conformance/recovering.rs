//! Recovering sound recordings, and recordings with damaged timelines.

use super::Harness;
use super::comparing::lines;
use super::copies::{declare_all, record_all};
use super::support::{append_numbers, check_numbers, commit, key, open, recorder};
use crate::model::schema::Schema;
use crate::recorder::{Coordinate, TIMELINE_ATTRIBUTE};
use crate::store::commit::Change;
use crate::store::data_store::DataStoreExt;
use crate::store::open_mode::OpenMode;
use crate::tools::compare::{CompareOptions, compare};
use crate::tools::copy::CopyOptions;
use crate::tools::recover::recover;

/// With the options of a copy.
pub fn a_sound_recording_is_recovered_whole(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    declare_all(&writer);
    record_all(&writer, 0..30);
    let mut timeline = writer.timeline("line", Coordinate::new("time")).unwrap();
    (0..30).for_each(|i| timeline.tick(f64::from(i), [("x", i)]).unwrap());
    writer.close().unwrap();
    drop((timeline, writer));
    let from = open(harness, OpenMode::Read);
    let target = harness.another();
    let to = open(&*target, OpenMode::CreateNew);
    let recovery = recover(&from, &to, CopyOptions::new()).unwrap();
    assert!(
        recovery.is_whole() && recovery.moved.is_empty(),
        "{recovery}"
    );
    let same = CompareOptions::new().equal_nan(true);
    assert_eq!(lines(&compare(&from, &to, &same).unwrap()), [""; 0]);
    let target = harness.another();
    let part = open(&*target, OpenMode::CreateNew);
    let options = CopyOptions::new()
        .include("line/*")
        .select_by("time", 10..)
        .reencode(true);
    assert_eq!(
        recover(&from, &part, options).unwrap().copied.record_count,
        40
    );
}

/// No record is lost, and the copy is not a timeline.
pub fn a_timeline_that_is_out_of_step_is_recovered_as_plain_series(harness: &dyn Harness) {
    let writer = recorder(harness, OpenMode::CreateNew);
    let mut net = writer.timeline("net", Coordinate::new("step")).unwrap();
    net.declare("n", Schema::scalar::<u64>()).unwrap();
    (0..30_u64).for_each(|step| net.tick(step, [("n", step)]).unwrap());
    writer.close().unwrap();
    drop((net, writer));
    let store = open(harness, OpenMode::Append);
    // As other software may leave it.
    let claim = Change::Claim { group: key("net") };
    let more = append_numbers(&*store, "net/step", 30, 30..31);
    commit(&*store, vec![claim, more]).unwrap();
    let target = harness.another();
    let to = open(&*target, OpenMode::CreateNew);
    let recovery = recover(&store, &to, CopyOptions::new()).unwrap();
    assert_eq!(recovery.left_out.len(), 1, "{recovery}");
    assert!(
        recovery.to_string().contains("'net': left out"),
        "{recovery}"
    );
    let view = |name| to.view(&key(name)).unwrap().unwrap();
    check_numbers(&view("net/step"), 0..31);
    check_numbers(&view("net/n"), 0..30);
    let attributes = to.attributes(&key("net")).unwrap().unwrap();
    assert!(!attributes.contains_key(TIMELINE_ATTRIBUTE));
}
