"""Shared parts of the workers: one line of JSON in, one out, until the input ends.

A peer that records is a class: it is made for some series of one type, takes blocks of records
with `append(series, block)`, ends with `close()`, and `read(key)` returns what it stored.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

CHUNK_BYTES = 1 << 20
inputs = {}


def checksum(values):
    """The sum of all numbers as words of 64 bits, or of 32 if they are smaller."""
    words = {4: np.uint32, 8: np.uint64}[values.dtype.itemsize]
    return int(np.ascontiguousarray(values).reshape(-1).view(words).sum(dtype=np.uint64))


def values_of(request):
    """The numbers to record. The file is removed after reading it."""
    path = request["values"]
    if path not in inputs:
        inputs[path] = np.fromfile(path, request["dtype"]).reshape(request["shape"])
        os.remove(path)
    return inputs[path]


def record(peer, request):
    """Records all values, one by one, or combined by hand into blocks."""
    values = values_of(request)
    shape = values.shape[1:]
    bytes_each = values.dtype.itemsize * int(np.prod(shape))
    rows = max(1, request.get("block_bytes", CHUNK_BYTES) // bytes_each)
    if request["codec"] is None:
        rows = min(rows, request["count"])
    start = time.perf_counter()
    recording = peer(request, shape, values.dtype, rows)
    keys, count = range(len(request["keys"])), request["count"]
    if rows == 1 or not request["by_hand"]:
        for step in range(count):
            at = step % len(values)
            for key in keys:
                recording.append(key, values[at : at + 1])
    else:
        by_hand(recording, values, rows, len(keys), count)
    recording.close()
    if request["sync"]:
        subprocess.run(["sync", "-f", os.path.dirname(request["path"])], check=True)
    seconds = time.perf_counter() - start
    blocks = (recording.read(key) for key in request["keys"])
    if hasattr(recording, "read_keys"):
        blocks = recording.read_keys(request["keys"])
    total = sum(map(checksum, blocks))
    return seconds, total % (1 << 64)


def by_hand(recording, values, rows, keys, count):
    buffers = [np.empty((rows, *values.shape[1:]), values.dtype) for _ in range(keys)]
    filled = 0
    for step in range(count):
        value = values[step % len(values)]
        for buffer in buffers:
            buffer[filled] = value
        filled += 1
        if filled == rows:
            for key, buffer in enumerate(buffers):
                recording.append(key, buffer)
            filled = 0
    if filled:
        for key, buffer in enumerate(buffers):
            recording.append(key, buffer[:filled])


def read_all(read):
    start = time.perf_counter()
    values = read()
    return time.perf_counter() - start, checksum(values)


def read_slices(array, places):
    """Reads `[:n/2, b, t, :]` at each of the places."""
    half = array.shape[0] // 2
    start = time.perf_counter()
    total = sum(checksum(np.asarray(array[:half, b, t, :])) for b, t in places)
    return time.perf_counter() - start, total % (1 << 64)


def serve(works):
    for line in sys.stdin:
        request = json.loads(line)
        if request["work"] == "forget":
            inputs.pop(request["values"], None)
            print("{}", flush=True)
            continue
        try:
            seconds, total = works[request["work"]](request)
            answer = {"seconds": seconds, "checksum": total}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
