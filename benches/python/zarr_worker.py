"""zarr-python 3: arrays that are appended to, or created by hand with their final length."""

import os
from functools import partial

import worker
import zarr
from zarr.codecs import BloscCodec


class Recording:
    def __init__(self, request, shape, dtype, rows):
        self.group = zarr.open_group(request["path"], mode="w-")
        # A program that collects records by hand may know how many there will be.
        length = request["count"] if request["by_hand"] else 0
        codec = request["codec"]
        self.series = [
            self.group.create_array(
                key,
                shape=(length, *shape),
                chunks=(rows, *shape),
                dtype=dtype,
                filters=None,
                compressors=BloscCodec(
                    typesize=dtype.itemsize,
                    cname=codec["name"],
                    clevel=codec["level"],
                    shuffle=codec["shuffle"],
                ),
            )
            for key in request["keys"]
        ]
        self.ends = [0 if request["by_hand"] else None] * len(self.series)

    def append(self, key, block):
        end = self.ends[key]
        if end is None:
            self.series[key].append(block)
        else:
            self.ends[key] = end + len(block)
            self.series[key][end : end + len(block)] = block

    def close(self):
        pass

    def read(self, key):
        return self.group[key][:]


def read_all(request):
    array = zarr.open_array(request["path"], mode="r")
    return worker.read_all(lambda: array[:])


def slices(request):
    return worker.read_slices(zarr.open_array(request["path"], mode="r"), request["places"])


# As many threads as there are cores, for the codecs.
zarr.config.set({"threading.max_workers": os.cpu_count()})
worker.serve({"record": partial(worker.record, Recording), "read_all": read_all, "slices": slices})
