"""Errors are Python exceptions with the messages of the library; log messages go to `logging`."""

import logging
import os

import pytest

import simrecorder
from simrecorder import Recorder


def test_errors_are_subclasses_of_the_usual_exceptions():
    expected = {
        simrecorder.KeyNotFoundError: KeyError,
        simrecorder.PathNotFoundError: FileNotFoundError,
        simrecorder.ExistsError: FileExistsError,
        simrecorder.TypeMismatchError: TypeError,
        simrecorder.KindMismatchError: TypeError,
        simrecorder.SchemaMismatchError: ValueError,
        simrecorder.InvalidKeyError: ValueError,
        simrecorder.LockedError: TimeoutError,
        simrecorder.OutOfBoundsError: IndexError,
        simrecorder.ReadOnlyError: PermissionError,
    }
    for error, of_python in expected.items():
        assert issubclass(error, simrecorder.Error) and issubclass(error, of_python)
        assert str(error("a sentence")) == "a sentence"


def test_an_error_has_the_sentence_of_the_library_and_its_parts():
    recorder = Recorder("memory:")
    recorder.record("net/v", 0.5)
    with pytest.raises(simrecorder.Error) as caught:
        recorder["net/w"]
    error = caught.value
    assert str(error) == "get_all 'net/w': there is nothing at this key; the nearest keys are 'net/v'"
    assert (error.kind, error.operation, error.key, error.is_retryable) == ("NotFound", "get_all", "net/w", False)
    with pytest.raises(simrecorder.KindMismatchError, match="record 'net'"):
        recorder.record("net", 0.5)


@pytest.mark.parametrize("place", ["run.mdb", "run.zarr", "run.h5"])
def test_a_second_writer_is_refused(place):
    with simrecorder.create(place), pytest.raises(simrecorder.LockedError) as caught:
        simrecorder.append(place)
    assert caught.value.is_retryable


def test_a_damaged_recording_is_an_error_and_named_by_verify():
    with simrecorder.create("run.zarr") as recorder:
        recorder.declare("v", float, chunks=10)
        for step in range(100):
            recorder.record("v", float(step))
    shards = [os.path.join(folder, name) for folder, _, names in os.walk("run.zarr/v") for name in names]
    shard = max(shards, key=os.path.getsize)
    data = bytearray(open(shard, "rb").read())
    data[len(data) // 4] ^= 0xFF
    with open(shard, "wb") as file:
        file.write(data)
    recorder = simrecorder.open("run.zarr")
    with pytest.raises(simrecorder.CorruptError, match="'v'"):
        recorder["v"][:]
    damage = simrecorder.verify("run.zarr")
    assert [one.key for one in damage] == ["v"] and isinstance(damage[0].error, simrecorder.CorruptError)
    assert damage[0].records[0] < damage[0].records[1] <= 100


def test_a_path_that_is_not_a_recording_is_an_error():
    with open("notes.txt", "w") as file:
        file.write("no recording")
    with pytest.raises(ValueError, match="notes.txt"):
        simrecorder.open("notes.txt")
    with pytest.raises(ValueError, match="run.csv"):
        simrecorder.create("run.csv")
    with pytest.raises(ValueError, match="lmdb:run"):
        simrecorder.open("lmdb:run.mdb")


def test_messages_of_the_library_go_to_logging(caplog):
    recorder = Recorder("memory:")
    net = recorder.timeline("net", "time")
    net.tick(0.0, a=1.0, b=2.0)
    net.advance(1.0)
    net.record("a", 1.0)
    with caplog.at_level(logging.INFO, logger="simrecorder"):
        # An incomplete tick is discarded with a warning.
        recorder.close()
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.name == "simrecorder" and "tick" in warning.getMessage()
