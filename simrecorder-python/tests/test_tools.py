"""Copying, draining and verifying."""

import numpy as np
import pytest

import simrecorder


@pytest.fixture
def recording():
    with simrecorder.create("source.mdb") as recorder:
        for step in range(1000):
            recorder.record("net/v", np.full(100, float(step)))
            recorder.record("log", "text")
        recorder.set("seed", 7)
    return "source.mdb"


def test_a_copy_has_everything_or_what_patterns_select(recording, place):
    copied = simrecorder.copy(recording, place)
    assert copied["key_count"] == 3 and copied["record_count"] == 2000
    copy = simrecorder.open(place)
    assert np.array_equal(copy["net/v"], simrecorder.open(recording)["net/v"]) and copy["seed"] == 7
    simrecorder.copy(recording, "part.h5", include=["net/**", "seed"], exclude=["**/s*", "seed"], reencode=True)
    assert list(simrecorder.open("part.h5")) == ["net/v"]
    with pytest.raises(FileExistsError):
        simrecorder.copy(recording, place)


def test_a_recorder_is_copied_with_what_it_has_just_recorded():
    with simrecorder.create("source.mdb") as source, simrecorder.Recorder("memory:") as target:
        source.record("x", 0.5)
        simrecorder.copy(source, target)
        assert target["x"][:].tolist() == [0.5]
        target.record("y", 0.5)


def test_progress_is_told_and_ends_the_work(recording):
    told = []
    simrecorder.copy(recording, "a.mdb", progress=told.append)
    assert told[-1]["key_count"] == told[-1]["key_total"] == 3
    assert simrecorder.verify(recording, progress=told.append) == []
    assert told[-1]["key"] == "seed"
    with pytest.raises(simrecorder.CancelledError):
        simrecorder.copy(recording, "b.mdb", progress=lambda progress: False)

    def fail(progress):
        raise RuntimeError("enough")

    for work in (lambda: simrecorder.copy(recording, "c.mdb", progress=fail), lambda: simrecorder.verify(recording, progress=fail)):
        with pytest.raises(RuntimeError, match="enough"):
            work()


def test_a_server_is_drained_into_a_file(redis_server):
    source = f"redis://localhost:{redis_server.port}?run=drained"
    with simrecorder.create(source) as recorder:
        for step in range(100):
            recorder.record("x", float(step))
        recorder.flush()
        told = []
        moved = simrecorder.drain(source, "run.mdb", progress=told.append)
        assert moved["record_count"] == 100 and told
        recorder.record("x", 100.0)
    simrecorder.drain(source, "run.mdb", include=["x"])
    assert np.array_equal(simrecorder.open("run.mdb")["x"], np.arange(101.0))
    with pytest.raises(NotImplementedError):
        simrecorder.drain("run.mdb", "other.mdb")
