//! Coordinates of files of xarray and of H5MD, and of timelines that other software reads.

#![allow(clippy::unwrap_used, reason = "test helpers may panic")]

use simrecorder_core::ndarray::s;
use simrecorder_core::{ErrorKind, OpenMode, Recorder, View};
use simrecorder_hdf5::Hdf5DataStore;

use crate::support::coordinates::*;
use crate::support::{assert_success, expect, python};

#[test]
fn files_of_xarray_are_selected_by_their_coordinates() {
    for engine in ["h5netcdf", "netcdf4"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.nc");
        what_xarray_wrote_is_selected_by_coordinates(&path, &[engine], |mode| {
            Hdf5DataStore::options().mode(mode).open(&path)
        });
    }
}

#[test]
fn h5netcdf_and_netcdf4_select_by_the_coordinates_of_timelines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.h5");
    let store = Hdf5DataStore::options().mode(OpenMode::CreateNew);
    let store = store.open(&path).unwrap();
    other_software_selects_by_the_coordinate_of_a_timeline(&path, store);
}

#[track_caller]
fn check_frames(part: &View, frames: std::ops::Range<u64>) {
    assert_eq!(part.len(), frames.end - frames.start);
    let size = part.shape()[1..].iter().product::<u64>();
    let first = part.cast::<f64>().unwrap().into_iter().next();
    assert_eq!(first, Some((frames.start * size) as f64));
}

#[test]
fn elements_of_h5md_are_selected_by_time_and_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trajectory.h5");
    assert_success(python("h5md.py").arg(&path));
    let recorder = Recorder::new(Hdf5DataStore::open(&path).unwrap());

    // With an entry for each frame, evenly spaced, and with a dimension scale.
    for element in [
        "particles/all/position",
        "particles/all/velocity",
        "observables/energy",
    ] {
        let group = recorder.group(element).unwrap();
        let value = recorder.get_all(format!("{element}/value")).unwrap();
        for value in [&value, group.view("value").unwrap()] {
            check_frames(&value.select_by("time", 10.9..=12.1).unwrap(), 2..5);
            check_frames(&value.select_by("step", 110..125).unwrap(), 2..5);
            check_frames(
                &value
                    .select(3..)
                    .unwrap()
                    .select_by("step", ..=120)
                    .unwrap(),
                3..5,
            );
            assert_eq!(value.nearest("time", 11.2).unwrap(), 2, "{element}");
            assert_eq!(value.nearest("step", 1_000).unwrap(), 9);
            assert_eq!(value.select(4..).unwrap().nearest("step", 133).unwrap(), 3);
            let time = value
                .select(s![2..;4])
                .unwrap()
                .coordinate(0)
                .unwrap()
                .unwrap();
            assert_eq!(
                time.read::<f64>().unwrap().as_slice(),
                Some(&[11.0, 13.0][..])
            );
            assert_eq!(time.attributes()["unit"], "ps");
            assert_eq!(time.key().as_str(), format!("{element}/time"));
            assert_eq!(time.refresh().unwrap().read::<f64>().unwrap()[1], 13.0);
        }
    }
    // Without a time, and a step without an offset.
    let force = recorder.get_all("particles/all/force/value").unwrap();
    check_frames(&force.select_by("step", 10..20).unwrap(), 2..4);
    let step = force.coordinate(0).unwrap().unwrap();
    assert_eq!(step.get(9).unwrap().scalar::<i64>().unwrap(), 45);
    assert!(force.coordinate(1).unwrap().is_none());
    let no_time = force.select_by("time", 1.0..);
    expect(
        no_time.unwrap_err(),
        ErrorKind::InvalidArgument,
        &["no dimension 'time'"],
    );
    // Datasets next to a value are not coordinates of another array.
    let step = recorder.get_all("particles/all/position/step").unwrap();
    assert!(step.coordinate(0).unwrap().is_none());
    assert_eq!(step.select_by("step", 120..).unwrap().len(), 6);
}

#[test]
fn dimensions_that_other_software_named_have_these_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("named.nc");
    assert_success(python("scales.py").arg(&path));
    let recorder = Recorder::new(Hdf5DataStore::open(&path).unwrap());
    let names = |key: &str| {
        let view = recorder.get_all(key).unwrap();
        let names = view.dimension_names().unwrap_or_default().iter();
        let shown = names.map(|name| name.clone().unwrap_or_else(|| "-".to_owned()));
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("v"), "time x");
    assert_eq!(names("time"), "time");
    assert_eq!(names("inner/v"), "time x");
    assert_eq!(names("covariance"), "x -");
    assert_eq!(names("profile"), "depth label -");
    assert_eq!(names("plain"), "");
    assert_eq!(names("left"), "");

    let v = recorder.get_all("v").unwrap();
    assert_eq!(v.select_by("time", 2..8).unwrap().shape(), [2, 3]);
    assert!(v.coordinate(1).unwrap().is_none());
    let profile = recorder.get_all("profile").unwrap();
    assert_eq!(profile.nearest("depth", 4).unwrap(), 1);
    // Groups above are not searched.
    let inner = recorder.get_all("inner/v").unwrap();
    let error = inner.select_by("time", 2..8).unwrap_err();
    expect(error, ErrorKind::NotFound, &["'inner/v'", "'time'"]);
}
