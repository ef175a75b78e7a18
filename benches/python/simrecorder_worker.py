"""The Python package of simrecorder: records by key, or the ticks of a timeline; and lists for comparison."""

import time

import numpy as np
import simrecorder
import worker


def by_key(recorder, values, keys, count):
    for step in range(count):
        value = values[step % len(values)]
        for key in keys:
            recorder.record(key, value)


def timeline(recorder, keys):
    """The timeline whose coordinate is the first key, and the names of its other series."""
    group, coordinate = keys[0].split("/")
    return recorder.timeline(group, coordinate), [key.removeprefix(f"{group}/") for key in keys[1:]]


def by_name(recorder, values, keys, count):
    ticks, names = timeline(recorder, keys)
    with ticks:
        for step in range(count):
            value = values[step]
            ticks.advance(value)
            for name in names:
                ticks.record(name, value)


def by_tick(recorder, values, keys, count):
    ticks, names = timeline(recorder, keys)
    with ticks:
        for step in range(count):
            value = values[step]
            ticks.tick(value, dict.fromkeys(names, value))


def lists(values, keys, count):
    start = time.perf_counter()
    series = {key: [] for key in keys}
    for step in range(count):
        value = values[step % len(values)]
        for key in keys:
            series[key].append(value)
    seconds = time.perf_counter() - start
    return seconds, sum(worker.checksum(np.array(each)) for each in series.values()) % (1 << 64)


def record(request):
    values, keys, count = worker.values_of(request), request["keys"], request["count"]
    if request["how"] == "lists":
        return lists(values, keys, count)
    start = time.perf_counter()
    with simrecorder.create(request["path"]) as recorder:
        {"by_key": by_key, "by_name": by_name, "by_tick": by_tick}[request["how"]](recorder, values, keys, count)
    seconds = time.perf_counter() - start
    with simrecorder.open(request["path"]) as recorder:
        return seconds, sum(worker.checksum(np.asarray(recorder[key])) for key in keys) % (1 << 64)


def read_all(request):
    with simrecorder.open(request["path"]) as recorder:
        view = recorder[request["key"]]
        return worker.read_all(lambda: np.asarray(view))


def slices(request):
    with simrecorder.open(request["path"]) as recorder:
        return worker.read_slices(recorder[request["key"]], request["places"])


worker.serve({"record": record, "read_all": read_all, "slices": slices})
