"""Timelines: complete ticks, and records that do not fit in."""

import numpy as np
import pytest

import simrecorder
from simrecorder import Recorder


def test_a_timeline_resumes_after_its_last_tick(place):
    with simrecorder.create(place) as recorder, recorder.timeline("net", "time", units="ms") as net:
        for step in range(10):
            net.advance(0.5 * step)
            net.record("rate", 0.5)
            net.record_dict({"v": np.zeros(3), "spikes": simrecorder.Ragged(np.arange(step))})
        assert net.last == 4.0 and len(net) == 9
    with simrecorder.append(place) as recorder:
        recorder.rewind("time", 2.0)
        with recorder.timeline("net", "time") as net:
            assert net.last == 2.0 and len(net) == 5
            net.tick(9, {"rate": 1.5}, v=np.ones(3), spikes=simrecorder.Ragged(np.arange(2)))
            net.rewind(1.0)
            assert net.last == 1.0
    recorder = simrecorder.open(place)
    assert recorder["net/time"][:].tolist() == [0.0, 0.5, 1.0]
    assert recorder.attributes("net/time") == {"units": "ms"}
    assert recorder["net/v"].shape == (3, 3)


@pytest.mark.parametrize(("dtype", "expected"), [(None, "float64"), (int, "int64"), ("uint64", "uint64")])
def test_the_coordinate_has_the_type_that_was_asked_for(dtype, expected):
    recorder = Recorder("memory:")
    with recorder.timeline("", "step", dtype=dtype) as ticks:
        for step in range(3):
            ticks.tick(step, {"x": step})
    assert recorder["step"].dtype == expected
    # The existing timeline is continued with its own type.
    with recorder.timeline("", "step") as ticks:
        assert ticks.last == 2
        with pytest.raises(ValueError, match="larger"):
            ticks.advance(2)
        if expected != "float64":
            with pytest.raises(TypeError, match=expected):
                ticks.advance(2.5)
    with pytest.raises(ValueError, match="float64, int64 or uint64"):
        recorder.timeline("other", "step", dtype="int32")


def test_an_incomplete_tick_is_an_error_and_can_be_discarded():
    recorder = Recorder("memory:")
    net = recorder.timeline("net", "time")
    net.tick(0.0, a=1.0, b=2.0)
    net.advance(1.0)
    net.record("a", 1.0)
    with pytest.raises(ValueError, match="b"):
        net.advance(2.0)
    with pytest.raises(ValueError, match="net/a"):
        net.record("a", 1.0)
    net.discard_tick()
    with pytest.raises(ValueError):
        net.tick(1.0, a=1.0)
    net.tick(1.0, a=1.0, b=2.0)
    with pytest.raises(simrecorder.Error, match="handle"):
        recorder.record("net/a", 1.0)
    with pytest.raises(TimeoutError):
        recorder.timeline("net", "time")
    assert repr(net) == "<Timeline 'net': 2 ticks>"
    net.finish()
    net.finish()
    with pytest.raises(ValueError, match="finished"):
        net.advance(3.0)
    assert recorder["net/a"].shape == (2,)


def test_after_an_exception_the_open_tick_is_discarded():
    recorder = Recorder("memory:")
    with pytest.raises(RuntimeError, match="simulation"):
        with recorder.timeline("net", "time") as net:
            net.tick(0.0, a=1.0, b=2.0)
            net.advance(1.0)
            net.record("a", 1.0)
            raise RuntimeError("the simulation failed")
    assert recorder["net/time"][:].tolist() == [0.0]


def test_a_series_with_a_fill_value_needs_no_record_in_each_tick():
    recorder = Recorder("memory:")
    with recorder.timeline("net", "step", dtype=int) as net:
        net.tick(0, rate=0.5)
        net.declare("weight", float, fill_value=np.nan, units="nS")
        net.tick(1, rate=0.5, weight=1.5)
        net.tick(2, rate=0.5)
        with pytest.raises(ValueError, match="dtype"):
            net.declare("other")
    assert np.array_equal(recorder["net/weight"], [np.nan, 1.5, np.nan], equal_nan=True)
