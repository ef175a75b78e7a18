"""h5py, as in its documentation: datasets that are resized."""

from functools import partial

import h5py
import worker


class Recording:
    def __init__(self, request, shape, dtype, rows):
        self.path = request["path"]
        self.file = h5py.File(self.path, "x")
        codec = request["codec"]
        self.keys = request["keys"]
        self.whole = codec is None
        if self.whole:
            return
        filters = {"shuffle": True, "compression": codec["name"]}
        if "level" in codec:
            filters["compression_opts"] = codec["level"]
        self.series = [
            self.file.create_dataset(
                key, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows, *shape), **filters
            )
            for key in request["keys"]
        ]

    def append(self, key, block):
        if self.whole:
            # All records of a series at once: a dataset without chunks.
            self.file.create_dataset(self.keys[key], data=block)
            return
        data = self.series[key]
        end = data.shape[0]
        data.resize(end + len(block), axis=0)
        data[end:] = block

    def close(self):
        self.file.close()

    def read(self, key):
        with h5py.File(self.path) as file:
            return file[key][:]

    def read_keys(self, keys):
        with h5py.File(self.path) as file:
            yield from (file[key][:] for key in keys)


def read_all(request):
    with h5py.File(request["path"]) as file:
        return worker.read_all(lambda: file[request["key"]][:])


def slices(request):
    with h5py.File(request["path"]) as file:
        return worker.read_slices(file[request["key"]], request["places"])


worker.serve({"record": partial(worker.record, Recording), "read_all": read_all, "slices": slices})
