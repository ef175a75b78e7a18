"""TensorStore, through its Python package, with Zarr V3 in a directory."""

import os
from collections import deque
from functools import partial

import tensorstore as ts
import worker

# The maximum number of pending writes.
WRITES = 8
# Files are synced once, at the end, if at all.
CONTEXT = ts.Context({"file_io_sync": False})


def open_array(path, **how):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
    if "metadata" in how:
        spec["metadata"] = how.pop("metadata")
    return ts.open(spec, context=CONTEXT, **how).result()


class Recording:
    def __init__(self, request, shape, dtype, rows):
        self.path = request["path"]
        self.by_hand = request["by_hand"]
        codec = request["codec"]
        blosc = {
            "cname": codec["name"],
            "clevel": codec["level"],
            "shuffle": codec["shuffle"],
            "typesize": dtype.itemsize,
        }
        metadata = {
            # A program that collects records by hand may know how many there will be.
            "shape": [request["count"] if self.by_hand else 0, *shape],
            "data_type": dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows, *shape]}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": blosc},
            ],
        }
        self.series = [
            open_array(os.path.join(self.path, key), create=True, metadata=metadata)
            for key in request["keys"]
        ]
        self.ends = [0] * len(self.series)
        self.writes = deque()

    def append(self, key, block):
        end = self.ends[key]
        self.ends[key] = end + len(block)
        if not self.by_hand:
            self.series[key] = (
                self.series[key]
                .resize(exclusive_max=[self.ends[key], *block.shape[1:]], resize_metadata_only=True)
                .result()
            )
        write = self.series[key][end : end + len(block)].write(block)
        # The block is reused.
        write.copy.result()
        self.writes.append(write)
        while len(self.writes) > WRITES:
            self.writes.popleft().result()

    def close(self):
        while self.writes:
            self.writes.popleft().result()

    def read(self, key):
        return open_array(os.path.join(self.path, key), read=True).read().result()


def read_all(request):
    array = open_array(request["path"], read=True)
    return worker.read_all(lambda: array.read().result())


class Eager:
    """Reads a selection at once."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape

    def __getitem__(self, part):
        return self.array[part].read().result()


def slices(request):
    array = Eager(open_array(request["path"], read=True))
    return worker.read_slices(array, request["places"])


worker.serve({"record": partial(worker.record, Recording), "read_all": read_all, "slices": slices})
