"""Does work with h5py: one line of JSON in, one out, until the input ends."""

import json
import os
import sys
import time

import h5py
import numpy as np

CHUNK_BYTES = 1 << 20
inputs = {}


def values_of(request, dtype):
    """The numbers to record, which are read once, and taken from the disk then."""
    path = request["values"]
    if path not in inputs:
        inputs[path] = np.fromfile(path, dtype).reshape(request["shape"])
        os.remove(path)
    return inputs[path]


def checksum(values):
    words = {4: np.uint32, 8: np.uint64}[values.dtype.itemsize]
    return int(values.reshape(-1).view(words).sum(dtype=np.uint64))


def frames(request):
    values = values_of(request, np.float32)
    level = {"compression_opts": 1} if request["filter"] == "gzip" else {}
    start = time.perf_counter()
    with h5py.File(request["path"], "x") as file:
        shape = values.shape[1:]
        data = file.create_dataset(
            "net/v", (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(1, *shape),
            shuffle=True, compression=request["filter"], **level,
        )
        for step in range(request["count"]):
            data.resize(step + 1, axis=0)
            data[step] = values[step % len(values)]
    seconds = time.perf_counter() - start
    with h5py.File(request["path"]) as file:
        return seconds, checksum(file["net/v"][:])


def records(request):
    values = values_of(request, np.float64)
    start = time.perf_counter()
    with h5py.File(request["path"], "x") as file:
        shape = values.shape[1:]
        rows = max(1, CHUNK_BYTES // (8 * int(np.prod(shape))))
        series = []
        for key in request["keys"]:
            data = file.create_dataset(
                key, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(rows, *shape),
                shuffle=True, compression="gzip", compression_opts=1,
            )
            series.append((data, np.empty((rows, *shape), values.dtype)))
        filled = 0
        for step in range(request["count"]):
            value = values[step % len(values)]
            for _, buffer in series:
                buffer[filled] = value
            filled += 1
            if filled == rows:
                flush(series, filled)
                filled = 0
        flush(series, filled)
    seconds = time.perf_counter() - start
    with h5py.File(request["path"]) as file:
        total = sum(checksum(file[key][:]) for key in request["keys"])
        return seconds, total % (1 << 64)


def flush(series, filled):
    for data, buffer in series:
        end = data.shape[0]
        data.resize(end + filled, axis=0)
        data[end:] = buffer[:filled]


def read_all(request):
    with h5py.File(request["path"]) as file:
        start = time.perf_counter()
        values = file[request["key"]][:]
        return time.perf_counter() - start, checksum(values)


def slices(request):
    with h5py.File(request["path"]) as file:
        data = file[request["key"]]
        half = len(data) // 2
        start = time.perf_counter()
        total = sum(checksum(data[:half, b, t, :]) for b, t in request["places"])
        return time.perf_counter() - start, total % (1 << 64)


WORKS = {"frames": frames, "records": records, "read_all": read_all, "slices": slices}
for line in sys.stdin:
    request = json.loads(line)
    seconds, total = WORKS[request["work"]](request)
    print(json.dumps({"seconds": seconds, "checksum": total}), flush=True)
