"""Views: lazy, like arrays of NumPy, and readable by other processes."""

import pickle

import numpy as np
import pytest

import simrecorder
from simrecorder import Ragged, Recorder

DATA = np.arange(2000 * 5 * 3, dtype=np.float32).reshape(2000, 5, 3)


@pytest.fixture
def view(place):
    recorder = simrecorder.create(place, chunk_bytes=4096)
    for record in DATA:
        recorder.record("v", record)
    recorder.close()
    return simrecorder.open(place)["v"]


def test_a_view_has_the_attributes_of_an_array(view):
    assert view.shape == (2000, 5, 3) and view.ndim == 3 and view.size == 30000
    assert view.dtype == np.float32 and view.nbytes == 120000 and len(view) == 2000
    assert len(view.chunks) == 3 and view.chunks[0] > 1
    assert view.key == "v" and view.kind == "array" and view.attrs == {} and view.coords == {}
    assert view.dims == ("dim_0", "dim_1", "dim_2")


INDICES = [
    0,
    -1,
    np.int64(7),
    np.uint8(7),
    slice(None),
    slice(3, 10),
    slice(-10, None),
    slice(None, None, -1),
    slice(1990, 3, -7),
    slice(5, 5),
    slice(10, 5),
    slice(3, 5000),
    ...,
    (),
    (3, 2, 1),
    (..., 1),
    (0, ...),
    (slice(2, 9, 3), ..., slice(None, None, -2)),
    (None, 3),
    (slice(3), None, 1),
    (..., None),
    [0, 7, 7, -1],
    [1999, 0, 1000],
    [],
    np.array([3, 5], dtype=np.uint16),
    np.arange(2000) % 500 == 0,
    (slice(None, 4), [True, False, True, False, True]),
    (slice(None, 4), [4, 0], 1),
    (slice(None, None, -500), [1, 3, 1], slice(0, 1)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_brackets_select_what_they_select_in_numpy(index):
    recorder = Recorder("memory:")
    for record in DATA:
        recorder.record("v", record)
    read = recorder["v"][index]
    expected = DATA[index]
    assert np.array_equal(read, expected)
    assert np.shape(read) == np.shape(expected) and read.dtype == expected.dtype


@pytest.mark.parametrize("index", INDICES[::4], ids=str)
def test_brackets_read_every_store(view, index):
    assert np.array_equal(view[index], DATA[index])


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (2000, IndexError),
        (-2001, IndexError),
        ((0, 5), IndexError),
        ((0, 0, 0, 0), IndexError),
        ((..., ...), IndexError),
        ([0, 2000], IndexError),
        (np.zeros(3, dtype=bool), IndexError),
        (([0, 1], [0, 1]), IndexError),
        ("a", TypeError),
        (0.5, TypeError),
        (True, TypeError),
        ([0.5], TypeError),
        ({}, TypeError),
        (slice(None, None, 0), ValueError),
        (slice("a"), TypeError),
        (np.zeros((2, 2), dtype=int), TypeError),
    ],
    ids=str,
)
def test_wrong_brackets_are_the_errors_of_numpy(index, error):
    recorder = Recorder("memory:")
    for record in DATA:
        recorder.record("v", record)
    with pytest.raises(error):
        recorder["v"][index]


def test_the_axis_of_an_array_of_indices_stays_in_its_place():
    recorder = Recorder("memory:")
    for record in DATA:
        recorder.record("v", record)
    # NumPy moves it to the front if a slice is between it and an int.
    assert np.array_equal(recorder["v"][5, :, [2, 0]], DATA[5][:, [2, 0]])


def test_numpy_reads_a_view(view):
    assert np.array_equal(np.asarray(view), DATA)
    assert np.asarray(view, dtype=np.float64).dtype == np.float64
    assert np.array_equal(np.array(view, copy=True), DATA)
    assert np.mean(view) == DATA.mean()
    with pytest.raises(ValueError, match="always a copy"):
        np.asarray(view, copy=False)


def test_iteration_gives_each_record(view):
    assert all(np.array_equal(read, record) for read, record in zip(view, DATA, strict=True))


def test_records_of_other_kinds_are_sequences(place):
    recorder = simrecorder.create(place)
    for step in range(10):
        recorder.record("text", str(step))
        recorder.record("rows", Ragged(np.arange(step)))
    for view in (recorder["text"], recorder["rows"]):
        assert view.shape == (10,) and view.dtype == object and view.ndim == 1 and len(list(view)) == 10
    text = recorder["text"]
    assert text[3] == "3" and text[-1] == "9" and text[2:8:3] == ["2", "5"]
    assert text[::-4] == ["9", "5", "1"] and text[[7, -1, 7]] == ["7", "9", "7"]
    assert text[np.arange(10) > 7] == ["8", "9"] and text[...] == text[:] and text[5:2] == []
    assert np.asarray(text).tolist() == [str(step) for step in range(10)]
    rows = np.asarray(recorder["rows"])
    assert rows.dtype == object and rows[4].tolist() == [0, 1, 2, 3]
    for index in (10, (0, 0), (None, 0)):
        with pytest.raises(IndexError):
            text[index]


def timeline(recorder):
    recorder.declare("net/v", "float64", [3], dims=["time", "x"])
    recorder.set("net/x", np.array([0.0, 0.5, 1.0]), dims=["x"])
    with recorder.timeline("net", "time", units="ms") as net:
        for step in range(100):
            net.tick(step * 0.5, v=np.arange(3.0) + step)
    return recorder["net/v"]


def test_sel_selects_by_coordinate_with_both_ends():
    view = timeline(Recorder("memory:"))
    window = view.sel(time=slice(10.0, 12.0))
    assert window.shape == (5, 3) and window[:, 0].tolist() == [20.0, 21.0, 22.0, 23.0, 24.0]
    assert window.coords["time"].tolist() == [10.0, 10.5, 11.0, 11.5, 12.0]
    assert view.sel(time=slice(None, 1)).shape == (3, 3) and view.sel(time=slice(48, None)).shape == (4, 3)
    both = view.sel({"x": slice(0.5, None)}, time=10.0)
    assert both.shape == (2,) and both.dims == ("x",) and np.asarray(both).tolist() == [21.0, 22.0]
    assert view.sel(time=10.2, method="nearest")[0] == 20.0
    assert view.sel(time=slice(10.0, 20.0)).sel(time=slice(15.0, 99.0)).shape == (11, 3)
    assert view.nearest("time", 1000) == 99
    with pytest.raises(KeyError, match="nearest"):
        view.sel(time=10.2)
    with pytest.raises(ValueError, match="y"):
        view.sel(y=slice(1))
    with pytest.raises(ValueError, match="step"):
        view.sel(time=slice(1, 2, 2))


def test_a_view_is_pickled_as_where_it_is(place):
    recorder = simrecorder.create(place)
    view = timeline(recorder)
    window = view.sel(time=slice(10.0, 12.0), x=0.5)
    recorder.close()
    for one in (view, window):
        data = pickle.dumps(one)
        assert len(data) < 1000
        again = pickle.loads(data)
        assert again.shape == one.shape and np.array_equal(again, one) and again.key == "net/v"
    assert again.coords["time"].tolist() == [10.0, 10.5, 11.0, 11.5, 12.0]


def test_a_pickled_view_keeps_its_length_while_the_series_grows():
    recorder = simrecorder.create("run.mdb")
    recorder.record("rate", 0.5)
    recorder.flush()
    data = pickle.dumps(recorder["rate"])
    recorder.record("rate", 1.5)
    recorder.flush()
    assert np.asarray(pickle.loads(data)).tolist() == [0.5]


def test_a_view_in_memory_says_how_to_pickle_it():
    with pytest.raises(TypeError, match="numpy.asarray"):
        pickle.dumps(timeline(Recorder("memory:")))


def test_views_become_arrays_of_xarray_dask_and_pandas(place):
    recorder = simrecorder.create(place)
    view = timeline(recorder)
    array = view.to_xarray()
    assert array.dims == ("time", "x") and array.name == "v" and array.sel(time=10.0, x=0.5) == 21.0
    frame = view.to_pandas()
    assert frame.index.name == "time" and frame.loc[10.0, 0.5] == 21.0
    assert recorder["net/time"].to_pandas().index[3] == 1.5
    dask_array = view.to_dask()
    assert dask_array.shape == (100, 3) and dask_array.sum().compute() == np.asarray(view).sum()
    assert view.to_dask(chunks=(10, 3)).numblocks == (10, 1)
    with pytest.raises(ValueError, match="to_xarray"):
        recorder.record("cube", np.zeros((2, 2)))
        recorder["cube"].to_pandas()


def test_views_remain_readable_after_the_recorder_was_closed(place):
    recorder = simrecorder.create(place)
    recorder.record("rate", 0.5)
    view = recorder["rate"]
    recorder.close()
    assert view[:].tolist() == [0.5]


def test_following_waits_for_records_on_redis(redis_server):
    place = f"redis://localhost:{redis_server.port}?run=follow"
    recorder = simrecorder.create(place)
    recorder.record("rate", 0.5)
    recorder.flush()
    view = simrecorder.open(place)["rate"]
    recorder.record("rate", 1.5)
    recorder.flush()
    assert len(view.follow(10.0)) == 2
    memory = Recorder("memory:")
    memory.record("rate", 0.5)
    with pytest.raises(NotImplementedError, match="refresh"):
        memory["rate"].follow(1.0)
