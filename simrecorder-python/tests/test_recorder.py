"""The recorder: recording, reading, and its other methods."""

import numpy as np
import pytest

import simrecorder
from simrecorder import Recorder


def test_what_was_recorded_is_read_in_every_store(place):
    with simrecorder.create(place) as recorder:
        recorder.set("meta/seed", 42)
        for step in range(300):
            recorder.record("net/rate", 0.5 * step)
            recorder.record("net/v", np.full((3, 4), step, dtype=np.float32))
            recorder.record("log", f"step {step}")
            recorder.record("frame", bytes([step % 256]) * (step % 5))
            recorder.record("event", {"step": step, "v": np.arange(step % 3)})
            recorder.record("spikes", simrecorder.Ragged(np.arange(step % 7)))
        # All records are there before the recorder is closed.
        assert np.mean(recorder.get_all("net/rate")) == pytest.approx(0.5 * 149.5)
    recorder = simrecorder.open(place)
    assert recorder.get("meta/seed") == 42
    assert np.array_equal(recorder["net/rate"], 0.5 * np.arange(300))
    assert recorder["net/v"].shape == (300, 3, 4)
    assert recorder["net/v"].dtype == np.float32
    assert recorder["net/v"][299, 2, 3] == 299
    assert recorder["log"][-1] == "step 299"
    assert recorder["frame"][7] == b"\x07\x07"
    assert recorder["event"][5]["v"].tolist() == [0, 1]
    assert [row.tolist() for row in recorder["spikes"][2:4]] == [[0, 1], [0, 1, 2]]


def test_a_recorder_is_a_mapping_of_series_and_values():
    recorder = Recorder("memory:")
    assert recorder
    recorder.record_dict("train", {"loss": 0.5, "accuracy": np.float32(0.75)})
    recorder.record_dict("", {"epoch": 1})
    recorder.set("meta/name", "run 7")
    assert list(recorder) == ["epoch", "meta/name", "train/accuracy", "train/loss"]
    assert len(recorder) == 4
    assert "train/loss" in recorder and "meta/name" in recorder
    assert "train" not in recorder and "other" not in recorder and 7 not in recorder
    assert recorder["meta/name"] == "run 7"
    assert recorder["train/loss"][0] == 0.5
    assert recorder.children("train") == {"accuracy": "series", "loss": "series"}
    with pytest.raises(KeyError, match="train/loss"):
        recorder["train/los"]


def test_a_recorder_prints_its_tree_and_a_view_one_line():
    recorder = Recorder("memory:")
    recorder.declare("net/v<1>", float, [2], units="mV")
    assert "net/v<1>" not in repr(recorder) and "v<1>" in repr(recorder) and "mV" in repr(recorder)
    assert "v&lt;1&gt;" in recorder._repr_html_()
    view = recorder["net/v<1>"]
    assert repr(view) == "<View net/v<1>: array of float64, shape [0, 2], mV>"
    assert "&lt;View" in view._repr_html_()


def test_an_existing_recording_is_continued_by_path(place):
    for step in range(3):
        with Recorder(place) as recorder:
            recorder.record("rate", float(step))
    assert simrecorder.open(place)["rate"][:].tolist() == [0.0, 1.0, 2.0]


def test_create_open_and_append_say_what_is_there(place):
    with pytest.raises(FileNotFoundError):
        simrecorder.open(place)
    with pytest.raises(FileNotFoundError):
        simrecorder.append(place)
    simrecorder.create(place, compression="small", chunk_bytes=1 << 16).close()
    with pytest.raises(FileExistsError):
        simrecorder.create(place)
    with simrecorder.open(place) as recorder, pytest.raises(PermissionError, match="read"):
        recorder.record("rate", 0.5)


def test_every_store_of_a_recorder_gets_everything():
    with Recorder("run.mdb", "run.h5", "memory:") as recorder:
        recorder.record("rate", 0.5)
        recorder.set("seed", 1)
        assert recorder.status()["record_count"] == 1
        assert [store["state"] for store in recorder.status()["stores"]] == ["healthy"] * 3
    for path in ("run.mdb", "run.h5"):
        assert simrecorder.open(path)["rate"][:].tolist() == [0.5]


def test_declare_gives_dimensions_units_attributes_and_storage():
    with simrecorder.create("run.zarr") as recorder:
        recorder.declare(
            "v",
            np.float32,
            [8],
            dims=["time", "neuron"],
            units="mV",
            attrs={"note": {"n": [1, 2.5, None, True]}, "size": np.int64(3)},
            chunks=16,
            compression="lossy:1e-3",
        )
        recorder.declare("text", str)
        recorder.declare("rows", "float64", [3], ragged=True)
        recorder.record("text", "a")
        recorder.record("rows", simrecorder.Ragged(np.zeros((2, 3))))
        recorder.declare("v", attrs={"more": 1})
        with pytest.raises(ValueError, match="chunk"):
            recorder.declare("v", np.float32, [8], chunks=32)
        with pytest.raises(ValueError, match="compression"):
            recorder.declare("w", float, compression="zip")
        with pytest.raises(TypeError, match="elements of type"):
            recorder.declare("w", "datetime64[ns]")
    v = simrecorder.open("run.zarr")["v"]
    assert v.dims == ("time", "neuron")
    assert v.chunks == (16, 8)
    assert v.attrs == {"note": {"n": [1, 2.5, None, True]}, "size": 3, "units": "mV", "more": 1}


def test_values_have_dimensions_units_and_attributes():
    recorder = Recorder("memory:")
    recorder.set("x", np.linspace(0, 1, 3), dims=["x"], units="m", attrs={"note": "edge"})
    assert recorder.attributes("x") == {"units": "m", "note": "edge"}
    recorder.set("x", 7)
    assert recorder["x"] == 7
    recorder.set_attributes("", {"title": "run"})
    assert recorder.attributes() == {"title": "run"}
    with pytest.raises(KeyError):
        recorder.attributes("nothing")
    with pytest.raises(ValueError, match="NaN"):
        recorder.set_attributes("", {"x": float("nan")})
    with pytest.raises(TypeError, match="set"):
        recorder.set_attributes("", {"x": {1}})


def test_truncate_remove_and_rename():
    recorder = Recorder("run.mdb")
    for step in range(5):
        recorder.record("a/x", step)
    recorder.truncate("a/x", 2)
    recorder.rename("a/x", "b/y")
    assert recorder["b/y"][:].tolist() == [0, 1]
    assert "a/x" not in recorder
    recorder.remove("b")
    with pytest.raises(KeyError):
        recorder.remove("b")


def test_reading_a_missing_key_gives_none_or_the_default():
    recorder = Recorder("run.mdb")
    assert recorder.get("nothing") is None
    assert recorder.get("nothing", default=7) == 7
    assert recorder.get_all("nothing") is None


def test_a_disabled_recorder_does_nothing():
    recorder = Recorder.disabled()
    recorder.record("rate", 0.5)
    with recorder.timeline("net", "time") as net:
        net.advance(0.5)
        net.record("rate", 0.5)
    recorder.close()
    assert list(recorder) == []


def test_options_are_checked():
    recorder = Recorder("memory:", memory_bound=1 << 20, commit_interval=None, on_store_error="detach")
    recorder.record("rate", 0.5)
    with pytest.raises(ValueError, match="not one of: stop, detach"):
        Recorder("memory:", on_store_error="ignore")
    with pytest.raises(ValueError, match="positive"):
        Recorder("memory:", commit_interval=-1)
    with pytest.raises(TypeError, match="memory_limit"):
        Recorder("memory:", memory_limit=1)
    with pytest.raises(ValueError, match="needs a store"):
        Recorder()
    with pytest.raises(TypeError, match="int"):
        Recorder(7)


def test_checkpoint_shows_everything_to_other_software():
    h5py = pytest.importorskip("h5py")
    with simrecorder.create("run.h5") as recorder:
        recorder.record("rate", 0.5)
        recorder.checkpoint()
        with h5py.File("run.h5") as file:
            assert file["rate"][:].tolist() == [0.5]


def test_a_commit_is_seen_by_a_reader_of_the_same_process(place):
    with simrecorder.create(place) as recorder:
        recorder.record("rate", 0.5)
        recorder.flush()
        reader = simrecorder.open(place)
        view = reader["rate"]
        recorder.record("rate", 1.5)
        recorder.flush()
        assert len(view) == 1 and len(view.refresh()) == 2
